//! Sessions against the real kitbag-init, as a child of this process.
//!
//! $KITBAG_INIT names another build of it, such as the one without the standard library that is in images.

use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use serde_json::Value;
use tokio::sync::mpsc;

use super::*;

/// The program. Cargo builds none of another package for a test, so this does.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::var_os("KITBAG_INIT").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "kitbag-init", "--message-format", "json-render-diagnostics"]);
    let output = cargo.stderr(Stdio::inherit()).output().unwrap();
    let messages = String::from_utf8(output.stdout).unwrap();
    let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let programs: Vec<String> = messages.filter_map(|it| it["executable"].as_str().map(str::to_owned)).collect();
    PathBuf::from(&programs[0])
}

/// A session of a script with these streams.
fn wanted(script: &str, stdin: bool, tty: bool) -> Wanted {
    Wanted::new(["sh", "-c", script].map(str::to_owned).to_vec(), Streams { stdin, tty })
}

/// What comes of a session that is wanted.
fn talk(wanted: &Wanted, client: Client) -> Came {
    let terminal = Terminal { size: Some((100, 30)), name: Some("vt100".to_owned()) };
    let mut command = Command::new(program());
    command.arg("session").args(wanted.arguments(&terminal));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    client.talk(|server| bridge(server, child))
}

/// What kubelet and runtime do: the bytes of an exec between a WebSocket and a process.
async fn bridge(mut server: Server, mut child: Child) {
    let (input, mut inputs) = mpsc::channel::<Vec<u8>>(4);
    let (output, mut outputs) = mpsc::channel(4);
    let mut stdin = child.stdin.take().unwrap();
    let feed = thread::spawn(move || {
        while let Some(data) = inputs.blocking_recv() {
            if stdin.write_all(&data).is_err() {
                return;
            }
        }
    });
    forward(STDOUT, child.stdout.take().unwrap(), output.clone());
    forward(STDERR, child.stderr.take().unwrap(), output);
    let (mut sink, mut stream) = server.0.split();
    let down = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Binary(data) = message {
                let _ = input.send(data[1..].to_vec()).await;
            }
        }
        // The client has left: the process learns it by the end of its input.
        drop(input);
        std::future::pending::<()>().await;
    };
    let up = async {
        while let Some((channel, data)) = outputs.recv().await {
            let _ = sink.send(Message::Binary([&[channel], &data[..]].concat().into())).await;
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
    let status = child.wait().unwrap();
    server.0 = sink.reunite(stream).unwrap();
    server.end(status.code().unwrap().try_into().unwrap()).await;
    drop(feed);
}

fn forward(channel: u8, mut from: impl Read + Send + 'static, to: mpsc::Sender<(u8, Vec<u8>)>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let _ = to.blocking_send((channel, buffer[..length].to_vec()));
        }
    });
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn streams_and_exit_code_are_the_commands() {
    let came = talk(&wanted("echo out; echo err >&2; exit 7", false, false), Client::default());
    assert_eq!(came.end.unwrap(), End::Status(7));
    assert_eq!(text(&came.captured.stdout), "out\n");
    // There is no first process to register with, which it complains about.
    assert!(text(&came.captured.stderr).ends_with("\nerr\n"));
    assert_eq!(came.seen.report.unwrap().version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_command_that_is_not_there_is_127_after_a_report() {
    let came = talk(&Wanted::new(vec!["/nope".to_owned()], Streams { stdin: false, tty: false }), Client::default());
    assert_eq!(came.end.unwrap(), End::Status(127));
    assert!(text(&came.captured.stderr).contains("`/nope`"));
    assert!(came.seen.report.is_some());
}

#[test]
fn megabytes_of_input_come_back_as_they_were() {
    let input: Vec<u8> = (0..4_000_000_u32).map(|number| (number / 3) as u8).collect();
    let client = Client { input: Some(input.clone().leak()), prompt: false, ..Client::default() };
    let came = talk(&wanted("cat", true, false), client);
    assert_eq!(came.end.unwrap(), End::Status(0));
    assert!(came.captured.stdout == input);
}

#[test]
fn a_command_without_an_input_has_an_empty_one() {
    let came = talk(&wanted("cat; echo end", false, false), Client::default());
    assert_eq!((came.end.unwrap(), text(&came.captured.stdout)), (End::Status(0), "end\n"));
}

#[test]
fn a_terminal_has_a_size_and_a_name_and_one_stream() {
    let came = talk(&wanted("stty size; echo $TERM >&2; tty -s", true, true), Client::default());
    assert_eq!((came.end.unwrap(), text(&came.captured.stdout)), (End::Status(0), "30 100\r\nvt100\r\n"));
}

#[test]
fn a_terminals_other_size_arrives() {
    let client = Client { sizes: vec![(120, 40)], ..Client::default() };
    let script = r#"until [ "$(stty size)" = "40 120" ]; do sleep 0.01; done"#;
    assert_eq!(talk(&wanted(script, true, true), client).end.unwrap(), End::Status(0));
}

#[test]
fn ctrl_c_ends_the_command() {
    let client = Client { signals: vec![INT], ..Client::default() };
    assert_eq!(talk(&wanted("exec sleep 1000", false, false), client).end.unwrap(), End::Status(130));
}
