//! What a check has found, and how it is counted.

use serde::Serialize;

use super::facts::Fetched;

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The versions of the API server and of this program.
    Version,
    /// The connections that sessions take.
    Session,
    /// The clocks of this machine, of the API server and of nodes.
    Clock,
    /// What tells the plugin where nodes pull from.
    Discovery,
    /// The registry of each node.
    Registry,
    /// The nodes, their kubelets and container runtimes.
    Nodes,
    /// The Pod Security level of the user's namespace.
    PodSecurity,
    /// The user's permissions in that namespace.
    Rbac,
    /// The limits of that namespace.
    Quota,
    /// A real pull by a real pod.
    Pull,
}

impl Check {
    /// As it is printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Session => "session",
            Self::Clock => "clock",
            Self::Discovery => "discovery",
            Self::Registry => "registry",
            Self::Nodes => "nodes",
            Self::PodSecurity => "pod-security",
            Self::Rbac => "rbac",
            Self::Quota => "quota",
            Self::Pull => "pull",
        }
    }
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, with something to know.
    Warning,
    /// It does not work.
    Failure,
    /// It was not looked at.
    Skipped,
}

impl Status {
    /// As it is printed: a failure is seen at once, without colour too.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "FAILURE",
            Self::Skipped => "skipped",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How it is.
    pub status: Status,
    /// A sentence for people.
    pub text: String,
    /// What to do, as lines for a shell: commands, and sentences behind `# `.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: Check, text: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, text)
    }

    /// It works, but.
    pub fn warning(check: Check, text: impl Into<String>) -> Self {
        Self::new(check, Status::Warning, text)
    }

    /// It does not work.
    pub fn failure(check: Check, text: impl Into<String>) -> Self {
        Self::new(check, Status::Failure, text)
    }

    /// It was not looked at, and why.
    pub fn skipped(check: Check, text: impl Into<String>) -> Self {
        Self::new(check, Status::Skipped, text)
    }

    /// There is no answer to look at. Who may not ask loses nothing that works; a cluster that fails to answer is in trouble.
    pub(super) fn unseen<T>(check: Check, question: &Fetched<T>, permission: &str) -> Self {
        let status = if matches!(question, Fetched::Failed(_)) { Status::Warning } else { Status::Skipped };
        Self::new(check, status, question.why_not(permission))
    }

    /// With what to do.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    fn new(check: Check, status: Status, text: impl Into<String>) -> Self {
        Self { check, status, text: text.into(), fix: None }
    }
}

/// How many there are of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// As they should be.
    pub ok: usize,
    /// Warnings.
    pub warnings: usize,
    /// Failures.
    pub failures: usize,
    /// Not looked at.
    pub skipped: usize,
}

impl Summary {
    /// Counts.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Self {
        let count = |status| findings.iter().filter(|finding| finding.status == status).count();
        Self {
            ok: count(Status::Ok),
            warnings: count(Status::Warning),
            failures: count(Status::Failure),
            skipped: count(Status::Skipped),
        }
    }
}

/// The most names that a sentence has.
const NAMED: usize = 5;

/// ``node `a` ``, ``nodes `a`, `b` ``, ``nodes `a`, … and 7 more``.
pub(super) fn named<'a>(what: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    let (plural, more) = (if names.len() == 1 { "" } else { "s" }, names.len().saturating_sub(NAMED));
    let listed: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{what}{plural} {}{more}", listed.join(", "))
}

/// `1 node`, `3 nodes`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Those that fare alike, in the order in which they first come.
pub(super) fn alike<K: PartialEq, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Vec<(K, Vec<V>)> {
    let mut groups: Vec<(K, Vec<V>)> = Vec::new();
    for (key, value) in pairs {
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(value),
            None => groups.push((key, vec![value])),
        }
    }
    groups
}
