//! What goes on while a command runs: frames to it, a terminal's output from it, and everybody's end noticed.

use alloc::vec;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitStatus};

use super::Control;
use super::command::{Command, Stream};
use crate::frames::{Frames, Urgent};
use crate::sys::{Signals, stdin, stdout};
use crate::{children, clock, socket};

/// How long a command that was told to end may take before it is killed, in milliseconds.
const GRACE: u64 = 2000;
/// How many times as long a client may be silent while nothing more of it can be read. It may be there and want to be
/// heard; but not every runtime says when it is not.
const MUFFLED: u64 = 10;

pub(crate) struct Relay {
    command: Command,
    frames: Frames,
    patience: u64,
    control: Control,
    /// When the client was last heard of.
    heard: u64,
    /// Whether the command does not take what is there for it.
    is_blocked: bool,
    /// Whether the command was told that its input has ended.
    is_fed: bool,
    /// Whether nobody is there to read and write any more.
    is_deserted: bool,
    /// Whether the first process has sent this one home. It waits until the connection is closed.
    is_dismissed: bool,
    /// When the command is killed, once it was told to end.
    deadline: Option<u64>,
}

/// How a session ended.
pub(crate) enum Outcome {
    /// With its command.
    Ended(WaitStatus),
    /// By a signal to the first process.
    Signal(Signal),
    /// With a command that may not be killed.
    Stuck,
}

/// What has come, of what is not this process's own and could be waited for by mistake.
struct Ready {
    client: bool,
    /// Nobody writes to stdin or reads stdout.
    gone: bool,
}

impl Relay {
    pub(crate) fn new(command: Command, frames: Frames, patience: u64, control: Control) -> Self {
        let heard = clock::now();
        Self {
            command,
            frames,
            patience,
            control,
            heard,
            is_blocked: false,
            is_fed: false,
            is_deserted: false,
            is_dismissed: false,
            deadline: None,
        }
    }

    /// Until the command and all that it started have ended, and what it wrote is passed on.
    pub(crate) fn run(mut self, signals: &mut Signals) -> Outcome {
        self.deliver();
        loop {
            let ready = self.wait(signals);
            if let Some(signal) = self.heed(signals) {
                children::sweep(signals);
                return Outcome::Signal(signal);
            }
            if self.command.status.is_none()
                && let Some(status) = children::reap(Some(self.command.pid))
            {
                if let Some(signal) = children::sweep(signals).filter(|_| self.control.is_first) {
                    return Outcome::Signal(signal);
                }
                self.command.end(status);
            }
            self.listen(&ready);
            self.deliver();
            self.pump();
            self.watch_the_first_process();
            if !self.watch_the_clock() {
                children::sweep(signals);
                return Outcome::Stuck;
            }
            if let Some(status) = self.command.outcome(!self.is_deserted) {
                return Outcome::Ended(status);
            }
        }
    }

    fn wait(&self, signals: &Signals) -> Ready {
        let mut files = vec![PollFd::new(signals, PollFlags::IN)];
        let mut client = None;
        if !self.is_deserted {
            let wanted = if self.frames.is_full() { PollFlags::empty() } else { PollFlags::IN };
            client = Some(files.len());
            files.push(PollFd::from_borrowed_fd(stdin(), wanted));
        }
        let mut reader = None;
        if let Stream::Terminal(terminal) = &self.command.stream {
            if terminal.is_full() {
                reader = Some(files.len());
                files.push(PollFd::from_borrowed_fd(stdout(), PollFlags::OUT));
            } else {
                files.push(PollFd::from_borrowed_fd(terminal.master(), PollFlags::IN));
                if !self.is_deserted {
                    reader = Some(files.len());
                    files.push(PollFd::from_borrowed_fd(stdout(), PollFlags::empty()));
                }
            }
        }
        if self.is_blocked {
            files.extend(self.command.room());
        }
        let connection = self.control.connection.as_ref().filter(|_| !self.is_dismissed);
        files.extend(connection.map(|connection| PollFd::new(connection, PollFlags::IN)));
        let limit = self.next_moment().map(|moment| clock::timespec(moment.saturating_sub(clock::now())));
        let _ = poll(&mut files, limit.as_ref());

        let broken = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        let client = client.map_or(PollFlags::empty(), |index| files[index].revents());
        let reader = reader.map_or(PollFlags::empty(), |index| files[index].revents());
        let is_full = self.frames.is_full();
        let is_left = is_full && client.intersects(broken);
        Ready { client: !is_full && !client.is_empty(), gone: is_left || reader.intersects(broken) }
    }

    /// Heeds signals to this process. Returns the one that ends the container.
    fn heed(&mut self, signals: &mut Signals) -> Option<Signal> {
        while let Some(signal) = signals.next() {
            match signal {
                Signal::CHILD | Signal::PIPE => {}
                Signal::TERM | Signal::INT if self.control.is_first => return Some(signal),
                signal => {
                    self.command.signal(signal);
                    if matches!(signal, Signal::TERM | Signal::HUP) {
                        self.deadline.get_or_insert_with(|| clock::now() + GRACE);
                    }
                }
            }
        }
        None
    }

    /// Reads from the client.
    fn listen(&mut self, ready: &Ready) {
        if ready.gone {
            self.desert();
        } else if ready.client {
            match rustix::io::read(stdin(), self.frames.room()) {
                Ok(0) => self.desert(),
                Ok(length) => {
                    self.frames.fill(length);
                    self.heard = clock::now();
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => self.desert(),
            }
        }
    }

    /// Passes on what has come from the client, as far as the command takes it.
    fn deliver(&mut self) {
        while let Some(urgent) = self.frames.urgent() {
            match urgent {
                Urgent::Signal(number) => {
                    if let Some(signal) = Signal::from_named_raw(number.into()) {
                        self.command.signal(signal);
                    }
                }
                Urgent::Size { columns, rows } => self.command.resize(columns, rows),
            }
        }
        let was_full = self.frames.is_full();
        self.is_blocked = self.feed().is_err() && !self.is_deserted;
        if was_full && !self.frames.is_full() {
            // From this moment on the client can be heard.
            self.heard = clock::now();
        }
    }

    /// Gives the command its input. An error is that it must wait.
    fn feed(&mut self) -> Result<(), Errno> {
        while !self.frames.data().is_empty() {
            let length = self.command.write(self.frames.data())?;
            self.frames.consume(length);
        }
        if self.frames.has_ended() && !self.is_fed {
            self.command.end_input()?;
            self.is_fed = true;
        }
        Ok(())
    }

    /// Passes a terminal's output on.
    fn pump(&mut self) {
        if let Stream::Terminal(terminal) = &mut self.command.stream
            && terminal.pump(self.is_deserted).is_err()
        {
            self.desert();
        }
    }

    fn watch_the_first_process(&mut self) {
        if let Some(connection) = &self.control.connection
            && !self.is_dismissed
            && socket::hear(connection, &mut [0; 16]) == Ok(0)
        {
            self.is_dismissed = true;
            self.hang_up();
        }
    }

    /// Does what it is time for. Returns false when nothing helps.
    fn watch_the_clock(&mut self) -> bool {
        let now = clock::now();
        let reached = |moment: Option<u64>| moment.is_some_and(|moment| moment <= now);
        if reached(self.end_of_patience()) {
            self.desert();
        }
        if reached(self.control.end) {
            self.control.end = None;
            self.hang_up();
        }
        if reached(self.deadline) {
            self.deadline = None;
            return self.command.kill();
        }
        true
    }

    fn next_moment(&self) -> Option<u64> {
        [self.end_of_patience(), self.control.end, self.deadline].into_iter().flatten().min()
    }

    fn end_of_patience(&self) -> Option<u64> {
        let patience = if self.frames.is_full() { self.patience * MUFFLED } else { self.patience };
        (!self.is_deserted).then_some(self.heard + patience)
    }

    /// Nobody is there any more.
    fn desert(&mut self) {
        if !self.is_deserted {
            self.is_deserted = true;
            self.is_blocked = false;
            if matches!(self.command.stream, Stream::Pipe(_)) {
                self.command.stream = Stream::Nothing;
            }
            self.hang_up();
        }
    }

    /// Tells the command that its end has come.
    fn hang_up(&mut self) {
        self.command.signal(Signal::HUP);
        self.command.signal(Signal::CONT);
        self.deadline.get_or_insert_with(|| clock::now() + GRACE);
    }
}
