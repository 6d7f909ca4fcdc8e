//! Debug containers that are there already: which one is meant, what they are busy with, and their end. What a pod says of
//! them is in [`crate::reentry`]; here they are asked.

use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kitbag_toolsets::Catalog;
use kube::Client;
use tokio::time::timeout;

use crate::error::{Error, Kind};
use crate::reentry::{self, Condition};
use crate::session::{Ending, Place, ask, ending};

mod activity;
pub mod table;

pub use crate::reentry::Debugger;
pub use activity::Activity;

/// How many containers are asked at most, all at once.
const ASKED: usize = 10;
/// How long one may take to say what it is busy with.
const ANSWER: Duration = Duration::from_secs(3);
/// How long one may take to end.
const END: Duration = Duration::from_secs(20);
/// The command of those who name none.
const SHELL: &str = "sh";

/// A debug container, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub debugger: Debugger,
    /// What it is busy with, where that is known.
    pub activity: Option<Activity>,
}

/// Why there is no debug container to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoundError {
    /// None runs.
    #[error("no debug container runs in pod `{pod}`{}", beside.as_ref().map(|it| format!(" beside container `{it}`")).unwrap_or_default())]
    None {
        /// The pod.
        pod: String,
        /// The container that it should be beside.
        beside: Option<String>,
    },
    /// The one that is named does not run.
    #[error("debug container `{container}` of pod `{pod}` does not run: {state}")]
    NotRunning {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// What it does.
        state: String,
    },
    /// It has its one session.
    #[error("debug container `{container}` of pod `{pod}` was made for one session, and has it")]
    OneSession {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// It has no shell.
    #[error("debug container `{container}` has no shell: its tools are {tools}")]
    NoShell {
        /// The container.
        container: String,
        /// Its tools.
        tools: String,
    },
    /// It cannot be told to end.
    #[error("debug container `{container}` of pod `{pod}` was made for one session, and ends with it")]
    EndsAlone {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// After how long it ends though nobody comes.
        idle: Option<Duration>,
        /// After how long it ends in any case.
        ttl: Option<Duration>,
    },
    /// It was told to end and did not.
    #[error("debug container `{container}` of pod `{pod}` was told to end, but still runs")]
    NotEnded {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
}

impl FoundError {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::None { .. } => Kind::NotFound,
            Self::NoShell { .. } => Kind::Usage,
            Self::NotRunning { .. } | Self::OneSession { .. } | Self::EndsAlone { .. } | Self::NotEnded { .. } => {
                Kind::Unfit
            }
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::None { pod, .. } | Self::NotRunning { pod, .. } => {
                Some(format!("`kubectl kitbag debug {pod}` adds one"))
            }
            Self::OneSession { pod, .. } => Some(format!(
                "`kubectl kitbag debug {pod}` adds another; where `pods/exec` is permitted, one serves many sessions"
            )),
            Self::EndsAlone { idle, ttl, .. } => {
                let nobody = idle.map(|idle| format!("after {} if nobody attaches", table::span(idle)));
                let ever = ttl.map(|ttl| format!("after {} in any case", table::span(ttl)));
                let ends = ["with the command of its session".to_owned()].into_iter().chain(nobody).chain(ever);
                Some(format!("it ends {}", ends.collect::<Vec<_>>().join(", ")))
            }
            Self::NoShell { .. } => Some("name a command after `--`".to_owned()),
            Self::NotEnded { pod, .. } => Some(format!("`kubectl kitbag list {pod}` shows what it does")),
        }
    }
}

/// The debug containers of these pods, the newest of each pod first.
#[must_use]
pub fn of(pods: &[Pod]) -> Vec<Found> {
    let of_one = |pod: &Pod| {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let found = move |debugger| Found { namespace: namespace.clone(), pod: name.clone(), debugger, activity: None };
        reentry::all(pod).into_iter().map(found).collect::<Vec<_>>()
    };
    pods.iter().flat_map(of_one).collect()
}

/// The debug container that is meant: the one with that name, else the newest that runs beside the container with that
/// name, else the newest.
///
/// # Errors
/// [`FoundError`] where none runs, or it takes no other session.
pub fn choose(pod: &Pod, name: Option<&str>) -> Result<Debugger, FoundError> {
    let pod_name = || pod.metadata.name.clone().unwrap_or_default();
    let all = reentry::all(pod);
    let chosen = match name.and_then(|name| all.iter().find(|it| it.name == name)) {
        Some(named) if named.state != Condition::Running => {
            let (container, state) = (named.name.clone(), table::state(&named.state));
            return Err(FoundError::NotRunning { pod: pod_name(), container, state });
        }
        Some(named) => Some(named),
        None => {
            let beside = |it: &&Debugger| name.is_none_or(|name| it.target == name);
            let mut running = all.iter().filter(|it| it.state == Condition::Running).filter(beside);
            let newest = running.clone().next();
            running.find(|it| !it.attached).or(newest)
        }
    };
    match chosen {
        None => Err(FoundError::None { pod: pod_name(), beside: name.map(str::to_owned) }),
        Some(it) if it.attached => Err(FoundError::OneSession { pod: pod_name(), container: it.name.clone() }),
        Some(it) => Ok(it.clone()),
    }
}

/// Those that run and are meant to end: the one with that name, else those beside the container with that name, else all.
#[must_use]
pub fn to_end(pod: &Pod, name: Option<&str>) -> Vec<Debugger> {
    let running = reentry::running(pod);
    let named = |it: &Debugger| name.is_none_or(|name| it.name == name);
    if running.iter().any(named) {
        return running.into_iter().filter(named).collect();
    }
    running.into_iter().filter(|it| name.is_none_or(|name| it.target == name)).collect()
}

/// What runs in the container: `command`, else a shell if it has one.
///
/// # Errors
/// [`FoundError::NoShell`]
pub fn command(debugger: &Debugger, command: &[String], catalog: &Catalog) -> Result<Vec<String>, FoundError> {
    if !command.is_empty() {
        return Ok(command.to_vec());
    }
    let has_shell = debugger.tools.iter().any(|(tool, _)| {
        // A tool of a newer catalog may be anything.
        catalog.recipe(tool.as_str()).is_none_or(|recipe| recipe.commands.iter().any(|command| command == SHELL))
    });
    if has_shell {
        return Ok(vec![SHELL.to_owned()]);
    }
    let tools: Vec<&str> = debugger.tools.iter().map(|(tool, _)| tool.as_str()).collect();
    Err(FoundError::NoShell { container: debugger.name.clone(), tools: tools.join(", ") })
}

/// Asks those that run what they are busy with, all at once and at most a few. Who does not answer stays unknown.
pub async fn ask_activity(client: &Client, found: &mut [Found]) {
    let running = found.iter_mut().filter(|it| it.debugger.state == Condition::Running).take(ASKED);
    let answers = running.map(|it| async move {
        let (namespace, pod, container) = (it.namespace.clone(), it.pod.clone(), it.debugger.name.clone());
        let place = Place { client: client.clone(), namespace, pod, container };
        if let Ok(Ok(answer)) = timeout(ANSWER, ask(&place, &["status"])).await {
            it.activity = answer.parse().ok();
        }
    });
    join_all(answers).await;
}

/// Ends the container, and waits for its end.
///
/// # Errors
/// [`FoundError::EndsAlone`], [`FoundError::NotEnded`], what keeps it from being told, or what the API server refuses.
pub async fn end(place: &Place, debugger: &Debugger) -> Result<Ending, Error> {
    let (pod, container) = (place.pod.clone(), place.container.clone());
    if debugger.attached {
        return Err(FoundError::EndsAlone { pod, container, idle: debugger.idle, ttl: debugger.ttl }.into());
    }
    let asked = ask(place, &["end"]).await;
    // What was asked may have been taken along before it could answer: then only the pod knows.
    if let Err(error @ (Error::Refused(_) | Error::Unreachable(_))) = asked {
        return Err(error);
    }
    match ending(place, END).await? {
        Some(ending) => Ok(ending),
        None => {
            asked?;
            Err(FoundError::NotEnded { pod, container }.into())
        }
    }
}

/// Where the container's sessions run.
#[must_use]
pub fn place(client: &Client, namespace: &str, pod: &Pod, debugger: &Debugger) -> Place {
    Place {
        client: client.clone(),
        namespace: namespace.to_owned(),
        pod: pod.metadata.name.clone().unwrap_or_default(),
        container: debugger.name.clone(),
    }
}

#[cfg(test)]
mod tests;
