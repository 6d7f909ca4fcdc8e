//! Tests that share one world, which takes a while to make: made only if there is something to run in it.

use std::{
    fmt::Display,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use libtest_mimic::{Arguments, Trial};

/// A test: it fails by panicking.
pub(crate) type Test<W> = fn(&W);

/// Runs those of the tests that the command line asks for, in the world that `start` makes and `stop` ends; those of
/// `alone` one after the other when all others are done, up to the first that fails: what it leaves is in the way of those
/// behind it.
pub(crate) fn run<W: Send + Sync + 'static, E: Display>(
    suites: &[&[(&str, Test<W>)]],
    alone: &[(&str, Test<W>)],
    start: impl FnOnce() -> Result<W, E>,
    stop: impl FnOnce(W) -> Result<(), E>,
) -> ExitCode {
    let arguments = Arguments::from_args();
    let tests = suites.iter().copied().flatten();
    if arguments.list {
        let trials = tests.chain(alone).map(|(name, _)| Trial::test(*name, || Ok(()))).collect();
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let world = match start() {
        Ok(world) => Arc::new(world),
        Err(error) => {
            eprintln!("the tests' world did not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let trial = |&(name, test): &(&str, Test<W>)| {
        let world = Arc::clone(&world);
        Trial::test(name, move || {
            test(&world);
            Ok(())
        })
    };
    let conclusion = libtest_mimic::run(&arguments, tests.map(trial).collect());
    let one = Arguments { test_threads: Some(1), ..arguments };
    let is_clean = Arc::new(AtomicBool::new(true));
    let after_the_last = |&(name, test): &(&str, Test<W>)| {
        let (world, is_clean) = (Arc::clone(&world), Arc::clone(&is_clean));
        Trial::test(name, move || {
            if !is_clean.swap(false, Ordering::Relaxed) {
                return Err("not run: one before it has failed".into());
            }
            test(&world);
            is_clean.store(true, Ordering::Relaxed);
            Ok(())
        })
    };
    let last = libtest_mimic::run(&one, alone.iter().map(after_the_last).collect());
    match Arc::into_inner(world).map(stop) {
        Some(Ok(())) if conclusion.has_failed() => conclusion.exit_code(),
        Some(Ok(())) => last.exit_code(),
        Some(Err(error)) => {
            eprintln!("the tests' world did not end cleanly: {error}");
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}
