//! The first process: waits for sessions, reaps, and ends when it is told to or when nobody has been there for a while.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use rustix::path::DecInt;
use rustix::process::Signal;

use crate::clock;
use crate::socket::{self, Line};
use crate::sys::{Signals, describe};

/// Longest line that a connection may send.
const LONGEST_LINE: usize = 64;

/// One connection: a session while it lives, or a question.
struct Peer {
    socket: OwnedFd,
    input: Vec<u8>,
    session: Option<Vec<u8>>,
}

/// Runs until SIGTERM or SIGINT, or until no connection has been open for `limit` milliseconds. Returns the exit code.
pub(crate) fn run(limit: u64) -> u8 {
    let mut signals = match Signals::take_over(&[Signal::TERM, Signal::INT, Signal::CHILD]) {
        Ok(signals) => signals,
        Err(error) => {
            crate::complain(&["signals cannot be taken over: ", describe(error)]);
            return crate::FAILED;
        }
    };
    let listener = socket::listen();
    announce(listener.as_ref().err().copied());
    let listener = listener.ok();

    let mut peers: Vec<Peer> = Vec::new();
    let mut idle_since = clock::now();
    loop {
        // Without a socket sessions cannot be seen, and ending would end them: then only a signal ends this process.
        let idle = peers.is_empty() && listener.is_some();
        let left = (idle_since + limit).saturating_sub(clock::now());
        if idle && left == 0 {
            let _ = rustix::fs::unlink(socket::path());
            return 0;
        }
        wait(&signals, listener.as_ref(), &peers, idle.then_some(left));
        while let Some(signal) = signals.next() {
            if signal != Signal::CHILD {
                return 0;
            }
        }
        crate::children::reap(None);
        let before = peers.len();
        if let Some(listener) = &listener {
            accept(listener, &mut peers);
        }
        serve(&mut peers);
        if before > 0 || !peers.is_empty() {
            idle_since = clock::now();
        }
    }
}

/// One line of JSON for the container's log.
fn announce(fault: Option<Errno>) {
    let mut line = String::from(concat!("{\"kitbag-init\":\"", env!("CARGO_PKG_VERSION"), "\",\"uid\":"));
    line.push_str(DecInt::new(rustix::process::geteuid().as_raw()).as_str());
    line.push_str(",\"ready\":true");
    if let Some(error) = fault {
        // The C library's texts hold nothing that JSON would need escaped.
        line.push_str(",\"warning\":\"no idle end: the sessions' socket cannot be made: ");
        line.push_str(describe(error));
        line.push('"');
    }
    line.push_str("}\n");
    crate::write_all(crate::sys::stdout(), line.as_bytes());
}

fn wait(signals: &Signals, listener: Option<&OwnedFd>, peers: &[Peer], limit: Option<u64>) {
    let mut files = vec![PollFd::new(signals, PollFlags::IN)];
    files.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
    files.extend(peers.iter().map(|peer| PollFd::new(&peer.socket, PollFlags::IN)));
    let limit = limit.map(clock::timespec);
    let _ = poll(&mut files, limit.as_ref());
}

fn accept(listener: &OwnedFd, peers: &mut Vec<Peer>) {
    while let Ok(socket) = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        peers.push(Peer { socket, input: Vec::new(), session: None });
    }
}

/// Reads what connections say, answers, and forgets those that are gone.
fn serve(peers: &mut Vec<Peer>) {
    let mut questions = Vec::new();
    let mut index = 0;
    while index < peers.len() {
        match peers[index].read() {
            Ok(Some(Line::Session(id))) => peers[index].session = Some(id),
            Ok(Some(Line::Signal { id, number })) => {
                questions.push((peers.remove(index), id, number));
                continue;
            }
            Ok(None) => {}
            Err(_) => {
                peers.remove(index);
                continue;
            }
        }
        index += 1;
    }
    for (peer, id, number) in questions {
        let sessions = peers.iter().filter(|peer| peer.session.as_ref() == Some(&id));
        let sent = sessions.filter(|session| socket::say(&session.socket, &[number]).is_ok()).count();
        let _ = socket::say(&peer.socket, &[u8::from(sent > 0)]);
    }
}

impl Peer {
    /// A whole line, if one has come. An error is the end of the connection.
    fn read(&mut self) -> Result<Option<Line>, Errno> {
        let mut buffer = [0; LONGEST_LINE];
        match socket::hear(&self.socket, &mut buffer) {
            Ok(0) => return Err(Errno::PIPE),
            Ok(length) => self.input.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error),
        }
        match self.input.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                let line = socket::parse(&self.input[..end]).ok_or(Errno::INVAL)?;
                self.input.drain(..=end);
                Ok(Some(line))
            }
            None if self.input.len() > LONGEST_LINE => Err(Errno::MSGSIZE),
            None => Ok(None),
        }
    }
}
