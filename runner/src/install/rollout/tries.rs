//! Pulls that fail for want of an image registry. Each alone may pass; that none gets through anywhere, again and again,
//! does not.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::{Cause, is_of};
use crate::wait::Fault;

/// Pulls that have to fail on every node until it is clear that they all do: with the kubelet's pauses between them, that
/// takes half a minute, in which an image registry can be started anew.
const PULLS: u32 = 3;

/// How often each pod's image could not be pulled, because nobody answered.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    of: BTreeMap<String, Failed>,
}

#[derive(Clone, Debug, Default)]
struct Failed {
    pulls: u32,
    /// The kubelet says so right now; when it pauses before the next one, it says something else.
    is_new: bool,
}

impl Tries {
    /// Counts, each time that the pods have changed.
    pub fn count(&mut self, set: &DaemonSet, pods: &[Pod]) {
        let before = std::mem::take(&mut self.of);
        let current = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_of(set, pod));
        self.of = current
            .map(|pod| {
                let name = pod.name_any();
                let failed = before.get(&name).cloned().unwrap_or_default().then(pod);
                (name, failed)
            })
            .collect();
    }

    /// Whether it is clear that nobody answers any node.
    #[must_use]
    pub fn are_enough(&self) -> bool {
        !self.of.is_empty() && self.of.values().all(|failed| failed.pulls >= PULLS)
    }
}

impl Failed {
    fn then(self, pod: &Pod) -> Self {
        match Cause::of(pod) {
            Some(Cause::Pull { fault: Fault::Unreachable | Fault::NoName, .. }) if is_told(pod) => {
                Self { pulls: self.pulls + u32::from(!self.is_new), is_new: true }
            }
            Some(Cause::Pull { .. }) => Self { is_new: false, ..self },
            // Another pull has begun, or it went well.
            None if is_waiting(pod) => Self { is_new: false, ..self },
            _ => Self::default(),
        }
    }
}

fn reason(pod: &Pod) -> Option<&str> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    container.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

fn is_told(pod: &Pod) -> bool {
    reason(pod) == Some("ErrImagePull")
}

fn is_waiting(pod: &Pod) -> bool {
    reason(pod).is_some()
}
