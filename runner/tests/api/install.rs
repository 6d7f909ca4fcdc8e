//! Putting registries into a cluster.

use std::time::Duration;

use http::Method;
use kitbag_runner::install::permissions::{Permission, missing};
use kitbag_runner::install::{Object, Objects, Outcome, Settings, apply, remove};
use serde_json::{Value, json};

use crate::script::{Answer, server};

const NAMESPACE: &str = "/api/v1/namespaces/kitbag";
const SET: &str = "/apis/apps/v1/namespaces/kitbag/daemonsets/registry";
const APPLY: &str = "/daemonsets/registry?&force=true&fieldManager=kubectl-kitbag";
const DRY: &str = "/daemonsets/registry?&dryRun=All&force=true&fieldManager=kubectl-kitbag";
const REVIEW: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// As it is sent.
fn registry() -> Object {
    let settings = Settings {
        image: "registry.example/kitbag-registry@sha256:1",
        namespace: "kitbag",
        port: 5050,
        pull_secret: None,
    };
    let [_, registry] = Objects::new(&settings).unwrap().first();
    registry
}

/// The DaemonSet as the server has it.
fn stored(version: &str, nodes: i32, available: i32) -> Value {
    let mut set = registry().body;
    set["metadata"]["resourceVersion"] = json!(version);
    set["metadata"]["generation"] = json!(1);
    set["status"] = json!({
        "observedGeneration": 1, "desiredNumberScheduled": nodes, "updatedNumberScheduled": nodes,
        "numberAvailable": available, "currentNumberScheduled": nodes, "numberMisscheduled": 0, "numberReady": available,
    });
    set
}

fn list(kind: &str, items: &[Value]) -> Value {
    json!({ "apiVersion": "v1", "kind": kind, "metadata": {}, "items": items })
}

#[tokio::test]
async fn what_is_there_as_it_should_be_is_left_unchanged() {
    let before = stored("7", 2, 2);
    let after = stored("8", 2, 1);
    let mut other = stored("8", 2, 2);
    other["spec"]["minReadySeconds"] = json!(9);
    let script = [&after, &other, &after].map(|answer| Answer::patched(APPLY, answer));
    let (client, server) = server(script.into());
    let registry = registry();
    assert_eq!(apply::apply(&client, &registry, Some(before.clone())).await.unwrap(), Outcome::Unchanged);
    assert_eq!(apply::apply(&client, &registry, Some(before)).await.unwrap(), Outcome::Changed);
    assert_eq!(apply::apply(&client, &registry, None).await.unwrap(), Outcome::Created);
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn a_dry_run_is_the_servers_but_for_what_has_no_namespace_yet() {
    let script = vec![
        Answer::patched(DRY, &stored("7", 2, 2)),
        Answer::refused(Method::PATCH, DRY, 404, "namespaces \"kitbag\" not found"),
        Answer::refused(Method::PATCH, DRY, 422, "DaemonSet is invalid"),
    ];
    let (client, server) = server(script);
    let registry = registry();
    assert_eq!(apply::preview(&client, &registry, Some(stored("6", 2, 1))).await.unwrap(), None);
    let diff = apply::preview(&client, &registry, None).await.unwrap().unwrap();
    assert!(diff.contains("+          value: 127.0.0.1:5050\n"), "{diff}");
    assert!(apply::preview(&client, &registry, None).await.is_err());
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn only_what_is_refused_is_missing() {
    let review = |allowed: bool, fault: &str| {
        let review = json!({
            "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
            "status": { "allowed": allowed, "evaluationError": fault },
        });
        Answer::new(Method::POST, REVIEW, 201, &review)
    };
    let script = vec![
        review(true, ""),
        review(false, ""),
        review(false, "no such role"),
        Answer::refused(Method::POST, REVIEW, 403, "no"),
    ];
    let (client, server) = server(script);
    let wanted = ["get", "patch", "create", "delete"].map(|verb| Permission {
        group: "apps".to_owned(),
        resource: "daemonsets".to_owned(),
        verb,
        namespace: Some("kitbag".to_owned()),
        name: None,
    });
    let missing = missing(&client, wanted.into()).await;
    assert_eq!(missing.iter().map(|permission| permission.verb).collect::<Vec<_>>(), ["patch"]);
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn a_namespace_with_something_else_in_it_is_not_removed() {
    let named = |kind: &str, names: &[(&str, bool)]| {
        let items: Vec<Value> = names
            .iter()
            .map(|(name, ours)| {
                let labels = if *ours { json!({ "app.kubernetes.io/name": "kitbag" }) } else { json!({}) };
                json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": { "name": name, "labels": labels } })
            })
            .collect();
        list(kind, &items)
    };
    let lists = |configmaps: &Value| {
        let empty = named("List", &[]);
        vec![
            Answer::get("/kitbag/pods?", &named("List", &[("registry-x", true)])),
            Answer::get("/kitbag/configmaps?", configmaps),
            Answer::get("/kitbag/secrets?", &named("List", &[("default-token-x", false)])),
            Answer::get("/kitbag/services?", &empty),
            Answer::get("/kitbag/persistentvolumeclaims?", &empty),
            Answer::get("/kitbag/deployments?", &empty),
            Answer::get("/kitbag/statefulsets?", &empty),
        ]
    };
    let mut script = lists(&named("List", &[("kube-root-ca.crt", false)]));
    script.extend(lists(&named("List", &[("kube-root-ca.crt", false), ("theirs", false)])));
    script.push(Answer::refused(Method::GET, "/kitbag/pods?", 403, "no"));
    let (client, server) = server(script);
    assert_eq!(remove::others(&client, "kitbag").await, None);
    assert_eq!(remove::others(&client, "kitbag").await.unwrap(), "ConfigMap `theirs` is in it");
    assert_eq!(remove::others(&client, "kitbag").await.unwrap(), "it can't be seen what else is in it");
    drop(client);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_removed_or_made_anew_is_as_good_as_removed() {
    let script = [404, 409].map(|code| Answer::refused(Method::DELETE, SET, code, "no"));
    let mut script = Vec::from(script);
    script.push(Answer::refused(Method::DELETE, SET, 403, "no"));
    script.push(Answer::get(
        SET,
        &json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "registry", "uid": "2" } }),
    ));
    script.push(Answer::refused(Method::GET, NAMESPACE, 404, "gone"));
    let (client, server) = server(script);
    let registry = registry();
    assert!(remove::delete(&client, &registry, "1").await.is_ok());
    assert!(remove::delete(&client, &registry, "1").await.is_ok());
    assert!(remove::delete(&client, &registry, "1").await.is_err());
    let settings = Settings { image: "", namespace: "kitbag", port: 0, pull_secret: None };
    let [namespace, _] = Objects::new(&settings).unwrap().first();
    let deleted = [(registry, "1".to_owned()), (namespace, "1".to_owned())];
    remove::until_gone(&client, &deleted, Duration::from_secs(60)).await.unwrap();
    drop(client);
    server.await.unwrap();
}
