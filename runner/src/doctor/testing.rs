//! What the tests of judgements share: fabricated facts, and findings as a person reads them.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kitbag_toolsets::Arch;
use serde_json::{Value, json};

use super::discovery::Discovered;
use super::facts::{Facts, Who};
use super::finding::Finding;
use crate::access::Permissions;

pub(super) fn told(findings: &[Finding]) -> String {
    super::render::findings(findings, false)
}

pub(super) fn jane() -> Who {
    Who { user: "jane".to_owned(), namespace: "web".to_owned(), platform: false }
}

pub(super) fn found() -> Discovered {
    Discovered {
        registry: "127.0.0.1:5050".to_owned(),
        per_node: true,
        generation: "5c729eb85204".to_owned(),
        architectures: Arch::ALL.to_vec(),
        image: Some("127.0.0.1:5050/busybox@sha256:5eed".to_owned()),
    }
}

/// Nothing is known.
pub(super) fn nothing() -> Facts {
    Facts { registry_namespace: crate::install::NAMESPACE.to_owned(), ..Facts::default() }
}

/// A node that is as it should be.
pub(super) fn node(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/os": "linux" } },
        "status": {
            "conditions": [{ "type": "Ready", "status": "True" }],
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v1.36.3",
                "containerRuntimeVersion": "containerd://1.7.24", "bootID": "", "kernelVersion": "", "kubeProxyVersion": "",
                "machineID": "", "osImage": "", "systemUUID": "",
            },
        },
    })
}

/// The same with something else at `pointer`.
pub(super) fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    *object.pointer_mut(pointer).unwrap_or_else(|| panic!("there is no {pointer}")) = value;
    object
}

pub(super) fn nodes(nodes: &[Value]) -> Vec<Node> {
    nodes.iter().map(|node| serde_json::from_value(node.clone()).unwrap()).collect()
}

pub(super) fn pods(pods: &[Value]) -> Vec<Pod> {
    pods.iter().map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect()
}

/// The registry of `count` nodes, all of them ready.
pub(super) fn daemonset(count: i32) -> Value {
    json!({
        "metadata": { "name": "registry", "namespace": "kitbag", "generation": 1 },
        "spec": {
            "selector": {},
            "template": { "spec": {
                "containers": [{
                    "name": "registry", "image": "registry.example/kitbag-registry:1",
                    "env": [{ "name": "KITBAG_LISTEN", "value": "127.0.0.1:5050" }],
                }],
                "nodeSelector": { "kubernetes.io/os": "linux" },
                "tolerations": [{ "operator": "Exists" }],
            } },
        },
        "status": {
            "observedGeneration": 1, "desiredNumberScheduled": count, "currentNumberScheduled": count,
            "updatedNumberScheduled": count, "numberReady": count, "numberMisscheduled": 0,
        },
    })
}

pub(super) fn made(daemonset: Value) -> DaemonSet {
    serde_json::from_value(daemonset).unwrap()
}

/// A pod of it that is ready.
pub(super) fn pod(node: &str) -> Value {
    json!({
        "metadata": {
            "name": format!("registry-{node}"), "namespace": "kitbag",
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "registry", "uid": "1" }],
        },
        "spec": { "nodeName": node, "containers": [{ "name": "registry" }] },
        "status": {
            "conditions": [{ "type": "Ready", "status": "True" }],
            "containerStatuses": [{
                "name": "registry", "image": "registry.example/kitbag-registry:1", "imageID": "registry.example/kitbag-registry@sha256:aa",
                "ready": true, "restartCount": 0, "state": { "running": {} },
            }],
        },
    })
}

/// The same in another state, and not ready.
pub(super) fn pod_that(node: &str, state: Value) -> Value {
    let pod = with(pod(node), "/status/conditions/0/status", "False".into());
    let pod = with(pod, "/status/containerStatuses/0/ready", false.into());
    with(pod, "/status/containerStatuses/0/state", state)
}

pub(super) fn permissions(rules: &Value) -> Permissions {
    let status = json!({ "incomplete": false, "nonResourceRules": [], "resourceRules": rules });
    Permissions::new(Some(serde_json::from_value(status).unwrap()))
}

/// All of them.
pub(super) fn everything() -> Permissions {
    permissions(&json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]))
}
