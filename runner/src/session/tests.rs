use std::io::Cursor;

use tokio::io::{DuplexStream, duplex, sink};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

const SUCCESS: &[u8] = b"\x03{\"status\":\"Success\"}";

async fn ends() -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (ours, theirs) = duplex(16 * 1024);
    let ours = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    (ours, WebSocketStream::from_raw_socket(theirs, Role::Server, None).await)
}

/// A server that sends these frames, and then does as told.
fn server(mut socket: WebSocketStream<DuplexStream>, frames: &[&'static [u8]]) -> JoinHandle<()> {
    let frames = frames.to_vec();
    tokio::spawn(async move {
        for frame in frames {
            socket.send(Message::Binary(Bytes::from_static(frame))).await.unwrap();
        }
        let _ = socket.close(None).await;
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn both_streams_arrive_apart_and_the_status_ends_it() {
    runtime().block_on(async {
        let (ours, theirs) = ends().await;
        server(theirs, &[b"\x01", b"\x01out", b"\x02err", b"\x01put", SUCCESS]);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let ended = pump(ours, None::<&[u8]>, true, &mut stdout, &mut stderr, false).await.unwrap();
        assert_eq!((ended.code, &stdout[..], &stderr[..]), (0, &b"output"[..], &b"err"[..]));
        assert!(ended.first_output.is_some());
    });
}

#[test]
fn a_connection_that_ends_without_a_status_is_an_error() {
    runtime().block_on(async {
        let (ours, theirs) = ends().await;
        server(theirs, &[b"\x01out"]);
        let error = pump(ours, None::<&[u8]>, true, sink(), sink(), false).await.unwrap_err();
        assert!(matches!(error, SessionError::Lost(_)), "{error}");
    });
}

/// Answers each byte of input with eight, as `gunzip` might: with small buffers between, this stops for ever unless both
/// directions move by themselves.
#[test]
fn a_command_that_writes_more_than_it_reads_does_not_stop_both_ends() {
    runtime().block_on(async {
        const LENGTH: usize = 1 << 20;
        let (ours, mut theirs) = ends().await;
        tokio::spawn(async move {
            let mut length = 0;
            while let Some(Ok(Message::Binary(frame))) = theirs.next().await {
                if frame == channel::stdin_end() {
                    break;
                }
                length += frame.len() - 1;
                let mut answer = vec![1];
                answer.resize((frame.len() - 1) * 8 + 1, b'x');
                theirs.send(Message::Binary(answer.into())).await.unwrap();
            }
            assert_eq!(length, LENGTH);
            theirs.send(Message::Binary(Bytes::from_static(SUCCESS))).await.unwrap();
        });
        let mut stdout = Vec::new();
        let input = Cursor::new(vec![b'i'; LENGTH]);
        let ended = pump(ours, Some(input), true, &mut stdout, sink(), false).await.unwrap();
        assert_eq!((ended.code, stdout.len()), (0, LENGTH * 8));
    });
}

#[test]
fn output_that_nobody_reads_is_told_from_a_lost_connection() {
    runtime().block_on(async {
        let (ours, theirs) = ends().await;
        let (closed, _) = duplex(1);
        server(theirs, &[b"\x01out", SUCCESS]);
        let error = pump(ours, None::<&[u8]>, true, closed, sink(), false).await.unwrap_err();
        assert!(matches!(error, SessionError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe));
    });
}
