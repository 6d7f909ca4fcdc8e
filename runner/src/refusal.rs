//! What the API server refuses, and what a person can do about it: a pure function of its answer.

use std::fmt;
use std::time::Duration;

use kube::core::Status;

use crate::error::{Error, Kind, root_cause};
use crate::kubernetes::{POD_SECURITY, TOO_OLD};

/// What was asked for, to explain a refusal.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The RBAC verb.
    pub verb: &'a str,
    /// The RBAC resource, `pods/exec`.
    pub resource: &'a str,
    /// Our container, where there is one yet.
    pub container: &'a str,
    /// What the container asks for and why, for people.
    pub reasons: &'a str,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A permission is missing.
    Rbac {
        /// Who asked; empty where the server does not say.
        user: String,
        /// The verb.
        verb: String,
        /// The API group; the core one is empty.
        group: Box<str>,
        /// The resource.
        resource: String,
        /// The namespace; none where it is about the whole cluster.
        namespace: Option<Box<str>>,
    },
    /// Pod Security admission.
    PodSecurity {
        /// Level and version, `baseline:latest`.
        level: String,
        /// The namespace.
        namespace: String,
        /// Reasons that name our container.
        ours: Vec<String>,
        /// Reasons that name the pod's own containers, or the pod.
        others: Vec<String>,
        /// What our container asks for and why.
        reasons: String,
    },
    /// Another admission plugin or webhook, in its own words.
    Policy {
        /// Its words.
        message: String,
    },
    /// A quota or a limit of the namespace.
    Quota {
        /// The server's words.
        message: String,
        /// The namespace.
        namespace: String,
    },
    /// A webhook that has to be asked does not answer.
    WebhookDown {
        /// The server's words.
        message: String,
    },
    /// A webhook takes no part in a dry run.
    NoDryRun {
        /// Its words.
        message: String,
    },
    /// The pod is gone.
    NoPod {
        /// The server's words.
        message: String,
    },
    /// The container is not valid.
    Invalid {
        /// The server's words.
        message: String,
    },
    /// The server does not know who asks.
    Unauthorized {
        /// The server's words.
        message: String,
    },
    /// The server has no ephemeral containers.
    TooOld,
    /// No WebSocket gets through, which every session is.
    NoUpgrade {
        /// How it shows.
        message: String,
    },
    /// Anything else.
    Other {
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
}

impl Refusal {
    /// Explains the answer to what was asked.
    #[must_use]
    pub fn new(status: &Status, asked: Asked<'_>) -> Self {
        let message = status.message.clone();
        match status.code {
            401 => Self::Unauthorized { message },
            // A webhook chooses its own status.
            _ if message.contains("does not support dry run") => Self::NoDryRun { message },
            _ if message.contains("failed calling webhook") => Self::WebhookDown { message },
            400.. if message.starts_with("admission webhook ") => Self::Policy { message },
            403 => forbidden(message, asked),
            404 if message.starts_with("pods \"") => Self::NoPod { message },
            404 if asked.resource == "pods/ephemeralcontainers" => Self::TooOld,
            422 => Self::Invalid { message },
            // Its own words for a session that was not asked for as one.
            400 if message.contains("Upgrade request required") => Self::NoUpgrade { message },
            code => Self::Other { code, message },
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Rbac { .. } | Self::Unauthorized { .. } => Kind::Forbidden,
            Self::PodSecurity { .. }
            | Self::Policy { .. }
            | Self::Quota { .. }
            | Self::NoDryRun { .. }
            | Self::Invalid { .. } => Kind::Policy,
            Self::NoPod { .. } => Kind::NotFound,
            Self::TooOld | Self::NoUpgrade { .. } | Self::WebhookDown { .. } | Self::Other { .. } => Kind::Cluster,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Rbac { verb, group, resource, namespace, .. } => {
                // Over a WebSocket an exec is a `get`, which newer servers want to be permitted as a `create` too.
                let verbs =
                    if resource == "pods/exec" { "\"create\", \"get\"".to_owned() } else { format!("\"{verb}\"") };
                let role = match namespace {
                    Some(namespace) => format!("a Role in `{namespace}`"),
                    None => "a ClusterRole".to_owned(),
                };
                Some(format!(
                    "ask for {role} with this rule:\n  - apiGroups: [\"{group}\"]\n    resources: [\"{resource}\"]\n    verbs: [{verbs}]"
                ))
            }
            Self::PodSecurity { ours, namespace, level, .. } if ours.is_empty() => Some(format!(
                "no debug container can be added to this pod while `{namespace}` enforces `{level}`; a copy of the pod in another namespace can be debugged"
            )),
            Self::PodSecurity { reasons, .. } => Some(format!(
                "the tools ask for {reasons}; fewer tools may ask for less. The level is the label `{POD_SECURITY}` of the namespace"
            )),
            Self::Unauthorized { .. } => Some("log in to the cluster again".to_owned()),
            Self::TooOld => Some(TOO_OLD.to_owned()),
            Self::NoUpgrade { .. } => Some(
                "the proxy has to pass WebSockets on, or is gone around with $NO_PROXY; `kubectl kitbag doctor` checks it"
                    .to_owned(),
            ),
            Self::Quota { namespace, .. } => {
                Some(format!("`kubectl describe resourcequota,limitrange -n {namespace}` shows what is left"))
            }
            Self::WebhookDown { .. } => Some(
                "every change to pods here waits for that webhook: whoever runs it has to bring it back".to_owned(),
            ),
            Self::NoDryRun { .. } => Some("--dry-run=client prints what would be sent, without asking".to_owned()),
            Self::NoPod { .. } => Some("it was there a moment ago: its successor has another name".to_owned()),
            Self::Policy { .. } | Self::Invalid { .. } | Self::Other { .. } => None,
        }
    }
}

/// What explains best that every candidate was refused: what has the fewest reasons, and of those the last, which asks
/// for least. `refusals` are in the order in which candidates were tried.
#[must_use]
pub fn best(refusals: Vec<Refusal>) -> Option<Refusal> {
    let reasons = |refusal: &Refusal| match refusal {
        Refusal::PodSecurity { ours, others, .. } => ours.len() + others.len(),
        _ => 1,
    };
    refusals.into_iter().rev().min_by_key(reasons)
}

/// An error of the client: a refusal, or no answer at all.
pub(crate) fn explain(error: &kube::Error, asked: Asked<'_>) -> Error {
    match error {
        kube::Error::Api(status) => Refusal::new(status, asked).into(),
        kube::Error::UpgradeConnection(error) => Refusal::NoUpgrade { message: error.to_string() }.into(),
        error => Error::Unreachable(root_cause(error)),
    }
}

/// Whether it will pass by itself: no connection, or a server that starts, ends or is busy.
pub(crate) fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => is_passing_code(status.code),
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => true,
        _ => false,
    }
}

/// The same for the status of an answer.
pub(crate) const fn is_passing_code(code: u16) -> bool {
    matches!(code, 429 | 500 | 502 | 503 | 504)
}

/// When the server wants to be asked again, if it says.
pub(crate) fn retry_after(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else { return None };
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rbac { user, verb, resource, namespace, .. } => {
                let user = if user.is_empty() { "the user".to_owned() } else { format!("user `{user}`") };
                write!(f, "{user} may not {verb} `{resource}`")?;
                match namespace {
                    Some(namespace) => write!(f, " in namespace `{namespace}`"),
                    None => f.write_str(" in this cluster"),
                }
            }
            Self::PodSecurity { level, namespace, ours, others, .. } => {
                write!(f, "namespace `{namespace}` enforces the Pod Security level `{level}`, which refuses ")?;
                if !ours.is_empty() {
                    write!(f, "the debug container:{}", lines(ours))?;
                }
                match (ours.is_empty(), others.is_empty()) {
                    (_, true) => Ok(()),
                    (true, false) => write!(f, "the pod itself:{}", lines(others)),
                    (false, false) => write!(f, "\nand the pod itself:{}", lines(others)),
                }
            }
            Self::Policy { message } => write!(f, "a policy of the cluster refuses the debug container: {message}"),
            Self::Quota { message, .. } => {
                write!(f, "a limit of the namespace refuses the debug container: {message}")
            }
            Self::WebhookDown { message } => write!(f, "a webhook of the cluster does not answer: {message}"),
            Self::NoDryRun { message } => write!(f, "it can't be tried out in this cluster: {message}"),
            Self::NoPod { message } => write!(f, "the pod is gone: {message}"),
            Self::Invalid { message } => write!(f, "the cluster takes the debug container for invalid: {message}"),
            Self::Unauthorized { message } => write!(f, "the cluster does not know who asks: {message}"),
            Self::TooOld => f.write_str("the cluster has no ephemeral containers"),
            Self::NoUpgrade { message } => write!(
                f,
                "no WebSocket gets through: a proxy between this machine and the API server takes away the headers `Connection` and `Upgrade` ({message})"
            ),
            Self::Other { code, message } => write!(f, "the cluster refuses with status {code}: {message}"),
        }
    }
}

fn lines(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("\n  {reason}")).collect()
}

fn forbidden(message: String, asked: Asked<'_>) -> Refusal {
    let known = rbac(&message, asked).or_else(|| pod_security(&message, asked)).or_else(|| upgrade(&message, asked));
    let is_limit =
        || message.contains("exceeded quota") || message.contains("failed quota") || message.contains(" usage per ");
    match known {
        Some(refusal) => refusal,
        None if is_limit() => Refusal::Quota { message, namespace: asked.namespace.to_owned() },
        None => Refusal::Policy { message },
    }
}

/// `pods "shop" is forbidden: User "jane" cannot patch resource "pods/ephemeralcontainers" in API group "" in the
/// namespace "web"`. What the text leaves out is what was asked for.
fn rbac(message: &str, asked: Asked<'_>) -> Option<Refusal> {
    let (_, after) = message.split_once("User \"")?;
    let (user, after) = after.split_once("\" cannot ")?;
    let (verb, after) = after.split_once(" resource \"").unwrap_or((asked.verb, ""));
    let resource = after.split_once('"').map_or(asked.resource, |(resource, _)| resource);
    let group = after.split_once("in API group \"").and_then(|(_, after)| after.split_once('"'));
    Some(Refusal::Rbac {
        user: user.to_owned(),
        verb: verb.to_owned(),
        group: group.map(|(group, _)| group.into()).unwrap_or_default(),
        resource: resource.to_owned(),
        namespace: (!after.contains("at the cluster scope")).then(|| asked.namespace.into()),
    })
}

/// `pods "shop" is forbidden: ` and nothing more: since 1.35 who opens a session over a WebSocket must be permitted to
/// `create` it, and that check gives no reason.
fn upgrade(message: &str, asked: Asked<'_>) -> Option<Refusal> {
    let is_session = matches!(asked.resource, "pods/exec" | "pods/attach");
    (is_session && message.trim_end().ends_with("is forbidden:")).then(|| Refusal::Rbac {
        user: String::new(),
        verb: "create".to_owned(),
        group: Box::default(),
        resource: asked.resource.to_owned(),
        namespace: Some(asked.namespace.into()),
    })
}

/// `pods "shop" is forbidden: violates PodSecurity "baseline:latest": REASON (container "x" must ...), REASON ...`.
fn pod_security(message: &str, asked: Asked<'_>) -> Option<Refusal> {
    let (_, after) = message.split_once("violates PodSecurity \"")?;
    let (level, reasons) = after.split_once("\": ")?;
    let ours = format!("\"{}\"", asked.container);
    let (ours, others) = split(reasons).into_iter().partition(|reason| reason.contains(&ours));
    Some(Refusal::PodSecurity {
        level: level.to_owned(),
        namespace: asked.namespace.to_owned(),
        ours,
        others,
        reasons: asked.reasons.to_owned(),
    })
}

/// The reasons, which are divided by commas outside parentheses.
fn split(text: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let parts = text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests;
