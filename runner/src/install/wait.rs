//! Until every node's registry answers, or it is clear that one does not.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep};

use super::InstallError;
use super::objects::REGISTRY;
use super::rollout::{State, Trouble, observe};
use crate::error::Error;
use crate::refusal::is_passing;

/// How often it is looked: what is waited for takes seconds, and three small requests cost some milliseconds.
const POLL: Duration = Duration::from_millis(300);

/// Waits until `deadline`, which is the end of `timeout`, and says how far it is whenever that changes. Returns the number
/// of nodes.
///
/// # Errors
/// [`InstallError::Rollout`], [`InstallError::Timeout`], and what the API server refuses.
pub async fn until_rolled_out(
    client: &Client,
    namespace: &str,
    deadline: Instant,
    timeout: Duration,
    done: &[String],
    mut say: impl FnMut(&str),
) -> Result<i32, Error> {
    let mut said: Vec<String> = Vec::new();
    let mut last = (String::from("nothing is known of the DaemonSet"), Vec::new());
    loop {
        match look(client, namespace).await {
            Ok(State::Done { nodes }) => return Ok(nodes),
            Ok(State::Going { text, troubles }) => {
                for line in std::iter::once(text.clone()).chain(troubles.iter().map(Trouble::to_string)) {
                    if !said.contains(&line) {
                        say(&line);
                        said.push(line);
                    }
                }
                if troubles.iter().any(Trouble::is_final) {
                    return Err(InstallError::Rollout { troubles, done: done.to_vec() }.into());
                }
                last = (text, troubles);
            }
            // A server that is started anew is worth waiting for.
            Err(error) if is_passing(&error) => {}
            Err(kube::Error::Api(status)) => {
                let object = format!("to be asked for DaemonSet `{REGISTRY}`");
                let (code, message, done) = (status.code, status.message.clone(), done.to_vec());
                return Err(InstallError::Refused { object, code, message, done }.into());
            }
            Err(error) => return Err(Error::Unreachable(crate::error::root_cause(&error))),
        }
        if Instant::now() >= deadline {
            let (state, troubles) = last;
            let (seconds, done) = (timeout.as_secs(), done.to_vec());
            return Err(InstallError::Timeout { seconds, state, troubles, done }.into());
        }
        sleep(POLL).await;
    }
}

async fn look(client: &Client, namespace: &str) -> Result<State, kube::Error> {
    let set = Api::<DaemonSet>::namespaced(client.clone(), namespace).get(REGISTRY).await?;
    let state = observe(&set, &[], &[]);
    if matches!(state, State::Done { .. }) {
        return Ok(state);
    }
    let labels = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods = ListParams::default().labels(&labels.join(","));
    let events = ListParams::default().fields(&format!("involvedObject.kind=DaemonSet,involvedObject.name={REGISTRY}"));
    // Who may not see them learns less, and gets the registries all the same.
    let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&pods).await.map(|list| list.items);
    let events = Api::<Event>::namespaced(client.clone(), namespace).list(&events).await.map(|list| list.items);
    Ok(observe(&set, &pods.unwrap_or_default(), &events.unwrap_or_default()))
}
