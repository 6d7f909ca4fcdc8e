//! The commands, each a thin shell around the library.

mod build;
mod catalog;
mod compiler_env;
mod gc;
mod image;
mod list;
mod show;
mod verify;

use std::process::ExitCode;

use kitbag_builder::process::Interrupt;
use kitbag_toolsets::Catalog;

use crate::cli::{Cli, Command};
use crate::output::{CommandError, Kind};
use crate::progress::Progress;

/// Does what the command line says.
pub(crate) fn run(cli: &Cli, progress: &Progress, interrupt: &Interrupt) -> Result<ExitCode, CommandError> {
    let catalog = Catalog::builtin().map_err(|errors| CommandError::new(Kind::Build, errors.to_string()))?;
    match &cli.command {
        Command::Build(options) => build::run(options, &catalog, progress, interrupt),
        Command::List(options) => list::run(options, &catalog),
        Command::Show(options) => show::run(options, &catalog),
        Command::Catalog(options) => catalog::run(options),
        Command::Verify(options) => verify::run(options),
        Command::Gc(options) => gc::run(options),
        Command::Image(options) => image::run(options, interrupt),
        Command::CompilerEnv(options) => compiler_env::run(options, progress, interrupt),
    }
}
