//! regctl: regclient.

use std::{fs, path::Path, process::Command};

use kitbag_tests::{printed::run, stock};
use kitbag_toolsets::Compression;
use serde_json::Value;

use crate::{
    Test,
    layout::{assert_same, blobs, root},
    world::{IMAGES, LATEST, MISSPELLED, NEAR, World, bytes, refusal, tag, text},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("regctl copies whole images, each form by its tag", copies_whole_images),
    ("regctl copies either form for either platform, by digest", copies_either_form),
    ("regctl copies either form for either platform, by tag", copies_for_a_platform),
    ("regctl gets digests, manifests, configs and blobs", gets_each_document),
    ("regctl exports", exports),
    ("regctl gets a file out of an image", gets_a_file),
    ("regctl lists tags and repositories", lists),
    ("regctl finds no referrers", finds_no_referrers),
    ("regctl tells the near name", tells_the_near_name),
];

fn copies_whole_images(world: &World) {
    for path in IMAGES {
        for form in Compression::ALL {
            // Nothing refers to an image, and no other tag belongs to it: with these flags it asks for both.
            for flags in [&[][..], &["--referrers", "--digest-tags"]] {
                let (dir, image) = (world.scratch(), world.stock.image(path));
                copy(world, flags, &format!("{}/{path}:{}", world.host(), tag(LATEST, form)), dir.path());
                assert_same(&blobs(dir.path()), &world.stock.content(&image, form));
                assert_eq!(root(dir.path()), image.form(form).index.digest.to_string());
            }
        }
    }
}

fn copies_either_form(world: &World) {
    for path in IMAGES {
        for part in world.parts(&world.stock.image(path)) {
            let dir = world.scratch();
            copy(world, &[], &format!("{}/{path}@{}", world.host(), part.manifest.digest), dir.path());
            assert_same(&blobs(dir.path()), &part.content);
        }
    }
}

fn copies_for_a_platform(world: &World) {
    for part in world.parts(&world.stock.image(stock::THREE)) {
        let (dir, name) = (world.scratch(), format!("linux/{}", part.platform.arch));
        let reference = format!("{}/{}:{}", world.host(), stock::THREE, tag(LATEST, part.form));
        copy(world, &["--platform", &name], &reference, dir.path());
        assert_same(&blobs(dir.path()), &part.content);
    }
}

fn gets_each_document(world: &World) {
    let regctl = |arguments: &[&str]| bytes(regctl(world, arguments));
    for path in IMAGES {
        let (image, host) = (world.stock.image(path), world.host());
        for form in Compression::ALL {
            let (index, reference) = (&image.form(form).index, format!("{host}/{path}:{}", tag(LATEST, form)));
            for command in [&["image", "digest", &reference][..], &["manifest", "head", &reference]] {
                assert_eq!(regctl(command), format!("{}\n", index.digest).as_bytes());
            }
            assert!(regctl(&["manifest", "get", "--format", "raw-body", &reference]) == index.bytes);
        }
        for part in world.parts(&image) {
            let reference = format!("{host}/{path}:{}", tag(LATEST, part.form));
            let name = format!("linux/{}", part.platform.arch);
            let get = |what: &str, command: &str| {
                regctl(&[what, command, "--platform", &name, "--format", "raw-body", &reference])
            };
            assert!(get("manifest", "get") == part.manifest.bytes);
            assert!(get("image", "inspect") == part.platform.config.bytes);
        }
    }
    let repository = format!("{}/{}", world.host(), stock::THREE);
    for part in world.parts(&world.stock.image(stock::THREE)) {
        let manifest = part.manifest.digest.to_string();
        for (digest, expected) in part.content.iter().filter(|(digest, _)| **digest != manifest) {
            assert!(regctl(&["blob", "get", &repository, digest]) == *expected, "{digest}");
        }
    }
}

fn exports(world: &World) {
    for form in Compression::ALL {
        let (dir, image) = (world.scratch(), world.stock.image(stock::THREE));
        let archive = dir.path().join("archive.tar");
        let reference = format!("{}/{}:{}", world.host(), stock::THREE, tag(LATEST, form));
        text(regctl(world, &["image", "export", &reference, &archive.display().to_string()]));
        let layout = dir.path().join("layout");
        fs::create_dir(&layout).unwrap();
        tar::Archive::new(fs::File::open(&archive).unwrap()).unpack(&layout).unwrap();
        assert_same(&blobs(&layout), &world.stock.content(&image, form));
    }
}

fn gets_a_file(world: &World) {
    for part in world.parts(&world.stock.image(stock::TWELVE)) {
        let reference = format!("{}/{}:{}", world.host(), stock::TWELVE, tag(LATEST, part.form));
        let name = format!("linux/{}", part.platform.arch);
        let file = bytes(regctl(world, &["image", "get-file", "--platform", &name, &reference, "/usr/bin/lsof"]));
        assert!(file == stock::program_of("lsof", part.platform.arch).unwrap());
    }
}

fn lists(world: &World) {
    let lines = |arguments: &[&str]| text(regctl(world, arguments)).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&["tag", "ls", &format!("{}/{}", world.host(), stock::ONE)]), world.tags());
    assert_eq!(lines(&["repo", "ls", &world.host()]), World::tools());
}

fn finds_no_referrers(world: &World) {
    let (tap, image) = (world.tap(), world.stock.image(stock::ONE));
    let digest = &image.form(Compression::Gzip).index.digest;
    let reference = format!("{}/{}", tap.host(), stock::ONE);
    for filter in [&[][..], &["--filter-artifact-type", "application/spdx+json"]] {
        let arguments = [&["artifact", "list", "--format", "{{json .}}"], filter, &[&reference]].concat();
        let listed = text(regctl_at(world, &tap.host(), &arguments));
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert!(listed["descriptors"].as_array().is_none_or(Vec::is_empty), "{listed}");
    }
    let lines = tap.lines();
    let asked = format!("GET /v2/{}/referrers/{digest}", stock::ONE);
    assert!(lines.contains(&asked), "{lines:?}");
    // Where the API is, the fallback by tags isn't asked for.
    assert!(!lines.iter().any(|line| line.contains("sha256-")), "{lines:?}");
}

fn tells_the_near_name(world: &World) {
    let reference = format!("{}/{MISSPELLED}", world.host());
    // It shows the header, also where there is no body: the second asks by HEAD.
    for command in [["manifest", "get"], ["image", "digest"], ["tag", "ls"]] {
        let said = refusal(regctl(world, &[&command[..], &[&reference]].concat()));
        assert!(said.contains("WARN") && said.contains(NEAR), "{command:?}: {said}");
    }
}

/// `regctl image copy` into the layout in `dir`.
#[track_caller]
fn copy(world: &World, flags: &[&str], reference: &str, dir: &Path) {
    let target = format!("ocidir://{}:latest", dir.display());
    let copied = run(regctl(world, &[&["image", "copy"], flags, &[reference, &target]].concat()), b"").expect_code(0);
    assert!(!copied.stderr.contains("WARN"), "{}", copied.stderr);
}

fn regctl(world: &World, arguments: &[&str]) -> Command {
    regctl_at(world, &world.host(), arguments)
}

fn regctl_at(world: &World, host: &str, arguments: &[&str]) -> Command {
    let mut command = world.command(&world.clients.regctl, &["--host", &format!("reg={host},tls=disabled")]);
    command.args(arguments);
    command
}
