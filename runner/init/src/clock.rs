//! Time that only goes forward, in milliseconds.

use rustix::thread::nanosleep;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Milliseconds since some moment in the past.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// A span, as the kernel wants it.
pub(crate) fn timespec(milliseconds: u64) -> Timespec {
    let nanoseconds = milliseconds % 1000 * 1_000_000;
    Timespec {
        tv_sec: i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX),
        tv_nsec: nanoseconds.try_into().unwrap_or(0),
    }
}

/// Waits.
pub(crate) fn sleep(milliseconds: u64) {
    let _ = nanosleep(&timespec(milliseconds));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_seconds_and_the_rest() {
        let span = timespec(61_005);
        assert_eq!((span.tv_sec, span.tv_nsec), (61, 5_000_000));
    }
}
