//! A terminal of a session's own: a pair of which the command has one end, and this process the other.

use alloc::vec;
use alloc::vec::Vec;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::sys::stdout;

/// How much goes to stdout at once, in bytes: what a pipe takes whole or not at all, so that a client who does not read
/// cannot stop this process.
const PIECE: usize = 4096;

pub(crate) struct Terminal {
    master: OwnedFd,
    /// Kept while the command runs: without anybody at this end the other one reads an error.
    slave: Option<OwnedFd>,
    piece: Vec<u8>,
    start: usize,
    end: usize,
    is_drained: bool,
}

impl Terminal {
    pub(crate) fn open(size: Winsize) -> Result<Self, Errno> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        unlockpt(&master)?;
        tcsetwinsize(&master, size)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        // Emulators know only the older way, by name.
        let slave = ioctl_tiocgptpeer(&master, flags).or_else(|_| {
            let name = ptsname(&master, Vec::new())?;
            openat(CWD, name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
        })?;
        Ok(Self { master, slave: Some(slave), piece: vec![0; PIECE], start: 0, end: 0, is_drained: false })
    }

    /// The command's end.
    pub(crate) fn slave(&self) -> BorrowedFd<'_> {
        self.slave.as_ref().unwrap_or(&self.master).as_fd()
    }

    /// The other one.
    pub(crate) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Says that the command has ended: what it wrote is all that will come.
    pub(crate) fn hang_up(&mut self) {
        self.slave = None;
    }

    /// Whether all that will come has come, and gone to stdout.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_drained && self.start == self.end
    }

    /// Whether there is something for stdout.
    pub(crate) fn is_full(&self) -> bool {
        self.start < self.end
    }

    /// Passes on what the command has written, or throws it away, as far as that goes without waiting. An error is that
    /// nobody reads.
    pub(crate) fn pump(&mut self, discard: bool) -> Result<(), Errno> {
        loop {
            if discard {
                self.start = self.end;
            }
            if self.start < self.end {
                let mut files = [PollFd::from_borrowed_fd(stdout(), PollFlags::OUT)];
                if poll(&mut files, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(1) {
                    return Ok(());
                }
                self.start += retry_on_intr(|| rustix::io::write(stdout(), &self.piece[self.start..self.end]))?;
            } else {
                match retry_on_intr(|| rustix::io::read(&self.master, &mut self.piece)) {
                    Ok(length @ 1..) => (self.start, self.end) = (0, length),
                    Err(Errno::AGAIN) if self.slave.is_some() => return Ok(()),
                    // Nobody is left at the other end, or only somebody who could not be ended.
                    _ => {
                        self.is_drained = true;
                        return Ok(());
                    }
                }
            }
        }
    }
}
