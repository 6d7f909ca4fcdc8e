//! The wrapper of one session: runs a command as its client wishes, and leaves nothing of it behind.

mod command;
mod relay;
mod terminal;

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::path::DecInt;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitStatus, getpid, set_child_subreaper};

use crate::command_line::{Limits, Session};
use crate::frames::Frames;
use crate::report::Report;
use crate::sys::{self, Place, Signals, describe, stdin, stdout};
use crate::{clock, identity, socket, target};
use command::{Command, Stream};
use relay::{Outcome, Relay};
use terminal::Terminal;

/// What ends a session, the child that ends, and nobody reading (which the writes say themselves).
const SIGNALS: [Signal; 6] = [Signal::CHILD, Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::PIPE];
/// Stands in a command for the target's process.
const PID: &[u8] = b"{pid}";

/// Runs a session. Returns the command's exit code, 128+n when signal n ended it, 127 when there is no such command and
/// 126 when it cannot be executed.
pub(crate) fn run(session: &Session<'_>) -> u8 {
    let Some(signals) = set_up() else { return crate::FAILED };
    let connection = socket::register();
    if let Err(error) = &connection {
        crate::complain(&[
            "warning: this session ends when the container is idle, it cannot register: ",
            describe(*error),
        ]);
    }
    let first = connection.as_ref().ok().and_then(socket::first);
    let control = Control { connection: connection.ok(), end: None, is_first: false };
    carry_out(session, signals, Frames::new(), control, first)
}

/// Is the first process and a session at once: waits for a client, runs its command, and ends with it.
pub(crate) fn attached(limits: Limits, session: &Session<'_>) -> u8 {
    let since = clock::now();
    let Some(mut signals) = set_up() else { return crate::FAILED };
    let mut frames = Frames::new();
    let wait = limits.ttl.map_or(limits.idle, |ttl| ttl.min(limits.idle));
    loop {
        let left = (since + wait).saturating_sub(clock::now());
        if left == 0 {
            return 0;
        }
        let mut files = [PollFd::new(&signals, PollFlags::IN), PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
        let _ = poll(&mut files, Some(&clock::timespec(left)));
        let is_there = !files[1].revents().is_empty();
        while let Some(signal) = signals.next() {
            if matches!(signal, Signal::TERM | Signal::INT) {
                return 0;
            }
        }
        crate::children::reap(None);
        if is_there {
            match rustix::io::read(stdin(), frames.room()) {
                Ok(length @ 1..) => {
                    frames.fill(length);
                    break;
                }
                Err(Errno::INTR) => {}
                Ok(0) if !is_null(stdin()) => {
                    crate::complain(&["whoever attached has left before the session began"]);
                    return crate::FAILED;
                }
                _ => {
                    crate::complain(&["nobody can attach: the container has no stdin"]);
                    return crate::FAILED;
                }
            }
        }
    }
    let control = Control { connection: None, end: limits.ttl.map(|ttl| since + ttl), is_first: true };
    carry_out(session, signals, frames, control, Some(getpid()))
}

/// Whether it is what a container without a stdin has as one.
fn is_null(file: BorrowedFd<'_>) -> bool {
    fstat(file).is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice)
}

/// What ends a session, beside its command and its client.
struct Control {
    /// To the first process, when that is another one.
    connection: Option<OwnedFd>,
    /// The end of the container's life.
    end: Option<u64>,
    /// Whether the container ends with this process.
    is_first: bool,
}

fn set_up() -> Option<Signals> {
    // Everything that the command starts, directly or not, is to come back to this process. Emulators refuse that: then
    // leftovers go elsewhere, which is no reason to have no session.
    let _ = set_child_subreaper(Some(getpid()));
    let signals = Signals::take_over(&SIGNALS);
    signals.map_err(|error| crate::complain(&["the session cannot be set up: ", describe(error)])).ok()
}

fn carry_out(session: &Session<'_>, mut signals: Signals, frames: Frames, control: Control, first: Option<Pid>) -> u8 {
    let target = target::find(session.whose, first);
    target::link(target);
    if session.becomes {
        let taken = target.map_or(Err("it is not visible"), identity::take);
        if let Err(reason) = taken {
            crate::complain(&["warning: this session cannot run as the user of the target's process: ", reason]);
        }
    }
    crate::write_all(stdout(), Report::measure(target).line().as_bytes());
    session.environment.iter().for_each(|&assignment| sys::set_variable(assignment.into()));
    let pid = target.map(|pid| DecInt::new(pid.as_raw_pid()));
    let pid = pid.as_ref().map(|pid| pid.as_bytes());
    match pid.and_then(|pid| CString::new([b"KITBAG_PID=", pid].concat()).ok()) {
        Some(assignment) => sys::set_variable(assignment),
        None => sys::remove_variable(c"KITBAG_PID"),
    }
    let Some(words) = session.command.iter().map(|word| with_pid(word, pid)).collect::<Option<Vec<_>>>() else {
        crate::complain(&["the command names `{pid}`, but the target's process is not visible here"]);
        return crate::FAILED;
    };
    let command = match start(session, &words) {
        Ok(command) => command,
        Err(Fault::SetUp(error)) => {
            crate::complain(&["the session cannot be set up: ", describe(error)]);
            return crate::FAILED;
        }
        Err(Fault::Command(error)) => return crate::refuse(&words[0], error),
    };
    match Relay::new(command, frames, session.patience, control).run(&mut signals) {
        Outcome::Ended(status) => code(status),
        Outcome::Signal(signal) => u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX),
        Outcome::Stuck => crate::FAILED,
    }
}

enum Fault {
    SetUp(Errno),
    Command(Errno),
}

fn start(session: &Session<'_>, words: &[CString]) -> Result<Command, Fault> {
    if let Some(size) = session.terminal {
        let terminal = Terminal::open(size).map_err(Fault::SetUp)?;
        let pid = sys::start(words, &Place::Terminal(terminal.slave())).map_err(Fault::Command)?;
        return Ok(Command { pid, stream: Stream::Terminal(terminal), status: None });
    }
    let (theirs, stream) = if session.stdin {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).map_err(Fault::SetUp)?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(Fault::SetUp)?;
        (theirs, Stream::Pipe(ours))
    } else {
        let nothing = openat(CWD, c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        (nothing.map_err(Fault::SetUp)?, Stream::Nothing)
    };
    let pid = sys::start(words, &Place::Group(theirs.as_fd())).map_err(Fault::Command)?;
    Ok(Command { pid, stream, status: None })
}

/// The word with the target's process for each [`PID`]; nothing when there is none to put in.
fn with_pid(word: &CStr, pid: Option<&[u8]>) -> Option<CString> {
    let mut rest = word.to_bytes();
    let mut whole = Vec::new();
    while let Some(start) = rest.windows(PID.len()).position(|window| window == PID) {
        whole.extend_from_slice(&rest[..start]);
        whole.extend_from_slice(pid?);
        rest = &rest[start + PID.len()..];
    }
    whole.extend_from_slice(rest);
    CString::new(whole).ok()
}

fn code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(crate::FAILED),
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_process_is_put_in_everywhere() {
        let with = |word| with_pid(word, Some(b"12")).unwrap();
        assert_eq!(&*with(c"{pid}"), c"12");
        assert_eq!(&*with(c"/proc/{pid}/fd/{pid}"), c"/proc/12/fd/12");
        assert_eq!(&*with(c"{pid"), c"{pid");
        assert_eq!(&*with(c"{}\xff"), c"{}\xff");
        assert_eq!(with_pid(c"-p{pid}", None), None);
        assert_eq!(with_pid(c"-p", None).as_deref(), Some(c"-p"));
    }
}
