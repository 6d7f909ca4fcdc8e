//! The nodes: whether their kubelets and container runtimes can do what a debug container takes.

use k8s_openapi::api::core::v1::{Node, NodeSystemInfo};
use kitbag_toolsets::Arch;

use super::facts::Fetched;
use super::finding::{Check, Finding, alike, counted, named};
use crate::kubernetes::minor;
use crate::shell::quoted;

/// The first kubelet that starts ephemeral containers without being told to.
const KUBELET: u32 = 23;
/// The oldest containerd that was tried.
const CONTAINERD: (u32, u32) = (1, 6);

/// The node's name.
#[must_use]
pub(super) fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

/// Whether tools can run there at all.
#[must_use]
pub(super) fn is_linux(node: &Node) -> bool {
    let system = info(node).map(|info| info.operating_system.as_str());
    system.is_none_or(|system| system.is_empty() || system == "linux")
}

/// Whether it takes pods and starts them.
#[must_use]
pub(super) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
}

/// What the kubelet says of the node.
#[must_use]
pub(super) fn info(node: &Node) -> Option<&NodeSystemInfo> {
    node.status.as_ref()?.node_info.as_ref()
}

/// Whatever is wrong with nodes, each fault once; `known` are the architectures that images are there for.
#[must_use]
pub(super) fn judge(nodes: &Fetched<Vec<Node>>, known: Option<&[Arch]>) -> Vec<Finding> {
    let Fetched::Got(nodes) = nodes else {
        return vec![Finding::unseen(Check::Nodes, nodes, "list nodes")];
    };
    let linux: Vec<&Node> = nodes.iter().filter(|node| is_linux(node)).collect();
    if linux.is_empty() {
        return vec![
            Finding::failure(Check::Nodes, "there is no Linux node, and the tools are for Linux")
                .fix("kubectl get nodes -o wide"),
        ];
    }
    let faults = linux
        .iter()
        .flat_map(|node| faults(node, known.unwrap_or(&Arch::ALL)).into_iter().map(|fault| (fault, name(node))));
    let mut findings: Vec<Finding> = alike(faults).into_iter().map(|(fault, names)| fault.finding(&names)).collect();
    if findings.is_empty() {
        let kinds = linux.iter().filter_map(|node| info(node));
        let kinds = alike(kinds.map(|info| {
            (format!("{}, kubelet {}, {}", info.container_runtime_version, info.kubelet_version, info.architecture), ())
        }));
        let kinds: Vec<String> =
            kinds.into_iter().map(|(kind, nodes)| format!("{} with {kind}", counted(nodes.len(), "node"))).collect();
        findings.push(Finding::ok(Check::Nodes, kinds.join("; ")));
    }
    let others: Vec<&str> = nodes.iter().filter(|node| !is_linux(node)).map(name).collect();
    if !others.is_empty() {
        let text = format!("{}: not Linux, so that nothing there can be debugged", named("node", others));
        findings.push(Finding::skipped(Check::Nodes, text));
    }
    findings
}

/// What may be wrong with a node.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    NotReady(String),
    Kubelet(String),
    Runtime(String),
    OldContainerd(String),
    Architecture(String),
}

impl Fault {
    fn finding(&self, names: &[&str]) -> Finding {
        let who = named("node", names.iter().copied());
        let first = names.first().copied().unwrap_or_default();
        let (is, runs) = if names.len() == 1 { ("is", "runs") } else { ("are", "run") };
        match self {
            Self::NotReady(why) => Finding::warning(Check::Nodes, format!("{who} {is} not ready: {why}"))
                .fix(format!("kubectl describe node {}", quoted(first))),
            Self::Kubelet(version) => Finding::failure(
                Check::Nodes,
                format!("{who} {runs} kubelet {version}, which starts no ephemeral containers"),
            )
            .fix(format!("# upgrade the kubelet there to 1.{KUBELET} or newer")),
            Self::Runtime(version) => Finding::warning(
                Check::Nodes,
                format!("{who} {runs} `{version}`: with other runtimes than containerd and CRI-O it is not known whether tools see the target's processes"),
            )
            .fix("# try it in a pod of that node: `kubectl kitbag debug POD busybox -- ps`"),
            Self::OldContainerd(version) => Finding::warning(
                Check::Nodes,
                format!("{who} {runs} `{version}`, which is older than any that was tried"),
            )
            .fix(format!("# upgrade containerd there to {}.{} or newer", CONTAINERD.0, CONTAINERD.1)),
            Self::Architecture(arch) => Finding::failure(
                Check::Nodes,
                format!("{who} {is} of architecture `{arch}`, for which there are no tools"),
            )
            .fix("# pods on other nodes can be debugged:\nkubectl get nodes -L kubernetes.io/arch"),
        }
    }
}

fn faults(node: &Node, known: &[Arch]) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !is_ready(node) {
        faults.push(Fault::NotReady(why_not_ready(node)));
    }
    let Some(info) = info(node) else { return faults };
    if kubelet(&info.kubelet_version).is_some_and(|minor| minor < KUBELET) {
        faults.push(Fault::Kubelet(info.kubelet_version.clone()));
    }
    faults.extend(runtime(&info.container_runtime_version));
    if known.iter().all(|arch| arch.as_str() != info.architecture) {
        faults.push(Fault::Architecture(info.architecture.clone()));
    }
    faults
}

fn why_not_ready(node: &Node) -> String {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|it| it.type_ == "Ready");
    ready.and_then(|it| it.message.clone()).unwrap_or_else(|| "it has never said anything".to_owned())
}

/// The minor version in `v1.36.3`, if it is a version 1.
fn kubelet(version: &str) -> Option<u32> {
    minor(version.strip_prefix("v1.")?)
}

/// `containerd://1.7.24`, `cri-o://1.30.1`. Both let a debug container join the process namespace of its target.
fn runtime(version: &str) -> Option<Fault> {
    let Some((name, number)) = version.split_once("://") else { return Some(Fault::Runtime(version.to_owned())) };
    match name {
        "containerd" => {
            let (major, rest) = number.trim_start_matches('v').split_once('.')?;
            let old = (major.parse::<u32>().ok()?, minor(rest)?) < CONTAINERD;
            old.then(|| Fault::OldContainerd(version.to_owned()))
        }
        "cri-o" => None,
        _ => Some(Fault::Runtime(version.to_owned())),
    }
}

#[cfg(test)]
mod tests;
