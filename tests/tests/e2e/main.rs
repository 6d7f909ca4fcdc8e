//! End to end, on the real thing: kitbag's own programs as they ship, a real node, a real containerd, real clients.
//!
//! One node serves all tests. It ends with this process, in whatever way that ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod images;
mod refusals;
mod sessions;
#[path = "../suite/mod.rs"]
mod suite;
mod world;

use std::process::ExitCode;

use world::World;

/// A test: it fails by panicking.
type Test = suite::Test<World>;

fn main() -> ExitCode {
    kitbag_tests::machine::enter();
    suite::run(&[images::TESTS, sessions::TESTS, refusals::TESTS], World::start, World::stop)
}
