//! What is going on: bars on a terminal, plain lines with the time elsewhere.

use std::collections::BTreeMap;
use std::io;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kitbag_builder::engine::{Event, Observer};

use crate::output::size;

/// How often a running build's time is drawn anew.
const TICK: Duration = Duration::from_millis(250);

/// Shows events.
pub(crate) struct Progress {
    start: Instant,
    bars: Option<MultiProgress>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    total: usize,
    done: usize,
    running: BTreeMap<String, Running>,
}

struct Running {
    steps: usize,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// On a terminal, or not.
    pub(crate) fn new(terminal: bool) -> Self {
        Self { start: Instant::now(), bars: terminal.then(MultiProgress::new), state: Mutex::default() }
    }

    /// Takes the bars away, before something else is printed.
    pub(crate) fn clear(&self) {
        if let Some(bars) = &self.bars {
            // Nothing to be done about a terminal that is gone.
            let _ = bars.clear();
        }
    }

    fn line(&self, text: &str) {
        let line = format!("[{:>6.1}s] {text}", self.start.elapsed().as_secs_f64());
        // The same: whether anyone reads this does not decide whether we build.
        let _ = match &self.bars {
            Some(bars) => bars.println(line),
            None => writeln!(io::stderr(), "{line}"),
        };
    }

    fn bar(&self, unit: &str) -> Option<ProgressBar> {
        let bar = self.bars.as_ref()?.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}").ok()?;
        bar.set_style(style);
        bar.set_message(unit.to_owned());
        bar.enable_steady_tick(TICK);
        Some(bar)
    }
}

impl Observer for Progress {
    fn observe(&self, event: Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Note(text) => self.line(text),
            Event::Planned { sources, units } => {
                state.total = units;
                self.line(&format!("{units} to build or to pack, {sources} archives to look for"));
            }
            Event::Fetched { file, downloaded: true } => self.line(&format!("downloaded {file}")),
            Event::Fetched { downloaded: false, .. } => {}
            Event::Started { unit, steps } => {
                let bar = self.bar(unit);
                if bar.is_none() {
                    self.line(&format!("{unit}: building"));
                }
                state.running.insert(unit.to_owned(), Running { steps, bar });
            }
            Event::Step { unit, step } => {
                if let Some(Running { steps, bar: Some(bar) }) = state.running.get(unit) {
                    bar.set_message(format!("{unit}: step {step} of {steps}"));
                }
            }
            Event::Finished { unit, elapsed, layer } => {
                state.done += 1;
                finish(state.running.remove(unit));
                let layer =
                    layer.map(|(gzip, zstd)| format!(", layer {} gzip, {} zstd", size(gzip as u64), size(zstd as u64)));
                let (done, total) = (state.done, state.total);
                let elapsed = elapsed.as_secs_f64();
                self.line(&format!("{unit}: done in {elapsed:.1}s{} ({done}/{total})", layer.unwrap_or_default()));
            }
            Event::Failed { unit } => {
                finish(state.running.remove(unit));
                self.line(&format!("{unit}: failed"));
            }
        }
    }
}

fn finish(running: Option<Running>) {
    if let Some(bar) = running.and_then(|running| running.bar) {
        bar.finish_and_clear();
    }
}
