//! The first process: waits for sessions, reaps, and ends when it is told to or when nobody has been there for a while.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown};
use rustix::path::DecInt;
use rustix::process::{Signal, getpid};

use crate::clock;
use crate::command_line::Limits;
use crate::report::Report;
use crate::socket::{self, Word};
use crate::sys::{Signals, describe};
use crate::target::{self, Whose};

/// Longest line that a connection may send.
const LONGEST_LINE: usize = 64;
/// How long sessions get to end, in milliseconds: a little more than they give their commands.
const FAREWELL: u64 = 3000;
/// How long whoever has asked for the end gets to leave first, in milliseconds, so that its exit code is seen.
const COURTESY: u64 = 300;

/// Runs until SIGTERM or SIGINT, until it is asked to end, or until a limit is reached. Returns the exit code.
pub(crate) fn run(limits: Limits, whose: Whose<'_>) -> u8 {
    let mut signals = match Signals::take_over(&[Signal::TERM, Signal::INT, Signal::CHILD]) {
        Ok(signals) => signals,
        Err(error) => {
            crate::complain(&["signals cannot be taken over: ", describe(error)]);
            return crate::FAILED;
        }
    };
    let listener = socket::listen();
    let target = target::find(whose, Some(getpid()));
    target::link(target);
    let report = Report::measure(target).ready(listener.as_ref().err().copied());
    crate::write_all(crate::sys::stdout(), report.as_bytes());

    let mut first = First::new(limits, listener.ok());
    while !first.is_over() {
        first.wait(&signals);
        while let Some(signal) = signals.next() {
            if signal != Signal::CHILD {
                return 0;
            }
        }
        crate::children::reap(None);
        first.accept();
        first.serve();
    }
    first.take_leave();
    0
}

struct First {
    limits: Limits,
    /// Without it sessions cannot be seen, and ending would end them: then only a signal and the ttl end this process.
    listener: Option<OwnedFd>,
    peers: Vec<Peer>,
    since: u64,
    idle_since: u64,
    /// When it ends whether or not sessions are left, once it is to end.
    ending: Option<u64>,
}

/// One connection.
struct Peer {
    socket: OwnedFd,
    input: Vec<u8>,
    said: Option<Word>,
}

impl First {
    fn new(limits: Limits, listener: Option<OwnedFd>) -> Self {
        let now = clock::now();
        Self { limits, listener, peers: Vec::new(), since: now, idle_since: now, ending: None }
    }

    fn sessions(&self) -> usize {
        self.peers.iter().filter(|peer| peer.said == Some(Word::Session)).count()
    }

    fn is_over(&mut self) -> bool {
        let now = clock::now();
        let reached = |moment: Option<u64>| moment.is_some_and(|moment| moment <= now);
        if reached(self.end_of_life()) {
            self.end();
        }
        reached(self.ending) || self.sessions() == 0 && (self.ending.is_some() || reached(self.end_of_idling()))
    }

    fn end_of_life(&self) -> Option<u64> {
        self.limits.ttl.map(|ttl| self.since + ttl)
    }

    fn end_of_idling(&self) -> Option<u64> {
        let is_idle = self.listener.is_some() && self.sessions() == 0;
        is_idle.then_some(self.idle_since + self.limits.idle)
    }

    /// Lets nobody in, and sends everybody home.
    fn end(&mut self) {
        if self.ending.is_none() {
            self.ending = Some(clock::now() + FAREWELL);
            self.listener = None;
            let sessions = self.peers.iter().filter(|peer| peer.said == Some(Word::Session));
            for session in sessions {
                let _ = shutdown(&session.socket, Shutdown::Write);
            }
        }
    }

    fn wait(&self, signals: &Signals) {
        let next = match self.ending {
            Some(moment) => Some(moment),
            None => self.end_of_life().into_iter().chain(self.end_of_idling()).min(),
        };
        let limit = next.map(|moment| clock::timespec(moment.saturating_sub(clock::now())));
        let mut files = vec![PollFd::new(signals, PollFlags::IN)];
        files.extend(self.listener.as_ref().map(|listener| PollFd::new(listener, PollFlags::IN)));
        files.extend(self.peers.iter().map(|peer| PollFd::new(&peer.socket, PollFlags::IN)));
        let _ = poll(&mut files, limit.as_ref());
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        while let Ok(socket) = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            self.peers.push(Peer { socket, input: Vec::new(), said: None });
        }
    }

    /// Reads what connections say, answers, and forgets those that are gone.
    fn serve(&mut self) {
        let before = self.sessions();
        let mut status = false;
        let mut end = false;
        self.peers.retain_mut(|peer| {
            let heard = peer.read();
            status |= heard == Ok(Some(Word::Status));
            end |= heard == Ok(Some(Word::End));
            heard.is_ok()
        });
        if before > 0 || self.sessions() > 0 {
            self.idle_since = clock::now();
        }
        if status {
            let line = self.status();
            let asking = self.peers.iter_mut().filter(|peer| peer.said == Some(Word::Status));
            asking.for_each(|peer| {
                let _ = socket::say(&peer.socket, line.as_bytes());
                peer.said = None;
            });
        }
        if end {
            self.end();
        }
    }

    /// How it is, in seconds, as one line of JSON.
    fn status(&self) -> String {
        let now = clock::now();
        let idle = if self.sessions() > 0 { 0 } else { now - self.idle_since };
        let mut line = String::new();
        let mut number = |key: &str, value: u64| {
            line.push_str(key);
            line.push_str(DecInt::new(value).as_str());
        };
        number("{\"sessions\":", self.sessions() as u64);
        number(",\"idle\":", idle / 1000);
        number(",\"age\":", (now - self.since) / 1000);
        match self.limits.ttl {
            Some(ttl) => number(",\"ttl\":", ttl / 1000),
            None => line.push_str(",\"ttl\":null"),
        }
        line.push_str("}\n");
        line
    }

    fn take_leave(&self) {
        let _ = rustix::fs::unlink(socket::path());
        for peer in self.peers.iter().filter(|peer| peer.said == Some(Word::End)) {
            if socket::say(&peer.socket, b"ended\n").is_ok() {
                socket::await_word(&peer.socket, COURTESY);
            }
        }
    }
}

impl Peer {
    /// A word, if a whole one has come. An error is the end of the connection.
    fn read(&mut self) -> Result<Option<Word>, Errno> {
        let mut buffer = [0; LONGEST_LINE];
        match socket::hear(&self.socket, &mut buffer) {
            Ok(0) => return Err(Errno::PIPE),
            Ok(length) => self.input.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error),
        }
        match self.input.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                let word = Word::parse(&self.input[..end]).ok_or(Errno::INVAL)?;
                self.input.drain(..=end);
                self.said = Some(word);
                Ok(Some(word))
            }
            None if self.input.len() > LONGEST_LINE => Err(Errno::MSGSIZE),
            None => Ok(None),
        }
    }
}
