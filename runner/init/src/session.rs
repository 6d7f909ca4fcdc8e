//! The wrapper of one session: runs a command, passes signals on, and leaves nothing of it behind.

use alloc::vec;
use core::ffi::CStr;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitStatus, getpgrp, getpid, kill_process, kill_process_group, set_child_subreaper,
};
use rustix::termios::{isatty, tcgetpgrp};

use crate::sys::{Signals, describe, start, stdin};
use crate::{children, clock, socket};

/// How long a command that was told to end may take before it is killed, in milliseconds.
const GRACE: u64 = 2000;
/// What ends a session, and the child that ends. The terminal sends some of them to its whole foreground group.
const SIGNALS: [Signal; 6] = [Signal::CHILD, Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::TSTP];

/// Runs `command`. Returns its exit code, 128+n when signal n ended it, 127 when there is no such command and 126 when it
/// cannot be executed.
pub(crate) fn run(id: &str, command: &[&CStr]) -> u8 {
    // Everything that the command starts, directly or not, is to come back to this process. Emulators refuse that: then
    // leftovers go elsewhere, which is no reason to have no session.
    let _ = set_child_subreaper(Some(getpid()));
    let mut signals = match Signals::take_over(&SIGNALS) {
        Ok(signals) => signals,
        Err(error) => {
            crate::complain(&["the session cannot be set up: ", describe(error)]);
            return crate::FAILED;
        }
    };
    let connection = socket::register(id);
    if let Err(error) = &connection {
        crate::complain(&[
            "warning: this session ends when the container is idle, it cannot register: ",
            describe(*error),
        ]);
    }
    let terminal = isatty(stdin());
    match start(command, !terminal) {
        Ok(pid) => {
            let mut main = Main { pid, terminal, deadline: None };
            let status = main.watch(&mut signals, connection.ok());
            children::sweep(&mut signals);
            code(status)
        }
        Err(error) => refuse(command[0], error),
    }
}

/// The command of a session.
struct Main {
    pid: Pid,
    /// With a terminal it shares the process group of the wrapper, which is the foreground one: a group of its own could
    /// be stopped by Ctrl-Z, and nobody would be there to continue it. Without one it leads its own group.
    terminal: bool,
    /// When it is killed, once it was told to end.
    deadline: Option<u64>,
}

impl Main {
    /// Until the command has ended.
    fn watch(&mut self, signals: &mut Signals, mut connection: Option<OwnedFd>) -> WaitStatus {
        loop {
            self.wait(signals, connection.as_ref());
            while let Some(signal) = signals.next() {
                match signal {
                    // The terminal has sent these to the command too.
                    Signal::INT | Signal::QUIT | Signal::TSTP if self.terminal => {}
                    Signal::CHILD => {}
                    signal => self.signal(signal),
                }
            }
            if let Some(status) = children::reap(Some(self.pid)) {
                return status;
            }
            let mut numbers = [0; 16];
            match connection.as_ref().map(|socket| socket::hear(socket, &mut numbers)) {
                Some(Ok(0)) => {
                    connection = None;
                    self.signal(Signal::TERM);
                }
                Some(Ok(length)) => {
                    let sent = numbers[..length].iter().filter_map(|&number| Signal::from_named_raw(number.into()));
                    sent.for_each(|signal| self.signal(signal));
                }
                Some(Err(_)) | None => {}
            }
            if self.deadline.is_some_and(|deadline| deadline <= clock::now()) {
                let _ = kill_process(self.pid, Signal::KILL);
                self.deadline = None;
            }
        }
    }

    fn wait(&self, signals: &Signals, connection: Option<&OwnedFd>) {
        let mut files = vec![PollFd::new(signals, PollFlags::IN)];
        files.extend(connection.map(|connection| PollFd::new(connection, PollFlags::IN)));
        let limit = self.deadline.map(|deadline| clock::timespec(deadline.saturating_sub(clock::now())));
        let _ = poll(&mut files, limit.as_ref());
    }

    /// Passes a signal on: to the group that the command leads, or to it and to what a shell has put in the foreground.
    fn signal(&mut self, signal: Signal) {
        if self.terminal {
            let foreground = tcgetpgrp(stdin()).ok().filter(|group| *group != getpgrp() && *group != self.pid);
            if let Some(group) = foreground {
                let _ = kill_process_group(group, signal);
            }
            let _ = kill_process(self.pid, signal);
        } else {
            let _ = kill_process_group(self.pid, signal);
        }
        if matches!(signal, Signal::TERM | Signal::HUP) {
            self.deadline.get_or_insert_with(|| clock::now() + GRACE);
        }
    }
}

fn code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(crate::FAILED),
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn refuse(command: &CStr, error: Errno) -> u8 {
    let command = command.to_string_lossy();
    if error == Errno::NOENT {
        crate::complain(&["`", &command, "`: there is no such command in this image"]);
        127
    } else {
        crate::complain(&["`", &command, "` cannot be executed: ", describe(error)]);
        126
    }
}
