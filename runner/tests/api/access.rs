//! Permissions and names.

use http::Method;
use kitbag_runner::access::{self, Answer as Permitted, Permissions};
use serde_json::{Value, json};

use crate::script::{Answer, server};

const RULES: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
const REVIEW: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const VERSION: &str = "/version";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

#[tokio::test]
async fn permissions_cost_one_request() {
    let review = json!({
        "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
        "status": { "incomplete": false, "nonResourceRules": [], "resourceRules": [
            { "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] },
        ] },
    });
    let (client, server) = server(vec![Answer::new(Method::POST, RULES, 201, &review)]);
    let permissions = access::review(&client, "web").await;
    assert_eq!(permissions.may("get", "", "pods", Some("shop")), Permitted::Yes);
    assert_eq!(permissions.may("list", "", "pods", None), Permitted::No);
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_say_leaves_it_to_be_tried() {
    let (client, server) = server(vec![Answer::refused(Method::POST, RULES, 403, "no")]);
    let permissions = access::review(&client, "web").await;
    assert_eq!(permissions.may("get", "", "pods", None), Permitted::Unknown);
    drop(client);
    server.await.unwrap();
}

fn permissions(incomplete: bool, rules: &[(&str, &str)]) -> Permissions {
    let rule = |(verb, resource): &(&str, &str)| json!({ "apiGroups": [""], "resources": [resource], "verbs": [verb] });
    let rules: Vec<Value> = rules.iter().map(rule).collect();
    let status = json!({ "incomplete": incomplete, "nonResourceRules": [], "resourceRules": rules });
    Permissions::new(Some(serde_json::from_value(status).unwrap()))
}

fn reviewed(allowed: bool) -> Answer {
    let review = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
        "status": { "allowed": allowed },
    });
    Answer::new(Method::POST, REVIEW, 201, &review)
}

fn version(minor: &str) -> Answer {
    let version = json!({
        "major": "1", "minor": minor, "gitVersion": "", "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": "",
    });
    Answer::get(VERSION, &version)
}

/// Whether sessions are execs, for a pod.
async fn execs(known: Permissions, script: Vec<Answer>) -> bool {
    let (client, server) = server(script);
    let settled = access::settle(&client, "web", Some("shop"), known).await;
    drop(client);
    server.await.unwrap();
    access::means(&settled, Some("shop")).exec
}

#[tokio::test]
async fn what_another_authorizer_leaves_open_is_asked_for() {
    let open = || permissions(true, &[("get", "pods")]);
    assert!(execs(open(), vec![reviewed(true), reviewed(true)]).await);
    // Then it is an attach, if that is permitted.
    assert!(!execs(open(), vec![reviewed(false), reviewed(false), reviewed(true), reviewed(true)]).await);
    // Who does not say leaves it to be tried.
    let silent = || Answer::refused(Method::POST, REVIEW, 403, "no");
    assert!(execs(open(), vec![silent(), silent(), Answer::refused(Method::GET, VERSION, 403, "no")]).await);
    let granted = [("get", "pods/exec"), ("create", "pods/exec")];
    assert!(execs(permissions(true, &granted), vec![]).await);
}

#[tokio::test]
async fn the_get_that_an_exec_is_will_do_for_servers_that_want_no_more() {
    let get = || permissions(false, &[("get", "pods/exec")]);
    assert!(execs(get(), vec![version("34+")]).await);
    assert!(!execs(get(), vec![version("35")]).await);
    // Without it, no version helps.
    assert!(!execs(permissions(false, &[("create", "pods/exec")]), vec![]).await);
}

#[tokio::test]
async fn the_user_is_who_the_server_says_else_who_the_kubeconfig_says() {
    let review = json!({
        "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
        "status": { "userInfo": { "username": "jane", "groups": ["ops"] } },
    });
    let too_old = || Answer::refused(Method::POST, WHO, 404, "the server could not find the requested resource");
    let (client, server) = server(vec![Answer::new(Method::POST, WHO, 201, &review), too_old(), too_old()]);
    assert_eq!(access::whoami(&client, Some("admin@web")).await, "jane");
    assert_eq!(access::whoami(&client, Some("admin@web")).await, "admin@web");
    assert_eq!(access::whoami(&client, None).await, "unknown");
    drop(client);
    server.await.unwrap();
}
