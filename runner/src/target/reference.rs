//! What a TARGET on the command line names: a parser, without a cluster.

use std::fmt;
use std::str::FromStr;

/// A kind of object that is a pod or has pods, under kubectl's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// `pod`
    Pod,
    /// `deploy`
    Deployment,
    /// `sts`
    StatefulSet,
    /// `ds`
    DaemonSet,
    /// `rs`
    ReplicaSet,
    /// `job`
    Job,
    /// `svc`
    Service,
}

/// One object, or what a label selector selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `NAME`, `pod/NAME`, `deploy/NAME`, ...
    Object {
        /// Its kind.
        kind: Workload,
        /// Its name.
        name: String,
    },
    /// A label selector.
    Selector(String),
}

/// Why a text is not a [`Reference`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A kind that has no pods, or none that is known here.
    #[error("`{kind}` is not a kind that can be debugged; these are: {}", Workload::ALL.map(Workload::short).join(", "))]
    Kind {
        /// What was named.
        kind: String,
    },
    /// No name of an object.
    #[error("`{name}` is not a name in Kubernetes: small letters, digits, `-` and `.` may stand in one")]
    Name {
        /// What was named.
        name: String,
    },
    /// A selector of everything.
    #[error("the selector is empty: it would select every pod of the namespace")]
    EmptySelector,
}

/// Longest name of an object, in bytes: a DNS subdomain.
const LONGEST_NAME: usize = 253;

impl Workload {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Pod, Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::ReplicaSet, Self::Job, Self::Service];

    /// The short name, as it stands before a `/`.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Deployment => "deploy",
            Self::StatefulSet => "sts",
            Self::DaemonSet => "ds",
            Self::ReplicaSet => "rs",
            Self::Job => "job",
            Self::Service => "svc",
        }
    }

    /// The resource, as RBAC and URLs name it.
    #[must_use]
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
            Self::ReplicaSet => "replicasets",
            Self::Job => "jobs",
            Self::Service => "services",
        }
    }

    /// The API group, empty for the first one.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Pod | Self::Service => "",
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::ReplicaSet => "apps",
            Self::Job => "batch",
        }
    }

    /// The kind of an owner reference.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
            Self::Service => "Service",
        }
    }

    /// `deploy`, `deployment`, `deployments`, with `.apps` or `.v1.apps` or without, in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let (name, group) = lower.split_once('.').map_or((lower.as_str(), None), |(name, group)| (name, Some(group)));
        let is = |kind: &Self| {
            let resource = kind.resource();
            let shorter = if *kind == Self::Pod { "po" } else { kind.short() };
            let named = name == resource || resource.strip_suffix('s') == Some(name) || name == shorter;
            let own = |group: &str| {
                let group = group.strip_prefix("v1").map_or(group, |rest| rest.strip_prefix('.').unwrap_or(rest));
                group == kind.group()
            };
            named && group.is_none_or(own)
        };
        Self::ALL.into_iter().find(is)
    }
}

impl Reference {
    /// The pod's name, where a pod is named.
    #[must_use]
    pub fn pod(&self) -> Option<&str> {
        match self {
            Self::Object { kind: Workload::Pod, name } => Some(name),
            Self::Object { .. } | Self::Selector(_) => None,
        }
    }

    /// What a label selector selects.
    ///
    /// # Errors
    /// [`ReferenceError::EmptySelector`]. Whether it is well formed is for the API server to say.
    pub fn selector(text: &str) -> Result<Self, ReferenceError> {
        let text = text.trim();
        if text.is_empty() { Err(ReferenceError::EmptySelector) } else { Ok(Self::Selector(text.to_owned())) }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (kind, name) = match text.split_once('/') {
            None => (Workload::Pod, text),
            Some((kind, name)) => {
                (Workload::parse(kind).ok_or_else(|| ReferenceError::Kind { kind: kind.to_owned() })?, name)
            }
        };
        // It becomes a part of a URL.
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        let bytes = name.as_bytes();
        if name.len() > LONGEST_NAME || !edge(bytes.first()) || !edge(bytes.last()) || !bytes.iter().all(|b| inner(*b))
        {
            return Err(ReferenceError::Name { name: name.to_owned() });
        }
        Ok(Self::Object { kind, name: name.to_owned() })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { kind, name } => write!(f, "{}/{name}", kind.short()),
            Self::Selector(selector) => write!(f, "-l {selector}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kubectls_names_of_kinds_are_understood() {
        for (text, canonical) in [
            ("shop", "pod/shop"),
            ("po/shop", "pod/shop"),
            ("pod/shop", "pod/shop"),
            ("pods/shop-7c9.x", "pod/shop-7c9.x"),
            ("pods.v1/shop", "pod/shop"),
            ("deploy/shop", "deploy/shop"),
            ("deployment/shop", "deploy/shop"),
            ("deployments/shop", "deploy/shop"),
            ("deployment.apps/shop", "deploy/shop"),
            ("deployments.v1.apps/shop", "deploy/shop"),
            ("Deployment/shop", "deploy/shop"),
            ("sts/db", "sts/db"),
            ("statefulset.apps/db", "sts/db"),
            ("ds/log", "ds/log"),
            ("daemonsets/log", "ds/log"),
            ("rs/shop-7c9", "rs/shop-7c9"),
            ("replicasets.apps/shop-7c9", "rs/shop-7c9"),
            ("job/import", "job/import"),
            ("jobs.batch/import", "job/import"),
            ("svc/shop", "svc/shop"),
            ("services/shop", "svc/shop"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        let long = "a".repeat(LONGEST_NAME + 1);
        let texts = ["cronjob/x", "deploy.batch/x", "/x", "pod/", "", "pod/a/b", "Shop", "..", "-n", "a_b", &long];
        let errors = texts.map(|text| text.parse::<Reference>().unwrap_err().to_string());
        insta::assert_snapshot!(errors.map(|error| error.chars().take(120).collect::<String>()).join("\n"), @r"
        `cronjob` is not a kind that can be debugged; these are: pod, deploy, sts, ds, rs, job, svc
        `deploy.batch` is not a kind that can be debugged; these are: pod, deploy, sts, ds, rs, job, svc
        `` is not a kind that can be debugged; these are: pod, deploy, sts, ds, rs, job, svc
        `` is not a name in Kubernetes: small letters, digits, `-` and `.` may stand in one
        `` is not a name in Kubernetes: small letters, digits, `-` and `.` may stand in one
        `a/b` is not a name in Kubernetes: small letters, digits, `-` and `.` may stand in one
        `Shop` is not a name in Kubernetes: small letters, digits, `-` and `.` may stand in one
        `..` is not a name in Kubernetes: small letters, digits, `-` and `.` may stand in one
        `-n` is not a name in Kubernetes: small letters, digits, `-` and `.` may stand in one
        `a_b` is not a name in Kubernetes: small letters, digits, `-` and `.` may stand in one
        `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        ");
        assert_eq!(Reference::selector(" "), Err(ReferenceError::EmptySelector));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_what_is_read(text in "((po|sts|deployments|jobs.batch)/)?[a-z0-9.-]{1,12}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>(), Ok(reference));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}") {
            let _ = text.parse::<Reference>();
        }
    }
}
