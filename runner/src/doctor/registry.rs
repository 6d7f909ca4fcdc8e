//! The registry of each node: what its DaemonSet and its pods say.

pub(super) mod pods;

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Event, Node, Pod, PodSpec, Taint};
use serde_json::json;

use super::discovery::Discovered;
use super::facts::{Facts, Fetched};
use super::finding::{Check, Finding, alike, counted, named};
use super::fix::{self, Installed};
use crate::install::rollout;
use crate::kubernetes::POD_SECURITY;
use crate::shell::quoted;

// What the DaemonSet is called.
pub(super) use crate::install::objects::REGISTRY as NAME;

/// What the DaemonSet of `install` wants of a node.
const WANTED: (&str, &str) = ("kubernetes.io/os", "linux");

/// Whether each node has its registry.
#[must_use]
pub(super) fn judge(facts: &Facts, installed: &Installed<'_>, discovered: Option<&Discovered>) -> Vec<Finding> {
    let Installed { namespace, .. } = installed;
    let central = discovered.filter(|it| !it.per_node).map(|it| &it.registry).or(installed.central.as_ref());
    let daemonset = match (&facts.daemonset, central) {
        (Fetched::Got(daemonset), _) => daemonset,
        (_, Some(registry)) => {
            let text =
                format!("nodes pull from `{registry}`, which is not on the nodes: the pull tells whether it answers");
            return vec![Finding::skipped(Check::Registry, text)];
        }
        (Fetched::Absent, _) => {
            let text = format!("there is no DaemonSet `{NAME}` in namespace `{namespace}`");
            let fix = fix::for_platform(&facts.who, &installed.install());
            return vec![Finding::failure(Check::Registry, text).fix(fix)];
        }
        (other, _) => {
            let permission = format!("get DaemonSets in namespace `{namespace}`");
            return vec![Finding::unseen(Check::Registry, other, &permission)];
        }
    };
    let (Some(pods), nodes) = (facts.pods.got(), facts.nodes.got().map(Vec::as_slice).unwrap_or_default()) else {
        let permission = format!("list pods in namespace `{namespace}`");
        return vec![Finding::unseen(Check::Registry, &facts.pods, &permission)];
    };
    let refused = not_made(daemonset, &facts.events, installed);
    // That tells why nodes have none.
    let mut findings = if refused.is_empty() { bare(daemonset, pods, nodes, installed) } else { refused };
    findings.extend(pods::judge(pods, nodes, installed));
    findings.extend(elsewhere(daemonset, discovered, installed));
    if findings.is_empty() {
        let off = pods.iter().filter(|pod| pods::is_off(pod, nodes)).count();
        findings.extend(rollout(daemonset, i32::try_from(off).unwrap_or(i32::MAX), installed));
    }
    // In the middle of a rollout it has to be so.
    if findings.is_empty() {
        findings.extend(skew(pods, installed));
    }
    if findings.is_empty() {
        let ready = daemonset.status.as_ref().map_or(0, |status| status.number_ready);
        let ready = counted(usize::try_from(ready).unwrap_or_default(), "node");
        findings.push(Finding::ok(
            Check::Registry,
            format!("DaemonSet `registry` is ready on {ready}: `{}`", fix::image(daemonset)),
        ));
    }
    findings
}

/// Pods that the API server refuses to its own controller.
fn not_made(daemonset: &DaemonSet, events: &[Event], installed: &Installed<'_>) -> Vec<Finding> {
    let status = daemonset.status.clone().unwrap_or_default();
    if status.current_number_scheduled >= status.desired_number_scheduled && status.desired_number_scheduled > 0 {
        return Vec::new();
    }
    let refused = events.iter().filter(|event| event.reason.as_deref() == Some("FailedCreate"));
    let Some(message) = refused.filter_map(|event| event.message.as_deref()).next_back() else { return Vec::new() };
    let finding = |text: String, fix: String| vec![Finding::failure(Check::Registry, text).fix(fix)];
    let (namespace, scope) = (installed.namespace, installed.scope());
    if let Some((_, level)) = message.split_once("violates PodSecurity \"") {
        let level = level.split('"').next().unwrap_or_default();
        let text = format!(
            "namespace `{namespace}` enforces the Pod Security level `{level}`, which refuses the registry's pods: they use the node's network"
        );
        return finding(text, privileged(installed));
    }
    if message.contains("insufficient quota to match these scopes") {
        let text = "the cluster lets pods of priority `system-node-critical` be only where a quota names that priority";
        return finding(text.to_owned(), priority_quota(namespace));
    }
    if message.contains("exceeded quota") || message.contains("failed quota") {
        let text = format!("a quota of namespace `{namespace}` refuses the registry's pods: {message}");
        return finding(text, format!("kubectl describe resourcequota {scope}"));
    }
    finding(format!("the registry's pods are refused: {message}"), format!("kubectl describe daemonset {NAME} {scope}"))
}

/// The registries' pods use the node's network.
fn privileged(installed: &Installed<'_>) -> String {
    let (namespace, scope) = (quoted(installed.namespace), installed.scope());
    format!(
        "kubectl label namespace {namespace} {POD_SECURITY}=privileged --overwrite\n\
         kubectl rollout restart daemonset/{NAME} {scope}"
    )
}

/// Some vendors let pods of a high priority be only where a quota speaks of that priority.
fn priority_quota(namespace: &str) -> String {
    let quota = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": { "name": "kitbag", "namespace": namespace },
        "spec": {
            "hard": { "pods": "1000" },
            "scopeSelector": { "matchExpressions": [
                { "scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"] },
            ] },
        },
    });
    format!("echo {} | kubectl apply -f -", quoted(&quota.to_string()))
}

/// Registries that are not where discovery sends the nodes.
fn elsewhere(daemonset: &DaemonSet, discovered: Option<&Discovered>, installed: &Installed<'_>) -> Option<Finding> {
    let (told, listens) = (&discovered?.registry, fix::listens(daemonset)?);
    (discovered?.per_node && told != listens).then(|| {
        let text = format!("the registries listen on `{listens}`, and the ConfigMap sends nodes to `{told}`");
        Finding::failure(Check::Registry, text).fix(installed.install())
    })
}

/// Nothing is wrong with any pod, and yet not all are as they should be: it is still under way. `off` are the pods of nodes
/// that are not ready, which are told with the nodes.
fn rollout(daemonset: &DaemonSet, off: i32, installed: &Installed<'_>) -> Option<Finding> {
    let status = daemonset.status.clone().unwrap_or_default();
    let (desired, updated) = (status.desired_number_scheduled, status.updated_number_scheduled.unwrap_or_default());
    let observed = status.observed_generation >= daemonset.metadata.generation;
    let done = observed && status.number_ready + off >= desired && updated + off >= desired;
    if desired == 0 && observed {
        return Some(
            Finding::failure(Check::Registry, "no node is to have a registry")
                .fix(format!("kubectl describe daemonset {NAME} {}", installed.scope())),
        );
    }
    (!done).then(|| {
        let text = format!(
            "DaemonSet `registry` is being rolled out: {updated} of {desired} pods are made, {} are ready",
            status.number_ready
        );
        Finding::warning(Check::Registry, text)
            .fix(format!("kubectl rollout status daemonset/{NAME} {}", installed.scope()))
    })
}

/// Where nodes are between one image and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// All of them have what the DaemonSet says.
    Rests,
    /// They are on their way.
    Goes,
    /// They would be, if the pods started.
    Stuck,
}

/// How far a rollout is.
pub(super) fn course(facts: &Facts, installed: &Installed<'_>) -> Course {
    let Some(daemonset) = facts.daemonset.got() else { return Course::Rests };
    let status = daemonset.status.clone().unwrap_or_default();
    let is_seen = status.observed_generation >= daemonset.metadata.generation;
    let (pods, nodes) = (facts.pods.got(), facts.nodes.got());
    let troubled = pods::judge(
        pods.map(Vec::as_slice).unwrap_or_default(),
        nodes.map(Vec::as_slice).unwrap_or_default(),
        installed,
    );
    if is_seen && status.updated_number_scheduled.unwrap_or_default() >= status.desired_number_scheduled {
        Course::Rests
    } else if troubled.is_empty() {
        Course::Goes
    } else {
        Course::Stuck
    }
}

/// Nodes that have no pod, and why.
fn bare(daemonset: &DaemonSet, pods: &[Pod], nodes: &[Node], installed: &Installed<'_>) -> Vec<Finding> {
    let with: BTreeSet<&str> = pods.iter().filter_map(pods::node).collect();
    let template = rollout::template(daemonset);
    let linux = nodes.iter().filter(|node| super::nodes::is_linux(node));
    let without = linux.filter(|node| !with.contains(super::nodes::name(node)));
    alike(without.map(|node| (why_without(template, node), super::nodes::name(node))))
        .into_iter()
        .map(|(why, names)| {
            let fix = why.fix(&names, installed);
            let text = format!(
                "{} {} no registry: {why}",
                named("node", names.iter().copied()),
                if names.len() == 1 { "has" } else { "have" }
            );
            Finding::failure(Check::Registry, text).fix(fix)
        })
        .collect()
}

/// Why a node has none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("the DaemonSet does not tolerate the taint `{0}`")]
    Taint(String),
    #[error("the DaemonSet wants the label `{0}={1}`")]
    Label(String, String),
    #[error("the DaemonSet has an affinity, which no registry needs")]
    Affinity,
    #[error("its pod is not there")]
    Unknown,
}

impl Why {
    fn fix(&self, names: &[&str], installed: &Installed<'_>) -> String {
        match self {
            Self::Label(key, value) if (key.as_str(), value.as_str()) == WANTED => {
                let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
                format!("kubectl label node {} {key}={value} --overwrite", names.join(" "))
            }
            Self::Taint(_) | Self::Label(..) => installed.install(),
            Self::Affinity => without("affinity", installed),
            Self::Unknown => format!(
                "# the cluster's controllers make it: do they run, and what do they say?\nkubectl describe daemonset {NAME} {}\nkubectl get pods -n kube-system",
                installed.scope()
            ),
        }
    }
}

/// What others have added to the template, `install` leaves as it is.
pub(super) fn without(part: &str, installed: &Installed<'_>) -> String {
    let patch = json!([{ "op": "remove", "path": format!("/spec/template/spec/{part}") }]);
    let (scope, patch) = (installed.scope(), quoted(&patch.to_string()));
    format!("kubectl patch daemonset {NAME} {scope} --type=json --patch={patch}")
}

fn why_without(template: Option<&PodSpec>, node: &Node) -> Why {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    if let Some(taint) =
        taints.filter(|taint| taint.effect != "PreferNoSchedule").find(|taint| !is_tolerated(template, taint))
    {
        let value = taint.value.as_deref().map(|value| format!("={value}")).unwrap_or_default();
        return Why::Taint(format!("{}{value}:{}", taint.key, taint.effect));
    }
    let selector = template.and_then(|spec| spec.node_selector.as_ref()).into_iter().flatten();
    let labels = node.metadata.labels.clone().unwrap_or_default();
    match selector.into_iter().find(|(key, value)| labels.get(*key) != Some(value)) {
        Some((key, value)) => Why::Label(key.clone(), value.clone()),
        None if template.is_some_and(|spec| spec.affinity.is_some()) => Why::Affinity,
        None => Why::Unknown,
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

/// Nodes whose registries run from different images, though they are told the same one.
fn skew(pods: &[Pod], installed: &Installed<'_>) -> Option<Finding> {
    let ready = pods.iter().filter(|pod| pods::is_ready(pod));
    let images = alike(ready.filter_map(|pod| Some((pods::image_id(pod)?, pods::node(pod)?))));
    let most = images.iter().max_by_key(|(_, nodes)| nodes.len()).filter(|_| images.len() > 1)?;
    let each = images
        .iter()
        .map(|(image, nodes)| format!("{} with {}", named("node", nodes.iter().copied()), pods::digest(image)));
    let text = format!("registries differ, and so may what they serve: {}", each.collect::<Vec<_>>().join("; "));
    let fix = if most.0.contains('@') {
        let same = "# a tag may mean another image on each node, a digest means one:";
        format!("{same}\n{}", installed.install_this(most.0))
    } else {
        format!(
            "# on each node, the same archive of the image:\nctr -n k8s.io images import kitbag.tar\n# and then:\n\
             kubectl rollout restart daemonset/{NAME} {}",
            installed.scope()
        )
    };
    Some(Finding::warning(Check::Registry, text).fix(fix))
}

#[cfg(test)]
mod tests;
