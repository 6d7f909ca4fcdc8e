//! `kubectl kitbag completion`, and the hidden command that its scripts call.

use crate::cli::{self, Complete, Completion};
use crate::completion::{answer, question, scripts, sources};
use crate::error::Error;

/// Prints a script.
pub(crate) fn run(arguments: &Completion) -> Result<u8, Error> {
    super::print(scripts::script(arguments.shell))
}

/// Prints what the last word can become. What can't be found out is left out, without a word about it.
pub(crate) async fn complete(arguments: Complete) -> Result<u8, Error> {
    let question = question::question(&cli::definition(), &arguments.words);
    let candidates = sources::candidates(&question).await;
    super::print(answer(&question, candidates))
}
