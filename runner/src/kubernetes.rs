//! What Kubernetes calls things, and since when it has them, where more than one part has to know it.

use k8s_openapi::api::core::v1::{Pod, PodCondition};

/// The label of a namespace that says what Pod Security refuses there.
pub(crate) const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";
/// The annotation of a DaemonSet in which the server counts its templates.
pub(crate) const TEMPLATES: &str = "deprecated.daemonset.template.generation";
/// The first minor version of Kubernetes 1 that has ephemeral containers at all, unless they are turned off.
pub(crate) const EPHEMERAL: u32 = 23;
/// What to do where there are none.
pub(crate) const TOO_OLD: &str = "upgrade the cluster: ephemeral containers came with Kubernetes 1.25";

/// The minor version, or the major one: some vendors write `27+`.
pub(crate) fn minor(part: &str) -> Option<u32> {
    part.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
}

/// What the scheduler says of a pod that it finds no place for.
pub(crate) fn unscheduled(pod: &Pod) -> Option<&PodCondition> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    conditions.find(|it| it.type_ == "PodScheduled" && it.status == "False")
}
