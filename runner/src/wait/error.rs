//! Why the container does not run, and what to do about it.

use std::fmt;

use super::state::{Nature, Reason};
use crate::error::Kind;

/// The wait has ended without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitError {
    /// Why.
    pub cause: Box<Cause>,
    /// What the node says about the container, the newest last.
    pub events: Vec<String>,
}

/// Why the container does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The node cannot get the image.
    #[error("the node cannot pull the image ({reason}): {message}")]
    Pull {
        /// `ErrImagePull` or alike.
        reason: String,
        /// The node's words.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The node cannot make the container.
    #[error("the node cannot make the debug container ({reason}): {message}")]
    Config {
        /// `CreateContainerConfigError`.
        reason: String,
        /// The node's words.
        message: String,
    },
    /// The first process cannot be started.
    #[error("the node cannot start the debug container ({reason}): {message}")]
    Start {
        /// `RunContainerError` or alike.
        reason: String,
        /// The node's words.
        message: String,
    },
    /// The container has ended.
    #[error("the debug container has ended at once ({reason}): {message}")]
    Ended {
        /// How.
        reason: String,
        /// Its last words.
        message: String,
    },
    /// The container whose processes it shares has ended.
    #[error("container `{target}` has ended and took the debug container along")]
    TargetEnded {
        /// The target container.
        target: String,
    },
    /// The pod has ended or is gone.
    #[error("pod `{pod}` has ended while the debug container was starting")]
    PodGone {
        /// The pod.
        pod: String,
    },
    /// The pod is going.
    #[error("pod `{pod}` is being deleted: the debug container will not start")]
    PodDeleted {
        /// The pod.
        pod: String,
    },
    /// It took too long.
    #[error("the debug container has not started within {seconds} s: {}", reason.text)]
    Timeout {
        /// The limit.
        seconds: u64,
        /// What it was waiting for.
        reason: Reason,
    },
}

impl std::error::Error for WaitError {}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        if !self.events.is_empty() {
            f.write_str("\nthe node's events:")?;
        }
        self.events.iter().try_for_each(|event| write!(f, "\n  {event}"))
    }
}

impl WaitError {
    pub(crate) fn kind(&self) -> Kind {
        match *self.cause {
            Cause::Pull { .. } | Cause::Config { .. } | Cause::Start { .. } | Cause::Ended { .. } => Kind::Start,
            Cause::TargetEnded { .. } | Cause::PodGone { .. } | Cause::PodDeleted { .. } => Kind::Unfit,
            Cause::Timeout { .. } => Kind::Timeout,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match &*self.cause {
            Cause::Pull { hint, .. } => Some(hint.clone()),
            Cause::Config { message, .. } => Some(config_hint(message).to_owned()),
            Cause::Start { message, .. } => start_hint(message).map(str::to_owned),
            Cause::TargetEnded { .. } => Some("the same command again begins with its next start".to_owned()),
            Cause::Timeout { reason, .. } => Some(timeout_hint(reason)),
            Cause::Ended { .. } | Cause::PodGone { .. } | Cause::PodDeleted { .. } => None,
        }
    }
}

fn config_hint(message: &str) -> &'static str {
    if message.contains("non-root") || message.contains("runAsNonRoot") {
        "the pod wants no root: --as-user UID says as whom the debug container runs, --profile restricted takes the target's user"
    } else if message.contains("not supported by the runtime") {
        "--no-volumes leaves out the target's volumes"
    } else {
        "--no-env leaves out the target's environment"
    }
}

fn start_hint(message: &str) -> Option<&'static str> {
    if message.contains("exec format error") {
        Some("the image is for another architecture than the node's")
    } else if message.contains("no such file") || message.contains("not found") {
        Some("an image for debugging has `/usr/bin/kitbag-init`: --image takes one that a kitbag registry composed")
    } else {
        None
    }
}

fn timeout_hint(reason: &Reason) -> String {
    if let Some(hint) = &reason.hint {
        return hint.clone();
    }
    match reason.nature {
        Nature::Silent => {
            "the node has not said anything about it: is it ready (`kubectl get nodes`)? Kubelets before 1.23 can't do this"
        }
        Nature::Making => "what has been pulled stays on the node: the same command again goes on from there; --timeout waits longer",
        Nature::Between => "`kubectl logs --previous` tells why the container ends; --timeout waits longer",
        Nature::Away => "check the connection: `kubectl get --raw /readyz`",
        Nature::Pull(_) | Nature::Other => "`kubectl describe pod` has the events; --timeout waits longer",
    }
    .to_owned()
}
