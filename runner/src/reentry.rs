//! Debug containers that a pod has already, and whether one of them will do: a pure function of the pod. What they are is
//! read from their own specification, which nobody can change after the fact.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, EphemeralContainer, Pod, SecurityContext};
use k8s_openapi::jiff::Timestamp;
use kitbag_toolsets::Name;

use crate::plan::INIT;
use crate::view::View;

/// How long a container has to last yet if it is to be entered again.
const RESERVE: Duration = Duration::from_secs(60);

/// A debug container.
#[derive(Clone, Debug, PartialEq)]
pub struct Debugger {
    /// Its name.
    pub name: String,
    /// The container that it is beside.
    pub target: String,
    /// Its tools and their versions.
    pub tools: Vec<(Name, String)>,
    /// The same as it was written down.
    pub listed: String,
    /// The version of kitbag that made it.
    pub version: Option<String>,
    /// How its privileges were found: `exact`, `fewer`, `baseline`, `restricted`, `chosen`.
    pub level: Option<String>,
    /// Who made it.
    pub user: Option<String>,
    /// What for.
    pub reason: Option<String>,
    /// Its image.
    pub image: String,
    /// When it started.
    pub started: Option<Timestamp>,
    /// After how long without a session it ends.
    pub idle: Option<Duration>,
    /// After how long it ends in any case.
    pub ttl: Option<Duration>,
    /// Its privileges.
    pub context: SecurityContext,
    /// Its sessions become the target's user, with whom they can look into the target.
    pub becomes: bool,
    /// What it shares with the target.
    pub view: View,
    /// It serves one session by an attach, and no other.
    pub attached: bool,
    /// How it does.
    pub state: Condition,
}

/// How a debug container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It has not started yet; the node's word for why.
    Starting(String),
    /// It runs.
    Running,
    /// It has ended, with this exit code.
    Ended(i32),
}

/// What a container has to have to be entered again.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The container that is to be debugged.
    pub target: &'a str,
    /// The tools that are needed.
    pub tools: &'a [Name],
    /// Whether it will do otherwise: its privileges, its image.
    pub fits: &'a dyn Fn(&Debugger) -> bool,
}

/// All of the pod's debug containers that are ours, the newest first.
#[must_use]
pub fn all(pod: &Pod) -> Vec<Debugger> {
    let containers = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let statuses = pod.status.as_ref().and_then(|status| status.ephemeral_container_statuses.as_deref());
    let statuses = statuses.unwrap_or_default();
    let mut all: Vec<Debugger> = containers
        .filter_map(|container| debugger(container, statuses.iter().find(|it| it.name == container.name)))
        .collect();
    // One that has no time yet is the newest of all.
    all.sort_by_key(|it| std::cmp::Reverse((it.started.is_none(), it.started)));
    all
}

/// Those that run, the newest first.
#[must_use]
pub fn running(pod: &Pod) -> Vec<Debugger> {
    let mut all = all(pod);
    all.retain(|debugger| debugger.state == Condition::Running);
    all
}

/// The newest of `running` that will do, at the time `now`. It may end of idleness in the moment between; who enters it
/// has to be ready for that.
#[must_use]
pub fn fitting<'a>(running: &'a [Debugger], wanted: &Wanted<'_>, now: Timestamp) -> Option<&'a Debugger> {
    let fits = |it: &&Debugger| {
        it.state == Condition::Running
            && !it.attached
            && it.target == wanted.target
            && wanted.tools.iter().all(|tool| it.tools.iter().any(|(has, _)| has == tool))
            && (wanted.fits)(it)
            && it.lasts(RESERVE, now)
    };
    running.iter().find(fits)
}

impl Debugger {
    /// How long it has been running at the time `now`. The clocks of node and client may differ.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.started.map(|started| Duration::try_from(now.duration_since(started)).unwrap_or_default())
    }

    fn lasts(&self, reserve: Duration, now: Timestamp) -> bool {
        match (self.ttl, self.age(now)) {
            (Some(ttl), Some(age)) => age + reserve < ttl,
            _ => true,
        }
    }
}

/// Of ours is what kitbag-init is the first process of, and what says what it is beside.
fn debugger(container: &EphemeralContainer, status: Option<&ContainerStatus>) -> Option<Debugger> {
    let command = container.command.as_deref().unwrap_or_default();
    if command.first().map(String::as_str) != Some(INIT) {
        return None;
    }
    let variable = |name: &str| {
        let mut variables = container.env.iter().flatten();
        variables.find(|variable| variable.name == name)?.value.clone().filter(|value| !value.is_empty())
    };
    let target = variable("KITBAG_TARGET")?;
    // What is after `--` is the command of a session.
    let own = command.split(|word| word == "--").next().unwrap_or_default();
    let seconds = |flag: &str| {
        let position = own.iter().position(|word| word == flag)?;
        own.get(position + 1)?.parse().ok().map(Duration::from_secs)
    };
    let listed = variable("KITBAG_TOOLS").unwrap_or_default();
    let state = status.and_then(|status| status.state.as_ref());
    let (state, started) = condition(state);
    Some(Debugger {
        name: container.name.clone(),
        target,
        tools: tools(&listed),
        listed,
        version: variable("KITBAG_VERSION"),
        level: variable("KITBAG_PRIVILEGES"),
        user: variable("KITBAG_USER"),
        reason: variable("KITBAG_REASON"),
        image: container.image.clone().unwrap_or_default(),
        started,
        idle: seconds("--idle"),
        ttl: seconds("--ttl"),
        context: container.security_context.clone().unwrap_or_default(),
        becomes: variable("KITBAG_BECOMES").is_some(),
        view: View::of_words(&variable("KITBAG_VIEW").unwrap_or_default()),
        attached: own.get(1).is_some_and(|word| word == "attached"),
        state,
    })
}

fn condition(state: Option<&ContainerState>) -> (Condition, Option<Timestamp>) {
    let Some(state) = state else { return (Condition::Starting(String::new()), None) };
    if let Some(running) = &state.running {
        return (Condition::Running, running.started_at.as_ref().map(|time| time.0));
    }
    if let Some(ended) = &state.terminated {
        return (Condition::Ended(ended.exit_code), ended.started_at.as_ref().map(|time| time.0));
    }
    let reason = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
    (Condition::Starting(reason.unwrap_or_default()), None)
}

/// `strace=6.1 tcpdump=4.99.6`. What is no name is none of ours.
fn tools(text: &str) -> Vec<(Name, String)> {
    let tool = |word: &str| {
        let (name, version) = word.split_once('=').unwrap_or((word, ""));
        Some((Name::try_from(name.to_owned()).ok()?, version.to_owned()))
    };
    text.split_whitespace().filter_map(tool).collect()
}

#[cfg(test)]
mod tests;
