//! Waiting for the container to start, with the reason while it does not: by a watch, never by polling.

use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use kube::api::{WatchEvent, WatchParams};

use crate::error::{Error, Kind};
use crate::refusal::{Asked, explain};

/// How long a state may last before it is worth a line.
const PATIENCE: Duration = Duration::from_millis(400);

/// Why the container does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The node cannot get the image.
    #[error("the node cannot pull the image ({reason}): {message}")]
    Pull {
        /// `ErrImagePull` or alike.
        reason: String,
        /// The node's words.
        message: String,
    },
    /// The container has ended, or could not be started at all.
    #[error("the debug container has ended at once ({reason}): {message}")]
    Ended {
        /// How.
        reason: String,
        /// Its last words.
        message: String,
    },
    /// The pod has ended or is gone.
    #[error("pod `{pod}` has ended while the debug container was starting")]
    PodGone {
        /// The pod.
        pod: String,
    },
    /// It took too long.
    #[error("the debug container has not started within {seconds} s: {state}")]
    Timeout {
        /// The limit.
        seconds: u64,
        /// What it was waiting for.
        state: String,
    },
}

impl WaitError {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Pull { .. } | Self::Ended { .. } => Kind::Start,
            Self::PodGone { .. } => Kind::Unfit,
            Self::Timeout { .. } => Kind::Timeout,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Pull { .. } => Some(
                "the node pulls by itself: can it reach the registry under this name, and does it trust it? --registry names another"
                    .to_owned(),
            ),
            Self::Timeout { .. } => Some("`kubectl describe pod` has the events; --timeout waits longer".to_owned()),
            Self::Ended { .. } | Self::PodGone { .. } => None,
        }
    }
}

/// Where the container is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not there yet, and why.
    Waiting(String),
    /// It runs.
    Running,
    /// It will not.
    Failed(WaitError),
}

/// What the pod's status says of the container.
#[must_use]
pub fn observe(pod: &Pod, container: &str) -> State {
    let status = pod.status.as_ref();
    let found = status.and_then(|it| it.ephemeral_container_statuses.as_ref()?.iter().find(|it| it.name == container));
    if let Some(state) = found.and_then(state) {
        return state;
    }
    if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return State::Failed(WaitError::PodGone { pod: pod.metadata.name.clone().unwrap_or_default() });
    }
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    State::Waiting(format!("waiting for node `{node}`…"))
}

fn state(status: &ContainerStatus) -> Option<State> {
    let state = status.state.as_ref()?;
    if state.running.is_some() {
        return Some(State::Running);
    }
    if let Some(ended) = &state.terminated {
        let reason = format!("{}, exit code {}", ended.reason.as_deref().unwrap_or("terminated"), ended.exit_code);
        let message = ended.message.as_deref().unwrap_or("no message").trim().to_owned();
        return Some(State::Failed(WaitError::Ended { reason, message }));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let message = waiting.message.as_deref().unwrap_or_default();
    Some(match reason {
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" | "ImageInspectError" => {
            State::Failed(WaitError::Pull { reason: reason.to_owned(), message: message.to_owned() })
        }
        // What the kubelet says from the first moment until the image is there and the container made.
        "" | "ContainerCreating" | "PodInitializing" => State::Waiting("pulling image…".to_owned()),
        // The kubelet tries these again: the target may be between two starts.
        _ => State::Waiting(format!("{reason}: {message}")),
    })
}

/// Waits until the container runs. `version` is that of the pod from which on changes count; `say` gets a line for each
/// state that lasts.
///
/// # Errors
/// [`WaitError`], or what the API server refuses.
pub async fn until_running(
    pods: &Api<Pod>,
    pod: &Pod,
    limit: Duration,
    asked: Asked<'_>,
    say: impl FnMut(&str),
) -> Result<(), Error> {
    let mut last = match observe(pod, asked.container) {
        State::Waiting(state) => state,
        State::Running => return Ok(()),
        State::Failed(error) => return Err(error.into()),
    };
    match tokio::time::timeout(limit, watch(pods, pod, asked, &mut last, say)).await {
        Ok(result) => result,
        Err(_) => Err(WaitError::Timeout { seconds: limit.as_secs(), state: last }.into()),
    }
}

async fn watch(
    pods: &Api<Pod>,
    pod: &Pod,
    asked: Asked<'_>,
    last: &mut String,
    mut say: impl FnMut(&str),
) -> Result<(), Error> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let mut version = pod.metadata.resource_version.clone().unwrap_or_default();
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}")).disable_bookmarks();
    let mut said = String::new();
    loop {
        let stream = pods.watch(&parameters, &version).await.map_err(|error| explain(&error, asked))?;
        pin_mut!(stream);
        loop {
            let event = match tokio::time::timeout(PATIENCE, stream.next()).await {
                Ok(Some(event)) => event.map_err(|error| explain(&error, asked))?,
                Ok(None) => break,
                Err(_) => {
                    if said != *last {
                        said.clone_from(last);
                        say(last);
                    }
                    continue;
                }
            };
            match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    version = pod.metadata.resource_version.clone().unwrap_or_default();
                    match observe(&pod, asked.container) {
                        State::Running => return Ok(()),
                        State::Failed(error) => return Err(error.into()),
                        State::Waiting(state) => *last = state,
                    }
                }
                WatchEvent::Deleted(_) => return Err(WaitError::PodGone { pod: name }.into()),
                // The version is too old for the server: from now on, then.
                WatchEvent::Error(status) if status.code == 410 => version = String::from("0"),
                WatchEvent::Error(status) => return Err(explain(&kube::Error::Api(status.boxed()), asked)),
                WatchEvent::Bookmark(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn seen(state: &Value) -> State {
        let pod = json!({
            "metadata": { "name": "shop" },
            "spec": { "nodeName": "node1", "containers": [] },
            "status": { "phase": "Running", "ephemeralContainerStatuses": [
                { "name": "kitbag-old", "state": { "terminated": { "exitCode": 0 } } },
                { "name": "kitbag-new", "state": state },
            ] },
        });
        observe(&serde_json::from_value(pod).unwrap(), "kitbag-new")
    }

    #[test]
    fn states_become_sentences() {
        let states = [
            seen(&Value::Null),
            seen(&json!({ "waiting": { "reason": "ContainerCreating" } })),
            seen(
                &json!({ "waiting": { "reason": "CreateContainerError", "message": "container \"x\" is not running" } }),
            ),
            seen(&json!({ "running": {} })),
        ];
        let line = |state| match state {
            State::Waiting(text) => text,
            state => format!("{state:?}"),
        };
        insta::assert_snapshot!(states.map(line).join("\n"), @r#"
        waiting for node `node1`…
        pulling image…
        CreateContainerError: container "x" is not running
        Running
        "#);
    }

    #[test]
    fn what_ends_the_wait_says_why() {
        let states = [
            seen(
                &json!({ "waiting": { "reason": "ErrImagePull", "message": "dial tcp 127.0.0.1:5005: connection refused" } }),
            ),
            seen(
                &json!({ "terminated": { "exitCode": 128, "reason": "StartError", "message": "exec: no such file\n" } }),
            ),
            seen(&json!({ "terminated": { "exitCode": 0 } })),
        ];
        let line = |state| match state {
            State::Failed(error) => format!("{error}"),
            state => format!("{state:?}"),
        };
        insta::assert_snapshot!(states.map(line).join("\n"), @r"
        the node cannot pull the image (ErrImagePull): dial tcp 127.0.0.1:5005: connection refused
        the debug container has ended at once (StartError, exit code 128): exec: no such file
        the debug container has ended at once (terminated, exit code 0): no message
        ");
    }

    #[test]
    fn the_end_of_the_pod_is_an_end() {
        let pod =
            json!({ "metadata": { "name": "shop" }, "spec": { "containers": [] }, "status": { "phase": "Failed" } });
        let state = observe(&serde_json::from_value(pod).unwrap(), "kitbag-new");
        assert_eq!(state, State::Failed(WaitError::PodGone { pod: "shop".to_owned() }));
    }
}
