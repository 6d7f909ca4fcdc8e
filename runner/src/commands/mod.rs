//! The commands: each puts the parts together and says what happens.

pub(crate) mod attach;
pub(crate) mod completion;
pub(crate) mod debug;
pub(crate) mod doctor;
pub(crate) mod end;
pub(crate) mod install;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod needs;
pub(crate) mod policy;
pub(crate) mod rbac;
pub(crate) mod tools;
pub(crate) mod uninstall;

use std::io::{self, IsTerminal as _, Write as _};

use crate::error::Error;
use crate::progress::Progress;
use crate::session::Streams;
use crate::terminal;

/// Writes a text to standard output. Who closes it early, as `head` does, has seen enough.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<u8, Error> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_ref()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(0),
    }
}

/// A shell for a person has a terminal where there is one; a command gets what the flags say.
pub(crate) fn streams(stdin: bool, tty: bool, interactive: bool, progress: &Progress) -> Streams {
    let terminal = terminal::is_input();
    if tty && !terminal {
        progress.say("warning: standard input is not a terminal: the command gets none");
    }
    let wanted = tty || (interactive && io::stdout().is_terminal());
    Streams { stdin: stdin || tty || interactive, tty: wanted && terminal }
}
