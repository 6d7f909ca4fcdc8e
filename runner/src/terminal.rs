//! The user's terminal: raw while a session has it, and itself again on every way out. And the standard streams, which may
//! be that terminal.

// Windows' console speaks of keys and characters. Only Windows wants what makes bytes of them.
#[cfg(any(windows, test))]
mod characters;
#[cfg(any(windows, test))]
mod keys;
#[cfg_attr(unix, path = "terminal/unix.rs")]
#[cfg_attr(windows, path = "terminal/windows.rs")]
mod system;

use std::env;
use std::io;
use std::panic;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::session::Terminal;

/// What a session reads.
pub(crate) type Input = Pin<Box<dyn AsyncRead + Send>>;
/// What it writes.
pub(crate) type Output = Pin<Box<dyn AsyncWrite + Send>>;

pub(crate) use system::{errors, is_input, output, shows_colours};

/// Raw mode while it lives.
pub(crate) struct Raw(());

impl Raw {
    pub(crate) fn enter() -> io::Result<Self> {
        let raw = Self(());
        system::make_raw()?;
        Ok(raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        system::restore();
    }
}

/// A panic aborts the program and drops nothing: the hook restores the terminal first, so that its text can be read.
pub(crate) fn restore_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        system::restore();
        report(panic);
    }));
}

/// Standard input; `raw` where it is a terminal that is raw before anything is read.
pub(crate) fn input(raw: bool) -> Input {
    system::input(raw)
}

/// Columns and rows, where it says.
pub(crate) fn size() -> Option<(u16, u16)> {
    crossterm::terminal::size().ok().filter(|(columns, rows)| *columns > 0 && *rows > 0)
}

/// What a session should know of it.
pub(crate) fn describe() -> Terminal {
    let name = env::var("TERM").ok().filter(|name| !name.is_empty());
    Terminal { size: size(), name: name.or_else(|| system::NAME.map(str::to_owned)) }
}
