//! The program: arguments, log, store, runtime, listener, in this order.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use kitbag_registry::follow::{self, follow};
use kitbag_registry::handover::{Offer, take};
use kitbag_registry::listen::{Endpoint, Listener, Options, listen};
use kitbag_registry::serve::{Ending, Settings, serve};
use kitbag_registry::tls::{Tls, TlsFiles};
use kitbag_registry::{Error, Metrics, Registry, Service};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

/// Threads that check blobs. More would only compete for the disk.
const BLOCKING_THREADS: usize = 4;

/// An OCI registry that composes images from their path: pull `<host>/strace/tcpdump`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// What is logged, as for RUST_LOG: the access log is `kitbag_registry::access=info`.
    #[arg(long, env = "KITBAG_LOG", default_value = "warn,kitbag_registry=info", global = true)]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a store until SIGTERM or Ctrl-C.
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// The store that `kitbag-builder build` has made.
    #[arg(long, env = "KITBAG_STORE")]
    store: PathBuf,
    /// What to listen on, several times if need be: `127.0.0.1:5005`, `tls:0.0.0.0:5443`, `unix:/PATH`, `systemd`.
    #[arg(long, env = "KITBAG_LISTEN", default_value = "127.0.0.1:5005")]
    listen: Vec<Endpoint>,
    /// Let other instances listen on the same addresses.
    #[arg(long, env = "KITBAG_REUSE_PORT")]
    reuse_port: bool,
    /// The certificate for `tls:` endpoints, as PEM.
    #[arg(long, env = "KITBAG_TLS_CERTIFICATE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key, as PEM.
    #[arg(long, env = "KITBAG_TLS_KEY", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Socket at which instances hand their listening sockets to the next: a path, or `@` and a name.
    #[arg(long, env = "KITBAG_HANDOVER", value_parser = kitbag_registry::listen::unix_path)]
    handover: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Command::Serve(settings) = arguments.command;
    match log(&arguments.log).and_then(|()| run(&settings)) {
        Ok(Ending::Drained) => ExitCode::SUCCESS,
        Ok(Ending::Cut(connections)) => {
            tracing::warn!("stopped with {connections} connections cut off");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn log(filter: &str) -> Result<(), Error> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|error| Error::LogFilter { text: filter.to_owned(), reason: error.to_string() })?;
    tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}

fn run(settings: &Serve) -> Result<Ending, Error> {
    raise_file_limit();
    let metrics = Arc::new(Metrics::default());
    let registry = Arc::new(Registry::open(&settings.store, Arc::clone(&metrics))?);
    let tls = match (&settings.tls_certificate, &settings.tls_key) {
        (Some(certificate), Some(key)) => {
            let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
            Some(Arc::new(Tls::new(files).map_err(Error::Tls)?))
        }
        _ => None,
    };
    let options = Options { reuse_port: settings.reuse_port, tls, ..Options::default() };
    let (control, sockets, giver) = match settings.handover.as_deref().map(take).transpose()?.flatten() {
        Some(taken) => (Some(taken.control), taken.sockets, Some(taken.giver)),
        None => (None, Vec::new(), None),
    };
    let listeners = listen(&settings.listen, &options, sockets)?;
    let offer = match &settings.handover {
        Some(path) => Some(Offer::new(path, control, &listeners)?),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(Error::Start)?;
    runtime.block_on(async {
        let mut signals = Signals::new().map_err(Error::Start)?;
        announce(&listeners, &registry);
        if let Some(giver) = giver {
            giver.ready();
        }
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(follow(Arc::clone(&registry), follow::Settings::default()));
        let service = Arc::new(Service { registry, metrics });
        let serving = serve(listeners, service, Settings::default(), async {
            tokio::select! {
                _ = stopped => {}
                () = handed_over(offer) => tracing::info!("another instance has the listening sockets"),
            }
        });
        let twice = async {
            signals.next().await;
            tracing::info!("stopping");
            let _ = stop.send(());
            signals.next().await;
        };
        tokio::select! {
            ending = serving => ending,
            // Who asks again does not want to wait.
            () = twice => Ok(Ending::Drained),
        }
    })
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
    let places: Vec<String> = listeners
        .iter()
        .map(|listener| match listener.endpoint() {
            Endpoint::Tcp(address) => format!("http://{address}"),
            Endpoint::Tls(address) => format!("https://{address}"),
            other => other.to_string(),
        })
        .collect();
    let places = places.join(", ");
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
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
