//! How the debug container has ended, by its pod's status.

use std::fmt;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use tokio::time::{sleep, timeout};

use super::Place;
use crate::error::Error;
use crate::refusal::{Asked, explain};

/// Between two questions where watching is not permitted.
const POLL: Duration = Duration::from_millis(500);

/// How it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The container's first process has.
    Container {
        /// Its exit code.
        code: u8,
        /// The runtime's word for it, `OOMKilled`.
        reason: String,
        /// Its last words.
        message: String,
    },
    /// The pod is being deleted.
    Leaving,
    /// There is no such pod any more.
    PodGone,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container { code, reason, message } => {
                write!(f, "exit code {code}")?;
                if !reason.is_empty() {
                    write!(f, " ({reason})")?;
                }
                if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
            }
            Self::Leaving => f.write_str("the pod is being deleted"),
            Self::PodGone => f.write_str("the pod is gone"),
        }
    }
}

/// Waits for the container's end, up to `limit`. `None` is a container that still runs, as far as can be told.
///
/// # Errors
/// What the API server refuses.
pub async fn ending(place: &Place, limit: Duration) -> Result<Option<Ending>, Error> {
    let mut leaving = false;
    match timeout(limit, find(place, &mut leaving)).await {
        Ok(found) => found.map(Some),
        Err(_) => Ok(leaving.then_some(Ending::Leaving)),
    }
}

/// Whether the container has ended, or is about to: asked once, and for no longer than `limit`.
///
/// # Errors
/// What the API server refuses.
pub(super) async fn has_ended(place: &Place, limit: Duration) -> Result<Option<Ending>, Error> {
    let Ok(pod) = timeout(limit, look(&place.pods(), place)).await else { return Ok(None) };
    let Some(pod) = pod? else { return Ok(Some(Ending::PodGone)) };
    Ok(observe(&pod, &place.container).or_else(|| is_leaving(&pod).then_some(Ending::Leaving)))
}

async fn find(place: &Place, leaving: &mut bool) -> Result<Ending, Error> {
    let pods = place.pods();
    loop {
        let Some(pod) = look(&pods, place).await? else { return Ok(Ending::PodGone) };
        *leaving |= is_leaving(&pod);
        if let Some(ending) = observe(&pod, &place.container) {
            return Ok(ending);
        }
        let version = pod.metadata.resource_version.unwrap_or_default();
        if let Some(ending) = watch(&pods, place, &version, leaving).await {
            return Ok(ending);
        }
        sleep(POLL).await;
    }
}

/// The pod, if it is there. Who found it by a selector may list pods, and need not be able to get one.
async fn look(pods: &Api<Pod>, place: &Place) -> Result<Option<Pod>, Error> {
    let asked =
        Asked { namespace: &place.namespace, verb: "get", resource: "pods", container: &place.container, reasons: "" };
    match pods.get_opt(&place.pod).await {
        Err(kube::Error::Api(refusal)) if refusal.code == 403 => {
            let named = ListParams::default().fields(&place.selector());
            let list = pods.list(&named).await.map_err(|_| explain(&kube::Error::Api(refusal), asked))?;
            Ok(list.items.into_iter().next())
        }
        result => result.map_err(|error| explain(&error, asked)),
    }
}

fn is_leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

impl Place {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn selector(&self) -> String {
        format!("metadata.name={}", self.pod)
    }
}

/// Watches for as long as the server lets it.
async fn watch(pods: &Api<Pod>, place: &Place, version: &str, leaving: &mut bool) -> Option<Ending> {
    let parameters = WatchParams::default().fields(&place.selector()).disable_bookmarks();
    let stream = pods.watch(&parameters, version).await.ok()?;
    pin_mut!(stream);
    while let Some(event) = stream.next().await {
        match event.ok()? {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                *leaving |= is_leaving(&pod);
                if let Some(ending) = observe(&pod, &place.container) {
                    return Some(ending);
                }
            }
            // Its last state may say how the container has ended.
            WatchEvent::Deleted(pod) => return Some(observe(&pod, &place.container).unwrap_or(Ending::PodGone)),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(_) => return None,
        }
    }
    None
}

/// What the pod says.
fn observe(pod: &Pod, container: &str) -> Option<Ending> {
    // Another pod may have got the name.
    let added = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    if !added.into_iter().any(|it| it.name == container) {
        return Some(Ending::PodGone);
    }
    let mut statuses = pod.status.iter().flat_map(|status| status.ephemeral_container_statuses.iter().flatten());
    let ended = statuses.find(|it| it.name == container)?.state.as_ref()?.terminated.as_ref()?;
    Some(Ending::Container {
        code: u8::try_from(ended.exit_code).unwrap_or(u8::MAX),
        reason: ended.reason.clone().unwrap_or_default(),
        message: ended.message.as_deref().unwrap_or_default().trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn seen(state: &Value) -> Option<Ending> {
        let pod = json!({
            "metadata": { "name": "shop" },
            "spec": { "containers": [], "ephemeralContainers": [{ "name": "kitbag-old" }, { "name": "kitbag-new" }] },
            "status": { "ephemeralContainerStatuses": [
                { "name": "kitbag-old", "state": { "terminated": { "exitCode": 3 } } },
                { "name": "kitbag-new", "state": state },
            ] },
        });
        observe(&serde_json::from_value(pod).unwrap(), "kitbag-new")
    }

    #[test]
    fn the_pod_says_how_the_container_has_ended() {
        assert_eq!(seen(&json!({ "running": {} })), None);
        assert_eq!(seen(&Value::Null), None);
        let endings = [
            seen(&json!({ "terminated": { "exitCode": 0, "reason": "Completed" } })),
            seen(&json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled", "message": "killed\n" } })),
            seen(&json!({ "terminated": { "exitCode": 7 } })),
            Some(Ending::Leaving),
        ];
        insta::assert_snapshot!(endings.map(|it| it.unwrap().to_string()).join("\n"), @r"
        exit code 0 (Completed)
        exit code 137 (OOMKilled): killed
        exit code 7
        the pod is being deleted
        ");
    }

    #[test]
    fn a_pod_without_the_container_is_another_one() {
        let other = json!({ "metadata": { "name": "shop" }, "spec": { "containers": [] } });
        assert_eq!(observe(&serde_json::from_value(other).unwrap(), "kitbag-new"), Some(Ending::PodGone));
    }
}
