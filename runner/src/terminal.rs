//! The user's terminal: raw while a session has it, and itself again on every way out.

use std::env;
use std::io;
use std::panic;

use crossterm::terminal::{disable_raw_mode, enable_raw_mode, is_raw_mode_enabled};

use crate::session::Terminal;

/// Raw mode while it lives.
pub(crate) struct Raw(());

impl Raw {
    pub(crate) fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        Ok(Self(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = disable_raw_mode();
    }
}

/// A panic aborts the program and drops nothing: the hook restores the terminal first, so that its text can be read.
pub(crate) fn restore_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if is_raw_mode_enabled().unwrap_or(true) {
            let _ = disable_raw_mode();
        }
        report(panic);
    }));
}

/// Columns and rows, where it says.
pub(crate) fn size() -> Option<(u16, u16)> {
    crossterm::terminal::size().ok().filter(|(columns, rows)| *columns > 0 && *rows > 0)
}

/// What a session should know of it.
pub(crate) fn describe() -> Terminal {
    Terminal { size: size(), name: env::var("TERM").ok().filter(|name| !name.is_empty()) }
}
