//! What is said while something is done: on stderr, never on stdout, which is the command's.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::error::Error;

/// Says what happens, and with `--verbose` when.
#[derive(Debug)]
pub struct Progress {
    verbose: bool,
    start: Instant,
    last: Cell<Instant>,
    /// Before each line, where several things are done at once.
    prefix: String,
}

impl Progress {
    /// Starts the clock.
    #[must_use]
    pub fn new(verbose: bool) -> Self {
        let now = Instant::now();
        Self { verbose, start: now, last: Cell::new(now), prefix: String::new() }
    }

    /// The same clock for one of several things, whose lines begin with its name.
    #[must_use]
    pub fn of(&self, name: &str) -> Self {
        Self { verbose: self.verbose, start: self.start, last: self.last.clone(), prefix: format!("{name}: ") }
    }

    /// Since when times count, if they are told at all.
    #[must_use]
    pub fn clock(&self) -> Option<Instant> {
        self.verbose.then_some(self.start)
    }

    /// A line for everybody.
    pub fn say(&self, text: &str) {
        for line in text.lines() {
            eprintln!("{}{}", self.prefix, printable_line(line));
        }
    }

    /// What went wrong, and what to do next.
    pub(crate) fn fail(&self, error: &Error) {
        self.say(&format!("error: {error}"));
        if let Some(hint) = error.hint() {
            self.say(&format!("hint: {hint}"));
        }
    }

    /// A step that is done, for those who asked.
    pub fn done(&self, text: &str) {
        let now = Instant::now();
        let before = self.last.replace(now);
        self.tell(now, Some(now - before), text);
    }

    /// A moment that has passed, for those who asked.
    pub fn note(&self, moment: Instant, text: &str) {
        self.tell(moment, Some(moment.saturating_duration_since(self.last.get())), text);
    }

    fn tell(&self, moment: Instant, step: Option<Duration>, text: &str) {
        if self.verbose {
            self.say(&line(moment - self.start, step, text));
        }
    }
}

/// Text of others for a terminal: what would move its cursor, change its colours or its title is a `?`. Lines stay.
pub(crate) fn printable(text: &str) -> String {
    text.split('\n').map(printable_line).collect::<Vec<_>>().join("\n")
}

/// The same for what stands in one line.
pub(crate) fn printable_line(text: &str) -> String {
    let shown = |character: char| match character {
        '\t' => ' ',
        character if character.is_control() => '?',
        character => character,
    };
    text.chars().map(shown).collect()
}

/// A line with the time since the start, and how long a step took.
pub(crate) fn line(total: Duration, step: Option<Duration>, text: &str) -> String {
    let step = step.map(|step| format!("+{:.3}", step.as_secs_f64())).unwrap_or_default();
    format!("{:>6.3} s  {step:<6}  {text}", total.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_others_moves_the_cursor() {
        let text = "denied\u{1b}]0;title\u{7}\r\n\tby \u{9b}2Jpolicy ä\n";
        assert_eq!(printable(text), "denied?]0;title??\n by ?2Jpolicy ä\n");
        assert_eq!(printable_line(text), "denied?]0;title??? by ?2Jpolicy ä?");
    }

    #[test]
    fn times_stand_in_columns() {
        let total = Duration::from_millis(1234);
        assert_eq!(line(total, Some(Duration::from_millis(56)), "pod `shop`"), " 1.234 s  +0.056  pod `shop`");
        assert_eq!(line(total, None, "api: GET"), " 1.234 s          api: GET");
    }
}
