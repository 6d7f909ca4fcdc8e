//! As Windows tells: by events of the console, which mean what signals mean elsewhere.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
use tokio::time::interval;

use super::{HUP, INT, QUIT, TERM};
use crate::terminal;

/// How often the console is asked for its size: it tells only who reads its keys, which not every session does.
const PAUSE: Duration = Duration::from_millis(250);

/// Events that mean the session, by the signals' numbers, each whenever it comes.
pub(super) fn signals() -> io::Result<[(u8, BoxStream<'static, ()>); 4]> {
    // Four types that have nothing in common but their methods.
    macro_rules! arrivals {
        ($event:expr) => {
            stream::unfold($event?, |mut event| async move { event.recv().await.map(|()| ((), event)) }).boxed()
        };
    }
    Ok([
        (HUP, arrivals!(ctrl_close())),
        (INT, arrivals!(ctrl_c())),
        (QUIT, arrivals!(ctrl_break())),
        (TERM, arrivals!(ctrl_shutdown())),
    ])
}

/// Whenever the console's size has changed.
pub(super) fn resized() -> io::Result<BoxStream<'static, ()>> {
    let changes = stream::unfold((interval(PAUSE), terminal::size()), |(mut moments, before)| async move {
        loop {
            moments.tick().await;
            let size = terminal::size();
            if size != before {
                return Some(((), (moments, size)));
            }
        }
    });
    Ok(changes.boxed())
}
