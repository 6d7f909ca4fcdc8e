//! Putting registries into a cluster.

use std::time::Duration;

use http::Method;
use kitbag_runner::install::permissions::{Permission, missing};
use kitbag_runner::install::{Object, Objects, Outcome, Settings, apply, find, remove};
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
    let unchanged = apply::apply(&client, &registry, Some(before.clone())).await.unwrap();
    assert_eq!((unchanged.0, &unchanged.1["metadata"]["resourceVersion"]), (Outcome::Unchanged, &json!("8")));
    assert_eq!(apply::apply(&client, &registry, Some(before)).await.unwrap().0, Outcome::Changed);
    assert_eq!(apply::apply(&client, &registry, None).await.unwrap().0, Outcome::Created);
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

/// The kinds of an API server, with what cannot be deleted and what only tells of others among them.
fn kinds() -> Vec<Answer> {
    let resource = |name: &str, kind: &str, verbs: &[&str]| json!({ "name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": verbs });
    let all = ["delete", "get", "list"];
    let core = [
        resource("configmaps", "ConfigMap", &all),
        resource("events", "Event", &all),
        resource("pods", "Pod", &all),
        resource("pods/exec", "PodExecOptions", &["create"]),
        resource("serviceaccounts", "ServiceAccount", &all),
        json!({ "name": "nodes", "singularName": "", "namespaced": false, "kind": "Node", "verbs": all }),
    ];
    let widgets = [resource("widgets", "Widget", &all), resource("views", "View", &["get", "list"])];
    let version = json!({ "groupVersion": "widgets.example/v1", "version": "v1" });
    let group = json!({ "name": "widgets.example", "versions": [version], "preferredVersion": version });
    let list = |version: &str, resources: &[Value]| json!({ "kind": "APIResourceList", "groupVersion": version, "resources": resources });
    vec![
        Answer::get("/apis", &json!({ "kind": "APIGroupList", "groups": [group] })),
        Answer::get("/apis/widgets.example/v1", &list("widgets.example/v1", &widgets)),
        Answer::get("/api", &json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })),
        Answer::get("/api/v1", &list("v1", &core)),
    ]
}

/// Of a kind, what there is: name, label and owner.
fn named(items: &[(&str, Value, &str)]) -> Value {
    let item = |(name, labels, owner): &(&str, Value, &str)| {
        let owner =
            json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": owner, "uid": "1", "controller": true });
        let metadata = json!({ "name": name, "labels": labels, "ownerReferences": [owner] });
        json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata })
    };
    list("List", &items.iter().map(item).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_namespace_with_something_else_in_it_is_not_removed() {
    let lists = |pods: &Value, widgets: &Value| {
        let mut script = kinds();
        script.extend([
            Answer::get("/kitbag/configmaps?", &named(&[("kube-root-ca.crt", json!({}), "")])),
            Answer::get("/kitbag/pods?", pods),
            Answer::get("/kitbag/serviceaccounts?", &named(&[("default", json!({}), "")])),
            Answer::get("/kitbag/widgets?", widgets),
        ]);
        script
    };
    let (app, manager) = ("app.kubernetes.io/name", "app.kubernetes.io/managed-by");
    let ours = named(&[
        ("registry-x", json!({ app: "kitbag" }), "registry"),
        ("kitbag-doctor-x", json!({ app: "kitbag-doctor" }), ""),
        ("other", json!({ manager: "kubectl-kitbag" }), ""),
    ]);
    let charts = named(&[("central-x", json!({ app: "kitbag", manager: "Helm" }), "central")]);
    let mut script = lists(&ours, &named(&[]));
    script.extend(lists(&charts, &named(&[("theirs", json!({}), "")])));
    script.push(Answer::refused(Method::GET, "/apis", 503, "no"));
    script.extend(kinds());
    script.push(Answer::get("/kitbag/configmaps?", &named(&[])));
    script.push(Answer::get("/kitbag/pods?", &ours));
    script.push(Answer::get("/kitbag/serviceaccounts?", &named(&[])));
    script.push(Answer::refused(Method::GET, "/kitbag/widgets?", 403, "no"));
    let (client, server) = server(script);
    assert_eq!(remove::others(&client, "kitbag").await, None);
    let others = remove::others(&client, "kitbag").await.unwrap();
    assert_eq!(others, "Pod `central-x`, Widget `theirs` is in it");
    assert_eq!(remove::others(&client, "kitbag").await.unwrap(), "it can't be seen what else is in it");
    assert_eq!(remove::others(&client, "kitbag").await.unwrap(), "it can't be seen what else is in it");
    drop(client);
    server.await.unwrap();
}

/// What is asked to find out where registries are.
mod place {
    use super::*;

    const CONFIGMAP: &str = "/api/v1/namespaces/kube-public/configmaps/kitbag";
    const LABELLED: &str = "/apis/apps/v1/daemonsets?&labelSelector=app.kubernetes.io%2Fname%3Dkitbag";
    const THEIRS: &str = "/apis/apps/v1/namespaces/web/daemonsets/registry";

    fn discovery(namespace: &str) -> Answer {
        let metadata = json!({ "name": "kitbag", "annotations": { "dev.kitbag.namespace": namespace } });
        Answer::get(CONFIGMAP, &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata }))
    }

    fn partial(metadata: &Value) -> Value {
        json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata })
    }

    fn labelled(sets: &[(&str, &str)]) -> Answer {
        let sets: Vec<Value> =
            sets.iter().map(|(namespace, name)| partial(&json!({ "namespace": namespace, "name": name }))).collect();
        Answer::get(LABELLED, &list("List", &sets))
    }

    async fn found(script: Vec<Answer>) -> Result<Option<String>, kube::Error> {
        let (client, server) = server(script);
        let found = find::registries(&client).await;
        drop(client);
        server.await.unwrap();
        found
    }

    async fn at(script: Vec<Answer>) -> String {
        found(script).await.unwrap().unwrap_or_else(|| "nowhere".to_owned())
    }

    #[tokio::test]
    async fn discovery_is_believed_where_registries_are_or_an_installation_has_been() {
        let no = |asked, code| Answer::refused(Method::GET, asked, code, "no");
        let set = partial(&json!({ "name": "registry", "labels": { "app.kubernetes.io/name": "kitbag" } }));
        assert_eq!(at(vec![discovery("web"), Answer::get(THEIRS, &set)]).await, "web");
        assert_eq!(at(vec![discovery("web"), no(THEIRS, 403)]).await, "web");
        let touched = partial(&json!({ "name": "web", "managedFields": [{ "manager": "kubectl-kitbag" }] }));
        let script = vec![discovery("web"), no(THEIRS, 404), Answer::get("/api/v1/namespaces/web", &touched)];
        assert_eq!(at(script).await, "web");
        // Whoever may write the ConfigMap chooses no namespace for whoever installs.
        let theirs = partial(&json!({ "name": "registry", "labels": { "app": "theirs" } }));
        let namespace = partial(&json!({ "name": "web", "managedFields": [{ "manager": "kubectl" }] }));
        let script = vec![
            discovery("web"),
            Answer::get(THEIRS, &theirs),
            Answer::get("/api/v1/namespaces/web", &namespace),
            labelled(&[]),
        ];
        assert_eq!(at(script).await, "nowhere");
        assert_eq!(at(vec![discovery("../../x"), labelled(&[])]).await, "nowhere");
    }

    #[tokio::test]
    async fn what_has_only_begun_is_found_by_its_namespace() {
        const MADE: &str = "/api/v1/namespaces?&labelSelector=app.kubernetes.io%2Fmanaged-by%3Dkubectl-kitbag";
        let begun = |answer: Answer| async {
            let (client, server) = server(vec![answer]);
            let found = find::begun(&client).await.unwrap();
            drop(client);
            server.await.unwrap();
            found
        };
        let made = [partial(&json!({ "name": "tools" }))];
        assert_eq!(begun(Answer::get(MADE, &list("List", &made))).await.as_deref(), Some("tools"));
        assert_eq!(begun(Answer::get(MADE, &list("List", &[]))).await, None);
        assert_eq!(begun(Answer::refused(Method::GET, MADE, 403, "no")).await, None);
    }

    #[tokio::test]
    async fn registries_that_discovery_does_not_know_are_found_by_label() {
        let no = |code| Answer::refused(Method::GET, CONFIGMAP, code, "no");
        assert_eq!(at(vec![no(404), labelled(&[("tools", "registry"), ("a", "other")])]).await, "tools");
        assert_eq!(at(vec![no(403), labelled(&[("a", "registry"), ("kitbag", "registry")])]).await, "kitbag");
        assert_eq!(at(vec![no(404), Answer::refused(Method::GET, LABELLED, 403, "no")]).await, "nowhere");
        assert!(found(vec![no(500)]).await.is_err());
        assert!(found(vec![no(404), Answer::refused(Method::GET, LABELLED, 503, "no")]).await.is_err());
    }
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
