//! End to end, on the real thing: kitbag's own programs as they ship, a real node, a real containerd, real clients.
//!
//! One node serves all tests. It ends with this process, in whatever way that ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod images;
mod refusals;
mod sessions;
mod world;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};
use world::World;

/// A test: it fails by panicking.
type Test = fn(&World);

fn main() -> ExitCode {
    kitbag_tests::machine::enter();
    let arguments = Arguments::from_args();
    let tests: Vec<(&str, Test)> =
        images::TESTS.iter().chain(sessions::TESTS).chain(refusals::TESTS).copied().collect();
    if arguments.list {
        let trials = tests.into_iter().map(|(name, _)| Trial::test(name, || Ok(()))).collect();
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let world = match World::start() {
        Ok(world) => Arc::new(world),
        Err(error) => {
            eprintln!("the tests' world did not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let trial = |(name, test): (&str, Test)| {
        let world = Arc::clone(&world);
        Trial::test(name, move || {
            test(&world);
            Ok(())
        })
    };
    let conclusion = libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect());
    match Arc::into_inner(world).map(World::stop) {
        Some(Ok(())) => conclusion.exit_code(),
        Some(Err(error)) => {
            eprintln!("the tests' node did not end cleanly: {error}");
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}
