//! What the API server refuses, and what a person can do about it: a pure function of its answer.

use std::fmt;

use kube::core::Status;

use crate::error::{Error, Kind, root_cause};

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
        /// Who asked.
        user: String,
        /// The verb.
        verb: String,
        /// The resource.
        resource: String,
        /// The namespace.
        namespace: String,
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
            403 => rbac(&message, asked).or_else(|| pod_security(&message, asked)).unwrap_or(Self::Policy { message }),
            404 if asked.resource == "pods/ephemeralcontainers" => Self::TooOld,
            422 => Self::Invalid { message },
            // A webhook chooses its own status.
            400.. if message.starts_with("admission webhook ") => Self::Policy { message },
            code => Self::Other { code, message },
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Rbac { .. } | Self::Unauthorized { .. } => Kind::Forbidden,
            Self::PodSecurity { .. } | Self::Policy { .. } | Self::Invalid { .. } => Kind::Policy,
            Self::TooOld | Self::Other { .. } => Kind::Cluster,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Rbac { verb, resource, namespace, .. } => {
                // Over a WebSocket an exec is a `get`, which newer servers want to be allowed as a `create` too.
                let verbs =
                    if resource == "pods/exec" { "\"create\", \"get\"".to_owned() } else { format!("\"{verb}\"") };
                Some(format!(
                    "ask for a Role in `{namespace}` with this rule:\n  - apiGroups: [\"\"]\n    resources: [\"{resource}\"]\n    verbs: [{verbs}]"
                ))
            }
            Self::PodSecurity { ours, namespace, level, .. } if ours.is_empty() => Some(format!(
                "no debug container can be added to this pod while `{namespace}` enforces `{level}`; a copy of the pod in another namespace can be debugged"
            )),
            Self::PodSecurity { reasons, .. } => Some(format!(
                "the tools ask for {reasons}; fewer tools may ask for less. The level is the label `pod-security.kubernetes.io/enforce` of the namespace"
            )),
            Self::Unauthorized { .. } => Some("log in to the cluster again".to_owned()),
            Self::TooOld => Some("ephemeral containers came with Kubernetes 1.25".to_owned()),
            Self::Policy { .. } | Self::Invalid { .. } | Self::Other { .. } => None,
        }
    }
}

/// An error of the client: a refusal, or no answer at all.
pub(crate) fn explain(error: &kube::Error, asked: Asked<'_>) -> Error {
    match error {
        kube::Error::Api(status) => Refusal::new(status, asked).into(),
        error => Error::Unreachable(root_cause(error)),
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rbac { user, verb, resource, namespace } => {
                write!(f, "user `{user}` may not {verb} `{resource}` in namespace `{namespace}`")
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
            Self::Invalid { message } => write!(f, "the cluster takes the debug container for invalid: {message}"),
            Self::Unauthorized { message } => write!(f, "the cluster does not know who asks: {message}"),
            Self::TooOld => f.write_str("the cluster has no ephemeral containers"),
            Self::Other { code, message } => write!(f, "the cluster refuses with status {code}: {message}"),
        }
    }
}

fn lines(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("\n  {reason}")).collect()
}

/// `pods "shop" is forbidden: User "jane" cannot patch resource "pods/ephemeralcontainers" in API group "" in the
/// namespace "web"`. What the text leaves out is what was asked for.
fn rbac(message: &str, asked: Asked<'_>) -> Option<Refusal> {
    let (_, after) = message.split_once("User \"")?;
    let (user, after) = after.split_once("\" cannot ")?;
    let (verb, after) = after.split_once(" resource \"").unwrap_or((asked.verb, ""));
    let resource = after.split_once('"').map_or(asked.resource, |(resource, _)| resource);
    Some(Refusal::Rbac {
        user: user.to_owned(),
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        namespace: asked.namespace.to_owned(),
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASKED: Asked<'_> = Asked {
        namespace: "web",
        verb: "patch",
        resource: "pods/ephemeralcontainers",
        container: "kitbag-b2c4d",
        reasons: "NET_RAW, SYS_PTRACE (strace: target-attach; tcpdump: raw-socket)",
    };

    fn text(code: u16, message: &str) -> String {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        let refusal = Refusal::new(&status, ASKED);
        format!(
            "{refusal}\nhint: {}\nexit code: {}",
            refusal.hint().unwrap_or("none".into()),
            refusal.kind().exit_code()
        )
    }

    #[test]
    fn a_missing_permission_is_named_with_the_rule_to_ask_for() {
        insta::assert_snapshot!(text(
            403,
            r#"pods "shop" is forbidden: User "jane" cannot patch resource "pods/ephemeralcontainers" in API group "" in the namespace "web""#,
        ), @r#"
        user `jane` may not patch `pods/ephemeralcontainers` in namespace `web`
        hint: ask for a Role in `web` with this rule:
          - apiGroups: [""]
            resources: ["pods/ephemeralcontainers"]
            verbs: ["patch"]
        exit code: 77
        "#);
    }

    #[test]
    fn the_level_of_a_namespace_is_named_with_the_reasons_that_are_ours() {
        insta::assert_snapshot!(text(
            403,
            r#"pods "shop" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities (container "kitbag-b2c4d" must not include "NET_RAW", "SYS_PTRACE" in securityContext.capabilities.add)"#,
        ), @r#"
        namespace `web` enforces the Pod Security level `baseline:latest`, which refuses the debug container:
          non-default capabilities (container "kitbag-b2c4d" must not include "NET_RAW", "SYS_PTRACE" in securityContext.capabilities.add)
        hint: the tools ask for NET_RAW, SYS_PTRACE (strace: target-attach; tcpdump: raw-socket); fewer tools may ask for less. The level is the label `pod-security.kubernetes.io/enforce` of the namespace
        exit code: 73
        "#);
    }

    #[test]
    fn reasons_of_the_pods_own_containers_stand_apart() {
        insta::assert_snapshot!(text(
            403,
            r#"pods "shop" is forbidden: violates PodSecurity "baseline:v1.30": host namespaces (hostNetwork=true, hostPID=true), privileged (container "app" must not set securityContext.privileged=true), non-default capabilities (containers "app", "kitbag-b2c4d" must not include "NET_RAW" in securityContext.capabilities.add)"#,
        ), @r#"
        namespace `web` enforces the Pod Security level `baseline:v1.30`, which refuses the debug container:
          non-default capabilities (containers "app", "kitbag-b2c4d" must not include "NET_RAW" in securityContext.capabilities.add)
        and the pod itself:
          host namespaces (hostNetwork=true, hostPID=true)
          privileged (container "app" must not set securityContext.privileged=true)
        hint: the tools ask for NET_RAW, SYS_PTRACE (strace: target-attach; tcpdump: raw-socket); fewer tools may ask for less. The level is the label `pod-security.kubernetes.io/enforce` of the namespace
        exit code: 73
        "#);
    }

    #[test]
    fn a_pod_that_violates_its_level_itself_cannot_be_helped() {
        insta::assert_snapshot!(text(
            403,
            r#"pods "shop" is forbidden: violates PodSecurity "baseline:latest": privileged (container "app" must not set securityContext.privileged=true)"#,
        ), @r#"
        namespace `web` enforces the Pod Security level `baseline:latest`, which refuses the pod itself:
          privileged (container "app" must not set securityContext.privileged=true)
        hint: no debug container can be added to this pod while `web` enforces `baseline:latest`; a copy of the pod in another namespace can be debugged
        exit code: 73
        "#);
    }

    #[test]
    fn everything_else_is_said_in_the_servers_words() {
        let texts = [
            text(403, r#"admission webhook "policy.example" denied the request: no debugging on Fridays"#),
            text(400, r#"admission webhook "policy.example" denied the request: no debugging on Fridays"#),
            text(422, r#"Pod "shop" is invalid: spec.ephemeralContainers[0].targetContainerName: Not found: "nope""#),
            text(401, "Unauthorized"),
            text(404, "the server could not find the requested resource"),
            text(500, "etcdserver: request timed out"),
        ];
        insta::assert_snapshot!(texts.join("\n\n"), @r#"
        a policy of the cluster refuses the debug container: admission webhook "policy.example" denied the request: no debugging on Fridays
        hint: none
        exit code: 73

        a policy of the cluster refuses the debug container: admission webhook "policy.example" denied the request: no debugging on Fridays
        hint: none
        exit code: 73

        the cluster takes the debug container for invalid: Pod "shop" is invalid: spec.ephemeralContainers[0].targetContainerName: Not found: "nope"
        hint: none
        exit code: 73

        the cluster does not know who asks: Unauthorized
        hint: log in to the cluster again
        exit code: 77

        the cluster has no ephemeral containers
        hint: ephemeral containers came with Kubernetes 1.25
        exit code: 69

        the cluster refuses with status 500: etcdserver: request timed out
        hint: none
        exit code: 69
        "#);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(code in 0_u16..600, message in "[a-z (),\"]{0,60}|violates PodSecurity \"\\PC{0,40}|User \"\\PC{0,40}") {
            let _ = text(code, &message);
        }
    }
}
