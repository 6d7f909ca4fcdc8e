//! What the node says about the container: the pod's events, as lines.

use std::future::pending;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};

/// How many are shown: the newest.
const SHOWN: usize = 5;
/// How long they are waited for: the wait has already ended.
const PATIENCE: Duration = Duration::from_secs(3);

/// The events about the container. None where they can't be read.
pub(super) async fn about(events: &Api<Event>, pod: &str, container: &str) -> Vec<String> {
    let parameters = ListParams::default().fields(&format!("involvedObject.kind=Pod,involvedObject.name={pod}"));
    match tokio::time::timeout(PATIENCE, events.list(&parameters)).await {
        Ok(Ok(list)) => lines(&list.items, container),
        _ => Vec::new(),
    }
}

/// Until the node says that it has started the container. For ever where its events can't be watched.
pub(super) async fn started(events: &Api<Event>, container: &str) {
    let fields = format!("involvedObject.fieldPath=spec.ephemeralContainers{{{container}}},reason=Started");
    // From the beginning: it may have been said already.
    if let Ok(stream) = events.watch(&WatchParams::default().fields(&fields).disable_bookmarks(), "0").await {
        pin_mut!(stream);
        while let Some(Ok(event)) = stream.next().await {
            if matches!(event, WatchEvent::Added(_) | WatchEvent::Modified(_)) {
                return;
            }
        }
    }
    pending::<()>().await;
}

/// Those that are about the container, the newest last.
pub(super) fn lines(events: &[Event], container: &str) -> Vec<String> {
    let path = format!("spec.ephemeralContainers{{{container}}}");
    let mut ours: Vec<&Event> =
        events.iter().filter(|event| event.involved_object.field_path.as_deref() == Some(&path)).collect();
    ours.sort_by_key(|event| event.last_timestamp.clone().or_else(|| event.first_timestamp.clone()));
    let line = |event: &&Event| {
        let reason = event.reason.as_deref().unwrap_or("?");
        let message = event.message.as_deref().unwrap_or_default().trim();
        match event.count {
            Some(count @ 2..) => format!("{reason} ({count} times): {message}"),
            _ => format!("{reason}: {message}"),
        }
    };
    ours[ours.len().saturating_sub(SHOWN)..].iter().map(line).collect()
}
