//! What the chart refuses for the order of things, in a cluster that stands in the values: `lookup` finds there what it would
//! find in a real one. That helm asks a real one is what the tests on nodes see.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{DIGEST, deploy, helm_in};

const OLD: &str = "000000000000";
const NEW: &str = "5c729eb85204";

/// The chart, with the values' cluster in place of the real one.
fn chart(dir: &Path) {
    for sub in ["", "templates", "files"] {
        let to = dir.join(sub);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(deploy("chart").join(sub)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    let path = dir.join("templates/_discovery.tpl");
    let mut text = fs::read_to_string(&path).unwrap();
    for (lookup, kind) in [
        (r#"lookup "v1" "ConfigMap" "kube-public" "kitbag""#, r#""ConfigMap""#),
        (r#"lookup "apps/v1" $kind $.Release.Namespace "registry""#, "$kind"),
        (r#"lookup "networking.k8s.io/v1" "Ingress" $.Release.Namespace "registry""#, r#""Ingress""#),
    ] {
        assert!(text.contains(lookup), "{lookup}");
        text = text.replace(lookup, &format!("get $.Values.global {kind}"));
    }
    assert!(!text.contains("lookup "), "{text}");
    fs::write(path, text).unwrap();
}

fn image() -> String {
    format!("registry.invalid/kitbag-registry@{DIGEST}")
}

/// A cluster where both ways are rolled out, and the plugin is told of the nodes'.
fn cluster() -> Value {
    let containers = json!([{
        "image": image(),
        "env": [{ "name": "KITBAG_STORE", "value": "/" }, { "name": "KITBAG_LISTEN", "value": "127.0.0.1:5050" }],
    }]);
    let workload = |status: Value| {
        json!({
            "metadata": { "generation": 3 },
            "spec": { "replicas": 2, "template": { "spec": { "containers": containers } } },
            "status": status,
        })
    };
    json!({
        "ConfigMap": {
            "metadata": { "annotations": { "meta.helm.sh/release-name": "kitbag" } },
            "data": { "registry": "127.0.0.1:5050", "generation": OLD },
        },
        "DaemonSet": workload(json!({
            "observedGeneration": 3, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2,
        })),
        "Deployment": workload(json!({ "observedGeneration": 3, "updatedReplicas": 2, "availableReplicas": 2 })),
        "Ingress": { "spec": { "rules": [{ "host": "kitbag.example" }] } },
    })
}

/// What an upgrade of this cluster, with these values, is refused with.
fn refusal(cluster: &Value, generation: &str, values: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    chart(dir.path());
    let catalog = json!({ "generation": format!("sha256:{generation}{}", "0".repeat(52)) }).to_string();
    let all = json!({ "global": cluster, "image": { "digest": DIGEST }, "discovery": { "catalog": catalog } });
    let file = dir.path().join("all.json");
    fs::write(&file, all.to_string()).unwrap();
    let file = file.display().to_string();
    let output = helm_in(dir.path(), &["template", "kitbag", "--values", &file, "--set", values]);
    let told = String::from_utf8(output.stderr).unwrap();
    (!output.status.success()).then_some(told)
}

#[test]
fn what_is_in_order_goes_through() {
    let both = "central.enabled=true,central.ingress.enabled=true";
    for (generation, values) in [
        (OLD, ""),
        (NEW, ""),
        (NEW, both),
        // From the nodes to the central one, and away with the nodes'.
        (NEW, &format!("{both},node.enabled=false")),
        (OLD, &format!("{both},discovery.registry=kitbag.example")),
        // The first of the two steps to another port.
        (OLD, "node.port=5051,discovery.registry=127.0.0.1:5050"),
        // All at once, for who asks for that.
        (NEW, "node.port=5051,image.tag=v2,image.digest=,discovery.afterRollout=false"),
    ] {
        assert_eq!(refusal(&cluster(), generation, values), None, "{generation} {values}");
    }
}

#[test]
fn what_the_registries_do_not_serve_yet_is_not_told() {
    let central = "node.enabled=false,central.enabled=true,central.ingress.enabled=true";
    let both = "central.enabled=true,discovery.registry=127.0.0.1:5050";
    for (generation, values, words) in [
        (
            NEW,
            "image.tag=v2,image.digest=",
            "DaemonSet `registry` changes with it: upgrade the registries first, with the",
        ),
        (NEW, "image.tag=v2,image.digest=,discovery.afterRollout=null", "DaemonSet `registry` changes with it"),
        (OLD, "node.port=5051", "first, with discovery.registry=127.0.0.1:5050 and the catalog of before"),
        (OLD, &format!("{central},image.tag=v2,image.digest="), "Deployment `registry` changes with it"),
        (
            OLD,
            &format!("{central},central.ingress.host=other.example"),
            "Ingress `registry` does not have that host yet",
        ),
    ] {
        let told = refusal(&cluster(), generation, values).unwrap_or_default();
        assert!(told.contains(words), "{generation} {values}: {told}");
    }
    for (kind, values, words) in [
        ("DaemonSet", "", "DaemonSet `registry` is not there yet"),
        ("Deployment", both, "Deployment `registry` is not there yet"),
        ("Ingress", central, "Ingress `registry` does not have that host yet"),
    ] {
        let mut cluster = cluster();
        cluster.as_object_mut().unwrap().remove(kind);
        let told = refusal(&cluster, NEW, values).unwrap_or_default();
        assert!(told.contains(words), "{kind}: {told}");
    }
}

#[test]
fn every_registry_has_to_be_rolled_out() {
    let both = "central.enabled=true,discovery.registry=127.0.0.1:5050";
    for (kind, field, value, words) in [
        ("DaemonSet", "updatedNumberScheduled", 1, "(1 of 2 updated, 2 available)"),
        ("DaemonSet", "numberAvailable", 1, "(2 of 2 updated, 1 available)"),
        ("DaemonSet", "observedGeneration", 2, "is still being rolled out"),
        // Also where nodes pull from the other one.
        ("Deployment", "updatedReplicas", 1, "(1 of 2 updated, 2 available)"),
        ("Deployment", "availableReplicas", 0, "wait for `kubectl -n default rollout status deployment/registry`"),
    ] {
        let mut cluster = cluster();
        cluster[kind]["status"][field] = json!(value);
        let told = refusal(&cluster, NEW, both).unwrap_or_default();
        assert!(told.contains(words), "{kind} {field}: {told}");
        // What does not change may be told at any time.
        assert_eq!(refusal(&cluster, OLD, both), None, "{kind} {field}");
    }
}

#[test]
fn what_another_release_tells_is_not_compared() {
    let mut cluster = cluster();
    cluster["ConfigMap"]["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!("other");
    assert_eq!(refusal(&cluster, NEW, "node.port=5051"), None);
}
