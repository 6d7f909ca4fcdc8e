//! Where the container is on its way: a pure function of the pod.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStateWaiting, EphemeralContainer, Pod,
};

use super::error::Cause;
use super::pull::{self, Fault};

/// The exit code of what got SIGKILL.
const KILLED: i32 = 137;

/// The key of [`Nature::Away`].
pub(super) const AWAY: &str = "away";

/// Where the container is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not there yet, and why.
    Waiting(Reason),
    /// It runs.
    Running,
    /// It will not.
    Failed(Cause),
}

/// Why the container does not run yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// The kind of reason.
    pub nature: Nature,
    /// For people.
    pub text: String,
    /// What can be done about it, where there is something.
    pub hint: Option<String>,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nature {
    /// The node has said nothing.
    #[default]
    Silent,
    /// The image is pulled and the container made.
    Making,
    /// The image can't be pulled at the moment.
    Pull(Fault),
    /// The target is between two starts.
    Between,
    /// The API server does not answer.
    Away,
    /// Something that the kubelet tries again.
    Other,
}

impl Nature {
    /// Whether a person should know at once.
    pub(super) const fn is_urgent(self) -> bool {
        matches!(self, Self::Pull(_) | Self::Between)
    }
}

impl Reason {
    fn new(nature: Nature, text: String) -> Self {
        Self { nature, text, hint: None }
    }

    /// The API server does not answer, and why.
    pub(super) fn away(why: &str) -> Self {
        Self::new(Nature::Away, format!("the cluster does not answer ({why}): trying again…"))
    }

    /// What is said of it.
    pub(super) fn line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}\nhint: {hint}", self.text),
            None => self.text.clone(),
        }
    }

    /// What has been said when something of this key has been said: a runtime words the same fault differently each time.
    pub(super) fn key(&self) -> String {
        match self.nature {
            Nature::Pull(fault) => format!("{fault:?}"),
            Nature::Away => AWAY.to_owned(),
            _ => self.text.clone(),
        }
    }
}

/// What the pod says of the container.
#[must_use]
pub fn observe(pod: &Pod, container: &str) -> State {
    let name = || pod.metadata.name.clone().unwrap_or_default();
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.ephemeral_container_statuses.as_ref());
    let state = statuses.and_then(|all| all.iter().find(|it| it.name == container)?.state.as_ref());
    let spec = pod.spec.as_ref();
    let container = spec.and_then(|spec| spec.ephemeral_containers.as_ref()?.iter().find(|it| it.name == container));
    if let Some(ContainerState { running: Some(_), .. }) = state {
        return State::Running;
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return State::Failed(Cause::PodDeleted { pod: name() });
    }
    if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return State::Failed(Cause::PodGone { pod: name() });
    }
    match state {
        Some(ContainerState { terminated: Some(ended), .. }) => {
            let shared = spec.is_some_and(|spec| spec.share_process_namespace == Some(true));
            State::Failed(terminated(ended, container.filter(|_| !shared)))
        }
        Some(ContainerState { waiting: Some(waiting), .. }) => self::waiting(waiting, container),
        _ => {
            let node = spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
            State::Waiting(Reason::new(Nature::Silent, format!("waiting for node `{node}`…")))
        }
    }
}

fn terminated(ended: &ContainerStateTerminated, container: Option<&EphemeralContainer>) -> Cause {
    let reason = ended.reason.as_deref().unwrap_or("terminated");
    let message =
        ended.message.as_deref().map(str::trim).filter(|text| !text.is_empty()).unwrap_or("no message").to_owned();
    let target = container.and_then(|it| it.target_container_name.clone()).filter(|target| !target.is_empty());
    match (reason, target) {
        ("StartError" | "ContainerCannotRun", _) => Cause::Start { reason: reason.to_owned(), message },
        (reason, Some(target)) if ended.exit_code == KILLED && reason != "OOMKilled" => Cause::TargetEnded { target },
        _ => Cause::Ended { reason: format!("{reason}, exit code {}", ended.exit_code), message },
    }
}

fn waiting(waiting: &ContainerStateWaiting, container: Option<&EphemeralContainer>) -> State {
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let message = waiting.message.as_deref().unwrap_or_default().trim();
    if let Some(fault) = Fault::of(reason, message) {
        return not_pulled(fault, reason, message, container);
    }
    match reason {
        // What the kubelet says from the first moment until the image is there and the container made.
        "" | "ContainerCreating" | "PodInitializing" => {
            State::Waiting(Reason::new(Nature::Making, "pulling image…".to_owned()))
        }
        _ if is_between(message) => {
            let target = container.and_then(|it| it.target_container_name.as_deref()).unwrap_or_default();
            let text = format!("container `{target}` is not running: waiting for its next start…");
            State::Waiting(Reason::new(Nature::Between, text))
        }
        "CreateContainerConfigError" if is_final_config(message) => {
            State::Failed(Cause::Config { reason: reason.to_owned(), message: message.to_owned() })
        }
        "RunContainerError" => State::Failed(Cause::Start { reason: reason.to_owned(), message: message.to_owned() }),
        _ => State::Waiting(Reason::new(Nature::Other, format!("{reason}: {message}"))),
    }
}

fn not_pulled(fault: Fault, reason: &str, message: &str, container: Option<&EphemeralContainer>) -> State {
    let registry = pull::registry(container.and_then(|it| it.image.as_deref()).unwrap_or_default());
    let (reason, message, hint) = (reason.to_owned(), pull::words(message), fault.hint(registry));
    if fault.is_final() {
        return State::Failed(Cause::Pull { reason, message, hint });
    }
    let text = format!("the node cannot pull the image yet, and tries again ({reason}): {message}");
    State::Waiting(Reason { nature: Nature::Pull(fault), text, hint: Some(hint) })
}

/// The target has no process to join: it has crashed and not been started again yet, or not been started at all, or it
/// ended at the very moment.
fn is_between(message: &str) -> bool {
    message.contains("invalid target container")
        || message.contains("unable to find target container")
        || (message.contains("/proc/") && message.contains("/ns/"))
}

/// Mistakes of the specification, as opposed to what the kubelet may yet get.
fn is_final_config(message: &str) -> bool {
    let is_missing =
        (message.starts_with("secret ") || message.starts_with("configmap ")) && message.contains("not found");
    is_missing
        || message.contains("couldn't find key")
        || message.contains("non-root")
        || message.contains("runAsNonRoot")
        || message.contains("not supported by the runtime")
}
