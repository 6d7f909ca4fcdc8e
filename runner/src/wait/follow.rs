//! One pod, followed through lost connections, a server that restarts and versions that it has forgotten: by a watch, or
//! where that is not permitted, by asking again and again.

use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use tokio::time::{Instant, sleep, timeout};

use crate::error::{Error, root_cause};
use crate::refusal::{Asked, explain, is_passing, retry_after};

/// How long nothing happens before that is told.
const TICK: Duration = Duration::from_millis(400);
/// How long the server keeps a watch open. A connection that is dead without saying so is noticed then.
const WATCH_SECONDS: u32 = 30;
/// How much later than that the end of a watch may come.
const GRACE: Duration = Duration::from_secs(5);
/// How often the pod is asked for where it can't be watched.
const POLL: Duration = Duration::from_secs(1);
/// The first pause before another try; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Any version that the server has: it then begins with the pod as it is.
const ANY_VERSION: &str = "0";

/// What to follow.
pub(crate) struct Source<'a> {
    pub(crate) pods: &'a Api<Pod>,
    pub(crate) name: &'a str,
    pub(crate) watch: bool,
    pub(crate) asked: Asked<'a>,
}

/// What is seen.
pub(crate) enum Seen<'a> {
    /// The pod has changed, or may have.
    Pod(&'a Pod),
    /// It is gone; perhaps there is another of the same name.
    Gone,
    /// The server can't be asked at the moment, and why.
    Away(&'a str),
    /// Nothing has happened for a while.
    Same,
}

enum Round<T> {
    Done(T),
    /// It ended as it should.
    Over,
    Failed(kube::Error),
}

/// Follows the pod from `pod` on until `on` breaks off.
///
/// # Errors
/// What the API server refuses.
pub(crate) async fn follow<T>(
    source: &Source<'_>,
    pod: &Pod,
    mut on: impl FnMut(Seen<'_>) -> ControlFlow<T>,
) -> Result<T, Error> {
    let uid = pod.metadata.uid.clone();
    let mut on = |seen: Seen<'_>| match seen {
        Seen::Pod(pod) if pod.metadata.uid != uid => on(Seen::Gone),
        seen => on(seen),
    };
    let mut version = pod.metadata.resource_version.clone().unwrap_or_default();
    let mut watch = source.watch;
    let mut pause = PAUSE;
    loop {
        let begin = Instant::now();
        let round =
            if watch { source.watch(&mut version, &mut on).await } else { source.get(&mut version, &mut on).await };
        if begin.elapsed() > LONGEST_PAUSE {
            pause = PAUSE;
        }
        let delay = match round {
            Round::Done(value) => return Ok(value),
            Round::Over if watch => pause,
            Round::Over => POLL,
            Round::Failed(kube::Error::Api(status)) if status.code == 410 => {
                ANY_VERSION.clone_into(&mut version);
                pause
            }
            Round::Failed(kube::Error::Api(status)) if status.code == 403 && watch => {
                watch = false;
                continue;
            }
            Round::Failed(error) if is_passing(&error) => {
                if let ControlFlow::Break(value) = on(Seen::Away(&why(&error))) {
                    return Ok(value);
                }
                retry_after(&error).unwrap_or(pause)
            }
            Round::Failed(error) => {
                let verb = if watch { "watch" } else { "get" };
                return Err(explain(&error, Asked { verb, resource: "pods", ..source.asked }));
            }
        };
        sleep(delay).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

fn why(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => root_cause(error),
    }
}

impl Source<'_> {
    async fn watch<T>(&self, version: &mut String, on: &mut impl FnMut(Seen<'_>) -> ControlFlow<T>) -> Round<T> {
        let fields = format!("metadata.name={}", self.name);
        let parameters = WatchParams::default().fields(&fields).timeout(WATCH_SECONDS).disable_bookmarks();
        let deadline = Instant::now() + Duration::from_secs(WATCH_SECONDS.into()) + GRACE;
        let opened = timeout(GRACE, self.pods.watch(&parameters, version)).await;
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Round::Failed(error),
            Err(_) => return away("no answer", on),
        };
        pin_mut!(stream);
        while Instant::now() < deadline {
            let event = match timeout(TICK, stream.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return Round::Failed(error),
                Ok(None) => return Round::Over,
                Err(_) => match on(Seen::Same) {
                    ControlFlow::Break(value) => return Round::Done(value),
                    ControlFlow::Continue(()) => continue,
                },
            };
            let seen = match &event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    *version = pod.metadata.resource_version.clone().unwrap_or_default();
                    Seen::Pod(pod)
                }
                WatchEvent::Deleted(_) => Seen::Gone,
                WatchEvent::Error(status) => return Round::Failed(kube::Error::Api(status.clone())),
                WatchEvent::Bookmark(_) => continue,
            };
            if let ControlFlow::Break(value) = on(seen) {
                return Round::Done(value);
            }
        }
        Round::Over
    }

    async fn get<T>(&self, version: &mut String, on: &mut impl FnMut(Seen<'_>) -> ControlFlow<T>) -> Round<T> {
        let got = timeout(GRACE, self.pods.get(self.name)).await;
        let flow = match &got {
            Err(_) => return away("no answer", on),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => on(Seen::Gone),
            Ok(Ok(pod)) if pod.metadata.resource_version.as_ref() == Some(version) => on(Seen::Same),
            Ok(Ok(pod)) => {
                *version = pod.metadata.resource_version.clone().unwrap_or_default();
                on(Seen::Pod(pod))
            }
            Ok(Err(_)) => ControlFlow::Continue(()),
        };
        match (flow, got) {
            (ControlFlow::Break(value), _) => Round::Done(value),
            (ControlFlow::Continue(()), Ok(Err(error))) => Round::Failed(error),
            (ControlFlow::Continue(()), _) => Round::Over,
        }
    }
}

fn away<T>(why: &str, on: &mut impl FnMut(Seen<'_>) -> ControlFlow<T>) -> Round<T> {
    match on(Seen::Away(why)) {
        ControlFlow::Break(value) => Round::Done(value),
        ControlFlow::Continue(()) => Round::Over,
    }
}
