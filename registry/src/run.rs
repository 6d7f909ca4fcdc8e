//! `kitbag-registry serve`: everything put together, from the settings to the last byte.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kitbag_builder::store::Store;
use kitbag_registry::admin::{self, Admin, AdminError, Health};
use kitbag_registry::log;
use kitbag_registry::serve::{Ending, listen, serve};
use kitbag_registry::{Error, Metrics, Registry, Service};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::USAGE;
use crate::config::{Config, Setting};
use crate::reload::{Reload, log_part};

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
    /// The address of a listener is none.
    #[error("`{0}` in `listen` is no address to listen on: write for example `127.0.0.1:5005`")]
    Listen(String),
}

impl RunError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Registry(_) | Self::Admin(_) => ExitCode::FAILURE,
            Self::NoStore | Self::Listen(_) => ExitCode::from(USAGE),
        }
    }
}

/// Serves until it is told to end.
///
/// # Errors
/// [`RunError`].
pub(crate) fn run(config: &Config, settings: Vec<Setting>, arguments: Vec<OsString>) -> Result<(), RunError> {
    let store = config.store.as_deref().ok_or(RunError::NoStore)?;
    let log = log::start(&log_settings(config))?;
    let reload = Reload::new(arguments, settings).with(log_part(&log));
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(Error::Start)?;
    let ending = runtime.block_on(async {
        let mut background = JoinSet::new();
        let ending = work(config, store, reload, &mut background).await;
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

/// What the settings say of the log.
pub(crate) fn log_settings(config: &Config) -> log::Settings {
    log::Settings {
        filter: config.log.clone(),
        format: config.log_format,
        access: config.access_log,
        sample: config.access_log_sample,
    }
}

/// What only ends with this process runs in `background`.
async fn work(
    config: &Config,
    store: &Path,
    mut reload: Reload<'_>,
    background: &mut JoinSet<()>,
) -> Result<Ending, RunError> {
    let mut signals = Signals::new().map_err(Error::Start)?;
    let (metrics, names) = Metrics::new();
    let (metrics, admin) = (Arc::new(metrics), Arc::new(Admin::new(names)));
    // Where another instance takes over, there are two for a while.
    let shared = config.reuse_port || config.handover.is_some();
    for endpoint in &config.admin {
        background.spawn(admin::serve(admin::listen(endpoint, shared)?, Arc::clone(&admin)));
    }
    let registry = Arc::new(Registry::new(Store::open(store).map_err(Error::Store)?));
    let listener = listen(address(config)?).await?;
    let address = listener.local_addr().map_err(Error::Start)?;
    metrics.serve([registry.latest().id()]);
    metrics.generation_since.set(now());
    let served = Arc::clone(&registry);
    admin.started(move || Health { generation: served.latest().id().to_string(), ..Health::default() });
    announce(address, &registry);
    let (stop, stopped) = oneshot::channel::<()>();
    let service = Arc::new(Service { registry, metrics });
    let serving = serve(listener, service, async {
        let _ = stopped.await;
    });
    let told = async {
        signals.end(|| reload.run()).await;
        admin.ending();
        tracing::info!("stopping");
        drop(stop);
        signals.end(|| tracing::info!("the settings are not read again: this instance ends")).await;
    };
    tokio::select! {
        ending = serving => Ok(ending),
        // Who asks again does not want to wait.
        () = told => Ok(Ending::Drained),
    }
}

fn address(config: &Config) -> Result<SocketAddr, RunError> {
    let text = config.listen.join(",");
    text.parse().map_err(|_| RunError::Listen(text))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The one line that says that all is well. Who closes our output does not want to read it.
fn announce(address: SocketAddr, registry: &Registry) {
    let generation = registry.latest();
    let (id, tools) = (generation.id(), generation.tools().len());
    let _ = writeln!(io::stdout(), "kitbag-registry: listening on http://{address}, generation {id}, {tools} tools");
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
