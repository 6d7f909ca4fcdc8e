use serde_json::{Value, json};

use super::*;
use crate::doctor::facts::Fetched;
use crate::doctor::testing::{daemonset, made, nothing, with};

fn facts(namespace: &str, daemonset: Option<Value>, discovery: Option<Value>) -> Facts {
    let discovery = discovery.map(|it| serde_json::from_value(it).unwrap());
    Facts {
        registry_namespace: namespace.to_owned(),
        daemonset: daemonset.map_or(Fetched::Absent, |it| Fetched::Got(made(it))),
        discovery: discovery.map_or(Fetched::Absent, Fetched::Got),
        ..nothing()
    }
}

fn commands(installed: &Installed<'_>) -> String {
    [
        installed.install(),
        installed.install_other("registry.example/kitbag-registry:1"),
        installed.install_this("registry.example/kitbag-registry@sha256:aa"),
        installed.install_elsewhere(),
        installed.install_with_secret(),
    ]
    .join("\n")
}

fn discovery() -> Value {
    json!({
        "metadata": { "annotations": { "dev.kitbag.namespace": "tools", "dev.kitbag.image": "registry.example/kitbag-registry:0" } },
        "data": { "registry": "127.0.0.1:5060" },
    })
}

/// In a release whose plugin has an image of its own.
fn released<'a>(facts: &'a Facts, image: &'a str) -> Installed<'a> {
    Installed { released: Some(image), ..Installed::of(facts) }
}

#[test]
fn what_is_not_known_has_to_be_filled_in() {
    let facts = facts("kitbag", None, None);
    insta::assert_snapshot!(commands(&Installed::of(&facts)), @r"
    # the image is one that kitbag-builder image --server has made:
    kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    # the image is one that kitbag-builder image --server has made:
    kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    kubectl kitbag install --image registry.example/kitbag-registry@sha256:aa
    # the image is one that kitbag-builder image --server has made:
    kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:… --port 5051
    # the image is one that kitbag-builder image --server has made:
    kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:… --pull-secret NAME
    ");
    insta::assert_snapshot!(commands(&released(&facts, "registry.example/kitbag-registry:2")), @r"
    kubectl kitbag install
    kubectl kitbag install --image registry.example/kitbag-registry:2
    kubectl kitbag install --image registry.example/kitbag-registry@sha256:aa
    kubectl kitbag install --port 5051
    kubectl kitbag install --pull-secret NAME
    ");
}

#[test]
fn what_is_installed_stays_and_only_what_changes_is_named() {
    let moved = with(daemonset(1), "/spec/template/spec/containers/0/env/0/value", "127.0.0.1:5060".into());
    let mut secret = moved;
    secret["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{ "name": "pull" }]);
    let known = facts("tools", Some(secret.clone()), Some(discovery()));
    insta::assert_snapshot!(commands(&Installed::of(&known)), @r"
    kubectl kitbag install
    kubectl kitbag install --image registry.example/kitbag-registry:0
    kubectl kitbag install --image registry.example/kitbag-registry@sha256:aa
    kubectl kitbag install --port 5061
    kubectl kitbag install --pull-secret NAME
    ");
    let untold = facts("tools", Some(secret), None);
    insta::assert_snapshot!(commands(&Installed::of(&untold)), @r"
    kubectl kitbag install --namespace tools
    # the image is one that kitbag-builder image --server has made:
    kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:… --namespace tools
    kubectl kitbag install --image registry.example/kitbag-registry@sha256:aa --namespace tools
    kubectl kitbag install --namespace tools --port 5061
    kubectl kitbag install --namespace tools --pull-secret NAME
    ");
}

#[test]
fn what_discovery_remembers_is_enough() {
    let facts = facts("tools", None, Some(discovery()));
    insta::assert_snapshot!(commands(&Installed::of(&facts)), @r"
    kubectl kitbag install --image registry.example/kitbag-registry:0 --namespace tools --port 5060
    kubectl kitbag install --image registry.example/kitbag-registry:0 --namespace tools --port 5060
    kubectl kitbag install --image registry.example/kitbag-registry@sha256:aa --namespace tools --port 5060
    kubectl kitbag install --image registry.example/kitbag-registry:0 --namespace tools --port 5061
    kubectl kitbag install --image registry.example/kitbag-registry:0 --namespace tools --port 5060 --pull-secret NAME
    ");
    let images = ["registry.example/kitbag-registry:2", "other.example/kitbag-registry:2"];
    insta::assert_snapshot!(images.map(|image| released(&facts, image).install()).join("\n"), @r"
    kubectl kitbag install --namespace tools --port 5060
    kubectl kitbag install --image registry.example/kitbag-registry:0 --namespace tools --port 5060
    ");
}

#[test]
fn what_helm_has_made_helm_mends() {
    let mut charted = daemonset(1);
    charted["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": "Helm" });
    charted["metadata"]["annotations"] = json!({ "meta.helm.sh/release-name": "kit" });
    let facts = facts("tools", Some(charted), None);
    let installed = Installed::of(&facts);
    insta::assert_snapshot!(commands(&installed), @r"
    helm upgrade kit CHART -n tools --reset-then-reuse-values
    helm rollback kit -n tools
    helm upgrade kit CHART -n tools --reset-then-reuse-values --set 'image.digest=sha256:aa'
    helm upgrade kit CHART -n tools --reset-then-reuse-values --wait --set node.port=5051,discovery.registry=127.0.0.1:5050
    helm upgrade kit CHART -n tools --reset-then-reuse-values --set discovery.registry=
    helm upgrade kit CHART -n tools --reset-then-reuse-values --set 'imagePullSecrets[0].name=NAME'
    ");
    assert_eq!(installed.write_discovery(), Some(installed.install()));
}

#[test]
fn a_central_registry_is_published_and_not_installed() {
    let central = |metadata: Value| {
        facts("kitbag", None, Some(json!({ "metadata": metadata, "data": { "registry": "registry.example" } })))
    };
    let by_helm = json!({
        "labels": { "app.kubernetes.io/managed-by": "Helm" },
        "annotations": { "meta.helm.sh/release-name": "kit", "meta.helm.sh/release-namespace": "central" },
    });
    let texts = [json!({}), by_helm].map(|metadata| {
        let facts = central(metadata);
        let installed = Installed::of(&facts);
        assert_eq!(installed.central.as_deref(), Some("registry.example"));
        installed.publish()
    });
    insta::assert_snapshot!(texts.join("\n\n"), @r"
    # of the store that the registry serves:
    kitbag-builder catalog --store DIR > catalog.json
    # and the ConfigMap from it, as overlays/central-discovery makes it

    # of the store that the registry serves:
    kitbag-builder catalog --store DIR > catalog.json
    helm upgrade kit CHART -n central --reset-then-reuse-values --set-file discovery.catalog=catalog.json
    ");
}

#[test]
fn discovery_is_written_by_who_takes_care_of_it() {
    let of = |by: Option<&str>| {
        let mut map = discovery();
        map["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": by });
        let facts = facts("tools", Some(daemonset(1)), by.map(|_| map));
        Installed::of(&facts).write_discovery()
    };
    assert_eq!(of(Some("kubectl-kitbag")).as_deref(), Some("kubectl kitbag install"));
    assert_eq!([of(Some("kustomize")), of(None)], [None, None]);
}

/// What somebody would write who is allowed one object and wants a command run by who mends it.
#[test]
fn no_value_of_others_becomes_a_command() {
    const EVIL: &str = "x;touch evil|sh '$(id)`";
    let mut charted = daemonset(1);
    charted["spec"]["template"]["spec"]["containers"][0]["image"] = EVIL.into();
    charted["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{ "name": EVIL }]);
    let mut map = discovery();
    map["metadata"]["annotations"] = json!({ "dev.kitbag.namespace": EVIL, "dev.kitbag.image": EVIL });
    let installation = facts("kitbag", Some(charted.clone()), Some(map.clone()));
    // As where nothing is known.
    assert_eq!(commands(&Installed::of(&installation)), commands(&Installed::of(&facts("kitbag", None, None))));
    let read: ConfigMap = serde_json::from_value(map).unwrap();
    assert_eq!(installed_in(&read), None);
    charted["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": "Helm" });
    charted["metadata"]["annotations"] =
        json!({ "meta.helm.sh/release-name": EVIL, "meta.helm.sh/release-namespace": EVIL });
    let release = facts("kitbag", Some(charted), None);
    insta::assert_snapshot!(commands(&Installed::of(&release)), @r"
    helm upgrade RELEASE CHART -n kitbag --reset-then-reuse-values
    helm rollback RELEASE -n kitbag
    helm upgrade RELEASE CHART -n kitbag --reset-then-reuse-values --set 'image.digest=sha256:aa'
    helm upgrade RELEASE CHART -n kitbag --reset-then-reuse-values --wait --set node.port=5051,discovery.registry=127.0.0.1:5050
    helm upgrade RELEASE CHART -n kitbag --reset-then-reuse-values --set discovery.registry=
    helm upgrade RELEASE CHART -n kitbag --reset-then-reuse-values --set 'imagePullSecrets[0].name=NAME'
    ");
    let this = Installed::of(&release).install_this(&format!("{EVIL}@{EVIL}"));
    assert_eq!(this.split_once("--set ").unwrap().1, quoted(&format!("image.digest={EVIL}")));
}

#[test]
fn a_release_is_called_as_objects_are() {
    assert!(is_name("kit.v1") && !is_name("kit..v1") && !is_name("kit v1"));
}
