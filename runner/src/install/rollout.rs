//! How far the registries are: a pure function of the DaemonSet, its pods and its events.

use std::fmt;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Event, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

mod cause;
mod tries;

pub use cause::Cause;
pub(crate) use cause::{after_colon, container};
pub use tries::Tries;

use super::FIELD_MANAGER;
use super::objects::{CONTAINER, LISTEN};
use crate::kubernetes::TEMPLATES;
use crate::wait::Fault;

/// Nodes that are named; of the others there is a number.
const NAMED: usize = 3;
/// The label of a pod with the number of its template.
const TEMPLATE: &str = "pod-template-generation";
/// Starts that may fail until it is clear that they all do.
const STARTS: i32 = 2;

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Every node answers.
    Done {
        /// How many there are.
        nodes: i32,
    },
    /// Some do not yet.
    Going {
        /// For people.
        text: String,
        /// What is wrong, and where.
        troubles: Vec<Trouble>,
    },
}

/// Something that keeps registries from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What.
    pub cause: Cause,
    /// The nodes. None where it does not get to a node.
    pub nodes: Vec<String>,
}

/// Looks at the DaemonSet, its pods and what has been said of it.
#[must_use]
pub fn observe(set: &DaemonSet, pods: &[Pod], events: &[Event]) -> State {
    let status = set.status.as_ref();
    let nodes = status.map_or(0, |status| status.desired_number_scheduled);
    let updated = status.and_then(|status| status.updated_number_scheduled).unwrap_or(0);
    let available = status.and_then(|status| status.number_available).unwrap_or(0);
    let seen = status.and_then(|status| status.observed_generation) >= set.metadata.generation;
    if seen && updated >= nodes && available >= nodes {
        return State::Done { nodes };
    }
    let text = if !seen {
        "the cluster has not looked at the DaemonSet yet".to_owned()
    } else if updated < nodes {
        format!("{updated} of {nodes} nodes have the new registry")
    } else {
        format!("{available} of {nodes} nodes answer")
    };
    let mut troubles: Vec<Trouble> = Vec::new();
    let of_pods = pods
        .iter()
        .filter(|pod| is_of(set, pod))
        .filter_map(|pod| Some((Cause::of(pod)?, node(pod).map(str::to_owned))));
    for (cause, node) in of_pods.chain(refusal(set, events).map(|cause| (cause, None))) {
        match troubles.iter_mut().find(|known| known.cause.is_like(&cause)) {
            Some(known) => known.nodes.extend(node),
            None => troubles.push(Trouble { cause, nodes: node.into_iter().collect() }),
        }
    }
    State::Going { text, troubles }
}

/// Has the pod been made from the set's template as it stands? What is wrong with an earlier one is being mended. Where an
/// earlier template comes back, the controller takes the pods of then for its own, which keep their number: what an
/// installation chooses tells them from others.
pub(super) fn is_of(set: &DaemonSet, pod: &Pod) -> bool {
    is_numbered(set, pod) || pod.spec.as_ref().map(chosen) == template(set).map(chosen)
}

/// Does the pod have the number of the set's template?
pub(super) fn is_numbered(set: &DaemonSet, pod: &Pod) -> bool {
    let (wanted, own) = (set.annotations().get(TEMPLATES), pod.labels().get(TEMPLATE));
    wanted.zip(own).is_none_or(|(wanted, own)| wanted == own)
}

pub(crate) fn template(set: &DaemonSet) -> Option<&PodSpec> {
    set.spec.as_ref()?.template.spec.as_ref()
}

/// What an installation chooses of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen<'a> {
    pub(crate) image: Option<&'a str>,
    pub(crate) address: Option<&'a str>,
    pub(crate) pull_secret: Option<&'a str>,
}

pub(crate) fn chosen(pod: &PodSpec) -> Chosen<'_> {
    let container = pod.containers.iter().find(|container| container.name == CONTAINER);
    let variables = container.iter().flat_map(|container| container.env.iter().flatten());
    Chosen {
        image: container.and_then(|container| container.image.as_deref()),
        address: variables.filter(|it| it.name == LISTEN).find_map(|it| it.value.as_deref()),
        pull_secret: pod.image_pull_secrets.iter().flatten().next().map(|secret| secret.name.as_str()),
    }
}

/// What the controller could not make, since we have last changed what it should make.
fn refusal(set: &DaemonSet, events: &[Event]) -> Option<Cause> {
    let ours = set.metadata.managed_fields.iter().flatten();
    let since = ours.filter(|it| it.manager.as_deref() == Some(FIELD_MANAGER)).filter_map(|it| it.time.clone()).max();
    let last =
        |event: &Event| -> Option<Time> { event.last_timestamp.clone().or_else(|| event.first_timestamp.clone()) };
    let recent = events.iter().filter(|event| event.reason.as_deref() == Some("FailedCreate") && last(event) >= since);
    let event = recent.max_by_key(|event| last(event))?;
    Some(Cause::Refused { message: event.message.clone().unwrap_or_default() })
}

/// The node that it is on, or meant for: the DaemonSet's controller says so by an affinity.
pub(crate) fn node(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    let meant = || {
        let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
        let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
        let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
        fields.filter(|field| field.key == "metadata.name").find_map(|field| field.values.as_ref()?.first())
    };
    spec.node_name.as_deref().filter(|name| !name.is_empty()).or_else(|| meant().map(String::as_str))
}

/// Whether it answers, and is to go on with that.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
}

impl Trouble {
    /// Whether waiting does not help.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match &self.cause {
            Cause::Pull { fault, .. } => fault.is_final(),
            Cause::Port { starts, .. } | Cause::Crash { starts, .. } => *starts >= STARTS,
            Cause::Store { .. } | Cause::Foreign { .. } => true,
            Cause::Memory | Cause::Container { .. } | Cause::Unschedulable { .. } | Cause::Refused { .. } => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match &self.cause {
            Cause::Pull { fault, .. } => of_pull(*fault),
            Cause::Port { .. } => "choose another port with --port".to_owned(),
            Cause::Store { .. } => {
                "make the image anew with the `kitbag-registry` that belongs to the store's `kitbag-builder`: `kitbag-builder image --server --to REGISTRY/kitbag-registry:TAG`"
                    .to_owned()
            }
            Cause::Foreign { .. } => {
                "name with --image one that `kitbag-builder image --server` made"
                    .to_owned()
            }
            Cause::Crash { .. } => "`kubectl logs --previous` of the pod has all that it said".to_owned(),
            Cause::Memory => {
                "the DaemonSet's limit is what a registry takes many times over: `kubectl describe pod` has what the node says"
                    .to_owned()
            }
            Cause::Container { .. } => "`kubectl describe pod` has what the node says".to_owned(),
            Cause::Unschedulable { .. } => "`kubectl describe node` says what is left of it: the registry asks for 5m of CPU and 16 MiB".to_owned(),
            Cause::Refused { message } if message.contains("PodSecurity") => {
                "the namespace has to be at the Pod Security level `privileged`, for hostNetwork alone; where that is forbidden, there is the central way"
                    .to_owned()
            }
            Cause::Refused { .. } => {
                "a policy of this cluster has to let the DaemonSet in, or there is the central way".to_owned()
            }
        }
    }
}

fn of_pull(fault: Fault) -> String {
    match fault {
        Fault::Denied => "a Secret of the namespace that may pull it is named with --pull-secret",
        Fault::Missing | Fault::Name => "is --image right, and the image there?",
        Fault::Platform => "the image has to be there for the nodes' architecture",
        Fault::Never => "the image has to be loaded on each node: `ctr -n k8s.io images import FILE`",
        Fault::Untrusted | Fault::Plain => {
            "the nodes' container runtime has to trust that registry (containerd: `hosts.toml`)"
        }
        Fault::Full => "the node's disk is full",
        Fault::Unreachable | Fault::NoName | Fault::Busy | Fault::Unknown => {
            "every node has to reach the image's registry, or have the image loaded"
        }
    }
    .to_owned()
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<String> = self.nodes.iter().take(NAMED).map(|node| format!("`{node}`")).collect();
        match self.nodes.len().saturating_sub(NAMED) {
            _ if named.is_empty() => {}
            0 => write!(f, "{}: ", named.join(", "))?,
            more => write!(f, "{} and {more} more: ", named.join(", "))?,
        }
        write!(f, "{}", self.cause)
    }
}

#[cfg(test)]
mod tests;
