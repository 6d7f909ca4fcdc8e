//! What was seen while the store changed.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::Result;

/// GETs by digest that are checked at least.
pub(super) const ENOUGH: u64 = 10_000;
/// Faults that are told; there may be thousands.
const TOLD: usize = 5;

/// What was seen.
#[derive(Default)]
pub(super) struct Tally {
    /// Answers to a GET by digest whose bytes have that hash.
    pub(super) checked: Count,
    /// Bytes of those.
    pub(super) bytes: Count,
    /// Responses that the client cut in the middle.
    pub(super) cut: Count,
    /// Those of which it then asked for the rest.
    pub(super) resumed: Count,
    /// Connections that had ended while they were idle, as they may.
    pub(super) stale: Count,
    /// GETs of digests that were kept from an earlier pull.
    pub(super) revisited: Count,
    /// Answers that there is no such digest, when gc had taken its generation.
    pub(super) expired: Count,
    /// Refusals by an instance that ends.
    pub(super) draining: Count,
    faults: Mutex<Vec<String>>,
}

/// Something that is counted by many.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tally {
    /// Notes what must not be.
    pub(super) fn fault(&self, what: String) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push(what);
        if faults.len() > TOLD {
            // A server that is broken is not to be asked as fast as it refuses.
            drop(faults);
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What was seen, if there was enough of it and nothing that must not be.
    pub(super) fn verdict(&self) -> Result<String> {
        let seen = format!(
            "{} ({} MB): {} resumed, {} of digests kept from earlier pulls; besides {} cut by the client, {} of \
             generations that gc took (404), {} refused while draining (503), {} connections that had ended when idle",
            self.checked.get(),
            self.bytes.get() / 1_000_000,
            self.resumed.get(),
            self.revisited.get(),
            self.cut.get(),
            self.expired.get(),
            self.draining.get(),
            self.stale.get(),
        );
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if !faults.is_empty() {
            let told: Vec<&str> = faults.iter().take(TOLD).map(String::as_str).collect();
            return Err(format!("{} faults:\n{}\nin {seen}", faults.len(), told.join("\n")).into());
        }
        if self.checked.get() < ENOUGH || self.expired.get() == 0 {
            return Err(format!("too few: {seen}").into());
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_that_is_right_is_needed_and_nothing_that_is_wrong() {
        let tally = Tally::default();
        assert!(tally.verdict().is_err());
        tally.checked.add(ENOUGH);
        tally.expired.add(1);
        assert!(tally.verdict().unwrap().starts_with("10000 (0 MB)"));
        tally.fault("WRONG BYTES".to_owned());
        assert!(tally.verdict().unwrap_err().to_string().starts_with("1 faults:\nWRONG BYTES\n"));
    }
}
