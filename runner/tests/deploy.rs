//! The objects under `registry/deploy` are what Kubernetes takes: nothing in them is unknown to its types, which by
//! themselves pass over what they don't know.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is not Kubernetes' own: kustomize's file, and the Gateway API.
const FOREIGN: [&str; 2] = ["kustomize.config.k8s.io/v1beta1", "gateway.networking.k8s.io/v1"];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../registry/deploy")
}

/// Every file that ends so, but those of the chart, which are templates.
fn files(dir: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("chart") && !path.ends_with("monitoring") {
            files(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is lost on the way through the type, by its path.
fn lost<K: DeserializeOwned + Serialize>(object: &Value) -> Vec<String> {
    let typed: K = serde_json::from_value(object.clone()).unwrap();
    let mut lost = Vec::new();
    compare("", object, &serde_json::to_value(&typed).unwrap(), &mut lost);
    lost
}

fn compare(path: &str, before: &Value, after: &Value, lost: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                compare(&format!("{path}/{key}"), value, after.get(key).unwrap_or(&Value::Null), lost);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare(&format!("{path}/{index}"), before, after, lost);
            }
        }
        // The types leave out lists that are empty.
        (Value::Array(before), Value::Null) if before.is_empty() => {}
        (before, after) if before == after => {}
        _ => lost.push(path.to_owned()),
    }
}

fn unknown(object: &Value) -> Vec<String> {
    match object["kind"].as_str().unwrap() {
        "ConfigMap" => lost::<ConfigMap>(object),
        "DaemonSet" => lost::<DaemonSet>(object),
        "Deployment" => lost::<Deployment>(object),
        "HorizontalPodAutoscaler" => lost::<HorizontalPodAutoscaler>(object),
        "Ingress" => lost::<Ingress>(object),
        "Namespace" => lost::<Namespace>(object),
        "NetworkPolicy" => lost::<NetworkPolicy>(object),
        "PodDisruptionBudget" => lost::<PodDisruptionBudget>(object),
        "Role" => lost::<Role>(object),
        "RoleBinding" => lost::<RoleBinding>(object),
        "Service" => lost::<Service>(object),
        kind => panic!("a kind that this test does not know: {kind}"),
    }
}

#[test]
fn nothing_in_the_objects_is_unknown_to_kubernetes() {
    let mut paths = Vec::new();
    files(&deploy(), ".yaml", &mut paths);
    let mut checked = 0;
    for path in paths {
        let object = read(&path);
        if FOREIGN.contains(&object["apiVersion"].as_str().unwrap()) {
            continue;
        }
        // A patch of an overlay has less than a whole object.
        if path.parent().unwrap().ends_with("nodes-metrics") {
            continue;
        }
        assert_eq!(unknown(&object), [""; 0], "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 12, "only {checked} objects were found");
}

#[test]
fn the_check_finds_what_is_misspelled() {
    let mut object = read(&deploy().join("node/daemonset.yaml"));
    object["spec"]["template"]["spec"]["hostnetwork"] = Value::Bool(true);
    object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["execute"] =
        serde_json::json!({ "command": ["x"] });
    object["spec"]["template"]["spec"]["containers"][0]["securityContext"]["priviledged"] = Value::Bool(false);
    insta::assert_snapshot!(unknown(&object).join("\n"), @r"
    /spec/template/spec/containers/0/readinessProbe/execute
    /spec/template/spec/containers/0/securityContext/priviledged
    /spec/template/spec/hostnetwork
    ");
}

#[test]
fn kustomizations_name_the_files_beside_them() {
    let mut paths = Vec::new();
    files(&deploy(), "kustomization.yaml", &mut paths);
    assert!(paths.len() >= 7, "{paths:?}");
    for path in paths {
        let dir = path.parent().unwrap();
        let kustomization = read(&path);
        let named: Vec<String> = kustomization["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|resource| resource.as_str().unwrap().to_owned())
            .collect();
        for name in &named {
            assert!(dir.join(name).exists(), "{} names `{name}`", path.display());
        }
        // And all of them: what is forgotten would not be applied.
        for entry in fs::read_dir(dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let patches = kustomization["patches"].as_array().into_iter().flatten();
            let is_patch = patches.clone().any(|patch| patch["path"] == name.as_str());
            let is_known =
                !name.ends_with(".yaml") || name == "kustomization.yaml" || named.contains(&name) || is_patch;
            assert!(is_known, "{} does not name `{name}`", path.display());
        }
    }
}

/// The registry of the two ways is the same program in the same cage.
#[test]
fn both_ways_have_the_same_container() {
    let container = |path: &str| read(&deploy().join(path))["spec"]["template"]["spec"].clone();
    let (node, central) = (container("node/daemonset.yaml"), container("central/deployment.yaml"));
    for path in ["/securityContext", "/automountServiceAccountToken", "/volumes", "/nodeSelector"] {
        assert_eq!(node.pointer(path), central.pointer(path), "{path}");
    }
    for path in ["image", "imagePullPolicy", "command", "securityContext", "volumeMounts", "terminationMessagePolicy"] {
        assert_eq!(node["containers"][0][path], central["containers"][0][path], "{path}");
    }
}
