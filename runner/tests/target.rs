//! From what the user named to pods, against an API server that answers from a script.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use http::{Request, Response};
use kitbag_runner::Error;
use kitbag_runner::target::{Found, Reference, Which, find};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::{self, Handle};

/// Asks for `reference` where the API server answers so, and expects that every answer was asked for, by GET.
async fn found(reference: &str, script: Vec<(&'static str, u16, Value)>) -> Result<Found, Error> {
    let (service, mut handle): (_, Handle<Request<Body>, Response<Body>>) = mock::pair();
    let server = tokio::spawn(async move {
        for (path, status, body) in script {
            let (request, send) = handle.next_request().await.expect("one more request");
            assert_eq!(request.method(), http::Method::GET);
            assert_eq!(request.uri().path_and_query().unwrap().as_str(), path);
            let body = Body::from(body.to_string().into_bytes());
            send.send_response(Response::builder().status(status).body(body).unwrap());
        }
        assert!(handle.next_request().await.is_none(), "there was one request too many");
    });
    let reference = match reference.strip_prefix("-l ") {
        Some(selector) => Reference::selector(selector).unwrap(),
        None => reference.parse().unwrap(),
    };
    let client = Client::new(service, "web");
    let found = find(&client, "web", &reference, Which::One).await;
    drop(client);
    server.await.unwrap();
    found
}

fn told(found: Result<Found, Error>) -> String {
    match found {
        Ok(found) => found.said.unwrap_or_else(|| "the pod that was named".to_owned()),
        Err(error) => match error.hint() {
            Some(hint) => format!("{error} [{}]\n  hint: {hint}", error.kind().exit_code()),
            None => format!("{error} [{}]", error.kind().exit_code()),
        },
    }
}

fn pods(names: &[&str]) -> Value {
    let pod = |name: &&str| {
        json!({
            "metadata": { "name": name, "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-7c9d8", "uid": "", "controller": true,
            }], "labels": { "pod-template-hash": "7c9d8" } },
            "spec": { "nodeName": "node1", "containers": [] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
        })
    };
    json!({ "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": names.iter().map(pod).collect::<Vec<_>>() })
}

fn workload(kind: &str, spec: &Value) -> Value {
    let version = match kind {
        "Service" => "v1",
        "Job" => "batch/v1",
        _ => "apps/v1",
    };
    json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "shop" }, "spec": spec })
}

fn refusal(code: u16, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "", "message": message })
}

#[tokio::test]
async fn a_pod_takes_one_request() {
    let script = vec![("/api/v1/namespaces/web/pods/shop", 200, pods(&["shop"])["items"][0].clone())];
    assert_eq!(told(found("shop", script).await), "the pod that was named");
}

#[tokio::test]
async fn a_selector_takes_one_request() {
    let path = "/api/v1/namespaces/web/pods?&labelSelector=app%3Dshop";
    let said = told(found("-l app=shop", vec![(path, 200, pods(&["shop-1"]))]).await);
    assert_eq!(said, "pod `shop-1` of `-l app=shop` (its only pod: running, ready)");
}

#[tokio::test]
async fn a_workload_takes_two_and_its_whole_selector_counts() {
    let template = json!({ "metadata": {}, "spec": { "containers": [] } });
    let spec = json!({ "template": template, "selector": {
        "matchLabels": { "app": "shop" },
        "matchExpressions": [
            { "key": "tier", "operator": "In", "values": ["web", "api"] },
            { "key": "canary", "operator": "DoesNotExist" },
        ],
    } });
    let list = "/api/v1/namespaces/web/pods?&labelSelector=app%3Dshop%2Ctier+in+%28api%2Cweb%29%2C%21canary";
    for (reference, path, kind) in [
        ("deploy/shop", "/apis/apps/v1/namespaces/web/deployments/shop", "Deployment"),
        ("sts/shop", "/apis/apps/v1/namespaces/web/statefulsets/shop", "StatefulSet"),
        ("ds/shop", "/apis/apps/v1/namespaces/web/daemonsets/shop", "DaemonSet"),
        ("rs/shop", "/apis/apps/v1/namespaces/web/replicasets/shop", "ReplicaSet"),
        ("job/shop", "/apis/batch/v1/namespaces/web/jobs/shop", "Job"),
    ] {
        let script = vec![(path, 200, workload(kind, &spec)), (list, 200, pods(&["shop-1", "shop-2"]))];
        let said = told(found(reference, script).await);
        assert_eq!(said, format!("pod `shop-1` of {reference} (2 pods: running, ready, youngest)"));
    }
}

#[tokio::test]
async fn a_service_names_its_pods_by_its_selector_if_it_has_one() {
    let path = "/api/v1/namespaces/web/services/shop";
    let list = "/api/v1/namespaces/web/pods?&labelSelector=app%3Dshop";
    let spec = json!({ "selector": { "app": "shop" } });
    let script = vec![(path, 200, workload("Service", &spec)), (list, 200, pods(&["shop-1"]))];
    assert_eq!(told(found("svc/shop", script).await), "pod `shop-1` of svc/shop (its only pod: running, ready)");
    for spec in [json!({ "externalName": "db.example" }), json!({ "selector": {} })] {
        let script = vec![(path, 200, workload("Service", &spec))];
        assert_eq!(told(found("svc/shop", script).await), "svc/shop has no selector: it names no pods [66]");
    }
}

#[tokio::test]
async fn a_workload_without_pods_says_so() {
    let path = "/apis/apps/v1/namespaces/web/deployments/shop";
    let list = "/api/v1/namespaces/web/pods?&labelSelector=app%3Dshop";
    let mut lines = Vec::new();
    for replicas in [0, 2] {
        let template = json!({ "metadata": {}, "spec": { "containers": [] } });
        let spec =
            json!({ "replicas": replicas, "selector": { "matchLabels": { "app": "shop" } }, "template": template });
        let script = vec![(path, 200, workload("Deployment", &spec)), (list, 200, pods(&[]))];
        lines.push(told(found("deploy/shop", script).await));
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    deploy/shop has no pods: it is scaled to 0 [66]
    deploy/shop has no pods [66]
      hint: no pod of namespace `web` fits its selector `app=shop`
    ");
}

#[tokio::test]
async fn what_is_not_there_is_answered_with_what_is_near() {
    let near = "/api/v1/namespaces/web/pods?&limit=500";
    let pod = "/api/v1/namespaces/web/pods/shop";
    let missing = || refusal(404, "not found");
    let mut list = pods(&["shop-7c9d8-x2v4q"]);
    list["kind"] = "PartialObjectMetadataList".into();
    let lines = [
        told(found("shop", vec![(pod, 404, missing()), (near, 200, list.clone())]).await),
        // Who may not list pods is told no less than before.
        told(found("shop", vec![(pod, 404, missing()), (near, 403, refusal(403, "forbidden"))]).await),
        told(
            found(
                "deploy/shpo",
                vec![("/apis/apps/v1/namespaces/web/deployments/shpo", 404, missing()), (near, 200, list)],
            )
            .await,
        ),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    pod `shop` not found in namespace `web`: did you mean `deploy/shop` or `pod/shop-7c9d8-x2v4q`? [66]
      hint: `kubectl get pods -n web` lists them; -n names another namespace
    pod `shop` not found in namespace `web` [66]
      hint: `kubectl get pods -n web` lists them; -n names another namespace
    deploy/shpo not found in namespace `web`: did you mean `deploy/shop`? [66]
      hint: `kubectl get deployments -n web` lists them; -n names another namespace
    ");
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let message = r#"deployments.apps "shop" is forbidden: User "jane" cannot get resource "deployments" in API group "apps" in the namespace "web""#;
    let script = vec![("/apis/apps/v1/namespaces/web/deployments/shop", 403, refusal(403, message))];
    let error = found("deploy/shop", script).await.unwrap_err();
    assert_eq!(error.to_string(), "user `jane` may not get `deployments` in namespace `web`");
    assert_eq!(error.kind().exit_code(), 77);
}
