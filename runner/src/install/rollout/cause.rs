//! What keeps a registry from starting, as its pod tells it.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::is_ready;
use crate::install::objects::CONTAINER;
use crate::kubernetes::unscheduled;
use crate::wait::Fault;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The image cannot be had.
    #[error("the image cannot be pulled: {message}")]
    Pull {
        /// Which.
        image: String,
        /// What is wrong with it.
        fault: Fault,
        /// The node's words.
        message: String,
    },
    /// Something else listens there.
    #[error("the port is taken: {message}")]
    Port {
        /// How often it has been tried.
        starts: i32,
        /// The registry's words.
        message: String,
    },
    /// It has no store that it can read.
    #[error("the registry cannot serve what the image has: {message}")]
    Store {
        /// The registry's words.
        message: String,
    },
    /// The image is another one.
    #[error("the image is no kitbag-registry: {message}")]
    Foreign {
        /// The node's words.
        message: String,
    },
    /// It takes more memory than it may.
    #[error("the registry was killed because it took more memory than its limit")]
    Memory,
    /// It ends by itself.
    #[error("the registry ends at once, exit code {code}{}", after_colon(.message))]
    Crash {
        /// How often it has been tried.
        starts: i32,
        /// How it ended.
        code: i32,
        /// Its last words; may be empty.
        message: String,
    },
    /// The container cannot be made.
    #[error("the container cannot be made ({reason}): {message}")]
    Container {
        /// `CreateContainerConfigError` or alike.
        reason: String,
        /// The node's words.
        message: String,
    },
    /// No place for the pod.
    #[error("no place for the pod: {message}")]
    Unschedulable {
        /// The scheduler's words.
        message: String,
    },
    /// The cluster does not take the pod.
    #[error("the cluster refuses the pod: {message}")]
    Refused {
        /// The server's words.
        message: String,
    },
}

impl Cause {
    /// What is wrong with a pod of the registry, as far as it says. One that goes has had its successor.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        if is_ready(pod) || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        match container(pod) {
            Some(container) => of_container(container),
            None => {
                let message = unscheduled(pod)?.message.as_deref().unwrap_or("no reason is given").to_owned();
                Some(Self::Unschedulable { message })
            }
        }
    }

    /// The same thing on another node, which words it in its own way.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pull { fault, .. }, Self::Pull { fault: other, .. }) => fault == other,
            (Self::Crash { message, .. }, Self::Crash { message: other, .. }) => message == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// What the node says of the registry's container.
pub(crate) fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let mut all = pod.status.as_ref()?.container_statuses.iter().flatten();
    all.find(|container| container.name == CONTAINER)
}

fn of_container(container: &ContainerStatus) -> Option<Cause> {
    if container.ready {
        return None;
    }
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let message = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
    if let Some(fault) = Fault::of(reason, message) {
        return Some(Cause::Pull { image: container.image.clone(), fault, message: message.to_owned() });
    }
    match reason {
        // It is on its way, or the way it ended tells why it waits.
        "" | "ContainerCreating" | "PodInitializing" | "CrashLoopBackOff" => of_end(container),
        _ if is_foreign(message) => Some(Cause::Foreign { message: message.to_owned() }),
        _ => Some(Cause::Container { reason: reason.to_owned(), message: message.to_owned() }),
    }
}

/// By how its last run ended: the DaemonSet asks the kubelet to keep the end of the log.
fn of_end(container: &ContainerStatus) -> Option<Cause> {
    let ended: &ContainerStateTerminated =
        [&container.state, &container.last_state].into_iter().find_map(|state| state.as_ref()?.terminated.as_ref())?;
    if ended.reason.as_deref() == Some("OOMKilled") {
        return Some(Cause::Memory);
    }
    let words = ended.message.as_deref().unwrap_or_default().trim();
    // What it logs are objects; what it ends with is a sentence.
    let last = words.lines().rfind(|line| !line.starts_with('{')).unwrap_or_default();
    let message = last.strip_prefix("error: ").unwrap_or(last).to_owned();
    let starts = container.restart_count;
    Some(match () {
        () if words.contains("cannot listen on") && words.contains("in use") => Cause::Port { starts, message },
        () if is_foreign(words) => Cause::Foreign { message },
        // An image index of another kind, a directory of another layout, or one that is not whole.
        () if last.starts_with("error: ") && (last.contains("store") || last.contains("artifact type")) => {
            Cause::Store { message }
        }
        () => Cause::Crash { starts, code: ended.exit_code, message },
    })
}

/// Is it that the image does not have the registry's program?
fn is_foreign(message: &str) -> bool {
    message.contains("/kitbag-registry") && (message.contains("no such file") || message.contains("not found"))
}

/// The end of a sentence, if there is more to say.
pub(crate) fn after_colon(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}
