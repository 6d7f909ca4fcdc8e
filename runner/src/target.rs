//! Which pod and which container the user meant, and whether it can be debugged: a pure function of the pod.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};

use crate::error::Kind;

/// The annotation that names the container which kubectl takes when none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

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

/// Why there is no [`Target`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Something else than a pod.
    #[error("`{text}` is not a pod: NAME or pod/NAME is wanted")]
    NotAPod {
        /// What was named.
        text: String,
    },
    /// No such pod.
    #[error("pod `{pod}` not found in namespace `{namespace}`")]
    NoPod {
        /// The pod.
        pod: String,
        /// The namespace.
        namespace: String,
    },
    /// The pod has no such container.
    #[error("pod `{pod}` has no container `{container}`; it has {}", list(.has))]
    NoContainer {
        /// The pod.
        pod: String,
        /// What was named.
        container: String,
        /// What it has.
        has: Vec<String>,
    },
    /// The pod has ended.
    #[error("pod `{pod}` has finished ({phase}): no container can be added")]
    Finished {
        /// The pod.
        pod: String,
        /// `Succeeded` or `Failed`.
        phase: String,
    },
    /// The pod is going.
    #[error("pod `{pod}` is being deleted: no container will be started in it")]
    Deleting {
        /// The pod.
        pod: String,
    },
    /// The pod is on no node.
    #[error("pod `{pod}` is on no node yet{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Unscheduled {
        /// The pod.
        pod: String,
        /// What the scheduler says.
        reason: Option<String>,
    },
    /// The container has ended and will not start again.
    #[error("container `{container}` of pod `{pod}` has ended ({reason}) and will not start again")]
    Ended {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// How it ended.
        reason: String,
    },
}

impl TargetError {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::NotAPod { .. } => Kind::Usage,
            Self::NoPod { .. } | Self::NoContainer { .. } => Kind::NotFound,
            Self::Finished { .. } | Self::Deleting { .. } | Self::Unscheduled { .. } | Self::Ended { .. } => {
                Kind::Unfit
            }
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoPod { namespace, .. } => {
                Some(format!("`kubectl get pods -n {namespace}` lists them; -n names another namespace"))
            }
            Self::Ended { .. } => Some("-c names another container".to_owned()),
            _ => None,
        }
    }
}

/// The pod's name in `NAME` or `pod/NAME`.
///
/// # Errors
/// [`TargetError::NotAPod`] when it names something else.
pub fn pod_name(text: &str) -> Result<&str, TargetError> {
    let name = match text.split_once('/') {
        None => text,
        Some(("pod" | "pods" | "po", name)) => name,
        Some(_) => "",
    };
    if name.is_empty() || name.contains('/') { Err(TargetError::NotAPod { text: text.to_owned() }) } else { Ok(name) }
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
        return Err(TargetError::Ended { pod: name, container: container.name.clone(), reason });
    }
    let back_off = status.and_then(|status| status.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    let warning = (back_off == Some("CrashLoopBackOff")).then(|| {
        format!("container `{}` is between two starts (CrashLoopBackOff): the session begins with its next start and ends with its next crash", container.name)
    });
    Ok(Target {
        pod: name,
        container: container.name.clone(),
        spec: container.clone(),
        pod_spec: pod.spec.clone().unwrap_or_default(),
        status: status.cloned(),
        names: names(pod),
        warning,
    })
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
    Ok(())
}

fn container<'a>(pod: &'a Pod, name: &str, wanted: Option<&str>) -> Result<&'a Container, TargetError> {
    let find = |wanted: &str| containers(pod).find(|container| container.name == wanted);
    let none = |wanted: &str| TargetError::NoContainer {
        pod: name.to_owned(),
        container: wanted.to_owned(),
        has: containers(pod).map(|container| container.name.clone()).collect(),
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

fn names(pod: &Pod) -> Vec<String> {
    let ephemeral = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    containers(pod).map(|container| container.name.clone()).chain(ephemeral.map(|it| it.name.clone())).collect()
}

fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    all.into_iter().find(|status| status.name == container)
}

/// How the container ended, when nothing will start it again.
fn ended_for_good(pod: &Pod, container: &Container, status: Option<&ContainerStatus>) -> Option<String> {
    let terminated = status?.state.as_ref()?.terminated.as_ref()?;
    let spec = pod.spec.as_ref()?;
    let is_init = spec.init_containers.iter().flatten().any(|init| init.name == container.name);
    let again = match (container.restart_policy.as_deref(), spec.restart_policy.as_deref()) {
        (Some("Always"), _) => true,
        (_, Some("Never")) => false,
        (_, Some("OnFailure")) => terminated.exit_code != 0,
        _ if is_init => terminated.exit_code != 0,
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
