//! Waiting for the container to start, with the reason while it does not. What a pod's status means is in [`state`], and
//! how the pod is followed through lost connections in [`follow`]; this is the clock, and what is said when.

use std::future::pending;
use std::ops::ControlFlow;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use tokio::time::timeout;

use crate::error::Error;
use crate::refusal::Asked;

mod error;
mod events;
pub(crate) mod follow;
mod pull;
mod state;

pub use error::{Cause, WaitError};
pub use pull::Fault;
pub(crate) use pull::words;
pub use state::{Nature, Reason, State, observe};

use follow::{Seen, Source};

/// What to wait with.
#[derive(Clone, Copy, Debug)]
pub struct Wait<'a> {
    /// The pods of the namespace.
    pub pods: &'a Api<Pod>,
    /// Its events, where they may be listed: what the node says is told when the wait ends without success.
    pub events: Option<&'a Api<Event>>,
    /// The same, where they may be watched: the start is seen sooner.
    pub starts: Option<&'a Api<Event>>,
    /// The pod may be watched. Where not, it is asked for once a second.
    pub watch: bool,
    /// For how long.
    pub limit: Duration,
    /// What is waited for.
    pub asked: Asked<'a>,
}

/// Waits until the container runs, from `pod` on, which is how it was a moment ago. `say` gets a line for each state that
/// lasts, or that a person can do something about.
///
/// # Errors
/// [`WaitError`], or what the API server refuses.
pub async fn until_running(wait: &Wait<'_>, pod: &Pod, say: impl FnMut(&str)) -> Result<(), Error> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let container = wait.asked.container;
    let mut talk = Talk::new(say);
    let result = match talk.hear(pod, container) {
        ControlFlow::Break(result) => result,
        ControlFlow::Continue(()) => {
            let source = Source { pods: wait.pods, name, watch: wait.watch, asked: wait.asked };
            let following = follow::follow(&source, pod, |seen| match seen {
                Seen::Pod(pod) => talk.hear(pod, container),
                Seen::Gone => ControlFlow::Break(Err(Cause::PodGone { pod: name.to_owned() })),
                Seen::Away(why) => talk.away(why),
                Seen::Same => talk.same(),
            });
            let started = async {
                match wait.starts {
                    Some(events) => events::started(events, container).await,
                    None => pending().await,
                }
            };
            // The node tells of the start at once, and writes it into the pod when it comes by again: up to a second later.
            let either = async {
                tokio::select! {
                    biased;
                    result = following => result,
                    () = started => Ok(Ok(())),
                }
            };
            match timeout(wait.limit, either).await {
                Ok(result) => result?,
                Err(_) => Err(Cause::Timeout { seconds: wait.limit.as_secs(), reason: talk.reason() }),
            }
        }
    };
    match result {
        Ok(()) => Ok(()),
        Err(cause) => {
            let events = match wait.events {
                Some(events) => events::about(events, name, container).await,
                None => Vec::new(),
            };
            Err(WaitError { cause: Box::new(cause), events }.into())
        }
    }
}

/// Says each thing once: at once if a person can do something about it, else when it lasts.
struct Talk<S> {
    say: S,
    said: Vec<String>,
    /// What keeps the container from running.
    last: Reason,
    /// The server does not answer.
    away: Option<Reason>,
}

impl<S: FnMut(&str)> Talk<S> {
    fn new(say: S) -> Self {
        Self { say, said: Vec::new(), last: Reason::default(), away: None }
    }

    fn hear(&mut self, pod: &Pod, container: &str) -> ControlFlow<Result<(), Cause>> {
        let reason = match observe(pod, container) {
            State::Running => return ControlFlow::Break(Ok(())),
            State::Failed(cause) => return ControlFlow::Break(Err(cause)),
            State::Waiting(reason) => reason,
        };
        self.back();
        // The kubelet, while it pauses between two tries, may leave out why.
        let says_less = reason.nature == Nature::Pull(Fault::Unknown) && matches!(self.last.nature, Nature::Pull(_));
        if !says_less {
            self.last = reason;
        }
        if self.last.nature.is_urgent() { self.same() } else { ControlFlow::Continue(()) }
    }

    fn same<T>(&mut self) -> ControlFlow<T> {
        self.back();
        self.tell(&self.last.clone());
        ControlFlow::Continue(())
    }

    /// The server answers. When it next does not, that is worth a line again.
    fn back(&mut self) {
        self.away = None;
        self.said.retain(|said| said != state::AWAY);
    }

    /// A connection may break; that it can't be made again is worth a line.
    fn away<T>(&mut self, why: &str) -> ControlFlow<T> {
        let reason = Reason::away(why);
        if self.away.replace(reason.clone()).is_some() {
            self.tell(&reason);
        }
        ControlFlow::Continue(())
    }

    fn tell(&mut self, reason: &Reason) {
        let key = reason.key();
        if !self.said.contains(&key) {
            self.said.push(key);
            (self.say)(&reason.line());
        }
    }

    fn reason(self) -> Reason {
        self.away.unwrap_or(self.last)
    }
}

#[cfg(test)]
mod tests;
