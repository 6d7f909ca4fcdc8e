//! The program `kitbag-registry` as a process of a test.
#![allow(dead_code, reason = "this file is part of several test programs, and not each uses all of it")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

/// Serves a store.
pub(crate) fn command(store: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kitbag-registry"));
    command.env_clear().arg("serve").arg("--store").arg(store).arg("--listen").arg(listen);
    command
}

/// Ends the program with the test that started it.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// The line that it prints when it serves: its standard output must be a pipe that nobody has read from.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line
    }

    /// Where it listens, by that line.
    pub(crate) fn address(&mut self) -> String {
        let line = self.line();
        let rest = line.strip_prefix("kitbag-registry: listening on http://").unwrap_or_else(|| panic!("{line}"));
        rest.split_once(',').unwrap().0.to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
