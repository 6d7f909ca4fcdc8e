use serde_json::json;

use super::*;

pub(in crate::install) fn objects() -> Objects {
    let mut objects = Objects::new(&Settings {
        image: "registry.example/kitbag-registry@sha256:1",
        namespace: "tools",
        port: 5060,
        pull_secret: Some("pull"),
    })
    .unwrap();
    objects.publish("5c729eb85204", r#"{"generation":"5c729eb85204"}"#);
    objects
}

#[test]
fn what_is_said_of_a_cluster_is_where_it_belongs() {
    let objects = objects();
    let all: Vec<String> = objects.all().map(|object| object.to_string()).collect();
    insta::assert_snapshot!(all.join("\n"), @r"
    Namespace `tools`
    DaemonSet `registry` in namespace `tools`
    Role `kitbag` in namespace `kube-public`
    RoleBinding `kitbag` in namespace `kube-public`
    ConfigMap `kitbag` in namespace `kube-public`
    ");
    let [namespace, registry] = objects.first();
    assert_eq!(namespace.body["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "privileged");
    let spec = &registry.body["spec"]["template"]["spec"];
    assert_eq!(spec["imagePullSecrets"][0]["name"], "pull");
    let container = &spec["containers"][0];
    assert_eq!(container["image"], "registry.example/kitbag-registry@sha256:1");
    let env = container["env"].as_array().unwrap();
    let listen: Vec<&Value> = env.iter().filter(|variable| variable["name"] == LISTEN).collect();
    assert_eq!(listen, [&json!({ "name": LISTEN, "value": "127.0.0.1:5060" })]);
    let [.., discovery] = objects.then();
    assert_eq!(discovery.body["data"]["registry"], "127.0.0.1:5060");
    assert_eq!(discovery.body["data"]["generation"], "5c729eb85204");
    let remembered = &discovery.body["metadata"]["annotations"];
    assert_eq!(remembered[INSTALLED_IN], "tools");
    assert_eq!(remembered[INSTALLED_IMAGE], "registry.example/kitbag-registry@sha256:1");
    assert!(objects.all().all(|object| object.body["metadata"]["labels"][MANAGED_BY] == FIELD_MANAGER));
}

#[test]
fn what_is_not_known_yet_stays_as_it_is_published() {
    let settings = Settings { image: "x", namespace: "kitbag", port: 5060, pull_secret: None };
    let data = |published: Value| {
        let mut objects = Objects::new(&settings).unwrap();
        objects.publish_as(&published);
        serde_json::to_value(objects.discovery.data).unwrap()
    };
    let published = json!({ "data": { "registry": "127.0.0.1:5050", "generation": "a", "catalog.json": "{}" } });
    let kept = json!({ "registry": "127.0.0.1:5060", "generation": "a", "catalog.json": "{}" });
    assert_eq!(data(published), kept);
    assert_eq!(data(Value::Null), json!({ "registry": "127.0.0.1:5060" }));
}

/// Objects that install `image`, where this is `published`.
fn over(published: &Value, image: &str) -> Objects {
    let mut objects = Objects::new(&Settings { image, namespace: "kitbag", port: 5050, pull_secret: None }).unwrap();
    objects.remember(published);
    objects
}

#[test]
fn an_image_is_remembered_with_its_generation_until_the_one_after_the_next() {
    let mut published = Value::Null;
    let mut known = |image: &str, generation: &str| {
        let mut objects = over(&published, image);
        objects.publish(generation, "{}");
        let [.., discovery] = objects.then();
        published = discovery.body;
        ["one", "two", "three"].map(|image| generation_of(&published, image).unwrap_or("-").to_owned()).join(" ")
    };
    assert_eq!(known("one", "a"), "a - -");
    assert_eq!(known("two", "b"), "a b -");
    assert_eq!(known("two", "b"), "a b -");
    assert_eq!(known("one", "a"), "a b -");
    assert_eq!(known("three", "c"), "a - c");
}

#[test]
fn on_the_way_back_the_image_is_the_one_that_runs() {
    let mut two = over(&over(&Value::Null, "one").then()[2].body, "two");
    two.publish("b", "{}");
    let [.., published] = two.then();
    let published = published.body;
    let back = over(&published, "one").of_before(&published, "a", "{\"a\":1}").body;
    assert_eq!(back["metadata"]["annotations"], published["metadata"]["annotations"]);
    let data = json!({ "registry": "127.0.0.1:5050", "generation": "a", "catalog.json": "{\"a\":1}" });
    assert_eq!(back["data"], data);
}

#[test]
fn discovery_is_where_everybody_may_look_whatever_the_namespace_of_the_registries() {
    for object in objects().then() {
        assert_eq!((object.namespace.as_deref(), object.name.as_str()), (Some(discovery::NAMESPACE), discovery::NAME));
    }
}

#[test]
fn somebody_elses_namespace_stays_theirs() {
    let mut objects = objects();
    objects.keep_namespace();
    let labels = objects.namespace.metadata.labels.unwrap();
    assert_eq!(labels.into_keys().collect::<Vec<_>>(), ["pod-security.kubernetes.io/enforce"]);
}

#[test]
fn the_registry_declares_no_port_and_asks_its_own_socket() {
    let objects = objects();
    let [_, registry] = objects.first();
    let container = &registry.body["spec"]["template"]["spec"]["containers"][0];
    assert!(container["ports"].is_null());
    for probe in ["readinessProbe", "startupProbe", "livenessProbe"] {
        assert_eq!(container[probe]["exec"]["command"][1], "ready", "{probe}");
    }
}
