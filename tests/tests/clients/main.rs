//! Real clients against kitbag's registry, over a store of twelve tools: what they pull, copy, inspect, list, discover and
//! validate is compared byte for byte with the store, and what they ask for is looked at on the wire.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod buildah;
mod containerd;
mod crane;
mod layout;
mod oras;
mod regctl;
mod skopeo;
mod tap;
mod world;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};
use world::World;

/// A test: it fails by panicking.
type Test = fn(&World);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let suites = [skopeo::TESTS, buildah::TESTS, crane::TESTS, regctl::TESTS, oras::TESTS, containerd::TESTS];
    let tests = suites.into_iter().flatten().copied();
    if arguments.list {
        let trials = tests.map(|(name, _)| Trial::test(name, || Ok(()))).collect();
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
    libtest_mimic::run(&arguments, tests.map(trial).collect()).exit_code()
}
