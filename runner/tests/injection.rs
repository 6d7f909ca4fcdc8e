//! The way into the pod, against an API server that answers from a script.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use kitbag_runner::refusal::Asked;
use kitbag_runner::{Error, inject, wait};
use kube::client::Body;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower_test::mock::{self, Handle};

const ASKED: Asked<'_> = Asked {
    namespace: "web",
    verb: "patch",
    resource: "pods/ephemeralcontainers",
    container: "kitbag-new",
    reasons: "NET_RAW (tcpdump: raw-socket)",
};

/// One answer of the script, and what must have been asked.
struct Answer {
    method: Method,
    query: &'static str,
    status: StatusCode,
    body: String,
}

/// Plays the script. What the client asks beyond it fails the test.
fn cluster(script: Vec<Answer>) -> (Api<Pod>, JoinHandle<()>) {
    let (service, mut handle): (_, Handle<Request<Body>, Response<Body>>) = mock::pair();
    let server = tokio::spawn(async move {
        for answer in script {
            let (request, send) = handle.next_request().await.expect("one more request");
            assert_eq!(request.method(), answer.method);
            let query = request.uri().query().unwrap_or_default();
            assert!(query.contains(answer.query), "{query}");
            let body = Body::from(answer.body.into_bytes());
            send.send_response(Response::builder().status(answer.status).body(body).unwrap());
        }
        assert!(handle.next_request().await.is_none(), "there was one request too many");
    });
    (Api::namespaced(Client::new(service, "web"), "web"), server)
}

fn patched(query: &'static str, status: StatusCode, body: &Value) -> Answer {
    Answer { method: Method::PATCH, query, status, body: body.to_string() }
}

fn watched(events: &[Value]) -> Answer {
    let lines: Vec<String> = events.iter().map(|event| event.to_string() + "\n").collect();
    Answer { method: Method::GET, query: "watch=true", status: StatusCode::OK, body: lines.concat() }
}

fn pod(version: &str, state: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "shop", "resourceVersion": version },
        "spec": { "nodeName": "node1", "containers": [] },
        "status": { "phase": "Running", "ephemeralContainerStatuses": [{
            "name": "kitbag-new", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }] },
    })
}

fn modified(version: &str, state: &Value) -> Value {
    json!({ "type": "MODIFIED", "object": pod(version, state) })
}

fn refusal(code: u16, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Forbidden", "message": message })
}

fn container() -> EphemeralContainer {
    EphemeralContainer { name: "kitbag-new".to_owned(), ..EphemeralContainer::default() }
}

async fn inject(pods: &Api<Pod>) -> Result<Pod, Error> {
    inject::try_out(pods, "shop", &container(), ASKED).await?;
    inject::add(pods, "shop", &container(), ASKED).await
}

async fn wait(pods: &Api<Pod>) -> Result<(), Error> {
    let pod = serde_json::from_value(pod("7", &Value::Null)).unwrap();
    wait::until_running(pods, &pod, Duration::from_secs(60), ASKED, |_| ()).await
}

#[tokio::test]
async fn what_is_allowed_is_tried_first_and_then_done() {
    let answer = pod("7", &Value::Null);
    let (pods, server) = cluster(vec![
        patched("dryRun=All", StatusCode::OK, &answer),
        patched("fieldManager=kubectl-kitbag", StatusCode::OK, &answer),
    ]);
    assert_eq!(inject(&pods).await.unwrap().metadata.resource_version.as_deref(), Some("7"));
    drop(pods);
    server.await.unwrap();
}

#[tokio::test]
async fn what_is_refused_for_trial_is_not_done() {
    let message = r#"pods "shop" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities (container "kitbag-new" must not include "NET_RAW" in securityContext.capabilities.add)"#;
    let (pods, server) = cluster(vec![patched("dryRun=All", StatusCode::FORBIDDEN, &refusal(403, message))]);
    let error = inject(&pods).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"
    namespace `web` enforces the Pod Security level `baseline:latest`, which refuses the debug container:
      non-default capabilities (container "kitbag-new" must not include "NET_RAW" in securityContext.capabilities.add)
    "#);
    assert_eq!(error.kind().exit_code(), 73);
    drop(pods);
    server.await.unwrap();
}

#[tokio::test]
async fn a_webhook_that_cannot_be_tried_out_decides_in_earnest() {
    let message = "admission webhook \"audit.example\" does not support dry run";
    let (pods, server) = cluster(vec![
        patched("dryRun=All", StatusCode::BAD_REQUEST, &refusal(400, message)),
        patched("fieldManager", StatusCode::OK, &pod("7", &Value::Null)),
    ]);
    inject(&pods).await.unwrap();
    drop(pods);
    server.await.unwrap();
}

#[tokio::test]
async fn the_wait_ends_when_the_container_runs() {
    let creating = json!({ "waiting": { "reason": "ContainerCreating" } });
    let (pods, server) = cluster(vec![watched(&[modified("8", &creating), modified("9", &json!({ "running": {} }))])]);
    wait(&pods).await.unwrap();
    drop(pods);
    server.await.unwrap();
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_ends_the_wait_with_the_nodes_words() {
    let message = "failed to pull and unpack image \"127.0.0.1:5005/strace\": dial tcp 127.0.0.1:5005: connect: connection refused";
    let state = json!({ "waiting": { "reason": "ErrImagePull", "message": message } });
    let (pods, server) = cluster(vec![watched(&[modified("8", &state)])]);
    let error = wait(&pods).await.unwrap_err();
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()), @r#"
    the node cannot pull the image (ErrImagePull): failed to pull and unpack image "127.0.0.1:5005/strace": dial tcp 127.0.0.1:5005: connect: connection refused
    hint: the node pulls by itself: can it reach the registry under this name, and does it trust it? --registry names another
    "#);
    assert_eq!(error.kind().exit_code(), 71);
    drop(pods);
    server.await.unwrap();
}

#[tokio::test]
async fn a_watch_that_ends_or_is_too_old_is_begun_again() {
    let creating = json!({ "waiting": { "reason": "ContainerCreating" } });
    let gone = json!({ "type": "ERROR", "object": { "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version" } });
    let (pods, server) = cluster(vec![
        Answer { query: "resourceVersion=7", ..watched(&[modified("8", &creating)]) },
        Answer { query: "resourceVersion=8", ..watched(&[gone]) },
        Answer { query: "resourceVersion=0", ..watched(&[modified("9", &json!({ "running": {} }))]) },
    ]);
    wait(&pods).await.unwrap();
    drop(pods);
    server.await.unwrap();
}

#[tokio::test]
async fn a_missing_permission_to_watch_is_named() {
    let message =
        r#"pods "shop" is forbidden: User "jane" cannot watch resource "pods" in API group "" in the namespace "web""#;
    let (pods, server) = cluster(vec![Answer {
        status: StatusCode::FORBIDDEN,
        body: refusal(403, message).to_string(),
        ..watched(&[])
    }]);
    let error = wait(&pods).await.unwrap_err();
    assert_eq!(error.to_string(), "user `jane` may not watch `pods` in namespace `web`");
    drop(pods);
    server.await.unwrap();
}
