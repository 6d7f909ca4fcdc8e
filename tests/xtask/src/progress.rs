//! What a person sees while a task runs: numbered steps, what each does, and how long it took.

use std::time::{Duration, Instant};

/// Counts steps and the time they take.
pub(crate) struct Progress {
    began: Instant,
    step: usize,
    steps: usize,
}

impl Progress {
    /// For a task of so many steps.
    pub(crate) fn new(steps: usize) -> Self {
        Self { began: Instant::now(), step: 0, steps }
    }

    /// Says what comes next, does it, and says how long it took.
    ///
    /// # Errors
    /// What `work` returned.
    pub(crate) fn step<T, E>(&mut self, title: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.step += 1;
        eprintln!("\n[{}/{}] {title}", self.step, self.steps);
        let begin = Instant::now();
        let result = work();
        let outcome = if result.is_ok() { "done" } else { "failed" };
        eprintln!(
            "[{}/{}] {outcome} in {} ({} in all)",
            self.step,
            self.steps,
            seconds(begin.elapsed()),
            seconds(self.began.elapsed())
        );
        result
    }
}

/// `0.31 s`, `12 s`, `3 min 05 s`.
pub(crate) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..120 => format!("{whole} s"),
        _ => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_to_read() {
        let texts = [0.314, 9.99, 12.7, 119.0, 185.0].map(|time| seconds(Duration::from_secs_f64(time)));
        assert_eq!(texts, ["0.31 s", "9.99 s", "12 s", "119 s", "3 min 05 s"]);
    }
}
