//! Images: what real clients pull is what the builder made.

use std::{collections::BTreeSet, fs, process::Command};

use kitbag_tests::image::architecture;
use serde_json::Value;

use crate::{
    Test,
    world::{World, run},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("skopeo pulls what the builder made", skopeo_pulls_what_the_builder_made),
    ("containerd pulls under CRI", containerd_pulls_under_cri),
    ("a tool in a container is the built one", a_tool_in_a_container_is_the_built_one),
    ("skopeo reads the store", skopeo_reads_the_store),
    ("every order of a set is one image", every_order_of_a_set_is_one_image),
    ("a store that is missing is not served", a_store_that_is_missing_is_not_served),
    ("a flipped byte is named and never served", a_flipped_byte_is_named_and_never_served),
    ("a second build does nothing", a_second_build_does_nothing),
];

fn skopeo_pulls_what_the_builder_made(world: &World) {
    let dir = tempfile::tempdir().unwrap();
    let source = format!("docker://{}/strace/tcpdump/dig/htop", world.registry());
    let target = format!("dir:{}", dir.path().display());
    world.client("skopeo", &["copy", "--all", "--src-tls-verify=false", &source, &target]);
    let index: Value = serde_json::from_slice(&fs::read(dir.path().join("manifest.json")).unwrap()).unwrap();
    let mut platforms = BTreeSet::new();
    let mut compared = 0;
    for descriptor in index["manifests"].as_array().unwrap() {
        platforms.insert(descriptor["platform"]["architecture"].as_str().unwrap().to_owned());
        let digest = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:");
        let manifest = fs::read(dir.path().join(format!("{digest}.manifest.json"))).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 5, "the base and four tools");
        for layer in layers {
            let digest = layer["digest"].as_str().unwrap().trim_start_matches("sha256:");
            let pulled = fs::read(dir.path().join(digest)).unwrap();
            let built = fs::read(world.store.join("blobs/sha256").join(digest)).unwrap();
            assert!(pulled == built, "{digest} differs");
            compared += 1;
        }
    }
    assert_eq!(platforms, BTreeSet::from(["amd64".to_owned(), "arm64".to_owned()]));
    assert_eq!(compared, 10, "two platforms, five layers");
}

fn containerd_pulls_under_cri(world: &World) {
    let digest = index_digest(world, "strace/htop");
    let by_tag = format!("{}/strace/htop:latest", world.registry());
    let by_digest = format!("{}/htop/strace@{digest}", world.registry());
    let pulled = world.node.cri_pull(&[&by_tag, &by_digest]).unwrap();
    // The image ID is the config's digest: (image specification, "ImageID").
    let config = platform_manifest(world, "strace/htop")["config"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(pulled.matches(&config).count(), 2, "{pulled}");
}

fn a_tool_in_a_container_is_the_built_one(world: &World) {
    let layer = layer(world, "strace");
    let dir = tempfile::tempdir().unwrap();
    let blob = world.store.join("blobs/sha256").join(layer);
    let status = Command::new("tar").arg("-xzf").arg(blob).arg("-C").arg(dir.path()).status().unwrap();
    assert!(status.success());
    let built = Command::new("sha256sum").arg(dir.path().join("usr/bin/strace")).output().unwrap();
    let built = String::from_utf8(built.stdout).unwrap();
    let seen = world.kitbag(&["debug", "shop", "strace", "shell", "--", "sha256sum", "/usr/bin/strace"]).expect_code(0);
    assert_eq!(seen.stdout.split_whitespace().next(), built.split_whitespace().next());
}

fn skopeo_reads_the_store(world: &World) {
    let reference = format!("oci:{}:strace-6.1-{}", world.store.display(), architecture());
    let inspected = world.client("skopeo", &["inspect", &reference]);
    let inspected: Value = serde_json::from_str(&inspected.stdout).unwrap();
    assert_eq!(inspected["Architecture"], architecture());
    assert_eq!(inspected["Os"], "linux");
}

fn every_order_of_a_set_is_one_image(world: &World) {
    let digest = index_digest(world, "strace/tcpdump/dig");
    assert_eq!(index_digest(world, "dig/strace/tcpdump/strace"), digest);
    assert_eq!(index_digest(world, "net/strace-6.1"), digest);
    assert_eq!(index_digest(world, "sh/htop"), index_digest(world, "shell/htop"));
    assert_ne!(index_digest(world, "strace/tcpdump"), digest);
}

fn a_store_that_is_missing_is_not_served(world: &World) {
    let dir = tempfile::tempdir().unwrap();
    let serve = |store: &std::path::Path| {
        let mut registry = Command::new(&world.programs.registry);
        registry.args(["serve", "--listen", "127.0.0.1:0", "--store"]).arg(store);
        run(registry, b"").expect_code(1).stderr
    };
    let missing = serve(&dir.path().join("nothing"));
    assert!(missing.contains("nothing") && missing.contains("kitbag-builder build"), "{missing}");
    fs::write(dir.path().join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    let half = serve(dir.path());
    assert!(half.contains("index.json"), "{half}");
}

fn a_flipped_byte_is_named_and_never_served(world: &World) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    assert!(Command::new("cp").arg("-a").arg(&world.store).arg(&store).status().unwrap().success());
    let layer = layer(world, "htop");
    let blob = store.join("blobs/sha256").join(&layer);
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();

    let mut verify = Command::new(&world.programs.builder);
    verify.args(["verify", "--store"]).arg(&store);
    let verified = run(verify, b"");
    assert_ne!(verified.code, Some(0));
    assert!(format!("{}{}", verified.stdout, verified.stderr).contains(&layer), "{}", verified.stderr);

    let log = dir.path().join("log");
    let registry = kitbag_tests::registry::Registry::start_on_host(&world.programs.registry, &store, &log).unwrap();
    let url = format!("http://{}/v2/htop/blobs/sha256:{layer}", registry.address());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", &url]);
    assert_eq!(run(curl, b"").stdout, "500");
}

fn a_second_build_does_nothing(world: &World) {
    let mut build = Command::new(&world.programs.builder);
    build.args(["build", "--locked", "--offline", "--store"]).arg(&world.store);
    let index = fs::read(world.store.join("index.json")).unwrap();
    let built = run(build, b"").expect_code(0);
    assert!(built.stdout.contains("nothing to do"), "{}", built.stdout);
    assert!(fs::read(world.store.join("index.json")).unwrap() == index);
}

/// The digest that the registry gives to an image.
fn index_digest(world: &World, path: &str) -> String {
    let reference = format!("docker://{}/{path}", world.registry());
    let inspected = world.client("skopeo", &["inspect", "--tls-verify=false", &reference]);
    let inspected: Value = serde_json::from_str(&inspected.stdout).unwrap();
    inspected["Digest"].as_str().unwrap().to_owned()
}

/// The gzip manifest of an image, for this machine.
fn platform_manifest(world: &World, path: &str) -> Value {
    let index = world.manifest(path);
    let manifests = index["manifests"].as_array().unwrap();
    let descriptor = manifests.iter().find(|manifest| manifest["platform"]["architecture"] == architecture()).unwrap();
    world.manifest(&format!("{path}@{}", descriptor["digest"].as_str().unwrap()))
}

/// Hexadecimal digits of the digest of a tool's gzip layer, for this machine.
fn layer(world: &World, tool: &str) -> String {
    let manifest = platform_manifest(world, tool);
    let layer = manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
    layer.trim_start_matches("sha256:").to_owned()
}
