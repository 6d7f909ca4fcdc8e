//! `kitbag-registry catalog`: what a cluster publishes of the store, out of the store itself, so that what is told of a
//! registry is what it serves. Who asks may be a program with nothing but an exec in the registry's container.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use kitbag_builder::store::Store;
use kitbag_toolsets::Published;

/// Prints the catalog of the newest generation, as `kitbag-builder catalog` does.
pub(crate) fn catalog(store: &Path) -> ExitCode {
    let said = match Store::open(store) {
        Ok(store) => writeln!(io::stdout(), "{}", Published::of(&store.generations()[0]).to_json()),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Half a catalog is none: who reads it has to know.
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
