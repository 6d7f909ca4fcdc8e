//! The program: arguments, log, runtime, admin listener, store, listener, in this order. Where another instance may run
//! beside this one, whose admin listener answers meanwhile, ours comes after the store.

#![forbid(unsafe_code)]

mod catalog;
mod cli;
mod config;
mod ready;
mod reload;
mod run;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use cli::Task;
use config::ConfigError;

/// Wrong arguments or settings, as clap has it too.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let loaded = match config::load(&arguments) {
        Ok(loaded) => loaded,
        Err(ConfigError::Arguments(error)) => error.exit(),
        Err(error) => return failed(&error, ExitCode::from(USAGE)),
    };
    match loaded.task {
        Task::Serve(config) => match run::run(&config, loaded.settings, arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, error.exit_code()),
        },
        Task::Config { output, .. } => {
            // Who closes our output does not want to read it.
            let _ = io::stdout().write_all(config::print(&loaded.settings, output).as_bytes());
            ExitCode::SUCCESS
        }
        Task::Ready { admin, config, live } => ready::ready(&admin, config.as_deref(), live),
        Task::Catalog { store, generation } => catalog::catalog(&store, generation.as_deref()),
    }
}

fn failed(error: &dyn std::error::Error, code: ExitCode) -> ExitCode {
    // Where it cannot be said, the exit code says it.
    let _ = writeln!(io::stderr(), "error: {error}");
    code
}
