//! Serving: connections accepted from every listener, within limits, until it is time to end without a cut.

mod accept;
mod clients;
mod connection;
mod frames;
mod patience;
mod refuse;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::error::Error;
use crate::exchange::Service;
use crate::listen::Listener;
use accept::Accepted;
pub(crate) use accept::Acceptor;
use clients::{Clients, Place};
use connection::Http;
use refuse::Refusals;

/// Pause after a connection could not be accepted because the process has no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Files for blobs that are read, listeners, logs and what the runtime needs. None of them can be taken by clients that
/// only connect: those that are refused have their own.
const OWN_FILES: usize = 64;

/// The limits of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Connections at a time. More wait in the kernel's queue.
    pub connections: usize,
    /// Connections at a time of one client: an IPv4 address, an IPv6 network of 64 bits. Unix sockets have no limit.
    /// It is high, because what is behind one address may be a whole cluster.
    pub connections_per_client: usize,
    /// Files that are left for other things than connections: where the process may have fewer than `connections` and
    /// these, there are fewer connections. To what is there by default, a program adds what else it opens for clients,
    /// such as [`admin::MAX_CONNECTIONS`](crate::admin::MAX_CONNECTIONS) for each admin listener.
    pub spare_files: usize,
    /// How long a client may take until it has asked for something, TLS included, and for the head of any later
    /// request. A head whose beginning came together with the end of another request has `keep_alive` instead: how
    /// much of what came was that request is not known here.
    pub head: Duration,
    /// How long a client may keep a connection on which it asks for nothing more.
    pub keep_alive: Duration,
    /// How long a client may take nothing of a response. Over HTTP/2, one that leaves no room in its window is told
    /// after `keep_alive` to ask nothing more, and has this time from then on.
    pub stall: Duration,
    /// Between the end of listening and the end of idle connections: what a client has sent on a connection that was
    /// accepted last has arrived by then. (Without it, some of those requests are lost.) Responses meanwhile tell
    /// clients to ask nothing more on their connections.
    pub settle: Duration,
    /// How long responses may take to be finished at the end.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_client: 1024,
            spare_files: OWN_FILES + refuse::AT_A_TIME,
            head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            stall: Duration::from_secs(60),
            settle: Duration::from_millis(500),
            drain: Duration::from_secs(10),
        }
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every response was finished.
    Drained,
    /// This many connections were cut.
    Cut(usize),
}

/// Serves until `stop` is there, then finishes what has begun.
///
/// # Errors
/// [`Error::Start`]: the runtime has no place for a listener.
pub async fn serve(
    listeners: Vec<Listener>,
    service: Arc<Service>,
    settings: Settings,
    stop: impl Future<Output = ()>,
) -> Result<Ending, Error> {
    let tls = listeners.iter().find_map(|listener| listener.tls.clone());
    let mut acceptor = Acceptor::new(listeners).map_err(Error::Start)?;
    let server = Arc::new(Server::new(service, settings));
    let following = async {
        match tls {
            Some(tls) => tls.follow().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = accepting(&mut acceptor, &server) => {}
        () = following => {}
        () = stop => {}
    }
    server.stage.enter(Stage::LEAVING);
    // What is in the kernel's queues would be cut with them. The limit is for clients that come faster than this.
    for accepted in acceptor.queued().take(server.connections) {
        let Ok(permit) = Arc::clone(&server.permits).try_acquire_owned() else { break };
        server.admit(accepted, permit);
    }
    drop(acceptor);
    sleep(server.settings.settle).await;
    server.stage.enter(Stage::ENDING);
    let all = u32::try_from(server.connections).unwrap_or(u32::MAX);
    Ok(match timeout(server.settings.drain, server.permits.acquire_many(all)).await {
        Ok(_) => Ending::Drained,
        Err(_) => Ending::Cut(server.connections - server.permits.available_permits()),
    })
}

async fn accepting(acceptor: &mut Acceptor, server: &Arc<Server>) {
    let mut short = false;
    while let Ok(permit) = Arc::clone(&server.permits).acquire_owned().await {
        match acceptor.next().await {
            Ok(accepted) => {
                if std::mem::take(&mut short) {
                    tracing::info!("connections are accepted again");
                }
                server.admit(accepted, permit);
            }
            // Files are short. That passes when connections end.
            Err(error) => {
                if !std::mem::replace(&mut short, true) {
                    tracing::warn!("cannot accept connections for now: {error}");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What all connections share.
struct Server {
    service: Arc<Service>,
    settings: Settings,
    http: Http,
    stage: Stage,
    clients: Arc<Clients>,
    refusals: Refusals,
    /// Connections at a time, and a permit for each that there is not.
    connections: usize,
    permits: Arc<Semaphore>,
}

impl Server {
    fn new(service: Arc<Service>, settings: Settings) -> Self {
        let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
        let allowed = files.unwrap_or(usize::MAX).saturating_sub(settings.spare_files).max(1);
        let connections = settings.connections.min(allowed).clamp(1, Semaphore::MAX_PERMITS);
        if connections < settings.connections {
            tracing::info!("at most {connections} connections at a time, for want of files (`ulimit -n`)");
        }
        Self {
            http: connection::http(),
            stage: Stage::default(),
            clients: Arc::new(Clients::new(settings.connections_per_client)),
            refusals: Refusals::default(),
            connections,
            permits: Arc::new(Semaphore::new(connections)),
            service,
            settings,
        }
    }

    /// Serves a connection, if its client may have one more.
    fn admit(self: &Arc<Self>, accepted: Accepted, permit: OwnedSemaphorePermit) {
        let metrics = &self.service.metrics;
        metrics.connections.inc();
        let Some(place) = Clients::enter(&self.clients, accepted.client) else {
            metrics.connections_refused.inc();
            self.refusals.refuse(accepted);
            return;
        };
        let open = Open::new(Arc::clone(self), place, permit);
        tokio::spawn(async move {
            connection::run(&open.server, accepted).await;
            drop(open);
        });
    }
}

/// A connection that is being served, as far as the others are concerned.
struct Open {
    server: Arc<Server>,
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(server: Arc<Server>, place: Place, permit: OwnedSemaphorePermit) -> Self {
        server.service.metrics.connections_open.inc();
        Self { server, _place: place, _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.server.service.metrics.connections_open.dec();
    }
}

/// How far the end has come.
#[derive(Default)]
struct Stage {
    reached: AtomicU8,
    ending: Notify,
}

impl Stage {
    /// Nothing is accepted any more, and clients are told to ask nothing more.
    const LEAVING: u8 = 1;
    /// Connections end with the response that has begun.
    const ENDING: u8 = 2;

    fn enter(&self, stage: u8) {
        self.reached.store(stage, Ordering::Release);
        if stage == Self::ENDING {
            self.ending.notify_waiters();
        }
    }

    fn is(&self, stage: u8) -> bool {
        self.reached.load(Ordering::Acquire) >= stage
    }

    /// Wakes whoever has polled it when it is [`Self::ENDING`].
    fn told(&self) -> Notified<'_> {
        self.ending.notified()
    }
}
