//! `kitbag-registry ready`: one line and an exit code, for probes.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use kitbag_registry::admin::{self, Question, ask};
use kitbag_registry::listen::Endpoint;

use crate::USAGE;
use crate::config::File;

/// Asks the instance that has been given these endpoints, or this file. What counts is the exit code, also where the
/// line cannot be written.
pub(crate) fn ready(given: &[Endpoint], file: Option<&Path>, live: bool) -> ExitCode {
    let (question, word) = if live { (Question::Live, "live") } else { (Question::Ready, "ready") };
    let endpoint = match endpoint(given, file) {
        Ok(endpoint) => endpoint,
        Err(reason) => {
            let _ = writeln!(io::stderr(), "error: {reason}");
            return ExitCode::from(USAGE);
        }
    };
    match ask(&endpoint, question) {
        Ok(answer) if answer.yes => {
            let _ = writeln!(io::stdout(), "{word}: {}", answer.reason);
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            let _ = writeln!(io::stdout(), "not {word}: {}", answer.reason);
            ExitCode::FAILURE
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A Unix socket if there is one: it is this machine's for sure.
fn endpoint(given: &[Endpoint], file: Option<&Path>) -> Result<Endpoint, String> {
    let mut all = given.to_vec();
    if let (true, Some(path)) = (all.is_empty(), file) {
        let file = File::read(path).map_err(|error| error.to_string())?;
        let values = file.values("admin").unwrap_or_default().iter().flat_map(|value| value.split(','));
        all = values
            .map(admin::endpoint)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("`admin` in `{}`: {error}", path.display()))?;
    }
    let unix = all.iter().position(|endpoint| matches!(endpoint, Endpoint::Unix(_)));
    let nowhere = "`admin` is not set: give the instance and this command `--admin unix:/run/kitbag/admin.sock`, \
                   `KITBAG_ADMIN`, or `admin` in the file of `--config`";
    all.into_iter().nth(unix.unwrap_or(0)).ok_or_else(|| nowhere.to_owned())
}
