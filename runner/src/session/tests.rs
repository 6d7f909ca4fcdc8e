//! Sessions against a kitbag-init that plays a part.

use std::io::{self, Cursor};

use futures_util::SinkExt as _;
use futures_util::stream::BoxStream;
use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::signals::{INT, KILL, QUIT, TERM};

mod protocol;

const REPORT: &[u8] = br#"{"kitbag-init":"0.1.0","uid":7,"gid":0,"effective":"0","bounding":"0","no_new_privs":true,"seccomp":2,"yama":null,"raw_socket":true,"ping_socket":true,"target":null}"#;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

const DATA: u8 = 0;
const END: u8 = 1;
const SIGNAL: u8 = 2;
const SIZE: u8 = 3;
const BEAT: u8 = 4;

/// So short that no test waits for it, so long that none meets it by chance.
const SHORT: Duration = Duration::from_millis(20);

/// The other end.
struct Server(WebSocketStream<DuplexStream>);

impl Server {
    async fn say(&mut self, channel: u8, data: &[u8]) {
        self.0.send(Message::Binary([&[channel], data].concat().into())).await.unwrap();
    }

    /// The report, with output right behind it.
    async fn open(&mut self, output: &[u8]) {
        self.say(STDOUT, &[REPORT, b"\n", output].concat()).await;
    }

    async fn end(&mut self, code: u8) {
        let status = match code {
            0 => r#"{"status":"Success"}"#.to_owned(),
            code => format!(
                r#"{{"status":"Failure","reason":"NonZeroExitCode","details":{{"causes":[{{"reason":"ExitCode","message":"{code}"}}]}}}}"#
            ),
        };
        self.say(3, status.as_bytes()).await;
    }

    /// The next frame that is more than a sign of life.
    async fn hear(&mut self) -> (u8, Vec<u8>) {
        loop {
            match self.hear_anything().await {
                (BEAT, _) => {}
                frame => return frame,
            }
        }
    }

    async fn hear_anything(&mut self) -> (u8, Vec<u8>) {
        loop {
            let Message::Binary(bytes) = self.0.next().await.unwrap().unwrap() else { continue };
            assert_eq!(usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), bytes.len() - 4);
            return (bytes[1], bytes[4..].to_vec());
        }
    }
}

/// What this end has.
struct Client {
    input: Option<&'static [u8]>,
    signals: Vec<u8>,
    sizes: Vec<(u16, u16)>,
    prompt: bool,
    pace: Pace,
}

impl Default for Client {
    fn default() -> Self {
        let pace = Pace { parting: SHORT, ..Pace::default() };
        Self { input: None, signals: Vec::new(), sizes: Vec::new(), prompt: true, pace }
    }
}

/// What came of it.
struct Came {
    end: Result<End, Broken>,
    seen: Seen,
    captured: Captured,
}

impl Client {
    /// Talks to a server that does this.
    fn talk<F: Future<Output = ()> + Send + 'static>(self, part: impl FnOnce(Server) -> F) -> Came {
        self.talk_if(part, |_| Ok(()))
    }

    fn talk_if<F: Future<Output = ()> + Send + 'static>(
        self,
        part: impl FnOnce(Server) -> F,
        opened: impl FnOnce(&Report) -> Result<(), Error>,
    ) -> Came {
        let mut writer = Writer::new(Output::Captured { limit: 1 << 30 }, tokio::io::sink(), tokio::io::sink());
        let mut seen = Seen::default();
        let end = run(self, part, opened, &mut writer, &mut seen);
        Came { end, seen, captured: runtime().block_on(writer.finish()).unwrap().unwrap() }
    }
}

fn run<F: Future<Output = ()> + Send + 'static, O: tokio::io::AsyncWrite + Unpin>(
    client: Client,
    part: impl FnOnce(Server) -> F,
    opened: impl FnOnce(&Report) -> Result<(), Error>,
    writer: &mut Writer<O, tokio::io::Sink>,
    seen: &mut Seen,
) -> Result<End, Broken> {
    fn arriving<T: Send + 'static>(values: Vec<T>) -> BoxStream<'static, T> {
        stream::iter(values).chain(stream::pending()).boxed()
    }
    runtime().block_on(async {
        let (ours, theirs) = duplex(16 * 1024);
        let socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        let server = Server(WebSocketStream::from_raw_socket(theirs, Role::Server, None).await);
        let server = tokio::spawn(part(server));
        let ours = Ours {
            input: client.input.map(Cursor::new),
            writer,
            signals: arriving(client.signals),
            sizes: arriving(client.sizes),
            prompt: client.prompt,
            pace: client.pace,
        };
        let end = pump::talk(socket, ours, seen, opened).await;
        // A part that waits for ever is one that this end has left.
        if server.is_finished() {
            server.await.unwrap();
        }
        end
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn output_begins_behind_the_report_and_streams_arrive_apart() {
    let came = Client::default().talk(|mut server| async move {
        server.open(b"out").await;
        server.say(STDERR, b"err").await;
        server.say(STDOUT, b"").await;
        server.say(STDOUT, b"put").await;
        server.end(7).await;
    });
    assert_eq!(came.end.unwrap(), End::Status(7));
    assert_eq!((&came.captured.stdout[..], &came.captured.stderr[..]), (&b"output"[..], &b"err"[..]));
    assert_eq!(came.seen.report.unwrap().uid, 7);
    assert!(came.seen.first_output.is_some());
}

#[test]
fn what_overtakes_the_report_is_held_back_until_it_is_there() {
    let came = Client::default().talk(|mut server| async move {
        server.say(STDERR, b"warning").await;
        server.open(b"").await;
        server.end(0).await;
    });
    assert_eq!(came.end.unwrap(), End::Status(0));
    assert_eq!((&came.captured.stdout[..], &came.captured.stderr[..]), (&b""[..], &b"warning"[..]));
}

#[test]
fn an_end_before_the_report_says_why() {
    let came = Client::default().talk(|mut server| async move {
        server.say(STDERR, b"kitbag-init: usage: kitbag-init ...\n").await;
        server.end(125).await;
    });
    assert!(matches!(came.end, Err(Broken::Session(SessionError::Generation))));
    assert_eq!(came.captured, Captured::default());
}

#[test]
fn a_connection_that_ends_without_a_status_is_lost() {
    let came = Client::default().talk(|mut server| async move {
        server.open(b"out").await;
        let _ = server.0.close(None).await;
    });
    assert!(matches!(came.end, Err(Broken::Lost(_))));
    assert_eq!(came.captured.stdout, b"out");
}

#[test]
fn a_connection_that_has_answered_and_falls_silent_is_lost() {
    let pace = Pace { ping: Duration::from_millis(1), silence: SHORT, ..Pace::default() };
    let came = Client { pace, ..Client::default() }.talk(|mut server| async move {
        server.open(b"").await;
        while !matches!(server.0.next().await, Some(Ok(Message::Ping(_)))) {}
        server.0.flush().await.unwrap();
        std::future::pending::<()>().await;
    });
    assert!(matches!(came.end, Err(Broken::Lost(reason)) if reason.contains("nothing has been heard")));
}

#[test]
fn the_first_frame_is_a_sign_of_life_and_others_follow() {
    let pace = Pace { beat: Duration::from_millis(1), ..Pace::default() };
    let came = Client { pace, ..Client::default() }.talk(|mut server| async move {
        for _ in 0..3 {
            assert_eq!(server.hear_anything().await, (BEAT, Vec::new()));
        }
        server.open(b"").await;
        server.end(0).await;
    });
    assert_eq!(came.end.unwrap(), End::Status(0));
}

#[test]
fn input_goes_over_to_its_end_once_the_report_is_there() {
    let came = Client { input: Some(b"input"), ..Client::default() }.talk(|mut server| async move {
        // Every frame before the report is a beat, or a size.
        assert_eq!(server.hear_anything().await.0, BEAT);
        server.open(b"").await;
        assert_eq!(server.hear().await, (DATA, b"input".to_vec()));
        assert_eq!(server.hear().await, (END, Vec::new()));
        server.end(0).await;
    });
    assert_eq!(came.end.unwrap(), End::Status(0));
}

#[test]
fn the_terminals_sizes_are_passed_on() {
    let came = Client { sizes: vec![(80, 24), (300, 50)], ..Client::default() }.talk(|mut server| async move {
        assert_eq!(server.hear().await, (SIZE, vec![0, 80, 0, 24]));
        assert_eq!(server.hear().await, (SIZE, vec![1, 44, 0, 50]));
        server.open(b"").await;
        server.end(0).await;
    });
    assert_eq!(came.end.unwrap(), End::Status(0));
}

#[test]
fn ctrl_c_is_passed_on_and_the_second_time_is_the_end() {
    let pace = Pace::default();
    let came = Client { signals: vec![QUIT, INT, INT], pace, ..Client::default() }.talk(|mut server| async move {
        server.open(b"").await;
        for number in [QUIT, INT, KILL] {
            assert_eq!(server.hear().await, (SIGNAL, vec![number]));
        }
        server.end(137).await;
    });
    assert_eq!(came.end.unwrap(), End::Killed(137));
}

#[test]
fn a_command_that_survives_ctrl_c_goes_on() {
    let came = Client { signals: vec![INT], ..Client::default() }.talk(|mut server| async move {
        assert_eq!(server.hear().await, (SIGNAL, vec![INT]));
        tokio::time::sleep(2 * SHORT).await;
        server.open(b"still here").await;
        server.end(3).await;
    });
    assert_eq!((came.end.unwrap(), &came.captured.stdout[..]), (End::Status(3), &b"still here"[..]));
}

#[test]
fn sigterm_ends_the_session_though_nobody_answers() {
    let came = Client { signals: vec![TERM], ..Client::default() }.talk(|server| async move {
        let _open = server;
        std::future::pending::<()>().await;
    });
    assert_eq!(came.end.unwrap(), End::Left(143));
    assert_eq!(came.seen.report, None);
}

/// Answers each byte of input with eight, as `gunzip` might: with small buffers between, this stops for ever unless both
/// directions move by themselves.
#[test]
fn a_command_that_writes_more_than_it_reads_does_not_stop_both_ends() {
    const INPUT: &[u8] = &[b'i'; 1 << 20];
    let came = Client { input: Some(INPUT), prompt: false, ..Client::default() }.talk(|mut server| async move {
        let mut length = 0;
        server.open(b"").await;
        loop {
            match server.hear().await {
                (DATA, data) => {
                    length += data.len();
                    server.say(STDOUT, &vec![b'x'; data.len() * 8]).await;
                }
                frame => {
                    assert_eq!(frame, (END, Vec::new()));
                    break;
                }
            }
        }
        assert_eq!(length, INPUT.len());
        server.end(0).await;
    });
    assert_eq!((came.end.unwrap(), came.captured.stdout.len()), (End::Status(0), INPUT.len() * 8));
}

/// Sends a lot without ever reading, and gets to its end: the input that piles up before it stops only itself.
#[test]
fn a_command_that_reads_nothing_is_heard_to_its_end() {
    const INPUT: &[u8] = &[b'i'; 1 << 20];
    let came = Client { input: Some(INPUT), prompt: false, ..Client::default() }.talk(|mut server| async move {
        server.open(b"").await;
        for _ in 0..100 {
            server.say(STDOUT, &[b'x'; 10_000]).await;
        }
        server.end(0).await;
    });
    assert_eq!((came.end.unwrap(), came.captured.stdout.len()), (End::Status(0), 1_000_000));
}

#[test]
fn output_that_nobody_reads_ends_the_command_and_is_no_error() {
    let (closed, _) = duplex(1);
    let mut writer = Writer::new(Output::Standard, closed, tokio::io::sink());
    let part = |mut server: Server| async move {
        server.open(b"out").await;
        assert_eq!(server.hear().await, (SIGNAL, vec![TERM]));
        server.say(STDOUT, b"more").await;
        server.end(143).await;
    };
    let client = Client { pace: Pace::default(), ..Client::default() };
    let end = run(client, part, |_| Ok(()), &mut writer, &mut Seen::default());
    assert_eq!(end.unwrap(), End::Left(0));
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    struct Full;
    impl tokio::io::AsyncWrite for Full {
        fn poll_write(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::task::Poll::Ready(Err(io::ErrorKind::StorageFull.into()))
        }

        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn poll_shutdown(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }
    let mut writer = Writer::new(Output::Standard, Full, tokio::io::sink());
    let part = |mut server: Server| async move { server.open(b"out").await };
    let end = run(Client::default(), part, |_| Ok(()), &mut writer, &mut Seen::default());
    assert!(
        matches!(end, Err(Broken::Session(SessionError::Output(error))) if error.kind() == io::ErrorKind::StorageFull)
    );
}

#[test]
fn a_report_that_the_caller_does_not_like_ends_the_command_before_its_output() {
    let dislike = |report: &Report| {
        assert_eq!(report.uid, 7);
        Err(Error::Unreachable("not like this".to_owned()))
    };
    let client = Client { pace: Pace::default(), ..Client::default() };
    let came = client.talk_if(
        |mut server| async move {
            server.open(b"out").await;
            assert_eq!(server.hear().await, (SIGNAL, vec![TERM]));
            server.end(143).await;
        },
        dislike,
    );
    assert!(matches!(came.end, Err(Broken::Other(Error::Unreachable(_)))));
    assert_eq!(came.captured, Captured::default());
}
