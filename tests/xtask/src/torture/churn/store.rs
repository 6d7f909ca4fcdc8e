//! The store that changes: a generation after the other, and gc behind them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use kitbag_toolsets::GenerationId;

use crate::{
    Result,
    bench::median,
    http::fetch,
    synthetic::{self, Tool, tool},
    torture::until,
};

/// Tools of the store.
pub(super) const TOOLS: usize = 12;
/// Generations that gc keeps.
const KEEP: usize = 5;
/// How long gc leaves what nothing reaches. In life it is an hour, and no pull ever misses what it has begun with; here
/// files go away under the registry.
const GRACE: &str = "1s";
/// Generations between two runs of gc.
const GC_EVERY: usize = 5;
/// Between two generations.
const PAUSE: Duration = Duration::from_millis(150);
/// A new generation is to be seen so soon, as a rule: here everything goes on at once, on few cores.
const SIGHT: f64 = 1.0;
/// A new generation that is not seen by then never will be.
const PATIENCE: Duration = Duration::from_secs(10);

/// The store, and what became of it.
pub(super) struct Changing {
    dir: PathBuf,
    builder: PathBuf,
    /// Every generation, the oldest first.
    generations: Mutex<Vec<GenerationId>>,
}

impl Changing {
    /// With its first generation.
    pub(super) fn make(dir: &Path, builder: &Path) -> Result<Self> {
        let first = synthetic::commit(dir, &tools(0))?;
        Ok(Self { dir: dir.to_owned(), builder: builder.to_owned(), generations: Mutex::new(vec![first]) })
    }

    /// Adds generations, which the registry must see, and lets gc run, until it is told to stop.
    pub(super) fn change(&self, registry: SocketAddr, stopped: impl Fn() -> bool) -> Result<String> {
        let (mut times, mut collected) = (Vec::new(), 0);
        while !stopped() {
            let number = times.len() + 1;
            let id = synthetic::commit(&self.dir, &tools(number))?;
            self.generations.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
            let path = format!("/v2/{}/manifests/{id}", synthetic::name(0));
            let seen = || fetch(registry, &path).is_ok_and(|answer| answer.head.status == 200);
            times.push(until("a new generation is seen", PATIENCE, || seen() || stopped())?.as_secs_f64());
            if number.is_multiple_of(GC_EVERY) {
                self.collect()?;
                collected += 1;
            }
            thread::sleep(PAUSE);
        }
        let (slowest, usual) = (times.iter().copied().fold(0.0, f64::max), median(times.clone()));
        let seen = format!(
            "{} generations, seen after {usual:.2} s as a rule and {slowest:.2} s at most; gc ran {collected} times",
            times.len()
        );
        if usual <= SIGHT { Ok(seen) } else { Err(format!("too late: {seen}").into()) }
    }

    fn collect(&self) -> Result {
        let mut gc = Command::new(&self.builder);
        gc.arg("gc").arg("--store").arg(&self.dir).args(["--keep", &KEEP.to_string(), "--grace", GRACE]);
        let output = gc.output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("gc failed: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Whether gc may have taken the generation.
    pub(super) fn is_expired(&self, generation: &str) -> bool {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.iter().rev().take(KEEP).all(|id| id.as_str() != generation)
    }
}

/// The tools of a generation: one of them has another version in each.
fn tools(generation: usize) -> Vec<Tool> {
    let numbered = |number: usize| {
        // One layer is larger than what the sockets' buffers take.
        let bytes = if number == 3 { 6 << 20 } else { 30_000 };
        tool(&synthetic::name(number), &format!("1.{generation}"), bytes)
    };
    match generation {
        0 => (0..TOOLS).map(numbered).chain([tool("base", "1.0", 100_000)]).collect(),
        _ => vec![numbered(generation % TOOLS)],
    }
}
