//! The socket between the first process and its sessions.
//!
//! A session connects, sends `session ID` and holds the connection while it lives. `signal ID NUMBER` on a connection
//! makes the first process send that number, one byte, to the session; the answer is one byte, 1 when there was one.
//! The end of the connection tells a session to end.

use alloc::ffi::CString;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, lstat, mkdir, unlink};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    listen as start_listening, recv, send, socket_with,
};

use crate::clock;
use crate::sys::{describe, variable};

/// In the container's own file system, in a directory that only the container's user may enter.
const PATH: &core::ffi::CStr = c"/tmp/.kitbag/init.sock";
/// Longest id of a session.
const LONGEST_ID: usize = 40;
/// How long a session waits for the first process, in milliseconds.
const PATIENCE: u64 = 300;

/// Where the socket is.
pub(crate) fn path() -> &'static core::ffi::CStr {
    variable(c"KITBAG_SOCKET").unwrap_or(PATH)
}

/// Whether `text` can be the id of a session: letters, digits and `-`. The empty one is that of sessions without.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() <= LONGEST_ID && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Listens at [`path`], whose directory is made.
pub(crate) fn listen() -> Result<OwnedFd, Errno> {
    let path = path();
    let end = path.to_bytes().iter().rposition(|&byte| byte == b'/').ok_or(Errno::INVAL)?;
    let directory = CString::new(&path.to_bytes()[..end]).map_err(|_| Errno::INVAL)?;
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

/// Tells the first process that a session is open. It may have been started a moment ago: it gets a moment.
pub(crate) fn register(id: &str) -> Result<OwnedFd, Errno> {
    let deadline = clock::now() + PATIENCE;
    let socket = loop {
        match dial() {
            Err(_) if clock::now() < deadline => clock::sleep(10),
            result => break result?,
        }
    };
    say(&socket, &[b"session ", id.as_bytes(), b"\n"].concat())?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// The program `kitbag-init signal ID NUMBER`: 0 when the signal went to a session, 1 when there is none of that id.
pub(crate) fn send_signal(id: &str, number: u8) -> u8 {
    let ask = || {
        let socket = dial()?;
        say(&socket, &[b"signal ", id.as_bytes(), b" ", &[number], b"\n"].concat())?;
        let mut answer = [0];
        hear(&socket, &mut answer)?;
        Ok(answer[0] == 1)
    };
    match ask() {
        Ok(true) => 0,
        Ok(false) => {
            crate::complain(&["there is no session `", id, "`"]);
            1
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

fn dial() -> Result<OwnedFd, Errno> {
    let socket = new_socket(SocketFlags::CLOEXEC)?;
    connect(&socket, &SocketAddrUnix::new(path())?)?;
    Ok(socket)
}

fn new_socket(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// What a connection says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is the session of that id.
    Session(Vec<u8>),
    /// That signal is for the session of that id.
    Signal { id: Vec<u8>, number: u8 },
}

/// Reads a line, without its end.
pub(crate) fn parse(line: &[u8]) -> Option<Line> {
    if let Some(id) = line.strip_prefix(b"session ") {
        return Some(Line::Session(id.to_vec()));
    }
    match line.strip_prefix(b"signal ")? {
        [id @ .., b' ', number] => Some(Line::Signal { id: id.to_vec(), number: *number }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_mean_what_they_say() {
        assert_eq!(parse(b"session a-1"), Some(Line::Session(b"a-1".to_vec())));
        assert_eq!(parse(b"session "), Some(Line::Session(Vec::new())));
        assert_eq!(parse(b"signal a-1 \x02"), Some(Line::Signal { id: b"a-1".to_vec(), number: 2 }));
        assert_eq!(parse(b"signal a-1"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn an_id_has_no_room_for_tricks() {
        assert!(is_id("kitbag-x2f5q"));
        assert!(!is_id("a b"));
        assert!(!is_id("a\nb"));
        assert!(!is_id(&"a".repeat(LONGEST_ID + 1)));
    }
}
