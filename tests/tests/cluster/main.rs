//! A cluster of two nodes: what is installed in it, and what reaches every node.
//!
//! One cluster serves all tests. It ends with this process, in whatever way that ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod central;
mod doctor;
mod helm;
mod installed;
mod machines;
mod plugin;
#[path = "../suite/mod.rs"]
mod suite;
mod world;

use std::process::ExitCode;

use world::World;

/// A test: it fails by panicking.
type Test = suite::Test<World>;

fn main() -> ExitCode {
    kitbag_tests::machine::enter();
    let alone = [machines::ALONE, installed::ALONE, plugin::ALONE, doctor::ALONE, helm::ALONE, central::ALONE].concat();
    suite::run(&[machines::TESTS], &alone, World::start, World::stop)
}
