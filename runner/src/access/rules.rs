//! What each command needs of the API, in RBAC's terms: the one table, which is checked before a pod is touched and
//! printed by `rbac`.

use crate::target::{Reference, Workload};

/// A permission, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The API group; the core one is empty.
    pub group: &'static str,
    /// The resource, `pods/exec`.
    pub resource: &'static str,
    /// The verbs, all of which are needed.
    pub verbs: &'static [&'static str],
    /// It is asked for on the one pod: a rule that names this pod is enough.
    pub of_the_pod: bool,
    /// What it is for.
    pub why: &'static str,
    /// What is done without it.
    pub without: Without,
}

/// What is done without a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// Nothing.
    Fails,
    /// The same, with something less.
    Loses(&'static str),
    /// The same in another way, which takes another permission.
    Takes(&'static Rule, &'static str),
}

/// What a command line does, as far as permissions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// `debug`.
    Debug(Found),
    /// `list`.
    List(Found),
    /// `attach`.
    Attach(Found),
    /// `end`.
    End(Found),
}

/// How the pod is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// By its name.
    Pod,
    /// Among all of the namespace, or those that a selector selects.
    Pods,
    /// By what it belongs to.
    Of(Workload),
}

const POD: Rule = Rule {
    group: "",
    resource: "pods",
    verbs: &["get"],
    of_the_pod: true,
    why: "reads the pod and its containers",
    without: Without::Fails,
};

const PODS: Rule = Rule { verbs: &["list"], of_the_pod: false, why: "finds the pods that are meant", ..POD };

/// The start of a container is seen at once.
pub const WATCH: Rule = Rule {
    verbs: &["watch"],
    why: "sees at once what becomes of the debug container",
    without: Without::Takes(&POD, "the pod is asked for once a second"),
    ..POD
};

/// A container is added.
pub const ADD: Rule =
    Rule { resource: "pods/ephemeralcontainers", verbs: &["patch"], why: "adds the debug container", ..POD };

/// Sessions are execs.
pub const EXEC: Rule = Rule {
    resource: "pods/exec",
    // Over a WebSocket an exec is a `get`, which servers since 1.35 want to be permitted as a `create` too.
    verbs: &["create", "get"],
    why: "opens sessions in the debug container",
    without: Without::Takes(
        &ATTACH,
        "the debug container has one session only, ends with it, and its output stands in the container's log",
    ),
    ..POD
};

/// The one session of a container is an attach.
pub const ATTACH: Rule = Rule {
    resource: "pods/attach",
    verbs: &["create", "get"],
    why: "opens the one session of the debug container",
    ..POD
};

/// A session of an existing container, which was made for execs.
const ENTER: Rule = Rule { without: Without::Fails, ..EXEC };

const STATUS: Rule = Rule {
    why: "asks the debug containers how many sessions they have, and how long they have been idle",
    without: Without::Loses("that is not shown"),
    ..EXEC
};

/// An event is left on the pod.
pub const TRACE: Rule = Rule {
    resource: "events",
    verbs: &["create"],
    of_the_pod: false,
    why: "leaves a trace on the pod: who debugs it, with what and why",
    without: Without::Loses("no event is left on the pod"),
    ..POD
};

/// The pod's events are read.
pub const EVENTS: Rule = Rule {
    verbs: &["list"],
    why: "tells what the node says when a debug container does not start",
    without: Without::Loses("what the node says is not shown"),
    ..TRACE
};

/// The pod's events are followed.
pub const STARTED: Rule = Rule {
    verbs: &["watch"],
    why: "sees the start of a debug container when the node tells of it",
    without: Without::Loses("the start is seen up to a second later"),
    ..TRACE
};

impl Doing {
    /// What it needs, the indispensable first.
    #[must_use]
    pub fn rules(self) -> Vec<Rule> {
        match self {
            Self::Debug(found) => [found.rules().as_slice(), &[ADD, EXEC, WATCH, TRACE, EVENTS, STARTED]].concat(),
            Self::List(found) => [found.rules().as_slice(), &[STATUS]].concat(),
            Self::Attach(found) => [found.rules().as_slice(), &[ENTER, TRACE]].concat(),
            Self::End(Found::Pod) => vec![POD, ENTER, WATCH],
            Self::End(found) => [found.rules().as_slice(), &[ENTER, POD, WATCH]].concat(),
        }
    }
}

impl Found {
    /// How what `reference` means is found.
    #[must_use]
    pub fn of(reference: &Reference) -> Self {
        match reference {
            Reference::Selector(_) => Self::Pods,
            Reference::Object { kind: Workload::Pod, .. } => Self::Pod,
            Reference::Object { kind, .. } => Self::Of(*kind),
        }
    }

    fn rules(self) -> Vec<Rule> {
        match self {
            Self::Pod => vec![POD],
            Self::Pods => vec![PODS],
            Self::Of(kind) => vec![owner(kind), PODS],
        }
    }
}

/// What a pod belongs to is read.
const fn owner(kind: Workload) -> Rule {
    let (group, resource) = match kind {
        Workload::Pod => ("", "pods"),
        Workload::Deployment => ("apps", "deployments"),
        Workload::StatefulSet => ("apps", "statefulsets"),
        Workload::DaemonSet => ("apps", "daemonsets"),
        Workload::ReplicaSet => ("apps", "replicasets"),
        Workload::Job => ("batch", "jobs"),
        Workload::Service => ("", "services"),
    };
    Rule { group, resource, of_the_pod: false, why: "reads which pods belong to it", ..POD }
}

impl Rule {
    /// As an item of a Role's `rules`, each line indented.
    #[must_use]
    pub fn yaml(&self, indent: &str) -> String {
        let Self { group, resource, .. } = self;
        let verbs: Vec<String> = self.verbs.iter().map(|verb| format!("\"{verb}\"")).collect();
        let verbs = verbs.join(", ");
        format!(
            "{indent}- apiGroups: [\"{group}\"]\n{indent}  resources: [\"{resource}\"]\n{indent}  verbs: [{verbs}]\n"
        )
    }
}
