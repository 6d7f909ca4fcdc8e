use super::rules::{Doing, Found};
use super::*;
use serde_json::{Value, json};

fn permissions(rules: &Value) -> Permissions {
    let status = json!({ "incomplete": false, "nonResourceRules": [], "resourceRules": rules });
    Permissions::new(Some(serde_json::from_value(status).unwrap()))
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}

const DEBUG: Doing = Doing::Debug(Found::Pod);

#[test]
fn rules_are_read_as_the_server_reads_them() {
    let some = permissions(&json!([
        rule("", &["pods"], &["get", "list"]),
        rule("apps", &["*"], &["get"]),
        rule("", &["*/exec"], &["*"]),
        { "apiGroups": [""], "resources": ["pods/attach"], "verbs": ["get"], "resourceNames": ["shop"] },
    ]));
    for (verb, group, resource, name, expected) in [
        ("get", "", "pods", Some("shop"), Answer::Yes),
        ("list", "", "pods", None, Answer::Yes),
        ("watch", "", "pods", None, Answer::No),
        // A resource does not cover its subresources.
        ("get", "", "pods/log", Some("shop"), Answer::No),
        ("get", "apps", "deployments", None, Answer::Yes),
        ("get", "apps", "deployments/scale", None, Answer::Yes),
        ("get", "batch", "jobs", None, Answer::No),
        ("create", "", "pods/exec", Some("shop"), Answer::Yes),
        ("get", "", "pods/attach", Some("shop"), Answer::Yes),
        ("get", "", "pods/attach", Some("till"), Answer::No),
        ("get", "", "pods/attach", None, Answer::No),
    ] {
        assert_eq!(some.may(verb, group, resource, name), expected, "{verb} {group} {resource} {name:?}");
    }
}

#[test]
fn what_the_server_leaves_out_is_unknown_and_not_missing() {
    let incomplete =
        json!({ "incomplete": true, "nonResourceRules": [], "resourceRules": [rule("", &["pods"], &["get"])] });
    let incomplete = Permissions::new(Some(serde_json::from_value(incomplete).unwrap()));
    let failed =
        json!({ "incomplete": false, "evaluationError": "webhook down", "nonResourceRules": [], "resourceRules": [] });
    let failed = Permissions::new(Some(serde_json::from_value(failed).unwrap()));
    assert_eq!(incomplete.may("get", "", "pods", None), Answer::Yes);
    for permissions in [incomplete, failed, Permissions::new(None)] {
        assert_eq!(permissions.may("patch", "", "pods/ephemeralcontainers", None), Answer::Unknown);
        assert!(check(&permissions, &DEBUG.rules(), Some("shop"), "web", "jane").is_ok());
        assert_eq!(
            means(&permissions, None),
            Means { exec: true, watch: true, trace: true, events: true, starts: true }
        );
    }
}

#[test]
fn all_that_is_missing_is_named_at_once() {
    let none = permissions(&json!([rule("", &["pods"], &["list"])]));
    let error = check(&none, &DEBUG.rules(), Some("shop"), "web", "jane").unwrap_err();
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint()), @r#"
    user `jane` lacks permissions in namespace `web`:
      get `pods`: reads the pod and its containers
      patch `pods/ephemeralcontainers`: adds the debug container
      create and get `pods/exec`: opens sessions in the debug container
    hint: ask for a Role in `web` with these rules (`kubectl kitbag rbac` prints all of it):
      - apiGroups: [""]
        resources: ["pods"]
        verbs: ["get"]
      - apiGroups: [""]
        resources: ["pods/ephemeralcontainers"]
        verbs: ["patch"]
      - apiGroups: [""]
        resources: ["pods/exec"]
        verbs: ["create", "get"]
    "#);
    assert_eq!(error.kind().exit_code(), 77);
}

#[test]
fn what_can_be_done_in_another_way_is_only_a_loss() {
    let some = permissions(&json!([
        rule("", &["pods"], &["get"]),
        rule("", &["pods/ephemeralcontainers"], &["patch"]),
        rule("", &["pods/attach"], &["create", "get"]),
    ]));
    assert_eq!(missing(&some, &DEBUG.rules(), Some("shop")), []);
    assert_eq!(
        means(&some, Some("shop")),
        Means { exec: false, watch: false, trace: false, events: false, starts: false }
    );
    insta::assert_snapshot!(losses(&some, &DEBUG.rules(), Some("shop")).join("\n"), @r"
    without permission to create and get `pods/exec` the debug container has one session only, ends with it, and its output stands in the container's log
    without permission to watch `pods` the pod is asked for once a second
    without permission to create `events` no event is left on the pod
    without permission to list `events` what the node says is not shown
    without permission to watch `events` the start is seen up to a second later
    ");
}

#[test]
fn events_may_be_read_without_being_followed() {
    let some = permissions(&json!([rule("", &["events"], &["list"])]));
    let means = means(&some, Some("shop"));
    assert_eq!((means.events, means.starts), (true, false));
}

#[test]
fn each_indispensable_rule_is_indispensable() {
    let all = DEBUG.rules();
    let without = |left_out: &Rule| {
        let granted: Vec<Value> = all.iter().filter(|rule| *rule != left_out).map(rule_of).collect();
        missing(&permissions(&json!(granted)), &all, Some("shop"))
    };
    for rule in &all {
        let expected: &[Rule] = match rule.without {
            Without::Takes(instead, _) if all.contains(instead) => &[],
            Without::Loses(_) => &[],
            _ => &[*rule],
        };
        assert_eq!(without(rule), expected, "{rule:?}");
    }
    let granted: Vec<Value> = all.iter().map(rule_of).collect();
    assert_eq!(missing(&permissions(&json!(granted)), &all, Some("shop")), []);
}

fn rule_of(rule: &Rule) -> Value {
    self::rule(rule.group, &[rule.resource], rule.verbs)
}
