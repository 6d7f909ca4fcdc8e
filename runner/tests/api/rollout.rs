//! Waiting for registries: what is listed and watched, in whatever order it is asked for.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use http::{Request, Response};
use k8s_openapi::api::apps::v1::DaemonSet;
use kitbag_runner::Error;
use kitbag_runner::install::wait::until_rolled_out;
use kitbag_runner::install::{Done, InstallError, Objects, Settings};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_test::mock::{self, Handle};

/// One answer.
enum Reply {
    Is(u16, Value),
    /// Events, and then the end of the watch.
    Happens(Vec<Value>),
    Breaks,
}

use Reply::{Breaks, Happens, Is};

/// What is asked for, and in which order that is answered. What is asked more often gets no answer.
type Script = BTreeMap<&'static str, VecDeque<Reply>>;

fn script<const N: usize>(of: [(&'static str, Vec<Reply>); N]) -> Script {
    of.into_iter().map(|(what, replies)| (what, replies.into())).collect()
}

fn what(uri: &str) -> &'static str {
    match (uri.contains("/daemonsets"), uri.contains("/pods?"), uri.contains("watch=true")) {
        (true, _, false) => "set",
        (true, _, true) => "set's watch",
        (_, true, false) => "pods",
        (_, true, true) => "pods' watch",
        (.., false) => "events",
        (.., true) => "events' watch",
    }
}

async fn waited(mut script: Script, seconds: u64) -> (Result<i32, Error>, Vec<String>) {
    let (service, mut handle): (_, Handle<Request<Body>, Response<Body>>) = mock::pair();
    let server = tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some((request, send)) = handle.next_request().await {
            let what = what(&request.uri().to_string());
            let response = |code, body: Vec<u8>| Response::builder().status(code).body(Body::from(body)).unwrap();
            match script.get_mut(what).and_then(VecDeque::pop_front) {
                Some(Is(code, body)) => send.send_response(response(code, body.to_string().into_bytes())),
                Some(Happens(events)) => {
                    let lines: String = events.iter().map(|event| event.to_string() + "\n").collect();
                    send.send_response(response(200, lines.into_bytes()));
                }
                Some(Breaks) => send.send_error(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
                None => unanswered.push(send),
            }
        }
        script
    });
    let client = Client::new(service, "web");
    let (mut said, timeout) = (Vec::new(), Duration::from_secs(seconds));
    let mut done = Done::default();
    done.add("Namespace `kitbag`: created".to_owned());
    let say = |line: &str| said.push(line.to_owned());
    let nodes = until_rolled_out(&client, &registry(), Instant::now() + timeout, timeout, &done, say).await;
    drop(client);
    let left: Vec<_> = server.await.unwrap().into_iter().filter(|(_, replies)| !replies.is_empty()).collect();
    assert!(left.is_empty(), "not asked for: {:?}", left.iter().map(|(what, _)| what).collect::<Vec<_>>());
    (nodes, said)
}

fn registry() -> DaemonSet {
    let image = "registry.example/kitbag-registry@sha256:1";
    Objects::new(&Settings { image, namespace: "kitbag", port: 5050, pull_secret: None }).unwrap().registry
}

fn set(nodes: i32, available: i32) -> Value {
    let mut set = serde_json::to_value(registry()).unwrap();
    set["metadata"]["resourceVersion"] = json!("7");
    set["metadata"]["generation"] = json!(1);
    set["status"] = json!({
        "observedGeneration": 1, "desiredNumberScheduled": nodes, "updatedNumberScheduled": nodes,
        "numberAvailable": available, "currentNumberScheduled": nodes, "numberMisscheduled": 0, "numberReady": available,
    });
    set
}

fn pod(node: &str, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("registry-{node}"), "resourceVersion": "8" },
        "spec": { "nodeName": node, "containers": [] },
        "status": { "containerStatuses": [{
            "name": "registry", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": reason, "message": message } },
        }] },
    })
}

fn list(items: &[Value]) -> Reply {
    Is(200, json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "6" }, "items": items }))
}

fn modified(object: &Value) -> Value {
    json!({ "type": "MODIFIED", "object": object })
}

fn refused(code: u16) -> Reply {
    Is(code, status(code))
}

fn status(code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "", "message": "no" })
}

fn told(error: &Error) -> String {
    format!("{error}\nhint: {}", error.hint().unwrap())
}

#[tokio::test(start_paused = true)]
async fn it_is_waited_through_a_server_that_is_away_and_has_forgotten_until_every_node_answers() {
    let forgotten = json!({ "type": "ERROR", "object": status(410) });
    let (nodes, said) = waited(
        script([
            (
                "set",
                vec![Is(200, set(2, 0)), Breaks, refused(503), Is(200, set(2, 1)), refused(429), Is(200, set(2, 1))],
            ),
            (
                "set's watch",
                vec![
                    Happens(vec![modified(&set(2, 1))]),
                    Happens(vec![forgotten]),
                    Happens(vec![modified(&set(2, 2))]),
                ],
            ),
        ]),
        60,
    )
    .await;
    assert_eq!(nodes.unwrap(), 2);
    assert_eq!(said, ["0 of 2 nodes answer", "1 of 2 nodes answer"]);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_watched_is_asked_for_again_and_again() {
    let asked = [0, 1, 2].map(|available| Is(200, set(2, available)));
    let (nodes, said) = waited(script([("set", asked.into()), ("set's watch", vec![refused(403)])]), 60).await;
    assert_eq!(nodes.unwrap(), 2);
    assert_eq!(said, ["0 of 2 nodes answer", "1 of 2 nodes answer"]);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_somebody_removes_is_not_waited_for() {
    let (nodes, _) = waited(script([("set", vec![refused(404)])]), 60).await;
    assert!(matches!(nodes, Err(Error::Install(InstallError::Gone { .. }))), "{nodes:?}");
    let deleted = json!({ "type": "DELETED", "object": set(2, 1) });
    let (nodes, _) =
        waited(script([("set", vec![Is(200, set(2, 1))]), ("set's watch", vec![Happens(vec![deleted])])]), 60).await;
    insta::assert_snapshot!(told(&nodes.unwrap_err()), @r"
    somebody else has deleted DaemonSet `registry` meanwhile
    done before:
      Namespace `kitbag`: created
    hint: the same command again goes on from there, `kubectl kitbag uninstall` takes it back; discovery was not changed
    ");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_installs_meanwhile_is_not_taken_for_ones_own() {
    for (path, theirs) in [("image", "registry.example/kitbag-registry@sha256:2"), ("address", "127.0.0.1:5060")] {
        let mut other = set(2, 2);
        let container = &mut other["spec"]["template"]["spec"]["containers"][0];
        if path == "image" {
            container["image"] = json!(theirs);
        } else {
            let variables = container["env"].as_array_mut().unwrap();
            variables.iter_mut().find(|it| it["name"] == "KITBAG_LISTEN").unwrap()["value"] = json!(theirs);
        }
        let happens = Happens(vec![modified(&other)]);
        let (nodes, _) = waited(script([("set", vec![Is(200, set(2, 1))]), ("set's watch", vec![happens])]), 60).await;
        let error = nodes.unwrap_err();
        assert!(matches!(error, Error::Install(InstallError::Overtaken { .. })), "{path}: {error}");
        assert_eq!(error.kind().exit_code(), 69);
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_get_better_ends_the_wait_and_says_what_was_done() {
    let pods = [pod("node1", "ErrImagePull", "registry.example/x: not found")];
    let (nodes, _) = waited(script([("set", vec![Is(200, set(1, 0))]), ("pods", vec![list(&pods)])]), 60).await;
    insta::assert_snapshot!(told(&nodes.unwrap_err()), @r"
    the registry does not start:
      `node1`: the image cannot be pulled: registry.example/x: not found
    done before:
      Namespace `kitbag`: created
    hint: is --image right, and the image there?
    the same command again goes on from there, `kubectl kitbag uninstall` takes it back; discovery was not changed
    ");
}

#[tokio::test(start_paused = true)]
async fn an_image_registry_that_answers_no_node_is_not_waited_for_for_ever() {
    const REFUSED: &str = "dial tcp 192.0.2.1:443: connect: connection refused";
    let failed = |node: &str| modified(&pod(node, "ErrImagePull", REFUSED));
    let paused = |node: &str| modified(&pod(node, "ImagePullBackOff", REFUSED));
    let script = |happens: Vec<Value>| {
        let pods = [pod("node1", "ContainerCreating", ""), pod("node2", "ContainerCreating", "")];
        script([
            ("set", vec![Is(200, set(2, 0))]),
            ("pods", vec![list(&pods)]),
            ("pods' watch", vec![Happens(happens)]),
        ])
    };
    let rounds = |count: usize, nodes: &[&str]| {
        let round = |node: &&str| [failed(node), failed(node), paused(node)];
        (0..count).flat_map(|_| nodes.iter().flat_map(round)).collect::<Vec<_>>()
    };
    let all = rounds(3, &["node1", "node2"]);
    let (nodes, _) = waited(script(all), 60).await;
    insta::assert_snapshot!(told(&nodes.unwrap_err()), @r"
    the registry does not start:
      `node1`, `node2`: the image cannot be pulled: dial tcp 192.0.2.1:443: connect: connection refused
    done before:
      Namespace `kitbag`: created
    hint: every node has to reach the image's registry, or have the image loaded
    the same command again goes on from there, `kubectl kitbag uninstall` takes it back; discovery was not changed
    ");

    // One node whose turn is still to come may get through.
    let some = [rounds(5, &["node1"]), rounds(2, &["node2"])].concat();
    let (nodes, _) = waited(script(some), 60).await;
    assert!(matches!(nodes, Err(Error::Install(InstallError::Timeout { .. }))), "{nodes:?}");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_pods_waits_all_the_same() {
    let (nodes, _) = waited(
        script([("set", vec![Is(200, set(1, 0))]), ("pods", vec![refused(403)]), ("events", vec![refused(403)])]),
        1,
    )
    .await;
    insta::assert_snapshot!(told(&nodes.unwrap_err()), @r"
    after 1 s 0 of 1 nodes answer
    done before:
      Namespace `kitbag`: created
    hint: the same command again goes on from there, `kubectl kitbag uninstall` takes it back; discovery was not changed
    ");
}
