//! The children of this process: reaping them, and ending those that are left over.

use alloc::vec::Vec;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait};

use crate::clock;
use crate::proc::{self, Status};
use crate::sys::Signals;

/// How long leftovers may take to end in an orderly way before they are killed, in milliseconds.
const GRACE: u64 = 500;
/// How long those that were killed are waited for, in milliseconds: one that waits for a disk or a server that does not
/// answer cannot be killed.
const STUCK: u64 = 3 * GRACE;

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
/// subreaper, when their parents end, so it goes on until there are none, or until it is clear that some do not end.
/// Returns the signal that meanwhile told this process to end, which leaves them no more time.
pub(crate) fn sweep(signals: &mut Signals) -> Option<Signal> {
    let mut deadline = clock::now() + GRACE;
    let end = deadline + STUCK;
    let (mut asked, mut told) = (Vec::new(), None);
    loop {
        reap(None);
        let left = children();
        let now = clock::now();
        if left.is_empty() || now >= end {
            return told;
        }
        let limit = if now >= deadline {
            // Those that may not be killed (they changed their user) are no longer ours to wait for.
            let killed = left.iter().filter(|&&child| kill_process(child, Signal::KILL).is_ok()).count();
            if killed == 0 {
                return told;
            }
            GRACE
        } else {
            for child in left {
                if !asked.contains(&child) {
                    let _ = kill_process(child, Signal::TERM);
                    let _ = kill_process(child, Signal::CONT);
                    asked.push(child);
                }
            }
            deadline - now
        };
        if let Some(signal) = wait_for_signal(signals, limit) {
            told = Some(signal);
            deadline = now;
        }
    }
}

/// Returns the signal that tells this process to end, if one is among them.
fn wait_for_signal(signals: &mut Signals, limit: u64) -> Option<Signal> {
    let _ = poll(&mut [PollFd::new(&*signals, PollFlags::IN)], Some(&clock::timespec(limit)));
    let mut told = None;
    while let Some(signal) = signals.next() {
        told = told.or(Some(signal).filter(|signal| matches!(*signal, Signal::TERM | Signal::INT)));
    }
    told
}

/// The children of this process. The list in `/proc/PID/task/PID/children` is an option of the kernel.
fn children() -> Vec<Pid> {
    let own = getpid().as_raw_pid();
    proc::pids().into_iter().filter(|&pid| Status::of(pid).is_some_and(|status| status.parent == own)).collect()
}
