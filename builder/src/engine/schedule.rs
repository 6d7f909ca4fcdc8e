//! Which task runs when: each after those that it needs, what has most behind it first, as many at a time as wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{Engine, Failures, Task, UnitError};

struct State {
    waiting: BTreeMap<usize, Task>,
    running: BTreeSet<usize>,
    failed: Vec<(usize, UnitError)>,
    skipped: Vec<usize>,
}

/// Runs `work` for each task of `todo`. What needs a task that has failed is skipped; everything else is done.
pub(super) fn run(
    engine: &Engine<'_>,
    todo: &BTreeMap<usize, Task>,
    work: impl Fn(usize, Task) -> Result<(), UnitError> + Sync,
) -> Failures {
    let heights = engine.plan.heights();
    let state = State { waiting: todo.clone(), running: BTreeSet::new(), failed: Vec::new(), skipped: Vec::new() };
    let (state, changed) = (Mutex::new(state), Condvar::new());
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let worker = || {
        let mut state: MutexGuard<'_, State> = lock();
        while !state.waiting.is_empty() {
            if engine.interrupt.is_triggered() {
                state.waiting.clear();
                break;
            }
            let Some((index, task)) = next(engine, &state, &heights) else {
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.waiting.remove(&index);
            state.running.insert(index);
            drop(state);
            let result = work(index, task);
            state = lock();
            state.running.remove(&index);
            if let Err(error) = result {
                skip_users(engine, &mut state, index);
                if !error.is_interrupt() {
                    state.failed.push((index, error));
                }
            }
            changed.notify_all();
        }
        changed.notify_all();
    };
    thread::scope(|scope| {
        for _ in 0..engine.settings.jobs.clamp(1, todo.len().max(1)) {
            scope.spawn(worker);
        }
    });
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let label = |index: usize| engine.unit(index).label();
    Failures {
        failed: state.failed.into_iter().map(|(index, error)| (label(index), error)).collect(),
        skipped: state.skipped.into_iter().map(label).collect(),
    }
}

/// The task to start: nothing that it needs is still to be done.
fn next(engine: &Engine<'_>, state: &State, heights: &[usize]) -> Option<(usize, Task)> {
    let open = |index: &usize| state.waiting.contains_key(index) || state.running.contains(index);
    let ready =
        state.waiting.iter().filter(|(index, _)| !engine.unit(**index).dependencies().any(|place| open(&place)));
    ready.max_by_key(|(index, _)| (heights[**index], std::cmp::Reverse(**index))).map(|(&index, &task)| (index, task))
}

/// Gives up what needs `failed`, directly or not: units come after what they depend on.
fn skip_users(engine: &Engine<'_>, state: &mut State, failed: usize) {
    let mut gone = BTreeSet::from([failed]);
    let waiting: Vec<usize> = state.waiting.keys().copied().collect();
    for index in waiting {
        if engine.unit(index).dependencies().any(|place| gone.contains(&place)) {
            gone.insert(index);
            state.waiting.remove(&index);
            state.skipped.push(index);
        }
    }
}
