//! What the operating system tells this program: for its sessions while there are some, and whoever else has something to
//! put away; else for the program itself.
//!
//! A signal that was listened for once never again ends the program by itself, so whoever runs it has to heed [`outside`].

#[cfg_attr(unix, path = "signals/unix.rs")]
#[cfg_attr(windows, path = "signals/windows.rs")]
mod system;

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::time::{Instant, sleep_until};

use crate::terminal;

pub(crate) const HUP: u8 = 1;
pub(crate) const INT: u8 = 2;
pub(crate) const QUIT: u8 = 3;
pub(crate) const KILL: u8 = 9;
pub(crate) const TERM: u8 = 15;

/// How long the program may take to end by itself when its sessions were told to end: they have less.
const LAST: Duration = Duration::from_secs(15);

/// How many sessions and others there are to heed signals.
static HEEDED_BY: AtomicUsize = AtomicUsize::new(0);

/// While it lives, signals are its owner's.
pub(crate) struct Claim(());

impl Claim {
    pub(crate) fn new() -> Self {
        HEEDED_BY.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        HEEDED_BY.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits for the signal that ends the program: one that comes while there is no session, or one that ends all sessions when
/// the program does not follow them soon, as with pods whose turn is yet to come. Returns its number.
pub(crate) async fn outside() -> u8 {
    let Ok(signals) = signals() else { return pending().await };
    decide(signals, || HEEDED_BY.load(Ordering::SeqCst) > 0, LAST).await
}

async fn decide(mut signals: BoxStream<'static, u8>, in_session: impl Fn() -> bool, last: Duration) -> u8 {
    let mut interrupted = false;
    let mut deadline: Option<(Instant, u8)> = None;
    loop {
        let number = tokio::select! {
            Some(number) = signals.next() => number,
            number = until(deadline) => return number,
        };
        if !in_session() {
            return number;
        }
        if [HUP, TERM].contains(&number) || number == INT && interrupted {
            deadline.get_or_insert((Instant::now() + last, number));
        }
        interrupted |= number == INT;
    }
}

/// The number of the signal, when its time has come.
pub(crate) async fn until(deadline: Option<(Instant, u8)>) -> u8 {
    let Some((moment, number)) = deadline else { return pending().await };
    sleep_until(moment).await;
    number
}

/// Signals to this program that mean the session.
pub(crate) fn signals() -> io::Result<BoxStream<'static, u8>> {
    let streams = system::signals()?.map(|(number, arrivals)| arrivals.map(move |()| number));
    Ok(stream::select_all(streams).boxed())
}

/// The terminal's size, at once and whenever it changes: between the start of a session and this it may have changed too.
pub(crate) fn sizes() -> io::Result<BoxStream<'static, (u16, u16)>> {
    let moments = stream::once(async {}).chain(system::resized()?);
    Ok(moments.filter_map(|()| async { terminal::size() }).boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of these signals, of which the first `in_session` come while there is a session.
    fn decided(signals: &[u8], in_session: usize) -> Option<u8> {
        let left = AtomicUsize::new(in_session);
        let one_less = |left: usize| left.checked_sub(1);
        let is_in_session = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        let arriving = stream::iter(signals.to_vec()).chain(stream::pending()).boxed();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async { tokio::time::timeout(2 * LAST, decide(arriving, is_in_session, LAST)).await.ok() })
    }

    #[test]
    fn a_signal_ends_the_program_unless_a_session_heeds_it() {
        for number in [HUP, INT, QUIT, TERM] {
            assert_eq!(decided(&[number], 0), Some(number));
        }
        assert_eq!(decided(&[INT], 9), None);
        assert_eq!(decided(&[QUIT, QUIT, INT], 9), None);
        assert_eq!(decided(&[INT, INT], 1), Some(INT));
        // All sessions end, and the program should.
        assert_eq!(decided(&[INT, INT], 9), Some(INT));
        assert_eq!(decided(&[TERM], 9), Some(TERM));
        assert_eq!(decided(&[HUP, TERM], 9), Some(HUP));
    }

    #[test]
    fn signals_are_claimed_as_long_as_a_session_lasts() {
        let before = HEEDED_BY.load(Ordering::SeqCst);
        let claim = Claim::new();
        assert_eq!(HEEDED_BY.load(Ordering::SeqCst), before + 1);
        drop(claim);
        assert_eq!(HEEDED_BY.load(Ordering::SeqCst), before);
    }
}
