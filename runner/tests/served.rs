//! What a registry of an installation says that it serves, by an exec in its pod.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

#[allow(dead_code, reason = "sessions use more of it")]
mod apiserver;

use std::time::Duration;

use apiserver::{Answer, Asked, Wire, place, refusal, talk};
use k8s_openapi::api::apps::v1::DaemonSet;
use kitbag_runner::install::served::{Catalog, ServedError, catalog, permissions};
use kitbag_runner::install::{Done, InstallError, Objects, Settings};
use kitbag_runner::{Error, Kind};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

fn registry() -> DaemonSet {
    let mut registry =
        Objects::new(&Settings { image: "x", namespace: "web", port: 5050, pull_secret: None }).unwrap().registry;
    registry.annotations_mut().insert("deprecated.daemonset.template.generation".to_owned(), "2".to_owned());
    registry
}

fn pod(name: &str, template: &str, image: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "pod-template-generation": template } },
        "spec": { "containers": [{ "name": "registry", "image": image }] }, "status": { "conditions": [{ "type": "Ready", "status": ready }] },
    })
}

/// Asks where `answer` is what an exec in the pod `shop` comes to, the only one that is ready and of this template.
async fn asked(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Result<Catalog, ServedError> {
    let pods = [pod("old", "1", "y", "True"), pod("new", "2", "x", "False"), pod("shop", "2", "x", "True")];
    asked_of(pods.into(), registry(), answer).await
}

/// The same with these pods and this DaemonSet. The pod `gone` is on a node that nobody reaches.
async fn asked_of(
    pods: Vec<Value>,
    set: DaemonSet,
    answer: impl Fn() -> Answer + Send + Sync + 'static,
) -> Result<Catalog, ServedError> {
    let client = talking(pods, set, &["/usr/bin/kitbag-registry", "catalog"], answer).await;
    catalog(&client, &registry(), None, Instant::now() + Duration::from_secs(20)).await
}

/// A cluster with these pods and this DaemonSet, where an exec is to be of this command.
async fn talking(
    pods: Vec<Value>,
    set: DaemonSet,
    command: &'static [&str],
    answer: impl Fn() -> Answer + Send + Sync + 'static,
) -> kube::Client {
    let place = place(move |asked: &Asked| match asked.subresource.as_str() {
        "exec" => {
            assert_eq!(asked.all("command"), command);
            assert_eq!(asked.all("container"), ["registry"]);
            answer()
        }
        "gone/exec" => refusal(500, "dial tcp 192.0.2.1:10250: i/o timeout"),
        "" => {
            assert_eq!(asked.all("labelSelector"), ["app.kubernetes.io/component=node,app.kubernetes.io/name=kitbag"]);
            Answer::Json(200, json!({ "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods }))
        }
        path => {
            assert_eq!(path, "/apis/apps/v1/namespaces/web/daemonsets/registry");
            Answer::Json(200, serde_json::to_value(&set).unwrap())
        }
    })
    .await;
    place.client
}

fn said(channel: u8, text: &'static str, code: i32) -> impl Fn() -> Answer {
    move || {
        talk(move |mut wire: Wire| async move {
            wire.say(channel, text.as_bytes()).await;
            wire.end(code).await;
        })
    }
}

#[tokio::test]
async fn what_does_not_say_what_it_serves_says_why_and_what_else_there_is() {
    let faults = [
        asked(said(1, "{}\n", 0)).await.unwrap_err(),
        asked(said(2, "error: unrecognized subcommand 'catalog'\n", 2)).await.unwrap_err(),
        asked(said(2, "error: the store at `/usr/share/kitbag/store` is half written\n", 1)).await.unwrap_err(),
        asked(|| refusal(403, "pods \"shop\" is forbidden")).await.unwrap_err(),
    ];
    let told = faults.map(|fault| {
        let error = Error::from(InstallError::Served { fault, done: Done::default() });
        (format!("{error} [{}]", error.kind().exit_code()), error.hint().unwrap())
    });
    assert!(told.iter().all(|(_, hint)| hint.contains("--catalog FILE") && hint.contains("discovery was not changed")));
    insta::assert_snapshot!(told.map(|(error, _)| error).join("\n"), @r#"
    the registries run, and what they serve cannot be found out: pod `shop` has a catalog that is of no use: it is no catalog: its `version` is no number [71]
    the registries run, and what they serve cannot be found out: pod `shop` does not know what it is asked for: its registry is older than this program [71]
    the registries run, and what they serve cannot be found out: pod `shop` does not say (exit code 1): error: the store at `/usr/share/kitbag/store` is half written [71]
    the registries run, and what they serve cannot be found out: pod `shop` cannot be asked: pods "shop" is forbidden [77]
    "#);
}

/// The controller keeps the pods of a template that comes back, with the number that they have.
#[tokio::test]
async fn after_a_step_back_the_pods_of_then_are_asked() {
    let pods = vec![pod("other", "2", "y", "True"), pod("shop", "1", "x", "True")];
    let mut set = registry();
    set.annotations_mut().insert("deprecated.daemonset.template.generation".to_owned(), "3".to_owned());
    let fault = asked_of(pods, set, said(2, "it was asked", 1)).await.unwrap_err();
    assert!(fault.to_string().contains("it was asked"), "{fault}");
    // Behind a tag there may have been something else then.
    let pods = vec![pod("gone", "1", "x", "True"), pod("shop", "2", "x", "True")];
    let fault = asked_of(pods, registry(), said(1, "{}", 0)).await.unwrap_err();
    assert!(matches!(fault, ServedError::Catalog { .. }), "{fault}");
}

/// One says it for all: they run the same image.
#[tokio::test]
async fn a_generation_that_one_does_not_serve_is_asked_of_no_other() {
    let pods = vec![pod("shop", "2", "x", "True"), pod("gone", "2", "x", "True")];
    let command = &["/usr/bin/kitbag-registry", "catalog", "--generation=a"];
    let client = talking(pods, registry(), command, said(2, "error: it has no generation `a`", 3)).await;
    let fault = catalog(&client, &registry(), Some("a"), Instant::now() + Duration::from_secs(20)).await.unwrap_err();
    assert_eq!(fault.to_string(), "pod `shop` does not serve it: error: it has no generation `a`");
}

#[tokio::test]
async fn another_node_is_asked_where_one_is_out_of_reach() {
    let pods = vec![pod("gone", "2", "x", "True"), pod("shop", "2", "x", "True")];
    let fault = asked_of(pods, registry(), said(2, "it was asked", 2)).await.unwrap_err();
    assert!(matches!(fault, ServedError::Older { ref pod } if pod == "shop"), "{fault}");
}

#[tokio::test]
async fn what_somebody_else_has_installed_meanwhile_is_not_asked() {
    let image = "y";
    let theirs = Objects::new(&Settings { image, namespace: "web", port: 5050, pull_secret: None }).unwrap().registry;
    let fault = asked_of(vec![pod("shop", "2", "x", "True")], theirs, said(1, "{}", 0)).await.unwrap_err();
    assert!(matches!(fault, ServedError::Overtaken), "{fault}");
}

#[tokio::test]
async fn a_proxy_that_takes_the_upgrade_away_is_named() {
    let fault = asked(|| Answer::Json(200, json!({}))).await.unwrap_err();
    let error = Error::from(InstallError::Served { fault, done: Done::default() });
    assert!(error.to_string().contains("takes away the headers `Connection` and `Upgrade`"), "{error}");
    assert!(error.hint().unwrap().contains("$NO_PROXY"));
    assert_eq!(error.kind().exit_code(), 69);
}

#[test]
fn a_create_is_wanted_of_execs_by_servers_that_ask_for_it() {
    let verbs = |minor: Option<&str>| {
        let version = minor.map(|minor| {
            serde_json::from_value(json!({
                "major": "1", "minor": minor, "gitVersion": "", "gitCommit": "", "gitTreeState": "", "buildDate": "",
                "goVersion": "", "compiler": "", "platform": "",
            }))
            .unwrap()
        });
        permissions("web", version.as_ref()).iter().map(|it| format!("{} {}", it.verb, it.resource)).collect::<Vec<_>>()
    };
    assert_eq!(verbs(Some("34")), ["list pods", "get pods/exec"]);
    assert_eq!(verbs(Some("35")), ["list pods", "get pods/exec", "create pods/exec"]);
    assert_eq!(verbs(None), ["list pods", "get pods/exec", "create pods/exec"]);
}

#[tokio::test]
async fn an_api_server_that_is_away_is_asked_again() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let fault = asked(move || match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => refusal(503, "starting"),
        _ => said(1, "again", 0)(),
    })
    .await
    .unwrap_err();
    assert!(matches!(fault, ServedError::Catalog { .. }), "{fault}");
}

#[test]
fn who_may_not_ask_lacks_a_permission() {
    let fault = ServedError::Refused { pod: "registry-x".to_owned(), code: 403, message: "no".to_owned() };
    assert_eq!(Error::from(InstallError::Served { fault, done: Done::default() }).kind(), Kind::Forbidden);
}
