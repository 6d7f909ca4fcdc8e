//! The socket between the first process and its sessions.
//!
//! A session connects, says `session` and holds the connection while it lives; that the first process ends it tells the
//! session to end. `status` is answered by a line of JSON, and `end` when all has ended.

use alloc::ffi::CString;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, lstat, mkdir, unlink};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    listen as start_listening, recv, send, socket_with,
};
use rustix::process::Pid;

use crate::clock;
use crate::sys::{describe, stdout, variable};

/// In the container's own file system, in a directory that only the container's user may enter.
const PATH: &core::ffi::CStr = c"/tmp/.kitbag/init.sock";
/// How long a session waits for the first process, in milliseconds.
const PATIENCE: u64 = 300;
/// Longest answer, in bytes.
const LONGEST_ANSWER: usize = 256;

/// Where the socket is.
pub(crate) fn path() -> &'static core::ffi::CStr {
    variable(c"KITBAG_SOCKET").unwrap_or(PATH)
}

/// Where the socket's directory is.
pub(crate) fn directory() -> Option<&'static [u8]> {
    let path = path().to_bytes();
    Some(&path[..path.iter().rposition(|&byte| byte == b'/')?])
}

/// Listens at [`path`], whose directory is made.
pub(crate) fn listen() -> Result<OwnedFd, Errno> {
    let path = path();
    let directory = CString::new(directory().ok_or(Errno::INVAL)?).map_err(|_| Errno::INVAL)?;
    if let Err(error) = mkdir(&directory, Mode::RWXU) {
        // It may be left from before, but not be somebody else's: who owns the directory owns the sessions.
        let status = lstat(&directory).map_err(|_| error)?;
        let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        if !is_directory || status.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Errno::PERM);
        }
    }
    let _ = unlink(path);
    let socket = new_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    start_listening(&socket, 64)?;
    Ok(socket)
}

/// Tells the first process that a session is open.
pub(crate) fn register() -> Result<OwnedFd, Errno> {
    let socket = dial()?;
    say(&socket, b"session\n")?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// The first process, seen from a session.
pub(crate) fn first(connection: &OwnedFd) -> Option<Pid> {
    socket_peercred(connection).ok().map(|credentials| credentials.pid)
}

/// The program `kitbag-init status`: prints the answer.
pub(crate) fn status() -> u8 {
    ask(b"status\n", |answer| crate::write_all(stdout(), answer))
}

/// The program `kitbag-init end`: returns when all sessions have ended, and the first process is about to.
pub(crate) fn end() -> u8 {
    ask(b"end\n", |_| {})
}

fn ask(question: &[u8], heed: impl FnOnce(&[u8])) -> u8 {
    let mut answer = [0; LONGEST_ANSWER];
    let result = dial().and_then(|socket| {
        say(&socket, question)?;
        hear(&socket, &mut answer)
    });
    match result {
        Ok(length) => {
            heed(&answer[..length]);
            0
        }
        Err(error) => {
            let path = path().to_str().unwrap_or_default();
            crate::complain(&["the first process does not answer at `", path, "`: ", describe(error)]);
            1
        }
    }
}

/// Sends all of a short message. Nobody being there is an error, not a signal.
pub(crate) fn say(socket: impl AsFd, message: &[u8]) -> Result<(), Errno> {
    match retry_on_intr(|| send(&socket, message, SendFlags::NOSIGNAL))? {
        length if length == message.len() => Ok(()),
        _ => Err(Errno::MSGSIZE),
    }
}

/// Receives what is there; nothing is the end.
pub(crate) fn hear(socket: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let (_, length) = retry_on_intr(|| recv(&socket, &mut *buffer, RecvFlags::empty()))?;
    Ok(length)
}

/// Waits for the other side to speak or to leave.
pub(crate) fn await_word(socket: impl AsFd, limit: u64) {
    let _ = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&clock::timespec(limit)));
}

/// Connects. The first process may have been started a moment ago: it gets a moment.
fn dial() -> Result<OwnedFd, Errno> {
    let deadline = clock::now() + PATIENCE;
    loop {
        let socket = new_socket(SocketFlags::CLOEXEC)?;
        match connect(&socket, &SocketAddrUnix::new(path())?) {
            Err(_) if clock::now() < deadline => clock::sleep(10),
            result => return result.map(|()| socket),
        }
    }
}

fn new_socket(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// What a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is a session.
    Session,
    /// How is it?
    Status,
    /// Be gone.
    End,
}

impl Word {
    /// Reads a line, without its end.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        match line {
            b"session" => Some(Self::Session),
            b"status" => Some(Self::Status),
            b"end" => Some(Self::End),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_count() {
        assert_eq!(Word::parse(b"session"), Some(Word::Session));
        assert_eq!(Word::parse(b"status"), Some(Word::Status));
        assert_eq!(Word::parse(b"end"), Some(Word::End));
        assert_eq!(Word::parse(b"end "), None);
        assert_eq!(Word::parse(b""), None);
    }
}
