//! `kitbag-registry serve`: everything put together, from the settings to the last byte.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use kitbag_registry::admin::{self, Admin, AdminError};
use kitbag_registry::auth::{Access, Files};
use kitbag_registry::handover::{Control, Giver, Offer, take};
use kitbag_registry::listen::{Endpoint, Given, Listener, Options, bind, inherited, open};
use kitbag_registry::log::Log;
use kitbag_registry::serve::{self, Ending};
use kitbag_registry::tls::{Tls, TlsFiles};
use kitbag_registry::{Error, Metrics, Registry, Service, follow, log};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::USAGE;
use crate::config::{Config, Setting};
use crate::reload::{Reload, access_part, log_part, throttle_part, tls_part};

/// Threads that check blobs. More would only compete for the disk.
const BLOCKING_THREADS: usize = 4;

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The registry cannot be had.
    #[error(transparent)]
    Registry(#[from] Error),
    /// The admin listener cannot be had.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Nothing says what is to be served.
    #[error("no store is named: give `--store DIR`, `KITBAG_STORE`, or `store` in the file of `--config`")]
    NoStore,
}

impl RunError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Registry(_) | Self::Admin(_) => ExitCode::FAILURE,
            Self::NoStore => ExitCode::from(USAGE),
        }
    }
}

/// Serves until it is told to end.
///
/// # Errors
/// [`RunError`].
pub(crate) fn run(config: &Config, settings: Vec<Setting>, arguments: Vec<OsString>) -> Result<(), RunError> {
    let store = config.store.as_deref().ok_or(RunError::NoStore)?;
    // Sockets that were opened before us stand in the environment, which is read while there is one thread.
    let inherited = inherited(&config.listen)?;
    let log = log::start(&config.log())?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(Error::Start)?;
    let ending = runtime.block_on(async {
        let mut background = JoinSet::new();
        let ending = work(config, store, inherited, &log, (arguments, settings), &mut background).await;
        // So that what it has made, like the file of a socket, goes too.
        background.shutdown().await;
        ending
    });
    // What still reads the store in the background has nobody to read it for.
    runtime.shutdown_background();
    if let Ending::Cut(connections) = ending? {
        tracing::warn!("stopped with {connections} connections cut off");
    }
    Ok(())
}

/// What clients come in by, and what hands it on to the next instance.
struct Sockets {
    options: Options,
    listeners: Vec<Listener>,
    offer: Option<Offer>,
    giver: Option<Giver>,
}

impl Sockets {
    /// From another instance, from whoever started us, or made here. Those are not open yet.
    fn new(config: &Config, tls: Option<Arc<Tls>>, inherited: Vec<OwnedFd>) -> Result<Self, Error> {
        let options = Options { reuse_port: config.reuse_port, tls, ..Options::default() };
        let Some(path) = &config.handover else {
            let listeners = bind(&config.listen, &options, Given { inherited, taken: Vec::new() })?;
            return Ok(Self { options, listeners, offer: None, giver: None });
        };
        let (control, taken, giver) = match take(path)? {
            Some(taken) => (taken.control, taken.sockets, Some(taken.giver)),
            None => (Control::new(path)?, Vec::new(), None),
        };
        let listeners = bind(&config.listen, &options, Given { inherited, taken })?;
        let offer = Some(Offer::new(control, &listeners)?);
        Ok(Self { options, listeners, offer, giver })
    }

    /// Clients come in here from here on, and the other instance can end.
    fn open(&mut self) -> Result<(), Error> {
        open(&self.listeners, &self.options)?;
        if let (Some(giver), Some(offer)) = (self.giver.take(), &self.offer) {
            giver.ready(offer);
        }
        Ok(())
    }
}

/// What clients of TLS endpoints are shown.
fn tls(config: &Config) -> Result<Option<Arc<Tls>>, Error> {
    let (Some(certificate), Some(key)) = (&config.tls_certificate, &config.tls_key) else { return Ok(None) };
    let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
    Ok(Some(Arc::new(Tls::new(files).map_err(Error::Tls)?)))
}

/// What is served, and to whom.
fn service(config: &Config, store: &Path, metrics: Metrics) -> Result<Service, Error> {
    let metrics = Arc::new(metrics);
    let registry = Arc::new(Registry::open(store, Arc::clone(&metrics))?);
    let access = Access::open(Files { htpasswd: config.htpasswd.clone(), tokens: config.token_file.clone() })?;
    let mut service = Service::new(registry, metrics);
    service.access = access.map(Arc::new);
    service.throttle.store(config.throttle());
    Ok(service)
}

/// What can fail comes first, and the sockets of clients last: an instance that fails takes no connection and no socket
/// from another one that runs. What only ends with this process runs in `background`.
async fn work(
    config: &Config,
    store: &Path,
    inherited: Vec<OwnedFd>,
    log: &Log,
    (arguments, settings): (Vec<OsString>, Vec<Setting>),
    background: &mut JoinSet<()>,
) -> Result<Ending, RunError> {
    let (metrics, names) = Metrics::new();
    let admin = Arc::new(Admin::new(names));
    // Where there is nobody else to ask, questions are answered from the beginning.
    if !config.shared() {
        answer(config, &admin, background)?;
    }
    let service = Arc::new(service(config, store, metrics)?);
    let tls = tls(config)?;
    let mut reload = Reload::new(arguments, settings)
        .with(log_part(log))
        .with(throttle_part(&service, config))
        .with(access_part(&service))
        .with(tls_part(tls.clone()));
    let mut sockets = Sockets::new(config, tls, inherited)?;
    let mut signals = Signals::new().map_err(Error::Start)?;
    let registry = Arc::clone(&service.registry);
    admin.started(move || registry.health());
    if config.shared() {
        answer(config, &admin, background)?;
    }
    background.spawn(follow::follow(Arc::clone(&service.registry), config.following()));
    if let Some(access) = &service.access {
        let access = Arc::clone(access);
        background.spawn(async move { access.follow().await });
    }
    sockets.open()?;
    announce(&sockets.listeners, &service.registry);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = serve::serve(sockets.listeners, Arc::clone(&service), config.limits(), async {
        tokio::select! {
            _ = stopped => {}
            () = handed_over(sockets.offer) => {
                admin.ending();
                tracing::info!("another instance has the listening sockets");
            }
        }
    });
    let told = async {
        signals.end(|| reload.run()).await;
        admin.ending();
        tracing::info!("stopping");
        drop(stop);
        signals.end(|| tracing::info!("the settings are not read again: this instance ends")).await;
        tracing::warn!("stopped at once, with {} connections cut off", service.metrics.connections_open.get());
    };
    tokio::select! {
        ending = serving => Ok(ending?),
        // Who asks again does not want to wait.
        () = told => Ok(Ending::Drained),
    }
}

/// Answers questions about this process.
fn answer(config: &Config, admin: &Arc<Admin>, background: &mut JoinSet<()>) -> Result<(), AdminError> {
    for endpoint in &config.admin {
        background.spawn(admin::serve(admin::listen(endpoint, config.shared())?, Arc::clone(admin)));
    }
    Ok(())
}

/// Ends when another instance serves what is offered.
async fn handed_over(offer: Option<Offer>) {
    match offer {
        Some(offer) => offer.taken().await,
        None => std::future::pending().await,
    }
}

/// The one line that says that all is well. Who closes our output does not want to read it.
fn announce(listeners: &[Listener], registry: &Registry) {
    let generation = registry.latest();
    let (id, tools) = (generation.id(), generation.tools().len());
    let place = |listener: &Listener| match listener.endpoint() {
        Endpoint::Tcp(address) => format!("http://{address}"),
        Endpoint::Tls(address) => format!("https://{address}"),
        other => other.to_string(),
    };
    let places = listeners.iter().map(place).collect::<Vec<_>>().join(", ");
    let _ = writeln!(io::stdout(), "kitbag-registry: listening on {places}, generation {id}, {tools} tools");
}

/// Each connection is a file, and the usual limit for programs that use `select` is 1024.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it is not allowed we go on with what we have.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the signal to end, and does what SIGHUP asks for meanwhile.
    async fn end(&mut self, mut hangup: impl FnMut()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => hangup(),
            }
        }
    }
}
