//! What is said while something is done: on stderr, never on stdout, which is the command's.

use std::time::{Duration, Instant};

/// Says what happens, and with `--verbose` when.
#[derive(Debug)]
pub struct Progress {
    verbose: bool,
    start: Instant,
    last: Instant,
}

impl Progress {
    /// Starts the clock.
    #[must_use]
    pub fn new(verbose: bool) -> Self {
        let now = Instant::now();
        Self { verbose, start: now, last: now }
    }

    /// A line for everybody.
    pub fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    /// A step that is done, for those who asked.
    pub fn done(&mut self, text: &str) {
        let now = Instant::now();
        if self.verbose {
            eprintln!("{}", line(now - self.start, now - self.last, text));
        }
        self.last = now;
    }

    /// A moment that has passed, for those who asked.
    pub fn note(&self, moment: Instant, text: &str) {
        if self.verbose {
            eprintln!("{}", line(moment - self.start, moment - self.last, text));
        }
    }
}

fn line(total: Duration, step: Duration, text: &str) -> String {
    format!("{:>6.3} s  +{:.3}  {text}", total.as_secs_f64(), step.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_in_columns() {
        let line = line(Duration::from_millis(1234), Duration::from_millis(56), "pod `shop`");
        assert_eq!(line, " 1.234 s  +0.056  pod `shop`");
    }
}
