//! Until every node's registry answers, or it is clear that one does not.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{Instant, timeout_at};

use super::objects::REGISTRY;
use super::rollout::{State, Tries, Trouble, chosen, observe, template};
use super::watch::{Of, snapshots};
use super::{Done, InstallError};
use crate::error::{Error, root_cause};
use crate::refusal::is_passing;

/// What has been seen.
enum Seen {
    Set(Result<Vec<DaemonSet>, kube::Error>),
    Pods(Result<Vec<Pod>, kube::Error>),
    Events(Result<Vec<Event>, kube::Error>),
}

/// Waits until `deadline`, which is the end of `timeout`, for `registry` as the server has it since it was applied, and
/// says how far it is whenever that changes. Returns the number of nodes.
///
/// # Errors
/// [`InstallError::Rollout`], [`InstallError::Timeout`], [`InstallError::Overtaken`], [`InstallError::Gone`], and what the
/// API server refuses.
pub async fn until_rolled_out(
    client: &Client,
    registry: &DaemonSet,
    deadline: Instant,
    timeout: Duration,
    done: &Done,
    mut say: impl FnMut(&str),
) -> Result<i32, Error> {
    let namespace = registry.namespace().unwrap_or_default();
    let set = snapshots(Api::<DaemonSet>::namespaced(client.clone(), &namespace), Of::Name(REGISTRY));
    let pods = Of::All { labels: selector(registry), fields: String::new() };
    let pods = snapshots(Api::<Pod>::namespaced(client.clone(), &namespace), pods);
    let fields = format!("involvedObject.kind=DaemonSet,involvedObject.name={REGISTRY}");
    let events = Of::All { labels: String::new(), fields };
    let events = snapshots(Api::<Event>::namespaced(client.clone(), &namespace), events);
    let mut news = stream::select_all([
        set.map(Seen::Set).boxed(),
        pods.map(Seen::Pods).boxed(),
        events.map(Seen::Events).boxed(),
    ]);

    let (mut set, mut pods, mut events) = (None, Vec::new(), Vec::new());
    let mut tries = Tries::default();
    let mut said: Vec<String> = Vec::new();
    let mut last = (String::from("nothing is known of the DaemonSet"), Vec::new());
    while let Ok(Some(seen)) = timeout_at(deadline, news.next()).await {
        match seen {
            Seen::Set(Ok(found)) => match found.into_iter().next() {
                None => return Err(InstallError::Gone { done: done.clone() }.into()),
                Some(found) if template(&found).map(chosen) != template(registry).map(chosen) => {
                    return Err(InstallError::Overtaken { done: done.clone() }.into());
                }
                Some(found) => set = Some(found),
            },
            // A server that is started anew is worth waiting for.
            Seen::Set(Err(error)) if is_passing(&error) => {}
            Seen::Set(Err(kube::Error::Api(status))) if status.code == 404 => {
                return Err(InstallError::Gone { done: done.clone() }.into());
            }
            Seen::Set(Err(kube::Error::Api(status))) => {
                let object = format!("to be asked for DaemonSet `{REGISTRY}`");
                let (code, message, done) = (status.code, status.message.clone(), done.clone());
                return Err(InstallError::Refused { object, code, message, done }.into());
            }
            Seen::Set(Err(error)) => return Err(Error::Unreachable(root_cause(&error))),
            Seen::Pods(found) => pods = found.unwrap_or(pods),
            Seen::Events(found) => events = found.unwrap_or(events),
        }
        let Some(set) = &set else { continue };
        tries.count(set, &pods);
        match observe(set, &pods, &events) {
            State::Done { nodes } => return Ok(nodes),
            State::Going { text, troubles } => {
                for line in std::iter::once(text.clone()).chain(troubles.iter().map(Trouble::to_string)) {
                    if !said.contains(&line) {
                        say(&line);
                        said.push(line);
                    }
                }
                if tries.are_enough() || troubles.iter().any(Trouble::is_final) {
                    return Err(InstallError::Rollout { troubles, done: done.clone() }.into());
                }
                last = (text, troubles);
            }
        }
    }
    let (state, troubles) = last;
    let (seconds, done) = (timeout.as_secs(), done.clone());
    Err(InstallError::Timeout { seconds, state, troubles, done }.into())
}

/// The labels by which a DaemonSet knows its pods. Who may not see those learns less, and gets the registries all the same.
pub(super) fn selector(set: &DaemonSet) -> String {
    let labels = set.spec.iter().flat_map(|spec| spec.selector.match_labels.iter().flatten());
    labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
