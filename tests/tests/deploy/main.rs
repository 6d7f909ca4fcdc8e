//! The ways to put kitbag into a cluster put the same into it: kubectl renders the kustomizations, helm the chart.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod foreign;
mod monitoring;
mod order;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use kitbag_tests::{cache, deploy_tools};
use serde_json::Value;

/// The labels that say what an object is. The others say who made it.
const LABELS: [&str; 2] = ["app.kubernetes.io/name", "app.kubernetes.io/component"];
/// An image's name for a test.
const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// What the manifests want (`registry/deploy/docs/README.md`).
const KUBERNETES: &str = "1.30";

/// Objects by kind and name.
type Objects = BTreeMap<String, Value>;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../registry/deploy").join(path)
}

fn kustomize(path: &str) -> Objects {
    let mut kubectl = Command::new(cache::kubernetes(&mut |text| eprintln!("{text}")).unwrap());
    let output = kubectl.args(["kubectl", "kustomize"]).arg(deploy(path)).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    objects(&output)
}

fn helm(arguments: &[&str]) -> Output {
    helm_in(&deploy("chart"), arguments)
}

/// The same of another chart.
fn helm_in(chart: &Path, arguments: &[&str]) -> Output {
    static HELM: OnceLock<PathBuf> = OnceLock::new();
    let program = HELM.get_or_init(|| deploy_tools::helm(&mut |text| eprintln!("{text}")).unwrap());
    let home = tempfile::tempdir().unwrap();
    let mut helm = Command::new(program);
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        helm.env(variable, home.path());
    }
    helm.args(arguments).arg(chart).output().unwrap()
}

/// The chart's objects in a namespace, with these values.
fn template(namespace: &str, values: &[&str]) -> Objects {
    template_for(KUBERNETES, namespace, values)
}

/// The same for a version of Kubernetes.
fn template_for(version: &str, namespace: &str, values: &[&str]) -> Objects {
    let values = values.iter().flat_map(|value| ["--set", value]);
    let arguments = ["template", "kitbag", "--kube-version", version, "--namespace", namespace];
    let output = helm(&arguments.into_iter().chain(values).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    objects(&output)
}

fn refusal(value: &str) -> String {
    let output = helm(&["template", "kitbag", "--set", value]);
    assert!(!output.status.success(), "{value} was taken");
    String::from_utf8(output.stderr).unwrap()
}

/// The chart's objects with these values, with all labels.
fn raw(values: &[&str]) -> Vec<Value> {
    let values = values.iter().flat_map(|value| ["--set", value]);
    let output = helm(&["template", "kitbag"].into_iter().chain(values).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_multiple(&String::from_utf8_lossy(&output.stdout)).unwrap()
}

/// What is printed, without namespaces, which helm makes by itself, and without labels that say who made an object.
fn objects(output: &Output) -> Objects {
    let text = String::from_utf8_lossy(&output.stdout);
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let ours = all.into_iter().filter(|object| object.is_object() && object["kind"] != "Namespace");
    let named = ours.map(|mut object| {
        if let Some(labels) = object["metadata"]["labels"].as_object_mut() {
            labels.retain(|label, _| LABELS.contains(&label.as_str()));
        }
        let metadata = &object["metadata"];
        (format!("{} {}/{}", object["kind"], metadata["namespace"], metadata["name"]), object)
    });
    named.collect()
}

#[test]
fn every_kustomization_renders() {
    let bases = ["node", "discovery", "central"];
    let overlays = ["nodes", "nodes-metrics", "central-ingress", "central-gateway", "central-discovery"];
    let overlays = overlays.map(|name| format!("overlays/{name}"));
    for path in bases.into_iter().chain(overlays.iter().map(String::as_str)) {
        assert!(!kustomize(path).is_empty(), "{path}");
    }
}

#[test]
fn the_overlay_fills_in_image_and_catalog() {
    let objects = kustomize("overlays/nodes");
    let registry = &objects[r#""DaemonSet" "kitbag"/"registry""#];
    let image = &registry["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(*image, format!("registry.example/kitbag/kitbag-registry@{DIGEST}"));
    let discovery = &objects[r#""ConfigMap" "kube-public"/"kitbag""#]["data"];
    assert_eq!(discovery["registry"], "127.0.0.1:5050");
    assert_eq!(discovery["generation"], "000000000000");
    assert_eq!(discovery["catalog.json"], "{}\n");
}

#[test]
fn the_chart_has_no_fault() {
    let output = helm(&["lint", "--strict"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_chart_is_the_bases_as_it_comes() {
    let mut expected: Objects = kustomize("node").into_iter().chain(kustomize("discovery")).collect();
    // Without a catalog there is nothing to tell.
    expected.remove(r#""ConfigMap" "kube-public"/"kitbag""#).unwrap();
    assert_eq!(template("kitbag", &[]), expected);
}

#[test]
fn the_charts_central_way_is_the_overlay() {
    let digest = format!("image.digest={DIGEST}");
    let values = [
        "node.enabled=false",
        "discovery.enabled=false",
        "central.enabled=true",
        "central.ingress.enabled=true",
        "image.repository=registry.example/kitbag/kitbag-registry",
        &digest,
    ];
    assert_eq!(template("kitbag-central", &values), kustomize("overlays/central-ingress"));
}

#[test]
fn the_charts_metrics_are_the_overlays() {
    let digest = format!("image.digest={DIGEST}");
    let image = "image.repository=registry.example/kitbag/kitbag-registry";
    let mut expected = kustomize("overlays/nodes-metrics");
    expected.remove(r#""ConfigMap" "kube-public"/"kitbag""#).unwrap();
    // To the order of the environment: what is used stands before what uses it.
    assert_eq!(template("kitbag", &["node.metrics.enabled=true", image, &digest]), expected);
}

#[test]
fn what_a_variable_is_made_of_stands_before_it() {
    for objects in [template("kitbag", &["node.metrics.enabled=true"]), kustomize("overlays/nodes-metrics")] {
        let container = &objects[r#""DaemonSet" "kitbag"/"registry""#]["spec"]["template"]["spec"]["containers"][0];
        let at = |name: &str| container["env"].as_array().unwrap().iter().position(|it| it["name"] == name).unwrap();
        assert!(at("NODE_ADDRESS") < at("KITBAG_ADMIN"), "{}", container["env"]);
    }
}

#[test]
fn an_older_kubernetes_gets_what_it_knows() {
    let values = ["central.enabled=true"];
    let mut expected = template_for("1.30", "kitbag", &values);
    let deployment = r#""Deployment" "kitbag"/"registry""#;
    let budget = r#""PodDisruptionBudget" "kitbag"/"registry""#;
    let remove = |object: &mut Value, field: &str| object.as_object_mut().unwrap().remove(field).unwrap();
    let pod = &mut expected.get_mut(deployment).unwrap()["spec"]["template"]["spec"];
    remove(&mut pod["containers"][0], "lifecycle");
    for version in ["1.27", "1.29.9"] {
        assert_eq!(template_for(version, "kitbag", &values), expected, "{version}");
    }
    let pod = &mut expected.get_mut(deployment).unwrap()["spec"]["template"]["spec"];
    remove(&mut pod["topologySpreadConstraints"][0], "matchLabelKeys");
    remove(&mut expected.get_mut(budget).unwrap()["spec"], "unhealthyPodEvictionPolicy");
    for version in ["1.25", "1.26.15"] {
        assert_eq!(template_for(version, "kitbag", &values), expected, "{version}");
    }
    // As some call theirs.
    assert_eq!(template_for("v1.27.3-gke.100", "kitbag", &values), template_for("1.27", "kitbag", &values));
    let refused = helm(&["template", "kitbag", "--kube-version", "1.24"]);
    assert!(!refused.status.success());
}

#[test]
fn foreign_objects_have_the_fields_of_their_kinds() {
    let values = ["monitoring.enabled=true", "central.enabled=true", "node.metrics.enabled=true"];
    let all = template("kitbag", &values).into_iter().chain(kustomize("overlays/central-gateway"));
    let foreign: Vec<(String, Value)> = all.filter(|(_, object)| foreign::faults(object).is_some()).collect();
    assert_eq!(foreign.len(), 4, "{:?}", foreign.iter().map(|(name, _)| name).collect::<Vec<_>>());
    for (name, mut object) in foreign {
        assert_eq!(foreign::faults(&object).unwrap(), [""; 0], "{name}");
        // And the check finds what is not as it should be.
        object["spec"] = serde_json::json!({ "selectors": { "matchLabels": {} } });
        assert!(foreign::faults(&object).unwrap().len() > 1, "{name}");
    }
}

#[test]
fn the_route_leads_to_the_service() {
    let objects = kustomize("overlays/central-gateway");
    let service = &objects[r#""Service" "kitbag-central"/"registry""#];
    let rule = &objects[r#""HTTPRoute" "kitbag-central"/"registry""#]["spec"]["rules"][0];
    assert_eq!(rule["backendRefs"][0]["name"], service["metadata"]["name"]);
    assert_eq!(rule["backendRefs"][0]["port"], service["spec"]["ports"][0]["port"]);
    assert_eq!(rule["matches"][0]["path"], serde_json::json!({ "type": "PathPrefix", "value": "/v2/" }));
}

/// The chart's objects with a catalog of a generation that begins with `5c729eb85204`.
fn with_catalog(values: &[&str]) -> (String, Objects) {
    let catalog = format!("{{\"generation\":\"sha256:5c729eb85204{}\"}}", "0".repeat(52));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.json");
    std::fs::write(&file, &catalog).unwrap();
    let file = format!("discovery.catalog={}", file.display());
    let values = values.iter().flat_map(|value| ["--set", value]);
    let arguments = ["template", "kitbag", "--set-file", &file].into_iter().chain(values);
    let output = helm(&arguments.collect::<Vec<_>>());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (catalog, objects(&output))
}

#[test]
fn the_catalog_names_the_generation() {
    let (catalog, objects) = with_catalog(&[]);
    let map = &objects[r#""ConfigMap" "kube-public"/"kitbag""#];
    assert_eq!(map["data"]["generation"], "5c729eb85204");
    assert_eq!(map["data"]["catalog.json"], catalog);
    // But for what the catalog says, it is the base's.
    let bases = kustomize("discovery");
    let base = &bases[r#""ConfigMap" "kube-public"/"kitbag""#];
    assert_eq!(map["metadata"], base["metadata"]);
    assert_eq!(map["data"]["registry"], base["data"]["registry"]);
    // A test pulls what the plugin is told of.
    let image = &objects[r#""Pod" "default"/"kitbag-pull""#]["spec"]["containers"][0]["image"];
    assert_eq!(image, "127.0.0.1:5050/busybox:5c729eb85204");
}

#[test]
fn discovery_names_what_nodes_pull_from() {
    let central = ["node.enabled=false", "central.enabled=true", "central.ingress.enabled=true"];
    for (values, registry) in [
        (&["node.port=5055"][..], "127.0.0.1:5055"),
        (&central, "kitbag.example"),
        (&[&central[..], &["discovery.registry=elsewhere.example:8443"]].concat(), "elsewhere.example:8443"),
        (&["node.enabled=false", "discovery.registry=elsewhere.example/tools"], "elsewhere.example/tools"),
    ] {
        let (_, objects) = with_catalog(values);
        assert_eq!(objects[r#""ConfigMap" "kube-public"/"kitbag""#]["data"]["registry"], registry, "{values:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (value, named) in [
        ("node.port=80", "/node/port"),
        ("nodes.port=5050", "nodes"),
        ("image.digest=sha256:1", "/image/digest"),
        ("central.replicas.min=0", "/central/replicas/min"),
        ("discovery.registry=https://kitbag.example", "/discovery/registry"),
        ("monitoring.labels.release=7", "/monitoring/labels/release"),
    ] {
        let text = refusal(value);
        assert!(text.contains(named), "{value}: {text}");
    }
    for (value, words) in [
        ("discovery.catalog=null-and-void", "names no generation"),
        ("central.enabled=true,central.replicas.min=11", "central.replicas.max only 10"),
    ] {
        let text = refusal(value);
        assert!(text.contains(words), "{value}: {text}");
    }
}
