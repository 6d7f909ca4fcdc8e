//! What goes to the other end of a session: input, signals, sizes and signs of life.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Sink, SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::Pace;
use super::frame::Frame;
use crate::channel;
use crate::signals::{HUP, INT, KILL, QUIT, TERM, until};

/// How much input is read at a time.
const CHUNK: usize = 32 * 1024;

/// Sends all of it. What is not data overtakes it. Ends when nothing can be sent.
pub(super) async fn send(
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
pub(super) async fn feed(mut input: impl AsyncRead + Unpin, chunks: mpsc::Sender<Bytes>) {
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
pub(super) async fn pass_on(
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
