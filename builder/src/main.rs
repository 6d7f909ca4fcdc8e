//! `kitbag-builder`: the command line. What it means is in [`cli`], what it does in [`commands`], what it says in
//! [`output`]; here they are put together.

#![forbid(unsafe_code)]

mod cli;
mod commands;
mod output;
mod progress;

use std::io::{self, IsTerminal as _};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser as _;
use kitbag_builder::process::Interrupt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::Cli;
use crate::output::{CommandError, Kind};
use crate::progress::Progress;

/// How long builds have to clear up after Ctrl-C. Whatever still runs then dies with us.
const GRACE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let interrupt = Arc::new(Interrupt::default());
    let progress = Arc::new(Progress::new(io::stderr().is_terminal()));
    if let Err(error) = watch_signals(Arc::clone(&interrupt)) {
        return CommandError::new(Kind::Host, format!("cannot watch for signals: {error}")).report();
    }
    match commands::run(&cli, &progress, &interrupt) {
        Ok(code) => code,
        Err(error) => {
            progress.clear();
            error.report()
        }
    }
}

/// On the first signal everything is ended in order; on the second, or when that takes too long, at once.
fn watch_signals(interrupt: Arc<Interrupt>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if interrupt.is_triggered() {
                process::exit(Kind::Interrupted.code().into());
            }
            interrupt.trigger();
            thread::spawn(|| {
                thread::sleep(GRACE);
                process::exit(Kind::Interrupted.code().into());
            });
        }
    });
    Ok(())
}
