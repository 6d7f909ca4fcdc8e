//! skopeo: containers/image, as Debian has it.

use std::{path::Path, process::Command};

use kitbag_tests::stock;
use kitbag_toolsets::Compression;
use serde_json::{Value, json};

use crate::{
    Test,
    layout::{assert_same, blobs, root},
    world::{IMAGES, LATEST, MISSPELLED, NEAR, Part, World, bytes, refusal, tag, text},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("skopeo copies whole images, each form by its tag", copies_whole_images),
    ("skopeo copies either form for either platform, by digest", copies_either_form),
    ("skopeo copies either form for either platform, by tag", copies_for_a_platform),
    ("skopeo inspects images", inspects),
    ("skopeo lists tags, and finds each image by tag and by digest", lists_tags),
    ("skopeo tells the near name", tells_the_near_name),
    ("skopeo asks in its order", asks_in_its_order),
];

fn copies_whole_images(world: &World) {
    for path in IMAGES {
        for form in Compression::ALL {
            let (dir, image) = (world.scratch(), world.stock.image(path));
            let reference = format!("{}/{path}:{}", world.host(), tag(LATEST, form));
            copy(world, &["--all", "--preserve-digests"], &reference, dir.path());
            assert_same(&blobs(dir.path()), &world.stock.content(&image, form));
            assert_eq!(root(dir.path()), image.form(form).index.digest.to_string());
        }
    }
}

fn copies_either_form(world: &World) {
    for path in IMAGES {
        for part in world.parts(&world.stock.image(path)) {
            let dir = world.scratch();
            let reference = format!("{}/{path}@{}", world.host(), part.manifest.digest);
            copy(world, &["--override-arch", part.platform.arch.as_str()], &reference, dir.path());
            assert_same(&blobs(dir.path()), &part.content);
        }
    }
}

fn copies_for_a_platform(world: &World) {
    for part in world.parts(&world.stock.image(stock::THREE)) {
        let dir = world.scratch();
        let reference = format!("{}/{}:{}", world.host(), stock::THREE, tag(LATEST, part.form));
        copy(world, &["--override-arch", part.platform.arch.as_str()], &reference, dir.path());
        assert_same(&blobs(dir.path()), &part.content);
    }
}

fn inspects(world: &World) {
    for path in IMAGES {
        let image = world.stock.image(path);
        for Part { platform, form, .. } in world.parts(&image) {
            let arch = platform.arch.as_str();
            let reference = format!("docker://{}/{path}:{}", world.host(), tag(LATEST, form));
            let inspected =
                text(skopeo(world, &["--override-arch", arch, "inspect", "--tls-verify=false", &reference]));
            let inspected: Value = serde_json::from_str(&inspected).unwrap();
            let layers: Vec<_> = platform.layers.iter().map(|layer| layer.blob(form).digest.to_string()).collect();
            assert_eq!(inspected["Digest"], image.form(form).index.digest.to_string());
            assert_eq!(inspected["Architecture"], arch);
            assert_eq!(inspected["RepoTags"], json!(world.tags()));
            assert_eq!(inspected["Layers"], json!(layers));
            let config = bytes(skopeo(
                world,
                &["inspect", "--tls-verify=false", "--config", "--raw", "--override-arch", arch, &reference],
            ));
            assert!(config == platform.config.bytes);
        }
    }
}

fn lists_tags(world: &World) {
    let repository = format!("docker://{}/{}", world.host(), stock::ONE);
    let listed = text(skopeo(world, &["list-tags", "--tls-verify=false", &repository]));
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()["Tags"], json!(world.tags()));
    let generations = world.stock.generations();
    for (generation, image) in [
        (generations[0].as_str(), world.stock.image(stock::ONE)),
        (generations[1].as_str(), world.stock.older_image(stock::ONE)),
    ] {
        for form in Compression::ALL {
            let (index, tag) = (&image.form(form).index, tag(generation, form));
            // The older generation's is found by its digest alone, too.
            for reference in [format!("{repository}:{tag}"), format!("{repository}@{}", index.digest)] {
                let raw = bytes(skopeo(world, &["inspect", "--tls-verify=false", "--raw", &reference]));
                assert!(raw == index.bytes, "{reference}");
            }
        }
    }
}

fn tells_the_near_name(world: &World) {
    let reference = format!("docker://{}/{MISSPELLED}", world.host());
    let said = refusal(skopeo(world, &["inspect", "--tls-verify=false", &reference]));
    assert!(said.contains(NEAR), "{said}");
}

fn asks_in_its_order(world: &World) {
    let (tap, dir, image) = (world.tap(), world.scratch(), world.stock.image(stock::THREE));
    copy(world, &[], &format!("{}/{}", tap.host(), stock::THREE), dir.path());
    let lines = tap.lines();
    let here = world.parts(&image).find(|part| part.is_here() && part.form == Compression::Gzip).unwrap();
    let manifests = format!("GET /v2/{}/manifests/", stock::THREE);
    let expected =
        ["GET /v2/".to_owned(), format!("{manifests}latest"), format!("{manifests}{}", here.manifest.digest)];
    assert_eq!(lines[..3], expected);
    assert!(lines.iter().all(|line| line.starts_with("GET ")), "{lines:?}");
    assert_eq!(lines.len(), 3 + 1 + 4, "a config and four layers: {lines:?}");
    assert_eq!(tap.hellos(), 1, "`--src-tls-verify=false` means: try TLS, then do without");
}

/// `skopeo copy` of `reference` into the layout in `dir`.
#[track_caller]
fn copy(world: &World, arguments: &[&str], reference: &str, dir: &Path) {
    let (source, target) = (format!("docker://{reference}"), format!("oci:{}:latest", dir.display()));
    text(skopeo(world, &[&["copy", "--quiet", "--src-tls-verify=false"], arguments, &[&source, &target]].concat()));
}

fn skopeo(world: &World, arguments: &[&str]) -> Command {
    world.command("skopeo", arguments)
}
