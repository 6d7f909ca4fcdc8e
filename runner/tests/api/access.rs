//! Permissions and names.

use http::Method;
use kitbag_runner::access::{self, Answer as Permitted};
use serde_json::json;

use crate::script::{Answer, server};

const RULES: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
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
