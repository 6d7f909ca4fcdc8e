//! A session's bytes, in both directions at once, until its status comes. Knows sockets, but not whose.
//!
//! Neither direction waits for the other: a command that writes while it reads would otherwise stop both ends as soon as
//! all buffers between them are full.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::BoxStream;
use futures_util::{Sink, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::output::Writer;
use super::receive::{Seen, Stop, drain, receive};
use super::send::{feed, pass_on, send};
use super::{Pace, SessionError};
use crate::error::Error;
use crate::report::Report;
use crate::signals::TERM;

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
    /// It did not come to a session, or the caller did not like the report.
    Other(Error),
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
        Stop::Caller(error) => Broken::Other(error),
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
