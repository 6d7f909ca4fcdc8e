//! What the operating system tells this program, for its session.

use std::io;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::terminal;

pub(super) const HUP: u8 = 1;
pub(super) const INT: u8 = 2;
pub(super) const QUIT: u8 = 3;
pub(super) const KILL: u8 = 9;
pub(super) const TERM: u8 = 15;

/// Signals to this program that mean the session.
pub(super) fn signals() -> io::Result<BoxStream<'static, u8>> {
    let listen = |number: u8, kind: SignalKind| Ok::<_, io::Error>((number, signal(kind)?));
    let all = [
        listen(HUP, SignalKind::hangup())?,
        listen(INT, SignalKind::interrupt())?,
        listen(QUIT, SignalKind::quit())?,
        listen(TERM, SignalKind::terminate())?,
    ];
    let streams = all.map(|(number, signal)| arrivals(signal).map(move |()| number));
    Ok(stream::select_all(streams.map(StreamExt::boxed)).boxed())
}

/// The terminal's size, at once and whenever it changes: between the start of a session and this it may have changed too.
pub(super) fn sizes() -> io::Result<BoxStream<'static, (u16, u16)>> {
    let changes = arrivals(signal(SignalKind::window_change())?);
    let moments = stream::once(async {}).chain(changes);
    Ok(moments.filter_map(|()| async { terminal::size() }).boxed())
}

fn arrivals(signal: Signal) -> impl futures_util::Stream<Item = ()> + Send {
    stream::unfold(signal, |mut signal| async move { signal.recv().await.map(|()| ((), signal)) })
}
