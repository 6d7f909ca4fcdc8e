//! As Unix has it: a terminal is read and written as everything is.

use std::io::{self, IsTerminal as _};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use super::{Input, Output};

/// What sessions call a terminal that `$TERM` does not name: who runs this without one has none.
pub(super) const NAME: Option<&str> = None;

pub(super) fn make_raw() -> io::Result<()> {
    enable_raw_mode()
}

/// Makes it what it was, where that is something else.
pub(super) fn restore() {
    let _ = disable_raw_mode();
}

/// Whether standard input is a terminal.
pub(crate) fn is_input() -> bool {
    io::stdin().is_terminal()
}

/// Whether standard output is a terminal that knows colours by their sequences.
pub(crate) fn shows_colours() -> bool {
    io::stdout().is_terminal()
}

pub(super) fn input(_raw: bool) -> Input {
    Box::pin(tokio::io::stdin())
}

/// Standard output.
pub(crate) fn output() -> Output {
    Box::pin(tokio::io::stdout())
}

/// Standard error.
pub(crate) fn errors() -> Output {
    Box::pin(tokio::io::stderr())
}
