//! Which container of a pod the user meant, and whether it can be debugged: a pure function of the pod. Which pod that
//! is, is for the modules below.

mod error;
mod find;
mod near;
mod pods;
mod reference;
mod warning;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};

pub use error::TargetError;
pub use find::find;
pub use pods::{Found, Which};
pub use reference::{Reference, ReferenceError, Workload};

/// The annotation that names the container which kubectl takes when none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// The annotation of a pod that stands in a file of its node.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The container to debug.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// The container as the pod has it: whose user, profiles, mounts and environment count.
    pub spec: Container,
    /// The pod it is in.
    pub pod_spec: PodSpec,
    /// How the container does.
    pub status: Option<ContainerStatus>,
    /// Names of all of the pod's containers, those of earlier debugging included: a new one has to differ.
    pub names: Vec<String>,
    /// What to know before starting.
    pub warning: Option<String>,
}

/// Chooses the container: the one named, else the annotated one, else the first.
///
/// # Errors
/// [`TargetError`] where the API would take a debug container that then never starts.
pub fn choose(pod: &Pod, wanted: Option<&str>) -> Result<Target, TargetError> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    fit(pod, &name)?;
    let container = container(pod, &name, wanted)?;
    let status = status(pod, &container.name);
    if let Some(reason) = ended_for_good(pod, container, status) {
        let (container, init) = (container.name.clone(), is_init(pod, &container.name));
        return Err(TargetError::Ended { pod: name, container, init, reason, running: running(pod) });
    }
    Ok(Target {
        pod: name,
        container: container.name.clone(),
        spec: container.clone(),
        pod_spec: pod.spec.clone().unwrap_or_default(),
        status: status.cloned(),
        names: names(pod),
        warning: warning::warning(pod, &container.name, status),
    })
}

impl Target {
    /// The container's id, as the runtime knows it: without `containerd://`.
    #[must_use]
    pub fn container_id(&self) -> Option<&str> {
        self.status.as_ref().and_then(id)
    }

    /// The container's id, where its main process is found by that alone.
    #[must_use]
    pub fn id_in_shared_namespace(&self) -> Option<&str> {
        self.container_id().filter(|_| self.shares_pid_namespace())
    }

    /// Whether its processes share a pid namespace with those of other containers, so that its main process is not 1.
    #[must_use]
    pub fn shares_pid_namespace(&self) -> bool {
        shares_pid_namespace(&self.pod_spec)
    }
}

/// As [`Target::id_in_shared_namespace`], of a pod as it is at the moment: one that starts has no id yet, and one that
/// starts again gets another.
#[must_use]
pub fn id_in_shared_namespace<'a>(pod: &'a Pod, container: &str) -> Option<&'a str> {
    status(pod, container).and_then(id).filter(|_| pod.spec.as_ref().is_some_and(shares_pid_namespace))
}

/// Whether a pod's containers share a pid namespace, with each other or with the node.
#[must_use]
pub fn shares_pid_namespace(spec: &PodSpec) -> bool {
    spec.share_process_namespace == Some(true) || spec.host_pid == Some(true)
}

fn id(status: &ContainerStatus) -> Option<&str> {
    let id = status.container_id.as_deref()?;
    Some(id.split_once("://").map_or(id, |(_, id)| id)).filter(|id| !id.is_empty())
}

fn fit(pod: &Pod, name: &str) -> Result<(), TargetError> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Err(TargetError::Deleting { pod: name.to_owned() });
    }
    let status = pod.status.as_ref();
    if let Some(phase @ ("Succeeded" | "Failed")) = status.and_then(|status| status.phase.as_deref()) {
        return Err(TargetError::Finished { pod: name.to_owned(), phase: phase.to_owned() });
    }
    if pod.spec.as_ref().is_none_or(|spec| spec.node_name.as_deref().unwrap_or_default().is_empty()) {
        let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let reason = conditions.filter(|condition| condition.type_ == "PodScheduled").find_map(|it| it.message.clone());
        return Err(TargetError::Unscheduled { pod: name.to_owned(), reason });
    }
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    if pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR)) {
        return Err(TargetError::Static { pod: name.to_owned(), node });
    }
    Ok(())
}

fn container<'a>(pod: &'a Pod, name: &str, wanted: Option<&str>) -> Result<&'a Container, TargetError> {
    let find = |wanted: &str| containers(pod).find(|container| container.name == wanted);
    let has = || containers(pod).map(|container| container.name.clone()).collect();
    let none = |wanted: &str| {
        let (pod_name, container) = (name.to_owned(), wanted.to_owned());
        if ephemeral(pod).any(|name| name == wanted) {
            TargetError::Ephemeral { pod: pod_name, container, has: has() }
        } else {
            TargetError::NoContainer { pod: pod_name, container, has: has() }
        }
    };
    if let Some(wanted) = wanted {
        return find(wanted).ok_or_else(|| none(wanted));
    }
    let annotated = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DEFAULT_CONTAINER));
    let annotated = annotated.and_then(|annotated| find(annotated));
    annotated.or_else(|| containers(pod).next()).ok_or_else(|| none(""))
}

/// The pod's containers, then its init containers (sidecars are among them).
fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.iter();
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    spec.flat_map(|spec| spec.containers.iter()).chain(init)
}

fn ephemeral(pod: &Pod) -> impl Iterator<Item = &str> {
    pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten()).map(|it| it.name.as_str())
}

fn names(pod: &Pod) -> Vec<String> {
    containers(pod).map(|container| container.name.as_str()).chain(ephemeral(pod)).map(str::to_owned).collect()
}

fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    statuses(pod).find(|status| status.name == container)
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| status.container_statuses.iter().chain(&status.init_container_statuses).flatten())
}

/// The containers that run.
fn running(pod: &Pod) -> Vec<String> {
    statuses(pod).filter(|status| runs(status)).map(|status| status.name.clone()).collect()
}

fn runs(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn is_init(pod: &Pod, container: &str) -> bool {
    pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()).any(|init| init.name == container)
}

/// How the container ended, when nothing will start it again.
fn ended_for_good(pod: &Pod, container: &Container, status: Option<&ContainerStatus>) -> Option<String> {
    let terminated = status?.state.as_ref()?.terminated.as_ref()?;
    let spec = pod.spec.as_ref()?;
    let again = match (container.restart_policy.as_deref(), spec.restart_policy.as_deref()) {
        (Some("Always"), _) => true,
        (_, Some("Never")) => false,
        (_, Some("OnFailure")) => terminated.exit_code != 0,
        _ if is_init(pod, &container.name) => terminated.exit_code != 0,
        _ => true,
    };
    let reason = terminated.reason.as_deref().unwrap_or("terminated");
    (!again).then(|| format!("{reason}, exit code {}", terminated.exit_code))
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
