//! `catalog`: the catalog of the newest generation, as a cluster publishes it.

use std::io::{self, Write as _};
use std::process::ExitCode;

use kitbag_builder::fs;
use kitbag_builder::store::Store;
use kitbag_toolsets::Published;
use kitbag_toolsets::published::MAX_SIZE;

use crate::cli::Catalog;
use crate::output::{CommandError, Kind, size};

pub(crate) fn run(options: &Catalog) -> Result<ExitCode, CommandError> {
    let store = Store::open(&options.store.dir())?;
    let text = fitting(Published::of(&store.generations()[0]).to_json())?;
    match &options.output {
        Some(path) => fs::write_atomic(path, text.as_bytes())?,
        None => match io::stdout().lock().write_all(text.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(CommandError::new(Kind::Host, format!("standard output cannot be written: {error}")));
            }
            _ => {}
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// The text with a line feed at its end, where a cluster takes it.
fn fitting(text: String) -> Result<String, CommandError> {
    let text = text + "\n";
    if text.len() <= MAX_SIZE {
        return Ok(text);
    }
    let (has, limit) = (size(text.len() as u64), size(MAX_SIZE as u64));
    let message = format!("the catalog has {has}, and a cluster holds {limit} of it at the most");
    Err(CommandError::new(Kind::Mismatch, message).hint("build fewer tools into the store that the cluster is given"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_cluster_takes_is_not_printed() {
        assert_eq!(fitting("{}".to_owned()).unwrap(), "{}\n");
        assert_eq!(fitting("x".repeat(MAX_SIZE - 1)).unwrap().len(), MAX_SIZE);
        insta::assert_snapshot!(fitting("x".repeat(MAX_SIZE)).unwrap_err().text(), @r"
        error: the catalog has 1.0 MB, and a cluster holds 1.0 MB of it at the most
        hint: build fewer tools into the store that the cluster is given
        ");
    }
}
