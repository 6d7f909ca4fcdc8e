//! A registry over a part of a store, as the one on a node has it: the layers of its own platform only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod server;

use std::fs;

use kitbag_builder::store::{Store, part};
use kitbag_toolsets::Arch;
use server::{Server, testing};

#[test]
fn a_part_of_a_store_serves_the_same_images_and_misses_nothing() {
    let (whole_dir, part_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (whole, _) = testing::make(whole_dir.path());
    for (path, bytes) in part::files(&whole, 2, Some(Arch::Amd64)).unwrap() {
        let path = part_dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let part = Store::open(part_dir.path()).unwrap();
    let (theirs, ours) = (Server::start(&whole), Server::start(&part));
    for target in [
        "/v2/strace/manifests/latest",
        "/v2/strace/manifests/latest-zstd",
        "/v2/strace/tags/list",
        "/v2/lsof/manifests/latest",
    ] {
        let accept = [("Accept", "application/vnd.oci.image.index.v1+json")];
        assert_eq!(ours.ask("GET", target, &accept), theirs.ask("GET", target, &accept), "{target}");
    }
    let generation = &whole.generations()[0];
    let image = generation.compose(&generation.resolve(&"strace".parse().unwrap()).unwrap()).unwrap();
    for platform in image.platforms() {
        let config = ours.get(&format!("/v2/strace/blobs/{}", platform.config.digest));
        assert_eq!((config.status, config.body), (200, platform.config.bytes.to_vec()));
        let layer = ours.get(&format!("/v2/strace/blobs/{}", platform.layers[1].gzip.digest));
        assert_eq!(layer.status, if platform.arch == Arch::Amd64 { 200 } else { 404 });
    }
    // What is elsewhere is not damage.
    assert_eq!(ours.metrics.blobs_damaged.get(), 0);
}
