//! The program: arguments, log, store, runtime, listener, in this order.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use kitbag_builder::store::Store;
use kitbag_registry::serve::{Ending, listen, serve};
use kitbag_registry::{Error, Registry, Service};
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
    Serve {
        /// The store that `kitbag-builder build` has made.
        #[arg(long, env = "KITBAG_STORE")]
        store: PathBuf,
        /// Address and port to listen on.
        #[arg(long, env = "KITBAG_LISTEN", default_value = "127.0.0.1:5005")]
        listen: SocketAddr,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Command::Serve { store, listen } = arguments.command;
    match log(&arguments.log).and_then(|()| run(&store, listen)) {
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

fn run(store: &std::path::Path, address: SocketAddr) -> Result<Ending, Error> {
    raise_file_limit();
    let registry = Arc::new(Registry::new(Store::open(store).map_err(Error::Store)?));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(Error::Start)?;
    runtime.block_on(async {
        let mut signals = Signals::new().map_err(Error::Start)?;
        let listener = listen(address).await?;
        announce(listener.local_addr().unwrap_or(address), &registry);
        let (stop, stopped) = oneshot::channel();
        let service = Arc::new(Service { registry, metrics: Arc::default() });
        let serving = serve(listener, service, async {
            let _ = stopped.await;
        });
        let twice = async {
            signals.next().await;
            tracing::info!("stopping");
            let _ = stop.send(());
            signals.next().await;
        };
        tokio::select! {
            ending = serving => Ok(ending),
            // Who asks again does not want to wait.
            () = twice => Ok(Ending::Drained),
        }
    })
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
