//! oras: oras-go, by a program of ours.

use std::{path::Path, process::Command};

use kitbag_tests::stock;
use kitbag_toolsets::Compression;
use serde_json::{Value, json};

use crate::{
    Test,
    layout::{assert_same, blobs, root},
    world::{IMAGES, LATEST, MISSPELLED, NEAR, World, bytes, refusal, tag, text},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("oras copies whole images, each form by its tag", copies_whole_images),
    ("oras copies either form for either platform, by digest", copies_either_form),
    ("oras copies either form for either platform, by tag", copies_for_a_platform),
    ("oras gets descriptors, manifests and blobs", gets_each_document),
    ("oras lists tags and repositories", lists),
    ("oras discovers no referrers", discovers_no_referrers),
    ("oras tells the near name", tells_the_near_name),
];

fn copies_whole_images(world: &World) {
    for path in IMAGES {
        for form in Compression::ALL {
            let (dir, image) = (world.scratch(), world.stock.image(path));
            pull(world, &format!("{}/{path}:{}", world.host(), tag(LATEST, form)), dir.path(), None);
            assert_same(&blobs(dir.path()), &world.stock.content(&image, form));
            assert_eq!(root(dir.path()), image.form(form).index.digest.to_string());
        }
    }
}

fn copies_either_form(world: &World) {
    for path in IMAGES {
        for part in world.parts(&world.stock.image(path)) {
            let dir = world.scratch();
            pull(world, &format!("{}/{path}@{}", world.host(), part.manifest.digest), dir.path(), None);
            assert_same(&blobs(dir.path()), &part.content);
        }
    }
}

fn copies_for_a_platform(world: &World) {
    for part in world.parts(&world.stock.image(stock::THREE)) {
        let (dir, name) = (world.scratch(), format!("linux/{}", part.platform.arch));
        let reference = format!("{}/{}:{}", world.host(), stock::THREE, tag(LATEST, part.form));
        pull(world, &reference, dir.path(), Some(&name));
        assert_same(&blobs(dir.path()), &part.content);
    }
}

fn gets_each_document(world: &World) {
    for path in IMAGES {
        let (image, host) = (world.stock.image(path), world.host());
        let resolve = |arguments: &[&str]| -> Value {
            serde_json::from_str(&text(oras(world, &[&["resolve"], arguments].concat()))).unwrap()
        };
        for form in Compression::ALL {
            let (index, reference) = (&image.form(form).index, format!("{host}/{path}:{}", tag(LATEST, form)));
            let descriptor =
                json!({ "mediaType": index.media_type, "digest": index.digest, "size": index.bytes.len() });
            assert_eq!(resolve(&[&reference]), descriptor);
            assert!(bytes(oras(world, &["manifest", &reference])) == index.bytes);
        }
        for part in world.parts(&image) {
            let reference = format!("{host}/{path}:{}", tag(LATEST, part.form));
            let resolved = resolve(&[&reference, &format!("linux/{}", part.platform.arch)]);
            assert_eq!(resolved["digest"], part.manifest.digest.to_string());
            for layer in &part.platform.layers {
                let digest = layer.blob(part.form).digest.to_string();
                let blob = bytes(oras(world, &["blob", &format!("{host}/{path}@{digest}")]));
                assert!(blob == part.content[&digest], "{digest}");
            }
        }
    }
}

fn lists(world: &World) {
    let lines = |arguments: &[&str]| text(oras(world, arguments)).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&["tags", &format!("{}/{}", world.host(), stock::ONE)]), world.tags());
    assert_eq!(lines(&["repositories", &world.host()]), World::tools());
}

fn discovers_no_referrers(world: &World) {
    let tap = world.tap();
    let reference = format!("{}/{}:latest", tap.host(), stock::ONE);
    for arguments in [&["discover", &reference][..], &["discover", &reference, "application/spdx+json"]] {
        assert_eq!(text(oras(world, arguments)), "[]\n");
    }
    let lines = tap.lines();
    let image = world.stock.image(stock::ONE);
    let digest = &image.form(Compression::Gzip).index.digest;
    let referrers = format!("GET /v2/{}/referrers/{digest}", stock::ONE);
    assert!(lines.contains(&referrers), "{lines:?}");
    assert!(lines.contains(&format!("{referrers}?artifactType=application%2Fspdx%2Bjson")), "{lines:?}");
    // Where the API is, the fallback by tags isn't asked for.
    assert!(!lines.iter().any(|line| line.contains("sha256-")), "{lines:?}");
}

fn tells_the_near_name(world: &World) {
    let (reference, dir) = (format!("{}/{MISSPELLED}:latest", world.host()), world.scratch());
    let target = dir.path().display().to_string();
    // It throws the body of a 404 away, and shows the header.
    for arguments in [&["resolve", &reference][..], &["manifest", &reference], &["pull", &reference, &target]] {
        let said = refusal(oras(world, arguments));
        assert!(said.contains("WARNING") && said.contains(NEAR), "{arguments:?}: {said}");
    }
}

/// Copies into the layout in `dir`.
#[track_caller]
fn pull(world: &World, reference: &str, dir: &Path, platform: Option<&str>) {
    let mut command = oras(world, &["pull", reference]);
    command.arg(dir).args(platform);
    text(command);
}

fn oras(world: &World, arguments: &[&str]) -> Command {
    world.command(&world.clients.oras, arguments)
}
