//! Waiting for the container.

use std::time::Duration;

use http::Method;
use k8s_openapi::api::core::v1::{Event, Pod};
use kitbag_runner::Error;
use kitbag_runner::wait::{self, Wait};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::script::{ASKED, Answer, modified, pod, server};

const WATCH: &str = "watch=true";
const STARTED: &str =
    "fieldSelector=involvedObject.fieldPath%3Dspec.ephemeralContainers%7Bkitbag-new%7D%2Creason%3DStarted";
const EVENTS: &str = "/namespaces/web/events?&fieldSelector=involvedObject.kind%3DPod%2CinvolvedObject.name%3Dshop";

fn creating() -> Value {
    json!({ "waiting": { "reason": "ContainerCreating" } })
}

fn running() -> Value {
    json!({ "running": {} })
}

fn pull_fails(message: &str) -> Value {
    json!({ "waiting": { "reason": "ErrImagePull", "message": message } })
}

async fn wait_with(client: &Client, watch: bool, events: bool) -> (Result<(), Error>, String) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "web");
    let all: Api<Event> = Api::namespaced(client.clone(), "web");
    let events = events.then_some(&all);
    let wait = Wait { pods: &pods, events, starts: events, watch, limit: Duration::from_secs(60), asked: ASKED };
    let pod = serde_json::from_value(pod("7", &Value::Null)).unwrap();
    let mut said = Vec::new();
    let result = wait::until_running(&wait, &pod, |line| said.push(line.to_owned())).await;
    (result, said.join("\n"))
}

/// Waits with a watch and without events, through the whole script.
async fn wait(script: Vec<Answer>) -> (Result<(), Error>, String) {
    let (client, server) = server(script);
    let waited = wait_with(&client, true, false).await;
    drop(client);
    server.await.unwrap();
    waited
}

#[tokio::test]
async fn the_wait_ends_when_the_container_runs() {
    let (result, said) =
        wait(vec![Answer::watched(WATCH, &[modified("8", &creating()), modified("9", &running())])]).await;
    result.unwrap();
    assert_eq!(said, "");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_may_yet_come_is_said_and_waited_for() {
    let message = "dial tcp 127.0.0.1:5005: connect: connection refused";
    let (result, said) =
        wait(vec![Answer::watched(WATCH, &[modified("8", &pull_fails(message)), modified("9", &running())])]).await;
    result.unwrap();
    insta::assert_snapshot!(said, @r"
    the node cannot pull the image yet, and tries again (ErrImagePull): dial tcp 127.0.0.1:5005: connect: connection refused
    hint: nodes pull by themselves: `127.0.0.1:5005` has to answer on the node, whatever it does here; `kubectl kitbag doctor` examines the cluster's own, --registry names another
    ");
}

#[tokio::test]
async fn an_image_that_will_not_come_ends_the_wait_with_the_events() {
    let event = json!({
        "metadata": { "name": "shop.1" }, "count": 2, "reason": "Failed", "message": "Error: ErrImagePull",
        "involvedObject": { "fieldPath": "spec.ephemeralContainers{kitbag-new}" },
    });
    let list = json!({ "kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": [event] });
    let (client, server) = server(vec![
        Answer::watched(WATCH, &[modified("8", &creating())]),
        Answer::watched(STARTED, &[]),
        Answer::watched(WATCH, &[modified("9", &pull_fails("127.0.0.1:5005/strace@sha256:00: not found"))]),
        Answer::get(EVENTS, &list),
    ]);
    let (result, _) = wait_with(&client, true, true).await;
    let error = result.unwrap_err();
    insta::assert_snapshot!(error, @r"
    the node cannot pull the image (ErrImagePull): 127.0.0.1:5005/strace@sha256:00: not found
    the node's events:
      Failed (2 times): Error: ErrImagePull
    ");
    assert_eq!(error.kind().exit_code(), 71);
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn the_nodes_word_for_the_start_is_enough() {
    let started = json!({ "type": "ADDED", "object": {
        "metadata": { "name": "shop.1" }, "reason": "Started",
        "involvedObject": { "fieldPath": "spec.ephemeralContainers{kitbag-new}" },
    } });
    let (client, server) =
        server(vec![Answer::watched(WATCH, &[modified("8", &creating())]), Answer::watched(STARTED, &[started])]);
    wait_with(&client, true, true).await.0.unwrap();
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn who_may_not_watch_pods_hears_the_node_all_the_same() {
    let started = json!({ "type": "ADDED", "object": {
        "metadata": { "name": "shop.1" }, "reason": "Started",
        "involvedObject": { "fieldPath": "spec.ephemeralContainers{kitbag-new}" },
    } });
    let (client, server) =
        server(vec![Answer::get("/pods/shop", &pod("8", &creating())), Answer::watched(STARTED, &[started])]);
    wait_with(&client, false, true).await.0.unwrap();
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn events_that_may_not_be_read_are_left_out() {
    let (client, server) = server(vec![
        Answer::watched(WATCH, &[modified("8", &creating())]),
        Answer::refused(Method::GET, STARTED, 403, "no"),
        Answer::watched(WATCH, &[modified("9", &pull_fails("manifest unknown"))]),
        Answer::refused(Method::GET, EVENTS, 403, "no"),
    ]);
    let (result, _) = wait_with(&client, true, true).await;
    insta::assert_snapshot!(result.unwrap_err(), @"the node cannot pull the image (ErrImagePull): manifest unknown");
    drop(client);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_or_is_too_old_is_begun_again() {
    let gone = json!({ "type": "ERROR", "object": { "status": "Failure", "code": 410, "reason": "Expired", "message": "too old" } });
    let (result, said) = wait(vec![
        Answer::watched("resourceVersion=7", &[modified("8", &creating())]),
        Answer::watched("resourceVersion=8", &[gone]),
        Answer::refused(Method::GET, "resourceVersion=0", 410, "too old"),
        Answer::watched("resourceVersion=0", &[modified("9", &running())]),
    ])
    .await;
    result.unwrap();
    assert_eq!(said, "");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_restarts_is_waited_for_as_long_as_it_asks() {
    let begin = Instant::now();
    let busy = json!({ "status": "Failure", "code": 429, "message": "too many requests", "details": { "retryAfterSeconds": 7 } });
    let (result, said) = wait(vec![
        Answer::watched(WATCH, &[modified("8", &creating())]),
        Answer::broken(Method::GET, "resourceVersion=8"),
        Answer::broken(Method::GET, "resourceVersion=8"),
        Answer::new(Method::GET, "resourceVersion=8", 429, &busy),
        Answer::refused(Method::GET, "resourceVersion=8", 503, "apiserver is starting"),
        Answer::watched("resourceVersion=8", &[modified("9", &running())]),
    ])
    .await;
    result.unwrap();
    assert!(begin.elapsed() > Duration::from_secs(7));
    insta::assert_snapshot!(said, @"the cluster does not answer (connection refused): trying again…");
}

#[tokio::test]
async fn another_pod_of_the_same_name_is_not_the_pod() {
    let mut other = modified("9", &running());
    other["object"]["metadata"]["uid"] = json!("2");
    let (result, _) = wait(vec![Answer::watched(WATCH, &[other])]).await;
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "pod `shop` has ended while the debug container was starting");
    assert_eq!(error.kind().exit_code(), 67);
}

#[tokio::test(start_paused = true)]
async fn where_watching_is_refused_the_pod_is_asked_for() {
    let message =
        r#"pods "shop" is forbidden: User "jane" cannot watch resource "pods" in API group "" in the namespace "web""#;
    let (result, said) = wait(vec![
        Answer::refused(Method::GET, WATCH, 403, message),
        Answer::get("/pods/shop", &pod("7", &Value::Null)),
        Answer::get("/pods/shop", &pod("8", &creating())),
        Answer::broken(Method::GET, "/pods/shop"),
        Answer::get("/pods/shop", &pod("9", &running())),
    ])
    .await;
    result.unwrap();
    assert_eq!(said, "waiting for node `node1`…");
}

#[tokio::test]
async fn where_nothing_is_permitted_that_is_said() {
    let message =
        r#"pods "shop" is forbidden: User "jane" cannot get resource "pods" in API group "" in the namespace "web""#;
    let (client, server) = server(vec![Answer::refused(Method::GET, "/pods/shop", 403, message)]);
    let (result, _) = wait_with(&client, false, false).await;
    assert_eq!(result.unwrap_err().to_string(), "user `jane` may not get `pods` in namespace `web`");
    drop(client);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_time_ends_with_what_was_waited_for() {
    let script = (0..60).map(|_| Answer::get("/pods/shop", &pod("8", &creating()))).collect();
    let (client, server) = server(script);
    let (result, said) = wait_with(&client, false, false).await;
    let error = result.unwrap_err();
    insta::assert_snapshot!(format!("{said}\n{error}\nhint: {}", error.hint().unwrap()), @r"
    pulling image…
    the debug container has not started within 60 s: pulling image…
    hint: what has been pulled stays on the node: the same command again goes on from there; --timeout waits longer
    ");
    assert_eq!(error.kind().exit_code(), 75);
    drop(client);
    server.await.unwrap();
}
