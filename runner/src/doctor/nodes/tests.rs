use serde_json::{Value, json};

use super::*;
use crate::doctor::testing::{node, nodes, told, with};

fn judged(all: &[Value]) -> String {
    told(&judge(&Fetched::Got(nodes(all)), None))
}

fn runtime(name: &str, version: &str) -> Value {
    with(node(name), "/status/nodeInfo/containerRuntimeVersion", version.into())
}

#[test]
fn nodes_of_a_kind_are_counted() {
    let crio = runtime("c", "cri-o://1.30.4");
    insta::assert_snapshot!(judged(&[node("a"), node("b"), crio]), @"ok       nodes         2 nodes with containerd://1.7.24, kubelet v1.36.3, amd64; 1 node with cri-o://1.30.4, kubelet v1.36.3, amd64");
}

#[test]
fn each_fault_is_said_once_with_its_nodes() {
    let not_ready =
        json!([{ "type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status." }]);
    let all = [
        node("fine"),
        with(node("off"), "/status/conditions", not_ready),
        with(node("new"), "/status/conditions", json!([])),
        with(node("ancient"), "/status/nodeInfo/kubeletVersion", "v1.22.17".into()),
        runtime("docker2", "docker://24.0.7"),
        runtime("docker1", "docker://24.0.7"),
        runtime("old", "containerd://1.5.18"),
        runtime("odd", "unknown"),
        with(node("big"), "/status/nodeInfo/architecture", "s390x".into()),
        with(node("glass"), "/status/nodeInfo/operatingSystem", "windows".into()),
    ];
    insta::assert_snapshot!(judged(&all), @r"
    warning  nodes         node `off` is not ready: Kubelet stopped posting node status.
                             kubectl describe node off
    warning  nodes         node `new` is not ready: it has never said anything
                             kubectl describe node new
    FAILURE  nodes         node `ancient` runs kubelet v1.22.17, which starts no ephemeral containers
                             # upgrade the kubelet there to 1.23 or newer
    warning  nodes         nodes `docker1`, `docker2` run `docker://24.0.7`: with other runtimes than containerd and CRI-O it is not known whether tools see the target's processes
                             # try it in a pod of that node: `kubectl kitbag debug POD busybox -- ps`
    warning  nodes         node `old` runs `containerd://1.5.18`, which is older than any that was tried
                             # upgrade containerd there to 1.6 or newer
    warning  nodes         node `odd` runs `unknown`: with other runtimes than containerd and CRI-O it is not known whether tools see the target's processes
                             # try it in a pod of that node: `kubectl kitbag debug POD busybox -- ps`
    FAILURE  nodes         node `big` is of architecture `s390x`, for which there are no tools
                             # pods on other nodes can be debugged:
                             kubectl get nodes -L kubernetes.io/arch
    skipped  nodes         node `glass`: not Linux, so that nothing there can be debugged
    ");
}

#[test]
fn a_catalog_may_lack_an_architecture() {
    let arm = with(node("arm"), "/status/nodeInfo/architecture", "arm64".into());
    let findings = judge(&Fetched::Got(nodes(&[node("a"), arm])), Some(&[Arch::Amd64]));
    insta::assert_snapshot!(told(&findings), @r"
    FAILURE  nodes         node `arm` is of architecture `arm64`, for which there are no tools
                             # pods on other nodes can be debugged:
                             kubectl get nodes -L kubernetes.io/arch
    ");
}

#[test]
fn who_may_not_see_nodes_is_told_so() {
    let glass = with(node("glass"), "/status/nodeInfo/operatingSystem", "windows".into());
    let text = told(&judge(&Fetched::Forbidden, None)) + &told(&judge(&Fetched::Failed("timed out".to_owned()), None));
    insta::assert_snapshot!(text + &judged(&[glass]), @r"
    skipped  nodes         only who may list nodes can look at that
    warning  nodes         the cluster does not say: timed out
    FAILURE  nodes         there is no Linux node, and the tools are for Linux
                             kubectl get nodes -o wide
    ");
}

#[test]
fn versions_of_containerd_are_compared_as_numbers() {
    for (version, old) in [
        ("containerd://1.5.18", true),
        ("containerd://1.6.20~ds1", false),
        ("containerd://1.10.0", false),
        ("containerd://v2.1.9", false),
        ("containerd://2.4.2-k3s1", false),
        ("containerd://", false),
    ] {
        assert_eq!(super::runtime(version).is_some(), old, "{version}");
    }
}
