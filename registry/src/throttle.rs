//! How often one client may ask: a rate with room for a burst, in memory that no number of clients makes grow.
//!
//! The generic cell rate algorithm over a table of fixed size: no locks, no entries to evict, no clock but one reading
//! per request. Each client has two cells, and is refused only when both are empty; so a client that asks too much
//! spoils it for others only where they share both cells with it, which is a matter of chance that it cannot steer.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::exchange::Client;

/// Cells in the table, 8 bytes each.
const CELLS: usize = 1 << 14;

/// A rate for each client.
#[derive(Debug)]
pub struct Throttle {
    /// What one request costs, in nanoseconds.
    cost: u64,
    /// How many nanoseconds of requests a client may be ahead.
    room: u64,
    begin: Instant,
    hash: RandomState,
    /// When each cell is full again, in nanoseconds after `begin`.
    cells: Box<[AtomicU64]>,
}

/// When a refused client may ask again, in whole seconds: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub u64);

impl Throttle {
    /// So many requests per second for each client, and at most `burst` at once after a pause.
    #[must_use]
    pub fn per_second(rate: NonZeroU32, burst: NonZeroU32) -> Self {
        Self::every(Duration::from_secs(1) / rate.get(), burst)
    }

    /// One request in each `interval`, and at most `burst` at once after a pause.
    #[must_use]
    pub fn every(interval: Duration, burst: NonZeroU32) -> Self {
        let cost = nanoseconds(interval).max(1);
        Self {
            cost,
            room: cost.saturating_mul(u64::from(burst.get())),
            begin: Instant::now(),
            hash: RandomState::new(),
            cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Lets the client ask once, or says when it may.
    ///
    /// # Errors
    /// [`RetryAfter`] when it has asked too often. A client of a Unix socket never has.
    pub fn admit(&self, client: Client) -> Result<(), RetryAfter> {
        self.admit_at(client, nanoseconds(self.begin.elapsed()))
    }

    /// Takes back what the last [`admit`](Self::admit) cost.
    pub fn refund(&self, client: Client) {
        for cell in self.cells(client).into_iter().flatten() {
            let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full| full.checked_sub(self.cost));
        }
    }

    fn admit_at(&self, client: Client, now: u64) -> Result<(), RetryAfter> {
        let Some(cells) = self.cells(client) else { return Ok(()) };
        let taken = cells.map(|cell| self.take(cell, now));
        match taken {
            [Err(one), Err(other)] => Err(RetryAfter(one.min(other).div_ceil(1_000_000_000).max(1))),
            _ => Ok(()),
        }
    }

    /// Takes one request from a cell, or says after how many nanoseconds it has one.
    fn take(&self, cell: &AtomicU64, now: u64) -> Result<(), u64> {
        let after = |full: u64| full.max(now).saturating_add(self.cost);
        let excess = |full| after(full).saturating_sub(now.saturating_add(self.room));
        let update = |full| (excess(full) == 0).then(|| after(full));
        cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).map(|_| ()).map_err(excess)
    }

    fn cells(&self, client: Client) -> Option<[&AtomicU64; 2]> {
        let hash = self.hash.hash_one(client.network()?) as usize;
        // One in each half, so that they are never the same.
        let (some, others) = self.cells.split_at(CELLS / 2);
        Some([&some[hash % some.len()], &others[(hash >> 32) % others.len()]])
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn throttle(rate: u32, burst: u32) -> Throttle {
        Throttle::per_second(NonZeroU32::new(rate).unwrap(), NonZeroU32::new(burst).unwrap())
    }

    fn client(address: &str) -> Client {
        Client::Address(address.parse().unwrap())
    }

    /// How many of 1000 requests at once are let through.
    fn admitted(throttle: &Throttle, address: &str, now: u64) -> usize {
        (0..1000).filter(|_| throttle.admit_at(client(address), now).is_ok()).count()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let throttle = throttle(10, 50);
        assert_eq!(admitted(&throttle, "192.0.2.1", 0), 50);
        assert_eq!(admitted(&throttle, "192.0.2.1", SECOND), 10);
        assert_eq!(admitted(&throttle, "192.0.2.1", SECOND + SECOND / 10), 1);
        assert_eq!(admitted(&throttle, "192.0.2.1", 1000 * SECOND), 50);
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_back() {
        let slow = Throttle::every(Duration::from_secs(30), NonZeroU32::MIN);
        assert_eq!(slow.admit_at(client("192.0.2.1"), 0), Ok(()));
        assert_eq!(slow.admit_at(client("192.0.2.1"), 0), Err(RetryAfter(30)));
        assert_eq!(slow.admit_at(client("192.0.2.1"), 29 * SECOND + 1), Err(RetryAfter(1)));
        assert_eq!(slow.admit_at(client("192.0.2.1"), 30 * SECOND), Ok(()));
        let fast = throttle(1000, 1);
        assert_eq!((fast.admit_at(client("::1"), 0), fast.admit_at(client("::1"), 0)), (Ok(()), Err(RetryAfter(1))));
    }

    #[test]
    fn each_client_has_its_own_rate() {
        let throttle = throttle(1, 5);
        assert_eq!(admitted(&throttle, "192.0.2.1", 0), 5);
        // Whoever shares both cells with the first would see fewer: that is one in millions.
        for other in ["192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"] {
            assert!(throttle.admit_at(client(other), 0).is_ok(), "{other}");
        }
    }

    #[test]
    fn a_network_of_ipv6_has_one_rate() {
        let throttle = throttle(1, 5);
        assert_eq!(admitted(&throttle, "2001:db8::1", 0), 5);
        assert_eq!(admitted(&throttle, "2001:db8::ffff:2", 0), 0);
    }

    #[test]
    fn what_is_refunded_can_be_used_again() {
        let throttle = throttle(1, 5);
        assert_eq!(admitted(&throttle, "192.0.2.1", 0), 5);
        throttle.refund(client("192.0.2.1"));
        assert_eq!(admitted(&throttle, "192.0.2.1", 0), 1);
        throttle.refund(client("192.0.2.9"));
    }

    #[test]
    fn a_unix_socket_has_no_rate() {
        let throttle = throttle(1, 1);
        assert!((0..100).all(|_| throttle.admit(Client::Local).is_ok()));
    }

    proptest! {
        #[test]
        fn no_client_gets_more_than_its_rate(
            gaps in proptest::collection::vec(0..SECOND / 2, 1..300),
            rate in 1_u32..20,
            burst in 1_u32..20,
        ) {
            let throttle = throttle(rate, burst);
            let (mut now, mut count) = (0, 0_u64);
            for gap in gaps {
                now += gap;
                count += u64::from(throttle.admit_at(client("192.0.2.1"), now).is_ok());
            }
            // Two cells of one client fill alike, so that together they give no more than one.
            prop_assert!(count <= u64::from(burst) + (now * u64::from(rate)).div_ceil(SECOND) + 1);
        }
    }
}
