//! A session's bytes, in both directions at once, until its status comes. Knows sockets, but not whose.
//!
//! Neither direction waits for the other: a command that writes while it reads would otherwise stop both ends as soon as
//! all buffers between them are full.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::frame::Frame;
use super::opening::Opening;
use super::output::{Which, Writer};
use super::signals::{HUP, INT, KILL, QUIT, TERM};
use super::{Pace, SessionError};
use crate::channel::{self, Incoming};
use crate::error::Error;
use crate::report::Report;

/// How much input is read at a time.
const CHUNK: usize = 32 * 1024;
/// How many chunks of input, and how many signals, wait to be sent.
const QUEUE: usize = 4;

/// Our end of a session.
pub(super) struct Ours<'a, I, O, E> {
    /// What is passed on.
    pub(super) input: Option<I>,
    pub(super) writer: &'a mut Writer<O, E>,
    /// Signals to this program.
    pub(super) signals: BoxStream<'static, u8>,
    /// The terminal's sizes.
    pub(super) sizes: BoxStream<'static, (u16, u16)>,
    /// Whether what is not answered has not arrived. Input that a command does not read may block everything behind it.
    pub(super) prompt: bool,
    pub(super) pace: Pace,
}

/// What has been seen of a session, however it ends.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) report: Option<Report>,
    pub(super) first_output: Option<Instant>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With this exit code.
    Status(u8),
    /// It was killed on the user's behalf, and had this exit code.
    Killed(u8),
    /// This end has left, with this exit code.
    Left(u8),
}

/// Why it did not end well.
#[derive(Debug)]
pub(super) enum Broken {
    Lost(String),
    Session(SessionError),
    /// The caller did not like the report.
    Caller(Error),
}

impl<T: Into<SessionError>> From<T> for Broken {
    fn from(error: T) -> Self {
        Self::Session(error.into())
    }
}

/// Moves bytes until the session ends. `opened` is called when the report is there, before anything is read or written.
pub(super) async fn talk<S, I, O, E>(
    socket: S,
    ours: Ours<'_, I, O, E>,
    seen: &mut Seen,
    opened: impl FnOnce(&Report) -> Result<(), Error>,
) -> Result<End, Broken>
where
    S: Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError>,
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let Ours { input, writer, signals, sizes, prompt, pace } = ours;
    let (sink, mut stream) = socket.split();
    let (tell, told) = mpsc::channel(QUEUE);
    let (chunks, data) = mpsc::channel(QUEUE);
    let (open, killed) = (Notify::new(), AtomicBool::new(false));
    let send = send(sink, told, sizes, data, pace);
    let feed = async {
        open.notified().await;
        if let Some(input) = input {
            feed(input, chunks).await;
        }
        pending::<Infallible>().await
    };
    let leave = pass_on(signals, &tell, &killed, pace.parting);
    tokio::pin!(send, feed, leave);

    let mut failed = None;
    let stop = {
        let opened = |report: &Report| opened(report).inspect(|()| open.notify_one());
        let receive = receive(&mut stream, writer, seen, opened, prompt.then_some(pace.silence));
        tokio::pin!(receive);
        loop {
            tokio::select! {
                stop = &mut receive => break stop,
                // What is on its way from the other end is still read, and its status may be part of it.
                error = &mut send, if failed.is_none() => failed = Some(error),
                number = &mut leave => break Stop::End(End::Left(128 + number)),
                never = &mut feed => match never {},
            }
        }
    };
    let broken = match stop {
        Stop::End(End::Status(code)) if killed.load(Ordering::Relaxed) => return Ok(End::Killed(code)),
        Stop::End(end) => return Ok(end),
        Stop::Lost(reason) => return Err(Broken::Lost(failed.map_or(reason, |error| error.to_string()))),
        Stop::Session(error) => return Err(error.into()),
        Stop::Output(error) => SessionError::Output(error).into(),
        Stop::Caller(error) => Broken::Caller(error),
    };
    // The command is told to end. A connection that is just closed would do that too, but it would not be waited for.
    let _ = tell.try_send(TERM);
    tokio::select! {
        () = drain(&mut stream) => {}
        _ = &mut send, if failed.is_none() => {}
        () = sleep(pace.parting) => {}
    }
    match broken {
        // Nobody reads any more: what `head` does to every command before it.
        Broken::Session(SessionError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(End::Left(0)),
        broken => Err(broken),
    }
}

/// What goes to the other end. What is not data overtakes it. Ends when nothing can be sent.
async fn send(
    mut sink: impl Sink<Message, Error = SocketError> + Unpin,
    mut signals: mpsc::Receiver<u8>,
    mut sizes: BoxStream<'static, (u16, u16)>,
    mut data: mpsc::Receiver<Bytes>,
    pace: Pace,
) -> SocketError {
    // The first beat is due at once: a first process that is attached to begins with it.
    let (mut beat, mut ping) = (interval(pace.beat), interval(pace.ping));
    for timer in [&mut beat, &mut ping] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        let frame = tokio::select! {
            biased;
            Some(number) = signals.recv() => Frame::Signal(number).encode(),
            Some((columns, rows)) = sizes.next() => Frame::Size { columns, rows }.encode(),
            _ = beat.tick() => Frame::Beat.encode(),
            _ = ping.tick() => Bytes::new(),
            Some(frame) = data.recv() => frame,
        };
        let message = if frame.is_empty() { Message::Ping(frame) } else { Message::Binary(channel::stdin(&frame)) };
        if let Err(error) = sink.send(message).await {
            return error;
        }
    }
}

/// Our input, to its end. One that cannot be read has ended.
async fn feed(mut input: impl AsyncRead + Unpin, chunks: mpsc::Sender<Bytes>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = input.read(&mut buffer).await {
        if chunks.send(Frame::Data(&buffer[..length]).encode()).await.is_err() {
            return;
        }
    }
    let _ = chunks.send(Frame::End.encode()).await;
}

/// Passes signals on: Ctrl-C, and the second time the end. Returns the number of the signal when the command has had its
/// time to end.
async fn pass_on(
    mut signals: BoxStream<'static, u8>,
    tell: &mpsc::Sender<u8>,
    killed: &AtomicBool,
    parting: Duration,
) -> u8 {
    let mut interrupted = false;
    let mut deadline: Option<(tokio::time::Instant, u8)> = None;
    loop {
        let number = tokio::select! {
            Some(number) = signals.next() => number,
            number = until(deadline) => return number,
        };
        let sent = if number == INT && interrupted { KILL } else { number };
        interrupted |= number != QUIT;
        killed.fetch_or(sent == KILL, Ordering::Relaxed);
        if [HUP, KILL, TERM].contains(&sent) {
            deadline.get_or_insert((tokio::time::Instant::now() + parting, number));
        }
        // A queue that is full is one of signals that cannot be sent.
        let _ = tell.try_send(sent);
    }
}

async fn until(deadline: Option<(tokio::time::Instant, u8)>) -> u8 {
    let Some((moment, number)) = deadline else { return pending().await };
    sleep_until(moment).await;
    number
}

/// Why receiving stopped.
enum Stop {
    End(End),
    Lost(String),
    Session(SessionError),
    Output(io::Error),
    Caller(Error),
}

impl<T: Into<SessionError>> From<T> for Stop {
    fn from(error: T) -> Self {
        Self::Session(error.into())
    }
}

/// What comes from the other end, to its status.
async fn receive<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin>(
    stream: &mut (impl Stream<Item = Result<Message, SocketError>> + Unpin),
    writer: &mut Writer<O, E>,
    seen: &mut Seen,
    opened: impl FnOnce(&Report) -> Result<(), Error>,
    silence: Option<Duration>,
) -> Stop {
    match try_receive(stream, writer, seen, opened, silence).await {
        Ok(code) => Stop::End(End::Status(code)),
        Err(stop) => stop,
    }
}

async fn try_receive<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin>(
    stream: &mut (impl Stream<Item = Result<Message, SocketError>> + Unpin),
    writer: &mut Writer<O, E>,
    seen: &mut Seen,
    opened: impl FnOnce(&Report) -> Result<(), Error>,
    silence: Option<Duration>,
) -> Result<u8, Stop> {
    let (mut opening, mut opened) = (Opening::default(), Some(opened));
    let mut answered = false;
    loop {
        let message = match silence.filter(|_| answered) {
            Some(limit) => timeout(limit, stream.next()).await.map_err(|_| silent(limit))?,
            None => stream.next().await,
        };
        let frame = match message {
            Some(Ok(Message::Binary(frame))) => frame,
            Some(Ok(Message::Close(_))) | None => return Err(closed()),
            Some(Ok(message)) => {
                answered |= message.is_pong();
                continue;
            }
            Some(Err(error)) => return Err(Stop::Lost(error.to_string())),
        };
        let (which, data) = match channel::decode(frame)? {
            Incoming::Stdout(data) => (Which::Stdout, data),
            Incoming::Stderr(data) => (Which::Stderr, data),
            Incoming::Status(status) => {
                let code = channel::exit_code(&status)?;
                return if seen.report.is_some() { Ok(code) } else { Err(opening.ended(code).into()) };
            }
            Incoming::Nothing => continue,
        };
        match (&seen.report, which) {
            (Some(_), which) => seen.write(writer, which, &data).await?,
            (None, Which::Stderr) => opening.stderr(&data)?,
            (None, Which::Stdout) => {
                let Some(begun) = opening.stdout(data)? else { continue };
                let report = seen.report.insert(begun.report);
                if let Some(opened) = opened.take() {
                    opened(report).map_err(Stop::Caller)?;
                }
                seen.write(writer, Which::Stderr, &begun.stderr).await?;
                seen.write(writer, Which::Stdout, &begun.stdout).await?;
            }
        }
    }
}

fn silent(limit: Duration) -> Stop {
    Stop::Lost(format!("nothing has been heard for {} s", limit.as_secs()))
}

fn closed() -> Stop {
    Stop::Lost("it was closed without an exit code".to_owned())
}

impl Seen {
    async fn write<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut Writer<O, E>,
        which: Which,
        data: &[u8],
    ) -> Result<(), Stop> {
        if data.is_empty() {
            return Ok(());
        }
        self.first_output.get_or_insert_with(Instant::now);
        writer.write(which, data).await.map_err(Stop::Output)
    }
}

/// Forgets what comes, to the status.
async fn drain(stream: &mut (impl Stream<Item = Result<Message, SocketError>> + Unpin)) {
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Binary(frame) = message
            && matches!(channel::decode(frame), Ok(Incoming::Status(_)) | Err(_))
        {
            return;
        }
    }
}
