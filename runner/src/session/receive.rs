//! What comes from the other end of a session: the report, output, and the status.

use std::io;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};
use tokio::io::AsyncWrite;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::SessionError;
use super::opening::Opening;
use super::output::{Which, Writer};
use super::pump::End;
use crate::channel::{self, Incoming};
use crate::error::Error;
use crate::report::Report;

/// What has been seen of a session, however it ends.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) report: Option<Report>,
    pub(super) first_output: Option<Instant>,
}

/// Why receiving stopped.
pub(super) enum Stop {
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
pub(super) async fn receive<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin>(
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
pub(super) async fn drain(stream: &mut (impl Stream<Item = Result<Message, SocketError>> + Unpin)) {
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Binary(frame) = message
            && matches!(channel::decode(frame), Ok(Incoming::Status(_)) | Err(_))
        {
            return;
        }
    }
}
