//! The registry of each node: what its DaemonSet and its pods say.

mod pods;

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Event, Node, Pod, PodSpec, Taint};

use super::discovery::Discovered;
use super::facts::{Facts, Fetched};
use super::finding::{Check, Finding, alike, counted, named};
use super::fix;

// Where the registry is, and what the DaemonSet is called.
pub(super) use crate::install::NAMESPACE;
pub(super) use crate::install::objects::REGISTRY as NAME;

/// The registry's pods use the node's network.
const PRIVILEGED: &str = "kubectl label namespace kitbag pod-security.kubernetes.io/enforce=privileged --overwrite\n\
                          kubectl rollout restart daemonset/registry -n kitbag";
/// Some vendors let pods of a high priority be only where a quota speaks of that priority.
const PRIORITY_QUOTA: &str = r#"echo '{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "kitbag", "namespace": "kitbag"}, "spec": {"hard": {"pods": "1000"}, "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"]}]}}}' | kubectl apply -f -"#;

/// Whether each node has its registry.
#[must_use]
pub(super) fn judge(facts: &Facts, discovered: Option<&Discovered>) -> Vec<Finding> {
    let daemonset = match (&facts.daemonset, discovered) {
        (Fetched::Got(daemonset), _) => daemonset,
        (_, Some(Discovered { per_node: false, registry, .. })) => {
            let text =
                format!("nodes pull from `{registry}`, which is not on the nodes: the pull tells whether it answers");
            return vec![Finding::skipped(Check::Registry, text)];
        }
        (Fetched::Absent, _) => {
            let text = "there is no DaemonSet `registry` in namespace `kitbag`";
            return vec![
                Finding::failure(Check::Registry, text).fix(fix::for_platform(&facts.who, &fix::install(None))),
            ];
        }
        (other, _) => {
            return vec![Finding::skipped(Check::Registry, other.why_not("get DaemonSets in namespace `kitbag`"))];
        }
    };
    let (Some(pods), nodes) = (facts.pods.got(), facts.nodes.got().map(Vec::as_slice).unwrap_or_default()) else {
        return vec![Finding::skipped(Check::Registry, facts.pods.why_not("list pods in namespace `kitbag`"))];
    };
    let refused = not_made(daemonset, &facts.events);
    // That tells why nodes have none.
    let mut findings = if refused.is_empty() { without(daemonset, pods, nodes) } else { refused };
    findings.extend(pods::judge(pods, nodes));
    if findings.is_empty() {
        findings.extend(rollout(daemonset));
    }
    findings.extend(skew(pods));
    if findings.is_empty() {
        let ready = daemonset.status.as_ref().map_or(0, |status| status.number_ready);
        let ready = counted(usize::try_from(ready).unwrap_or_default(), "node");
        findings.push(Finding::ok(
            Check::Registry,
            format!("DaemonSet `registry` is ready on {ready}: `{}`", image(daemonset)),
        ));
    }
    findings
}

/// Pods that the API server refuses to its own controller.
fn not_made(daemonset: &DaemonSet, events: &[Event]) -> Vec<Finding> {
    let status = daemonset.status.clone().unwrap_or_default();
    if status.current_number_scheduled >= status.desired_number_scheduled && status.desired_number_scheduled > 0 {
        return Vec::new();
    }
    let refused = events.iter().filter(|event| event.reason.as_deref() == Some("FailedCreate"));
    let Some(message) = refused.filter_map(|event| event.message.as_deref()).next_back() else { return Vec::new() };
    let finding = |text: String, fix: &str| vec![Finding::failure(Check::Registry, text).fix(fix)];
    if let Some((_, level)) = message.split_once("violates PodSecurity \"") {
        let level = level.split('"').next().unwrap_or_default();
        let text = format!(
            "namespace `kitbag` enforces the Pod Security level `{level}`, which refuses the registry's pods: they use the node's network"
        );
        return finding(text, PRIVILEGED);
    }
    if message.contains("insufficient quota to match these scopes") {
        let text = "the cluster lets pods of priority `system-node-critical` be only where a quota names that priority";
        return finding(text.to_owned(), PRIORITY_QUOTA);
    }
    if message.contains("exceeded quota") || message.contains("failed quota") {
        let text = format!("a quota of namespace `kitbag` refuses the registry's pods: {message}");
        return finding(text, "kubectl describe resourcequota -n kitbag");
    }
    finding(format!("the registry's pods are refused: {message}"), "kubectl describe daemonset registry -n kitbag")
}

/// Nothing is wrong with any pod, and yet not all are as they should be: it is still under way.
fn rollout(daemonset: &DaemonSet) -> Option<Finding> {
    let status = daemonset.status.clone().unwrap_or_default();
    let (desired, updated) = (status.desired_number_scheduled, status.updated_number_scheduled.unwrap_or_default());
    let observed = status.observed_generation >= daemonset.metadata.generation;
    let done = observed && status.number_ready >= desired && updated >= desired;
    if desired == 0 && observed {
        return Some(
            Finding::failure(Check::Registry, "no node is to have a registry")
                .fix("kubectl describe daemonset registry -n kitbag"),
        );
    }
    (!done).then(|| {
        let text = format!(
            "DaemonSet `registry` is being rolled out: {updated} of {desired} pods are made, {} are ready",
            status.number_ready
        );
        Finding::warning(Check::Registry, text).fix("kubectl rollout status daemonset/registry -n kitbag")
    })
}

/// Nodes that have no pod, and why.
fn without(daemonset: &DaemonSet, pods: &[Pod], nodes: &[Node]) -> Vec<Finding> {
    let with: BTreeSet<&str> = pods.iter().filter_map(pods::node).collect();
    let template = daemonset.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let linux = nodes.iter().filter(|node| super::nodes::is_linux(node));
    let bare = linux.filter(|node| !with.contains(super::nodes::name(node)));
    alike(bare.map(|node| (why_without(template, node), super::nodes::name(node))))
        .into_iter()
        .map(|(why, names)| {
            let text = format!(
                "{} {} no registry: {why}",
                named("node", names.iter().copied()),
                if names.len() == 1 { "has" } else { "have" }
            );
            Finding::failure(Check::Registry, text).fix(fix::install(Some(&image(daemonset))))
        })
        .collect()
}

fn why_without(template: Option<&PodSpec>, node: &Node) -> String {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    if let Some(taint) =
        taints.filter(|taint| taint.effect != "PreferNoSchedule").find(|taint| !is_tolerated(template, taint))
    {
        let value = taint.value.as_deref().map(|value| format!("={value}")).unwrap_or_default();
        return format!("the DaemonSet does not tolerate the taint `{}{value}:{}`", taint.key, taint.effect);
    }
    let selector = template.and_then(|spec| spec.node_selector.as_ref()).into_iter().flatten();
    let labels = node.metadata.labels.clone().unwrap_or_default();
    match selector.into_iter().find(|(key, value)| labels.get(*key) != Some(value)) {
        Some((key, value)) => format!("the DaemonSet wants the label `{key}={value}`"),
        None => "its pod is not there".to_owned(),
    }
}

fn is_tolerated(template: Option<&PodSpec>, taint: &Taint) -> bool {
    // The DaemonSet's controller adds these itself.
    if taint.key.starts_with("node.kubernetes.io/") {
        return true;
    }
    template.and_then(|spec| spec.tolerations.as_ref()).into_iter().flatten().any(|it| {
        let effect = it.effect.as_deref().unwrap_or_default();
        let key = it.key.as_deref().unwrap_or_default();
        let exists = it.operator.as_deref() == Some("Exists");
        (effect.is_empty() || effect == taint.effect)
            && ((key.is_empty() && exists) || (key == taint.key && (exists || it.value == taint.value)))
    })
}

/// Nodes whose registries run from different images.
fn skew(pods: &[Pod]) -> Option<Finding> {
    let ready = pods.iter().filter(|pod| pods::is_ready(pod));
    let images = alike(ready.filter_map(|pod| Some((pods::digest(pod)?, pods::node(pod)?))));
    if images.len() < 2 {
        return None;
    }
    let each = images.iter().map(|(image, nodes)| format!("{} with {image}", named("node", nodes.iter().copied())));
    let text = format!("registries differ, and so may what they serve: {}", each.collect::<Vec<_>>().join("; "));
    Some(Finding::warning(Check::Registry, text).fix(
        "kubectl rollout restart daemonset/registry -n kitbag\nkubectl rollout status daemonset/registry -n kitbag",
    ))
}

/// The image of the first container.
pub(super) fn image(daemonset: &DaemonSet) -> String {
    let template = daemonset.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    template.and_then(|spec| spec.containers.first()?.image.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
