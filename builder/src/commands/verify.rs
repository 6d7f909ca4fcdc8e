//! `verify`: does every byte of the store still have its hash?

use std::process::ExitCode;

use kitbag_builder::store::{self, Verification};

use crate::cli::StoreOption;
use crate::output::{CommandError, Kind, size};

pub(crate) fn run(options: &StoreOption) -> Result<ExitCode, CommandError> {
    let dir = options.dir();
    let Verification { faults, blobs, bytes, leftovers } = store::verify(&dir)?;
    if faults.is_empty() {
        let unused = if leftovers.is_empty() { String::new() } else { format!(", {} unused files", leftovers.len()) };
        println!("{}: {blobs} blobs, {}{unused}: everything is as it should be", dir.display(), size(bytes));
        return Ok(ExitCode::SUCCESS);
    }
    let lines: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
    let message = format!("{} does not verify:\n{}", dir.display(), lines.join("\n"));
    Err(CommandError::new(Kind::Mismatch, message).hint("build into it again: damaged blobs are replaced"))
}
