use serde_json::json;

use super::*;
use crate::doctor::finding::Status;
use crate::doctor::testing::{everything, jane, permissions, told};

#[test]
fn all_that_is_permitted_stands_in_one_line() {
    insta::assert_snapshot!(told(&judge(&everything(), &jane())), @"ok       rbac          `jane` may, in namespace `web`: get `pods`; patch `pods/ephemeralcontainers`; create and get `pods/exec`; watch `pods`; create `events`; list `events`; watch `events`; list `pods`");
}

#[test]
fn each_missing_rule_is_told_with_its_role() {
    let some = permissions(&json!([
        { "apiGroups": [""], "resources": ["pods", "pods/attach"], "verbs": ["get", "create"] },
    ]));
    insta::assert_snapshot!(told(&judge(&some, &jane())), @r#"
    ok       rbac          `jane` may, in namespace `web`: get `pods`
    FAILURE  rbac          `jane` may not patch `pods/ephemeralcontainers` in namespace `web`, which adds the debug container
                             # for the platform team; the rule is {apiGroups: [""], resources: [pods/ephemeralcontainers], verbs: [patch]}
                             kubectl kitbag rbac debug any -n web | kubectl apply -f -
                             kubectl create rolebinding kitbag-debug-jane -n web --role=kitbag-debug --user=jane --dry-run=client -o yaml | kubectl apply -f -
    warning  rbac          `jane` may not create and get `pods/exec` in namespace `web`: the debug container has one session only, ends with it, and its output stands in the container's log
                             # for the platform team; the rule is {apiGroups: [""], resources: [pods/exec], verbs: [create, get]}
                             kubectl kitbag rbac debug any -n web | kubectl apply -f -
                             kubectl create rolebinding kitbag-debug-jane -n web --role=kitbag-debug --user=jane --dry-run=client -o yaml | kubectl apply -f -
    warning  rbac          `jane` may not watch `pods` in namespace `web`: the pod is asked for once a second
                             # for the platform team; the rule is {apiGroups: [""], resources: [pods], verbs: [watch]}
                             kubectl kitbag rbac debug any -n web | kubectl apply -f -
                             kubectl create rolebinding kitbag-debug-jane -n web --role=kitbag-debug --user=jane --dry-run=client -o yaml | kubectl apply -f -
    warning  rbac          `jane` may not create `events` in namespace `web`, which leaves a trace on the pod: who debugs it, with what and why: no event is left on the pod
                             # for the platform team; the rule is {apiGroups: [""], resources: [events], verbs: [create]}
                             kubectl kitbag rbac debug any -n web | kubectl apply -f -
                             kubectl create rolebinding kitbag-debug-jane -n web --role=kitbag-debug --user=jane --dry-run=client -o yaml | kubectl apply -f -
    warning  rbac          `jane` may not list `events` in namespace `web`, which tells what the node says when a debug container does not start: what the node says is not shown
                             # for the platform team; the rule is {apiGroups: [""], resources: [events], verbs: [list]}
                             kubectl kitbag rbac debug any -n web | kubectl apply -f -
                             kubectl create rolebinding kitbag-debug-jane -n web --role=kitbag-debug --user=jane --dry-run=client -o yaml | kubectl apply -f -
    warning  rbac          `jane` may not watch `events` in namespace `web`, which sees the start of a debug container when the node tells of it: the start is seen up to a second later
                             # for the platform team; the rule is {apiGroups: [""], resources: [events], verbs: [watch]}
                             kubectl kitbag rbac debug any -n web | kubectl apply -f -
                             kubectl create rolebinding kitbag-debug-jane -n web --role=kitbag-debug --user=jane --dry-run=client -o yaml | kubectl apply -f -
    warning  rbac          `jane` may not list `pods` in namespace `web`: pods have to be named, and `list` does not work
                             # for the platform team; the rule is {apiGroups: [""], resources: [pods], verbs: [list]}
                             kubectl kitbag rbac list -n web | kubectl apply -f -
                             kubectl create rolebinding kitbag-list-jane -n web --role=kitbag-list --user=jane --dry-run=client -o yaml | kubectl apply -f -
    "#);
}

#[test]
fn without_exec_and_attach_there_is_no_session() {
    let some = permissions(&json!([{ "apiGroups": [""], "resources": ["pods", "events"], "verbs": ["*"] }]));
    let failed: Vec<Finding> =
        judge(&some, &jane()).into_iter().filter(|finding| finding.status == Status::Failure).collect();
    let texts: Vec<&str> = failed.iter().map(|finding| finding.text.as_str()).collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    `jane` may not patch `pods/ephemeralcontainers` in namespace `web`, which adds the debug container
    `jane` may not create and get `pods/exec` in namespace `web`, which opens sessions in the debug container
    ");
}

#[test]
fn a_server_that_does_not_say_is_no_failure() {
    insta::assert_snapshot!(told(&judge(&Permissions::default(), &jane())), @r"
    skipped  rbac          the API server does not say whether `jane` may get `pods`
    skipped  rbac          the API server does not say whether `jane` may patch `pods/ephemeralcontainers`
    skipped  rbac          the API server does not say whether `jane` may create and get `pods/exec`
    skipped  rbac          the API server does not say whether `jane` may watch `pods`
    skipped  rbac          the API server does not say whether `jane` may create `events`
    skipped  rbac          the API server does not say whether `jane` may list `events`
    skipped  rbac          the API server does not say whether `jane` may watch `events`
    skipped  rbac          the API server does not say whether `jane` may list `pods`
    ");
}

#[test]
fn whoever_it_is_gets_a_command_that_fits() {
    let to = |user: &str| {
        let fix = fix(&rules()[0], &Who { user: user.to_owned(), ..jane() });
        fix.lines().last().unwrap().to_owned()
    };
    let users = ["jane", "system:serviceaccount:ci:robot", "Jane O'Neill", "oidc:jane@acme.example"];
    insta::assert_snapshot!(users.map(to).join("\n"), @r"
    kubectl create rolebinding kitbag-debug-jane -n web --role=kitbag-debug --user=jane --dry-run=client -o yaml | kubectl apply -f -
    kubectl create rolebinding kitbag-debug-system-serviceaccount-ci-robot -n web --role=kitbag-debug --serviceaccount=ci:robot --dry-run=client -o yaml | kubectl apply -f -
    kubectl create rolebinding kitbag-debug-jane-o-neill -n web --role=kitbag-debug --user='Jane O'\''Neill' --dry-run=client -o yaml | kubectl apply -f -
    kubectl create rolebinding kitbag-debug-oidc-jane-acme.example -n web --role=kitbag-debug --user=oidc:jane@acme.example --dry-run=client -o yaml | kubectl apply -f -
    ");
}
