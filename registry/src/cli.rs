//! The command line. Settings are `config`'s affair.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use kitbag_registry::admin;
use kitbag_registry::listen::Endpoint;

use crate::config::{Config, Output};

/// An OCI registry that composes images from their path: pull `<host>/strace/tcpdump`.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Serve a store until SIGTERM or Ctrl-C
    #[command(after_help = SERVING)]
    Serve(Box<Config>),
    /// Print the effective settings, and where each comes from
    #[command(after_help = SETTINGS)]
    Config {
        /// How to print them; `toml` is a file for `--config`
        #[arg(long, short, value_name = "text|json|toml", default_value = "text", hide_possible_values = true)]
        output: Output,
        #[command(flatten)]
        config: Box<Config>,
    },
    /// Ask the running instance whether it is ready: exit code 0 if it is, 1 if not
    ///
    /// Asks the first Unix socket of `admin`, else its first address. Nothing else of the settings is read, so that no
    /// fault in them can make a running instance look as if it were not ready.
    Ready {
        /// Where the instance listens for questions about its health
        #[arg(long, env = "KITBAG_ADMIN", value_name = "ENDPOINT", value_delimiter = ',')]
        #[arg(value_parser = admin::endpoint)]
        admin: Vec<Endpoint>,
        /// The TOML file that says so, where no flag and no variable does
        #[arg(long, env = "KITBAG_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        /// Ask only whether it answers at all: a damaged blob does not get better by a new start
        #[arg(long)]
        live: bool,
    },
    /// Print the catalog that a cluster publishes of the store's newest generation, `catalog.json`
    Catalog {
        /// The store
        #[arg(long, env = "KITBAG_STORE", value_name = "DIR")]
        store: PathBuf,
        /// Of this generation, which the store has too
        #[arg(long, value_name = "ID")]
        generation: Option<String>,
    },
}

const EXIT_CODES: &str = "\
Exit codes:
  0  it ended as it was told to (the log says whether connections were cut off); `ready`: it is
  1  it could not start, or not go on; `ready`: it is not, or does not answer within 2 s;
     `catalog`: the store cannot be read
  2  wrong arguments or settings
  3  `catalog`: the store has no such generation";

macro_rules! settings {
    () => {
        "\
A flag goes before the environment, that before the file, that before the default. The file has the
names of the flags: `drain = \"30s\"`, `max-connections = 100`, `listen = [\"[::1]:5005\", \"unix:/run/x\"]`."
    };
}

const SETTINGS: &str = settings!();

const SERVING: &str = concat!(
    settings!(),
    "

Signals:
  SIGTERM, SIGINT  stop listening, finish what has begun, exit with 0; a second one: exit at once
  SIGHUP           read the settings again, and the files of certificates, users and tokens:
                   `access-log`, `access-log-sample`, `log`, `request-burst` and
                   `requests-per-client` change, the others take a restart, and the log says
                   which; with a fault in them nothing changes"
);
