//! The command of a session, and what it reads.

use rustix::event::{PollFd, PollFlags};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, retry_on_intr, write};
use rustix::process::{Pid, Signal, WaitStatus, kill_process, kill_process_group};
use rustix::termios::{Winsize, tcgetpgrp, tcsetwinsize};

use super::terminal::Terminal;

/// What a terminal takes for the end of input.
const END: &[u8] = b"\x04";

pub(crate) struct Command {
    /// The leader of a process group.
    pub(crate) pid: Pid,
    pub(crate) stream: Stream,
    /// How it ended, once it has: then its pid may be another's.
    pub(crate) status: Option<WaitStatus>,
}

/// Where input for the command goes.
pub(crate) enum Stream {
    /// It has none, or has enough of it.
    Nothing,
    /// Its stdin.
    Pipe(OwnedFd),
    /// Its terminal.
    Terminal(Terminal),
}

impl Command {
    /// Passes input on; how much of it is done with. [`Errno::AGAIN`] is that it must wait.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let written = match &self.stream {
            Stream::Nothing => return Ok(bytes.len()),
            Stream::Pipe(pipe) => retry_on_intr(|| write(pipe, bytes)),
            Stream::Terminal(terminal) => retry_on_intr(|| write(terminal.master(), bytes)),
        };
        match written {
            Err(error) if error != Errno::AGAIN => {
                // It does not read any more, which is its right.
                if matches!(self.stream, Stream::Pipe(_)) {
                    self.stream = Stream::Nothing;
                }
                Ok(bytes.len())
            }
            written => written,
        }
    }

    /// Says that no input follows. [`Errno::AGAIN`] is that it must wait.
    pub(crate) fn end_input(&mut self) -> Result<(), Errno> {
        if matches!(self.stream, Stream::Terminal(_)) {
            return self.write(END).map(drop);
        }
        self.stream = Stream::Nothing;
        Ok(())
    }

    /// What to wait for before input can go on.
    pub(crate) fn room(&self) -> Option<PollFd<'_>> {
        match &self.stream {
            Stream::Nothing => None,
            Stream::Pipe(pipe) => Some(PollFd::new(pipe, PollFlags::OUT)),
            Stream::Terminal(terminal) => Some(PollFd::from_borrowed_fd(terminal.master(), PollFlags::OUT)),
        }
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        if let Stream::Terminal(terminal) = &self.stream {
            let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = tcsetwinsize(terminal.master(), size);
        }
    }

    /// Sends a signal to its process group, and to what a shell has put in the foreground of its terminal.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.status.is_some() {
            return;
        }
        if let Stream::Terminal(terminal) = &self.stream
            && let Ok(group) = tcgetpgrp(terminal.master())
            && group != self.pid
        {
            let _ = kill_process_group(group, signal);
        }
        let _ = kill_process_group(self.pid, signal);
    }

    /// Whether that was possible. What it has started is swept up later.
    pub(crate) fn kill(&self) -> bool {
        self.status.is_some() || kill_process(self.pid, Signal::KILL).is_ok()
    }

    /// Says how it ended.
    pub(crate) fn end(&mut self, status: WaitStatus) {
        self.status = Some(status);
        if let Stream::Terminal(terminal) = &mut self.stream {
            terminal.hang_up();
        }
    }

    /// How it ended, once it has and all that it wrote to its terminal is passed on, if `somebody` reads that.
    pub(crate) fn outcome(&self, somebody: bool) -> Option<WaitStatus> {
        let is_left = matches!(&self.stream, Stream::Terminal(terminal) if !terminal.is_drained());
        self.status.filter(|_| !(somebody && is_left))
    }
}
