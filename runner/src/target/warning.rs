//! What to know about a container before a session beside it begins: a pure function of its status.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::{list, running};

/// From so many restarts on, a container that last ran for less than [`SHORT_RUN`] is taken to go on so.
const RESTARTS: i32 = 3;
/// In seconds. The kubelet forgets a container's crashes after it ran for ten minutes.
const SHORT_RUN: i64 = 600;

/// What to say, if there is something.
pub(super) fn warning(pod: &Pod, container: &str, status: Option<&ContainerStatus>) -> Option<String> {
    let state = status.and_then(|status| status.state.as_ref());
    if state.is_some_and(|state| state.running.is_some()) {
        return status.and_then(short_lived);
    }
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    let crashed = status.is_some_and(|status| last(status).is_some());
    if reason == Some("CrashLoopBackOff") || crashed {
        let why = [reason.map(str::to_owned), status.and_then(crashes)].into_iter().flatten().collect::<Vec<_>>();
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
        return Some(format!(
            "container `{container}` is between two starts{why}: the session begins with its next start and ends with its next crash"
        ));
    }
    let why = [reason, waiting.and_then(|waiting| waiting.message.as_deref())].into_iter().flatten();
    let why = why.collect::<Vec<_>>().join(": ");
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    let others = running(pod);
    let others = if others.is_empty() { String::new() } else { format!("; -c names one that runs: {}", list(&others)) };
    Some(format!("container `{container}` has not started yet{why}: the session begins when it does{others}"))
}

/// A container that runs at the moment, and not for long as a rule.
fn short_lived(status: &ContainerStatus) -> Option<String> {
    let ended = last(status).filter(|_| status.restart_count >= RESTARTS)?;
    let ran = ended.finished_at.as_ref()?.0.as_second() - ended.started_at.as_ref()?.0.as_second();
    (0..SHORT_RUN).contains(&ran).then(|| {
        format!(
            "container `{}` does not run for long ({}; it had run for {ran} s): the session ends with its next crash",
            status.name,
            crashes(status).unwrap_or_default()
        )
    })
}

/// `7 restarts; the last run ended with exit code 137, OOMKilled`.
fn crashes(status: &ContainerStatus) -> Option<String> {
    let restarts = match status.restart_count {
        1 => "1 restart".to_owned(),
        count => format!("{count} restarts"),
    };
    let Some(ended) = last(status) else {
        return (status.restart_count > 0).then_some(restarts);
    };
    let reason = ended.reason.as_deref().filter(|reason| *reason != "Error");
    let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
    Some(format!("{restarts}, the last run ended with exit code {}{reason}", ended.exit_code))
}

/// How the container ended when it last did.
fn last(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let now = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    now.or_else(|| status.last_state.as_ref()?.terminated.as_ref())
}
