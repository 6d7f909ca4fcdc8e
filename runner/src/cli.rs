//! The command line, and the one place where errors become text and exit codes.

pub(crate) mod cluster;
pub(crate) mod common;
pub(crate) mod debug;
mod doctor;
mod others;
mod usage;
pub(crate) mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

pub(crate) use cluster::{Install, Policy, Uninstall};
pub(crate) use common::{Common, Whose};
pub(crate) use debug::Debug;
pub(crate) use doctor::Doctor;
pub(crate) use others::{Attach, Complete, Completion, End, List, Man, Needs, Rbac, Shell, Tools};
pub use usage::UsageError;

use crate::commands;
use crate::error::{Error, Kind};
use crate::progress::Progress;
use crate::signals;
use crate::terminal;

/// Debugs running pods with tools that are not in their images.
#[derive(Debug, Parser)]
#[command(name = "kubectl-kitbag", bin_name = "kubectl kitbag", version, after_help = exit_codes())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What is to be done.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    Debug(Box<Debug>),
    List(List),
    Attach(Attach),
    End(End),
    Needs(Needs),
    Rbac(Rbac),
    Doctor(Doctor),
    Tools(Tools),
    Install(Install),
    Uninstall(Uninstall),
    Policy(Policy),
    Completion(Completion),
    Man(Man),
    #[command(name = "__complete", hide = true, disable_help_flag = true)]
    Complete(Complete),
}

/// Runs the plugin. What a person should read has been printed when it returns.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Before anything that might speak TLS: two of the libraries would otherwise disagree about who does it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    terminal::restore_on_panic();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let failed = error.use_stderr();
            return ExitCode::from(if failed { Kind::Usage.exit_code() } else { 0 });
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Error::Runtime(error)),
    };
    let result = runtime.block_on(async {
        tokio::select! {
            // First: a session that ends with the signal has heeded it.
            biased;
            number = signals::outside() => Ok(128 + number),
            result = dispatch(cli.command) => result,
        }
    });
    // A thread may still be reading standard input: nobody waits for it.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => report(&error),
    }
}

async fn dispatch(command: Command) -> Result<u8, Error> {
    command.check()?;
    match command {
        Command::Debug(arguments) => commands::debug::run(*arguments).await,
        Command::Needs(arguments) => commands::needs::run(&arguments).await,
        Command::Tools(arguments) => commands::tools::run(&arguments).await,
        Command::Completion(arguments) => commands::completion::run(&arguments),
        Command::Man(_) => commands::man::run(),
        Command::Complete(arguments) => commands::completion::complete(arguments).await,
        Command::List(arguments) => commands::list::run(&arguments).await,
        Command::Attach(arguments) => commands::attach::run(&arguments).await,
        Command::End(arguments) => commands::end::run(&arguments).await,
        Command::Rbac(arguments) => commands::rbac::run(&arguments),
        Command::Install(arguments) => commands::install::run(&arguments).await,
        Command::Uninstall(arguments) => commands::uninstall::run(&arguments).await,
        Command::Policy(arguments) => commands::policy::run(&arguments).await,
        Command::Doctor(arguments) => commands::doctor::run(&arguments).await,
    }
}

/// The definition of the command line, for those who describe it.
pub(crate) fn definition() -> clap::Command {
    let mut definition = Cli::command();
    definition.build();
    definition
}

impl Command {
    /// The command that `words`, without the program's name, would run.
    ///
    /// # Errors
    /// [`UsageError`] when they would run none.
    pub(crate) fn parse(words: &[String]) -> Result<Self, UsageError> {
        let program = std::iter::once("kubectl-kitbag");
        let cli = Cli::try_parse_from(program.chain(words.iter().map(String::as_str))).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            UsageError::Line {
                line: words.join(" "),
                reason: first.strip_prefix("error: ").unwrap_or(first).to_owned(),
            }
        })?;
        cli.command.check()?;
        Ok(cli.command)
    }

    fn check(&self) -> Result<(), UsageError> {
        match self {
            Self::Debug(debug) => debug.check(),
            Self::List(list) => list.pods.optional().map(drop),
            Self::Attach(attach) => attach.pods.required().map(drop),
            Self::End(end) => end.pods.required().map(drop),
            Self::Needs(_)
            | Self::Rbac(_)
            | Self::Doctor(_)
            | Self::Tools(_)
            | Self::Install(_)
            | Self::Uninstall(_)
            | Self::Policy(_)
            | Self::Completion(_)
            | Self::Man(_)
            | Self::Complete(_) => Ok(()),
        }
    }
}

fn report(error: &Error) -> ExitCode {
    Progress::new(false).fail(error);
    ExitCode::from(error.kind().exit_code())
}

/// The exit codes, for people.
pub(crate) fn exit_codes() -> String {
    let mut text = String::from(
        "Exit codes:\n  0-255  the command's own: 128+n when signal n ended it, 127 not found, 126 not executable\n\
         Where no command ran:",
    );
    for kind in Kind::ALL {
        text.push_str(&format!("\n  {:>5}  {}", kind.exit_code(), kind.meaning()));
    }
    text
}

#[cfg(test)]
mod tests;
