//! Real clients against kitbag's registry, over a store of twelve tools: what they pull, copy, inspect, list, discover and
//! validate is compared byte for byte with the store, and what they ask for is looked at on the wire.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod buildah;
mod containerd;
mod crane;
mod files;
mod layout;
mod oras;
mod regctl;
mod skopeo;
#[path = "../suite/mod.rs"]
mod suite;
mod tap;
mod world;

use std::process::ExitCode;

use world::World;

/// A test: it fails by panicking.
type Test = suite::Test<World>;

fn main() -> ExitCode {
    let suites =
        [skopeo::TESTS, buildah::TESTS, crane::TESTS, regctl::TESTS, oras::TESTS, containerd::TESTS, files::TESTS];
    suite::run(&suites, &[], World::start, |_| Ok(()))
}
