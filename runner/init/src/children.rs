//! The children of this process: reaping them, and ending those that are left over.

use alloc::vec::Vec;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait};

use crate::clock;
use crate::sys::Signals;

/// How long leftovers may take to end in an orderly way before they are killed, in milliseconds.
const GRACE: u64 = 500;

/// Collects every child that has ended. Returns the status of `main`, if it is among them.
pub(crate) fn reap(main: Option<Pid>) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if Some(pid) == main {
            found = Some(status);
        }
    }
    found
}

/// Ends what is left of a session: asks, waits for [`GRACE`], kills. Children of children come to this process, the
/// subreaper, when their parents end, so it goes on until there are none.
pub(crate) fn sweep(signals: &mut Signals) {
    let deadline = clock::now() + GRACE;
    let mut asked = Vec::new();
    loop {
        reap(None);
        let left = children();
        if left.is_empty() {
            return;
        }
        let remaining = deadline.saturating_sub(clock::now());
        if remaining == 0 {
            // Those that may not be killed (they changed their user) are no longer ours to wait for.
            let killed = left.iter().filter(|&&child| kill_process(child, Signal::KILL).is_ok()).count();
            if killed == 0 {
                return;
            }
            wait_for_signal(signals, GRACE);
        } else {
            for child in left {
                if !asked.contains(&child) {
                    let _ = kill_process(child, Signal::TERM);
                    let _ = kill_process(child, Signal::CONT);
                    asked.push(child);
                }
            }
            wait_for_signal(signals, remaining);
        }
    }
}

fn wait_for_signal(signals: &mut Signals, limit: u64) {
    let _ = poll(&mut [PollFd::new(&*signals, PollFlags::IN)], Some(&clock::timespec(limit)));
    while signals.next().is_some() {}
}

/// The children of this process, from `/proc/PID/stat`: the list in `/proc/PID/task/PID/children` is an option of the
/// kernel.
fn children() -> Vec<Pid> {
    let own = getpid();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(processes) = openat(CWD, c"/proc", flags, Mode::empty()).and_then(Dir::read_from) else { return Vec::new() };
    let pids =
        processes.flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok().and_then(Pid::from_raw));
    pids.filter(|&pid| parent_of(pid) == Some(own)).collect()
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let path = [b"/proc/", rustix::path::DecInt::new(pid.as_raw_pid()).as_bytes(), b"/stat"].concat();
    let file = openat(CWD, &path[..], OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    // A name has sixteen bytes at most, so what is wanted stands well before the end of this.
    let mut stat = [0; 128];
    let length = rustix::io::read(&file, &mut stat).ok()?;
    parent(&stat[..length]).and_then(Pid::from_raw)
}

/// The parent's pid in the text of `/proc/PID/stat`: `PID (NAME) STATE PARENT ...`, where the name may hold anything.
fn parent(stat: &[u8]) -> Option<i32> {
    let end_of_name = stat.iter().rposition(|&byte| byte == b')')?;
    let mut fields = stat.get(end_of_name + 2..)?.split(|&byte| byte == b' ');
    core::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_stands_after_the_name_whatever_that_is() {
        assert_eq!(parent(b"12 (sh) S 7 12 12 0"), Some(7));
        assert_eq!(parent(b"12 (a) S 1 ) b) S 7 12 12 0"), Some(7));
        assert_eq!(parent(b"12 (sh"), None);
        assert_eq!(parent(b"12 (sh)"), None);
        assert_eq!(parent(b""), None);
    }
}
