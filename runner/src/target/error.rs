//! Why there is nothing to debug, and what to do about it.

use super::list;
use crate::error::Kind;

/// Why there is no [`Target`](super::Target).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No such object.
    #[error("{what} not found in namespace `{namespace}`{}", did_you_mean(.near))]
    NotFound {
        /// What was named, ``pod `shop` ``.
        what: String,
        /// The kind's short name.
        resource: &'static str,
        /// The namespace.
        namespace: String,
        /// What may have been meant, as it would be written.
        near: Vec<String>,
    },
    /// An object that names no pods.
    #[error("{what} has no selector: it names no pods")]
    NoSelector {
        /// What was named.
        what: String,
    },
    /// A selector that selects nothing.
    #[error("{what} has no pods{}", if *.scaled_down { ": it is scaled to 0" } else { "" })]
    NoPods {
        /// What was named.
        what: String,
        /// The selector.
        selector: String,
        /// The namespace.
        namespace: String,
        /// It is not meant to have any.
        scaled_down: bool,
    },
    /// Pods of which none can be debugged.
    #[error("{} of {what} can be debugged: {}", none_of(*.total), reasons.join(", "))]
    NoneFits {
        /// What was named.
        what: String,
        /// How many pods it has.
        total: usize,
        /// What is in the way of each; the first few.
        reasons: Vec<String>,
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
    /// The container is a debug container itself.
    #[error(
        "container `{container}` of pod `{pod}` is an ephemeral container: Kubernetes lets no other be aimed at it"
    )]
    Ephemeral {
        /// The pod.
        pod: String,
        /// What was named.
        container: String,
        /// What could be named.
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
    /// The pod is a file on its node, which the API server only mirrors.
    #[error("pod `{pod}` is a static pod of node `{node}`: the API adds no containers to those")]
    Static {
        /// The pod.
        pod: String,
        /// The node.
        node: String,
    },
    /// The container has ended and will not start again.
    #[error("{}container `{container}` of pod `{pod}` has ended ({reason}) and will not start again", if *.init { "init " } else { "" })]
    Ended {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// Whether it is an init container.
        init: bool,
        /// How it ended.
        reason: String,
        /// Containers that run.
        running: Vec<String>,
    },
}

impl TargetError {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } | Self::NoSelector { .. } | Self::NoPods { .. } | Self::NoContainer { .. } => {
                Kind::NotFound
            }
            Self::NoneFits { .. }
            | Self::Ephemeral { .. }
            | Self::Finished { .. }
            | Self::Deleting { .. }
            | Self::Unscheduled { .. }
            | Self::Static { .. }
            | Self::Ended { .. } => Kind::Unfit,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { namespace, resource, .. } => {
                Some(format!("`kubectl get {resource} -n {namespace}` lists them; -n names another namespace"))
            }
            Self::NoPods { scaled_down: false, selector, namespace, .. } => {
                Some(format!("no pod of namespace `{namespace}` fits its selector `{selector}`"))
            }
            Self::Ephemeral { has, .. } => Some(format!(
                "-c names another container: {}; `kubectl kitbag attach` opens a session in a debug container",
                list(has)
            )),
            Self::Ended { running, .. } if !running.is_empty() => {
                Some(format!("-c names one that runs: {}", list(running)))
            }
            Self::Static { .. } => Some("`kubectl debug node/NAME` reaches its processes from the node".to_owned()),
            _ => None,
        }
    }
}

fn none_of(total: usize) -> String {
    if total == 1 { "no pod".to_owned() } else { format!("none of the {total} pods") }
}

fn did_you_mean(near: &[String]) -> String {
    let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(" or ")) }
}
