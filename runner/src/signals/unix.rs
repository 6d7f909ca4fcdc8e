//! As Unix tells: by signals.

use std::io;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::signal::unix::{SignalKind, signal};

use super::{HUP, INT, QUIT, TERM};

/// Signals that mean the session, by their numbers, each whenever it comes.
pub(super) fn signals() -> io::Result<[(u8, BoxStream<'static, ()>); 4]> {
    Ok([
        (HUP, arrivals(SignalKind::hangup())?),
        (INT, arrivals(SignalKind::interrupt())?),
        (QUIT, arrivals(SignalKind::quit())?),
        (TERM, arrivals(SignalKind::terminate())?),
    ])
}

/// Whenever the terminal's size may have changed.
pub(super) fn resized() -> io::Result<BoxStream<'static, ()>> {
    arrivals(SignalKind::window_change())
}

fn arrivals(kind: SignalKind) -> io::Result<BoxStream<'static, ()>> {
    let arrivals = |mut signal: tokio::signal::unix::Signal| async move { signal.recv().await.map(|()| ((), signal)) };
    Ok(stream::unfold(signal(kind)?, arrivals).boxed())
}
