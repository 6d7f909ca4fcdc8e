//! What a registry of an installation says that it serves, by an exec in its pod.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

#[allow(dead_code, reason = "sessions use more of it")]
mod apiserver;

use std::time::Duration;

use apiserver::{Answer, Asked, Wire, place, refusal, talk};
use k8s_openapi::api::apps::v1::DaemonSet;
use kitbag_runner::install::served::{Catalog, ServedError, catalog};
use kitbag_runner::install::{InstallError, Objects, Settings};
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

fn pod(name: &str, template: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "pod-template-generation": template } },
        "spec": { "containers": [] }, "status": { "conditions": [{ "type": "Ready", "status": ready }] },
    })
}

/// Asks where `answer` is what an exec in the pod `shop` comes to, the only one that is ready and of this template.
async fn asked(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Result<Catalog, ServedError> {
    let place = place(move |asked: &Asked| match asked.subresource.as_str() {
        "exec" => {
            assert_eq!(asked.all("command"), ["/usr/bin/kitbag-registry", "catalog"]);
            assert_eq!(asked.all("container"), ["registry"]);
            answer()
        }
        "" => {
            assert_eq!(asked.all("labelSelector"), ["app.kubernetes.io/component=node,app.kubernetes.io/name=kitbag"]);
            let pods = [pod("old", "1", "True"), pod("new", "2", "False"), pod("shop", "2", "True")];
            Answer::Json(200, json!({ "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods }))
        }
        path => {
            assert_eq!(path, "/apis/apps/v1/namespaces/web/daemonsets/registry");
            Answer::Json(200, serde_json::to_value(registry()).unwrap())
        }
    })
    .await;
    catalog(&place.client, &registry(), Instant::now() + Duration::from_secs(20)).await
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
        let error = Error::from(InstallError::Served { fault, done: Vec::new() });
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
    assert_eq!(Error::from(InstallError::Served { fault, done: Vec::new() }).kind(), Kind::Forbidden);
}
