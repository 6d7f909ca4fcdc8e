//! The trace of a debugging on the pod: an event that `kubectl describe pod` shows, which is why it is one of the core
//! group. The container's own environment says the same; the event is for those who look at the pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::cluster::FIELD_MANAGER;
use crate::error::root_cause;
use crate::progress::Progress;

/// The event's reason, and what it is found by: `kubectl get events --field-selector reason=Debug`.
const REASON: &str = "Debug";
/// The longest message that every API server takes, in characters.
const LONGEST: usize = 1024;
/// How long the API server may take while the session goes on.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take yet when the session has ended.
const LAST: Duration = Duration::from_millis(200);

/// Who debugs what, with what and why.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// Who.
    pub user: &'a str,
    /// The container that is debugged.
    pub target: &'a str,
    /// The tools with their versions, `strace=6.1 tcpdump=4.99.6`.
    pub tools: &'a str,
    /// The debug container.
    pub container: &'a str,
    /// What the user gave as the reason.
    pub reason: Option<&'a str>,
}

/// The event, as of `now`.
#[must_use]
pub fn event(trace: &Trace<'_>, pod: &Pod, now: Timestamp) -> Event {
    let metadata = &pod.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            // The server adds a few characters.
            generate_name: Some(format!("{name}.")),
            namespace: metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(name),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        },
        type_: Some("Normal".to_owned()),
        reason: Some(REASON.to_owned()),
        message: Some(message(trace).chars().take(LONGEST).collect()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        // Older clients show the one, newer ones the other.
        source: Some(EventSource { component: Some(FIELD_MANAGER.to_owned()), host: None }),
        reporting_component: Some(FIELD_MANAGER.to_owned()),
        ..Event::default()
    }
}

fn message(trace: &Trace<'_>) -> String {
    let Trace { user, target, tools, container, reason } = trace;
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{user} debugs container `{target}` with {tools} ({container}){reason}")
}

/// Leaves the event. It never stands in the way of the session: what goes wrong is for `--verbose`.
///
/// # Errors
/// Why there is no event, for people.
pub async fn leave(events: &Api<Event>, event: &Event) -> Result<(), String> {
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match timeout(PATIENCE, events.create(&parameters, event)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) => Err(format!("no event is left on the pod: {}", status.message)),
        Ok(Err(error)) => Err(format!("no event is left on the pod: {}", root_cause(&error))),
        Err(_) => Err("no event is left on the pod: the cluster does not answer".to_owned()),
    }
}

/// Where traces of sessions are left.
pub(crate) struct Trail<'a> {
    /// The events of the namespace, where they may be written.
    pub(crate) events: Option<&'a Api<Event>>,
    /// The pod.
    pub(crate) pod: &'a Pod,
    /// Who is told that there is none.
    pub(crate) progress: &'a Progress,
}

impl Trail<'_> {
    /// Runs a session, and leaves its trace once it is open, so that what did not open leaves none. Nobody waits long for
    /// a trace when the session has ended.
    pub(crate) async fn beside<T>(
        &self,
        session: impl Future<Output = T>,
        is_open: oneshot::Receiver<()>,
        trace: &Trace<'_>,
    ) -> T {
        let leaving = async {
            if let (Ok(()), Some(events)) = (is_open.await, self.events)
                && let Err(error) = leave(events, &event(trace, self.pod, Timestamp::now())).await
            {
                self.progress.done(&error);
            }
        };
        tokio::pin!(session, leaving);
        tokio::select! {
            () = &mut leaving => session.await,
            ended = &mut session => {
                let _ = timeout(LAST, leaving).await;
                ended
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TRACE: Trace<'_> = Trace {
        user: "jane",
        target: "app",
        tools: "strace=6.1 tcpdump=4.99.6",
        container: "kitbag-x2f5q",
        reason: Some("SHOP-17: slow checkout"),
    };

    #[test]
    fn the_event_is_one_that_describe_shows() {
        let pod = json!({ "metadata": { "name": "shop", "namespace": "web", "uid": "1-2-3" } });
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let event = event(&TRACE, &serde_json::from_value(pod).unwrap(), now);
        insta::assert_snapshot!(serde_json::to_string_pretty(&event).unwrap(), @r#"
        {
          "apiVersion": "v1",
          "kind": "Event",
          "count": 1,
          "firstTimestamp": "2026-01-02T03:04:05Z",
          "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": "shop",
            "namespace": "web",
            "uid": "1-2-3"
          },
          "lastTimestamp": "2026-01-02T03:04:05Z",
          "message": "jane debugs container `app` with strace=6.1 tcpdump=4.99.6 (kitbag-x2f5q): SHOP-17: slow checkout",
          "metadata": {
            "generateName": "shop.",
            "namespace": "web"
          },
          "reason": "Debug",
          "reportingComponent": "kubectl-kitbag",
          "source": {
            "component": "kubectl-kitbag"
          },
          "type": "Normal"
        }
        "#);
    }

    #[test]
    fn a_reason_is_optional_and_the_message_has_an_end() {
        assert_eq!(
            message(&Trace { reason: None, ..TRACE }),
            "jane debugs container `app` with strace=6.1 tcpdump=4.99.6 (kitbag-x2f5q)"
        );
        let long = "é".repeat(2 * LONGEST);
        let event = event(&Trace { reason: Some(&long), ..TRACE }, &Pod::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(event.message.unwrap().chars().count(), LONGEST);
    }
}
