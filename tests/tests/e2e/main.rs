//! End to end, on the real thing: kitbag's own programs as they ship, a real node, a real containerd, real clients.
//!
//! One node serves all tests. It ends with this process, in whatever way that ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cut;
mod faults;
mod images;
mod rbac;
mod reentry;
mod refusals;
mod sessions;
#[path = "../suite/mod.rs"]
mod suite;
mod targets;
mod view;
mod world;

use std::process::ExitCode;

use world::World;

/// A test: it fails by panicking.
type Test = suite::Test<World>;

fn main() -> ExitCode {
    kitbag_tests::machine::enter();
    let suites = [
        images::TESTS,
        sessions::TESTS,
        targets::TESTS,
        view::TESTS,
        reentry::TESTS,
        rbac::TESTS,
        refusals::TESTS,
        faults::TESTS,
    ];
    suite::run(&suites, faults::ALONE, World::start, World::stop)
}
