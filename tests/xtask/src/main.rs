//! The tasks of this workspace: `cargo xtask demo`, `test`, `bench`, `torture`, `release`,
//! `dist`, `down`. Each does all the set-up that it needs.

#![forbid(unsafe_code)]

mod bench;
mod check;
mod demo;
mod dist;
mod progress;
mod release;
mod server;
mod shown;
mod synthetic;
mod torture;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kitbag_tests::http;

/// What a task returns: its errors are texts for the person who started it.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The tasks of kitbag", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the tools, serve them, start a one-node Kubernetes, and debug a pod in it
    Demo {
        /// Leave everything up, and print how to use it by hand; `cargo xtask down` ends it
        #[arg(long)]
        keep: bool,
    },
    /// End what `demo --keep` left up
    Down,
    /// Everything that decides whether a change lands
    Test,
    /// Sizes and speeds, as a table and as JSON
    Bench {
        /// What to measure; everything if nothing is named
        parts: Vec<bench::Part>,
        /// Where to write the JSON
        #[arg(long, default_value = "target/bench.json")]
        json: std::path::PathBuf,
    },
    /// The registry under everything that goes wrong in years: a store that changes and breaks, clients that are rude
    Torture {
        /// For about how long, once everything is built
        #[arg(long, default_value_t = 300)]
        seconds: u64,
    },
    /// kitbag's own programs as they ship: static, small, for amd64 and arm64
    Release,
    /// What a release publishes: archives, checksums, a krew manifest, completions, the manual, the registry's image
    Dist(dist::Options),
    /// Check the dependencies against the advisories that are published (needs the internet)
    Advisories,
}

fn main() -> ExitCode {
    kitbag_tests::machine::enter();
    let result = match Arguments::parse().task {
        Task::Demo { keep } => demo::run(keep),
        Task::Down => demo::down(),
        Task::Test => check::run(),
        Task::Bench { parts, json } => bench::run(&parts, &json),
        Task::Torture { seconds } => torture::run(std::time::Duration::from_secs(seconds)),
        Task::Release => release::run(),
        Task::Dist(options) => dist::run(&options),
        Task::Advisories => check::advisories(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error}");
            ExitCode::FAILURE
        }
    }
}
