//! How long a client may keep a connection in the state that it is in. Pure: it is told the time, and what was noted.
//!
//! Notes are taken without a look at the clock, and a timer is set anew only when it has run out or would run out too
//! late. So a request costs one look at the clock, and no timer.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::Settings;

/// Bytes of responses that a client must take in [`Settings::stall`] while there is something for it.
const LEAST: u64 = 1024;
/// How long a client may take to close its end after the last response, when it is still sending.
const LINGER: Duration = Duration::from_secs(2);

/// What was noted of a connection, by whoever saw it. Only `answering` is changed by several tasks.
#[derive(Debug, Default)]
pub(super) struct Notes {
    requests: AtomicU64,
    answering: AtomicUsize,
    multiplexed: AtomicBool,
    head_begun: AtomicBool,
    blocked: AtomicBool,
    taken: AtomicU64,
    lingering: AtomicBool,
}

impl Notes {
    /// The head of a request is there. Its response is being made until [`Notes::answered`].
    pub(super) fn asked(&self, multiplexed: bool) {
        self.requests.store(self.requests.load(Relaxed) + 1, Relaxed);
        self.multiplexed.store(multiplexed, Relaxed);
        self.head_begun.store(false, Relaxed);
        self.answering.fetch_add(1, Relaxed);
    }

    pub(super) fn answered(&self) {
        self.answering.fetch_sub(1, Relaxed);
    }

    /// The client has sent something.
    pub(super) fn said(&self) {
        self.head_begun.store(true, Relaxed);
    }

    /// The client has taken something, and that many bytes of responses with it.
    pub(super) fn took(&self, count: usize) {
        self.taken.store(self.taken.load(Relaxed) + count as u64, Relaxed);
        self.blocked.store(false, Relaxed);
    }

    /// The client takes nothing for now.
    pub(super) fn no_room(&self) {
        self.blocked.store(true, Relaxed);
    }

    /// The client has room for all that there is.
    pub(super) fn flushed(&self) {
        self.blocked.store(false, Relaxed);
    }

    /// All is said, and the client still sends.
    pub(super) fn lingers(&self) {
        self.lingering.store(true, Relaxed);
    }

    #[cfg(test)]
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }

    fn state(&self, ending: bool) -> State {
        if self.lingering.load(Relaxed) {
            State::Lingering
        } else if self.requests.load(Relaxed) == 0 {
            State::New
        } else if self.blocked.load(Relaxed) {
            State::Sending
        } else if self.answering.load(Relaxed) > 0 {
            State::Answering
        } else if ending {
            State::Ending
        } else if self.head_begun.load(Relaxed) && !self.multiplexed.load(Relaxed) {
            State::Head
        } else {
            State::Idle
        }
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first request.
    New,
    /// The rest of a request's head.
    Head,
    /// Ourselves.
    Answering,
    /// The client, to take what is sent.
    Sending,
    /// Another request. Or, over HTTP/2, room in the client's window for the rest of a response.
    Idle,
    /// The client, to take the rest. There will be no other request.
    Ending,
    /// The client, to close its end.
    Lingering,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing, until then.
    Until(Instant),
    /// Nothing: it waits for us.
    Open,
    /// It may finish what it has begun.
    End,
    /// It has had its time.
    Cut,
}

/// How long one connection has been in its state.
pub(super) struct Patience {
    limits: Limits,
    state: State,
    since: Instant,
    /// Requests and bytes of responses, as they were then.
    requests: u64,
    taken: u64,
    ending: bool,
}

struct Limits {
    head: Duration,
    keep_alive: Duration,
    stall: Duration,
}

impl Patience {
    /// Patience with a connection that was accepted `since`.
    pub(super) fn new(settings: &Settings, since: Instant) -> Self {
        let limits = Limits { head: settings.head, keep_alive: settings.keep_alive, stall: settings.stall };
        Self { limits, state: State::New, since, requests: 0, taken: 0, ending: false }
    }

    /// The connection was told to end.
    pub(super) fn end(&mut self) {
        self.ending = true;
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    /// What to do, by what was noted until now.
    pub(super) fn verdict(&mut self, notes: &Notes, now: Instant) -> Verdict {
        let (state, requests, taken) =
            (notes.state(self.ending), notes.requests.load(Relaxed), notes.taken.load(Relaxed));
        let moved = requests != self.requests || taken - self.taken >= LEAST;
        if state != self.state || moved {
            (self.state, self.since, self.requests, self.taken) = (state, now, requests, taken);
        }
        let limit = match state {
            State::New | State::Head => self.limits.head,
            State::Sending | State::Ending => self.limits.stall,
            State::Idle => self.limits.keep_alive,
            State::Lingering => LINGER,
            State::Answering => return Verdict::Open,
        };
        let until = self.since + limit;
        match (until > now, state) {
            (true, _) => Verdict::Until(until),
            (false, State::Idle) => Verdict::End,
            (false, _) => Verdict::Cut,
        }
    }
}

#[cfg(test)]
mod tests;
