//! crane: go-containerregistry.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use kitbag_tests::stock;
use kitbag_toolsets::Compression;

use crate::{
    Test,
    layout::{assert_same, blobs, root},
    world::{IMAGES, LATEST, MISSPELLED, NEAR, World, bytes, refusal, tag, text},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("crane pulls whole images, each form by its tag", pulls_whole_images),
    ("crane pulls either form for either platform, by digest", pulls_either_form),
    ("crane gets digests, manifests, configs and blobs", gets_each_document),
    ("crane lists tags and the catalog", lists),
    ("crane validates", validates),
    ("crane tells the near name", tells_the_near_name),
    ("crane copies to another registry", copies_to_another_registry),
];

fn pulls_whole_images(world: &World) {
    for path in IMAGES {
        for form in Compression::ALL {
            let (dir, image) = (world.scratch(), world.stock.image(path));
            pull(world, &format!("{}/{path}:{}", world.host(), tag(LATEST, form)), dir.path());
            assert_same(&blobs(dir.path()), &world.stock.content(&image, form));
            assert_eq!(root(dir.path()), image.form(form).index.digest.to_string());
        }
    }
}

fn pulls_either_form(world: &World) {
    for path in IMAGES {
        for part in world.parts(&world.stock.image(path)) {
            let dir = world.scratch();
            pull(world, &format!("{}/{path}@{}", world.host(), part.manifest.digest), dir.path());
            assert_same(&blobs(dir.path()), &part.content);
        }
    }
}

fn gets_each_document(world: &World) {
    let crane = |arguments: &[&str]| bytes(crane(world, arguments));
    for path in IMAGES {
        let (image, host) = (world.stock.image(path), world.host());
        for form in Compression::ALL {
            let (index, reference) = (&image.form(form).index, format!("{host}/{path}:{}", tag(LATEST, form)));
            assert_eq!(crane(&["digest", &reference]), format!("{}\n", index.digest).as_bytes());
            assert!(crane(&["manifest", &reference]) == index.bytes);
        }
        for part in world.parts(&image) {
            let reference = format!("{host}/{path}:{}", tag(LATEST, part.form));
            let name = format!("linux/{}", part.platform.arch);
            let digest = crane(&["digest", "--platform", &name, &reference]);
            assert_eq!(digest, format!("{}\n", part.manifest.digest).as_bytes());
            assert!(crane(&["config", "--platform", &name, &reference]) == part.platform.config.bytes);
        }
    }
    for part in world.parts(&world.stock.image(stock::THREE)) {
        let manifest = part.manifest.digest.to_string();
        for (digest, expected) in &part.content {
            let kind = if *digest == manifest { "manifest" } else { "blob" };
            let reference = format!("{}/{}@{digest}", world.host(), stock::THREE);
            assert!(crane(&[kind, &reference]) == *expected, "{kind} {digest}");
        }
    }
}

fn lists(world: &World) {
    let lines = |arguments: &[&str]| text(crane(world, arguments)).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&["ls", &format!("{}/{}", world.host(), stock::ONE)]), world.tags());
    assert_eq!(lines(&["catalog", &world.host()]), World::tools());
}

fn validates(world: &World) {
    let validate = |reference: &str, arguments: &[&str]| {
        let said = text(crane(world, &[&["validate", "--remote", reference], arguments].concat()));
        assert_eq!(said, format!("PASS: {reference}\n"));
    };
    // It takes every layer for gzip, so what has zstd in it is validated without its layers.
    let flags = |form| if form == Compression::Zstd { &["--fast"][..] } else { &[] };
    for path in IMAGES {
        let repository = format!("{}/{path}", world.host());
        for form in Compression::ALL {
            validate(&format!("{repository}:{}", tag(LATEST, form)), flags(form));
        }
        for part in world.parts(&world.stock.image(path)) {
            let platform = format!("linux/{}", part.platform.arch);
            let tagged = format!("{repository}:{}", tag(LATEST, part.form));
            validate(&tagged, &[flags(part.form), &["--platform", &platform]].concat());
            validate(&format!("{repository}@{}", part.manifest.digest), flags(part.form));
        }
    }
}

fn tells_the_near_name(world: &World) {
    let (reference, dir) = (format!("{}/{MISSPELLED}", world.host()), world.scratch());
    let target = dir.path().join("image").display().to_string();
    for arguments in
        [&["manifest", &reference][..], &["digest", &reference], &["pull", &reference, &target], &["ls", &reference]]
    {
        let said = refusal(crane(world, arguments));
        assert!(said.contains("NAME_UNKNOWN") && said.contains(NEAR), "{arguments:?}: {said}");
    }
}

fn copies_to_another_registry(world: &World) {
    let other = Other::start(world);
    for form in Compression::ALL {
        let (dir, image) = (world.scratch(), world.stock.image(stock::THREE));
        let from = format!("{}/{}:{}", world.host(), stock::THREE, tag(LATEST, form));
        let to = format!("{}/copy/three:1", other.host);
        text(crane(world, &["copy", &from, &to]));
        pull(world, &to, dir.path());
        assert_same(&blobs(dir.path()), &world.stock.content(&image, form));
        assert_eq!(root(dir.path()), image.form(form).index.digest.to_string());
    }
}

/// crane's own registry, in memory.
struct Other {
    host: String,
    child: Child,
    /// Open until the end: it writes there for each request.
    _log: BufReader<ChildStderr>,
}

impl Other {
    fn start(world: &World) -> Self {
        let mut command = crane(world, &["registry", "serve", "--address", "127.0.0.1:0"]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let (_, port) = line.trim().split_once("serving on port ").unwrap_or_else(|| panic!("{line}"));
        Self { host: format!("127.0.0.1:{port}"), child, _log: log }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `crane pull` into the layout in `dir`.
#[track_caller]
fn pull(world: &World, reference: &str, dir: &Path) {
    text(crane(world, &["pull", "--format=oci", reference, &dir.display().to_string()]));
}

fn crane(world: &World, arguments: &[&str]) -> Command {
    world.command(&world.clients.crane, arguments)
}
