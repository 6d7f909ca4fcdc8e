//! `kitbag-registry catalog`: what a cluster publishes of the store, out of the store itself, so that what is told of a
//! registry is what it serves. Who asks may be a program with nothing but an exec in the registry's container.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use kitbag_builder::store::Store;
use kitbag_toolsets::Published;

/// The exit code of a store that does not have what is asked for.
const NO_SUCH_GENERATION: u8 = 3;

/// Prints the catalog of the newest generation as `kitbag-builder catalog` does, or of the one with this id.
pub(crate) fn catalog(store: &Path, id: Option<&str>) -> ExitCode {
    let opened = match Store::open(store) {
        Ok(opened) => opened,
        Err(error) => return failed(ExitCode::FAILURE, &error.to_string()),
    };
    let generations = opened.generations();
    let Some(generation) = generations.iter().find(|it| id.is_none_or(|id| it.id().as_str() == id)) else {
        let there: Vec<&str> = generations.iter().map(|generation| generation.id().as_str()).collect();
        let (path, id, there) = (store.display(), id.unwrap_or_default(), there.join(", "));
        let reason = format!("the store at `{path}` has no generation `{id}`; it has {there}");
        return failed(ExitCode::from(NO_SUCH_GENERATION), &reason);
    };
    let said = writeln!(io::stdout(), "{}", Published::of(generation).to_json());
    // Half a catalog is none: who reads it has to know.
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn failed(code: ExitCode, reason: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {reason}");
    code
}
