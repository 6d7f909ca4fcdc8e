//! A session: a command in the debug container, with this terminal or these streams as its own.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
use kube::api::AttachParams;
use kube::core::{Request, Resource as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{interval, sleep_until};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use crate::channel::{self, Incoming};
use crate::error::Error;
use crate::plan::INIT;
use crate::refusal::{Asked, explain};
use crate::terminal::{self, Raw};

/// Proxies on the way give up connections that say nothing.
const PING: Duration = Duration::from_secs(30);
/// How much input is read at a time.
const CHUNK: usize = 32 * 1024;
/// How long the other end may take to end a command that it was told to end.
const PARTING: Duration = Duration::from_secs(5);

/// What breaks a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The runtime could not start the command.
    #[error("the session could not be started: {0}")]
    Exec(String),
    /// The status at the end cannot be read.
    #[error("the exit code cannot be read: {0}")]
    Status(String),
    /// The connection ended before the command.
    #[error("the connection to the cluster was lost during the session: {0}")]
    Lost(String),
    /// Our own output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[source] io::Error),
    /// The terminal cannot be set up.
    #[error("the terminal cannot be set up: {0}")]
    Terminal(#[source] io::Error),
}

/// Where sessions run.
#[derive(Clone)]
pub struct Place {
    /// The connection.
    pub client: Client,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The debug container.
    pub container: String,
}

/// Which streams a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Ours is passed on.
    pub stdin: bool,
    /// A terminal, which has one stream for output.
    pub tty: bool,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The command's exit code.
    pub code: u8,
    /// When the first output came.
    pub first_output: Option<Instant>,
}

/// Runs `command` to its end. Ctrl-C is passed on to it; the second time, and on SIGTERM and SIGHUP, it is ended.
///
/// # Errors
/// [`SessionError`], or what the API server refuses.
pub async fn run(place: &Place, id: &str, command: &[String], streams: Streams) -> Result<Ended, Error> {
    let wrapped = [INIT, "session", "--id", id, "--"].into_iter().map(str::to_owned).chain(command.iter().cloned());
    let (socket, can_end_input) = connect(place, wrapped, streams).await?;
    let _raw = streams.tty.then(Raw::enter).transpose().map_err(SessionError::Terminal)?;
    let input = streams.stdin.then(tokio::io::stdin);
    let pump = pump(socket, input, can_end_input, tokio::io::stdout(), tokio::io::stderr(), streams.tty);
    tokio::pin!(pump);

    let mut signals = Signals::new().map_err(SessionError::Terminal)?;
    let mut interrupted = false;
    let mut deadline: Option<(tokio::time::Instant, u8)> = None;
    loop {
        let number = tokio::select! {
            ended = &mut pump => return match ended {
                // Nobody reads any more: what `head` does to every command before it.
                Err(SessionError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    send_signal(place, id, TERM).await;
                    Ok(Ended { code: 0, first_output: None })
                }
                ended => Ok(ended?),
            },
            number = signals.next() => number,
            () = sleep_until(deadline.map_or_else(far, |(at, _)| at)), if deadline.is_some() => {
                return Ok(Ended { code: deadline.map_or(1, |(_, code)| code), first_output: None });
            }
        };
        let sent = match number {
            INT if interrupted => KILL,
            number => number,
        };
        if sent != INT {
            deadline.get_or_insert((tokio::time::Instant::now() + PARTING, 128 + number));
        }
        interrupted = true;
        let (place, id) = (place.clone(), id.to_owned());
        tokio::spawn(async move { send_signal(&place, &id, sent).await });
    }
}

const HUP: u8 = 1;
const INT: u8 = 2;
const KILL: u8 = 9;
const TERM: u8 = 15;

fn far() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(86_400)
}

/// Signals to this program that mean the session.
struct Signals([(u8, tokio::signal::unix::Signal); 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([
            (HUP, signal(SignalKind::hangup())?),
            (INT, signal(SignalKind::interrupt())?),
            (TERM, signal(SignalKind::terminate())?),
        ]))
    }

    async fn next(&mut self) -> u8 {
        let [hup, int, term] = &mut self.0;
        tokio::select! {
            _ = hup.1.recv() => hup.0,
            _ = int.1.recv() => int.0,
            _ = term.1.recv() => term.0,
        }
    }
}

/// Asks the container's first process to pass a signal on. There is nobody to tell if that fails.
async fn send_signal(place: &Place, id: &str, number: u8) {
    let command = [INIT, "signal", id, &number.to_string()].map(str::to_owned);
    if let Ok((mut socket, _)) = connect(place, command, Streams { stdin: false, tty: false }).await {
        let rest = async { while let Some(Ok(_)) = socket.next().await {} };
        let _ = tokio::time::timeout(PARTING, rest).await;
    }
}

type Socket = std::pin::Pin<Box<dyn Duplex + Send>>;
trait Duplex: Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> {}
impl<T> Duplex for T where T: Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> {}

/// Opens an exec. The second value is whether the server can be told of the input's end.
async fn connect(
    place: &Place,
    command: impl IntoIterator<Item = String>,
    streams: Streams,
) -> Result<(Socket, bool), Error> {
    let parameters = AttachParams::default()
        .container(&place.container)
        .stdin(streams.stdin)
        .tty(streams.tty)
        .stdout(true)
        .stderr(!streams.tty);
    let request = Request::new(Pod::url_path(&(), Some(&place.namespace)))
        .exec(&place.pod, command, &parameters)
        .map_err(|error| SessionError::Exec(error.to_string()))?;
    let asked = Asked {
        namespace: &place.namespace,
        verb: "create",
        resource: "pods/exec",
        container: &place.container,
        reasons: "",
    };
    let connection = place.client.connect(request).await.map_err(|error| explain(&error, asked))?;
    let can_end_input = connection.supports_stream_close();
    Ok((Box::pin(connection.into_stream()), can_end_input))
}

/// Moves bytes in both directions at once until the status comes. Neither direction waits for the other: a command that
/// writes while it reads would otherwise stop both ends as soon as all buffers between them are full.
async fn pump<S>(
    socket: S,
    input: Option<impl AsyncRead + Unpin>,
    can_end_input: bool,
    mut stdout: impl AsyncWrite + Unpin,
    mut stderr: impl AsyncWrite + Unpin,
    tty: bool,
) -> Result<Ended, SessionError>
where
    S: Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError>,
{
    let (mut sink, mut stream) = socket.split();
    let (frames, mut outgoing) = mpsc::channel::<Bytes>(4);

    let send = async {
        let mut ping = interval(PING);
        ping.reset();
        loop {
            let message = tokio::select! {
                Some(frame) = outgoing.recv() => Message::Binary(frame),
                _ = ping.tick() => Message::Ping(Bytes::new()),
            };
            if let Err(error) = sink.send(message).await {
                return error;
            }
        }
    };
    let feed = async {
        if let Some(input) = input {
            feed(input, can_end_input, &frames).await;
        }
        pending::<Infallible>().await
    };
    let resize = async {
        if tty {
            resize(&frames).await;
        }
        pending::<Infallible>().await
    };
    let receive = async {
        let mut first_output = None;
        while let Some(message) = stream.next().await {
            match message {
                Ok(Message::Binary(frame)) => match channel::decode(frame)? {
                    Incoming::Stdout(data) => {
                        first_output.get_or_insert_with(Instant::now);
                        write(&mut stdout, &data).await?;
                    }
                    Incoming::Stderr(data) => {
                        first_output.get_or_insert_with(Instant::now);
                        write(&mut stderr, &data).await?;
                    }
                    Incoming::Status(status) => return end(&status, first_output),
                    Incoming::Nothing => {}
                },
                Ok(_) => {}
                Err(error) => return Err(SessionError::Lost(error.to_string())),
            }
        }
        Err(SessionError::Lost("it was closed without an exit code".to_owned()))
    };
    tokio::pin!(receive);
    tokio::select! {
        ended = &mut receive => ended,
        // The other end may have sent its status before it stopped listening.
        error = send => tokio::time::timeout(PARTING, receive).await.unwrap_or_else(|_| Err(SessionError::Lost(error.to_string()))),
        never = feed => match never {},
        never = resize => match never {},
    }
}

fn end(status: &Status, first_output: Option<Instant>) -> Result<Ended, SessionError> {
    Ok(Ended { code: channel::exit_code(status)?, first_output })
}

async fn write(to: &mut (impl AsyncWrite + Unpin), data: &[u8]) -> Result<(), SessionError> {
    to.write_all(data).await.map_err(SessionError::Output)?;
    to.flush().await.map_err(SessionError::Output)
}

/// Our input, to its end. One that cannot be read has ended.
async fn feed(mut input: impl AsyncRead + Unpin, can_end: bool, frames: &mpsc::Sender<Bytes>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = input.read(&mut buffer).await {
        if frames.send(channel::stdin(&buffer[..length])).await.is_err() {
            return;
        }
    }
    if can_end {
        let _ = frames.send(channel::stdin_end()).await;
    } else {
        eprintln!("warning: this cluster is too old to be told that the input has ended: end the command with Ctrl-C");
    }
}

/// The terminal's size, now and whenever it changes.
async fn resize(frames: &mpsc::Sender<Bytes>) {
    let Ok(mut changes) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change()) else { return };
    loop {
        if let Some((columns, rows)) = terminal::size() {
            let _ = frames.send(channel::resize(columns, rows)).await;
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
