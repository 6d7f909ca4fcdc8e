//! crane: go-containerregistry.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use kitbag_tests::stock;

use crate::{
    Test,
    layout::{assert_same, blobs, root},
    world::{IMAGES, MISSPELLED, NEAR, World, bytes, refusal, text},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("crane pulls whole images", pulls_whole_images),
    ("crane pulls either form for either platform, by digest", pulls_either_form),
    ("crane gets digests, manifests, configs and blobs", gets_each_document),
    ("crane lists tags and the catalog", lists),
    ("crane validates", validates),
    ("crane tells the near name", tells_the_near_name),
    ("crane copies to another registry", copies_to_another_registry),
];

fn pulls_whole_images(world: &World) {
    for path in IMAGES {
        let (dir, image) = (world.scratch(), world.stock.image(path));
        pull(world, &format!("{}/{path}", world.host()), dir.path());
        assert_same(&blobs(dir.path()), &world.stock.content(&image));
        assert_eq!(root(dir.path()), image.index.digest.to_string());
    }
}

fn pulls_either_form(world: &World) {
    for path in IMAGES {
        for (platform, form) in world.forms(&world.stock.image(path)) {
            let dir = world.scratch();
            pull(world, &format!("{}/{path}@{}", world.host(), platform.manifest(form).digest), dir.path());
            assert_same(&blobs(dir.path()), &world.stock.platform_content(platform, form));
        }
    }
}

fn gets_each_document(world: &World) {
    let crane = |arguments: &[&str]| bytes(crane(world, arguments));
    for path in IMAGES {
        let (image, reference) = (world.stock.image(path), format!("{}/{path}", world.host()));
        assert_eq!(crane(&["digest", &reference]), format!("{}\n", image.index.digest).as_bytes());
        assert!(crane(&["manifest", &reference]) == image.index.bytes);
        for platform in &image.platforms {
            let name = format!("linux/{}", platform.arch);
            let digest = crane(&["digest", "--platform", &name, &reference]);
            assert_eq!(digest, format!("{}\n", platform.gzip.digest).as_bytes());
            assert!(crane(&["config", "--platform", &name, &reference]) == platform.config.bytes);
        }
    }
    let (path, image) = (stock::THREE, world.stock.image(stock::THREE));
    for (platform, form) in world.forms(&image) {
        let manifest = platform.manifest(form).digest.to_string();
        for (digest, expected) in world.stock.platform_content(platform, form) {
            let kind = if digest == manifest { "manifest" } else { "blob" };
            assert!(crane(&[kind, &format!("{}/{path}@{digest}", world.host())]) == expected, "{kind} {digest}");
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
    for path in IMAGES {
        let (image, reference) = (world.stock.image(path), format!("{}/{path}", world.host()));
        // It takes every layer for gzip, so what has zstd in it is validated without its layers.
        validate(&reference, &["--fast"]);
        for platform in &image.platforms {
            validate(&reference, &["--platform", &format!("linux/{}", platform.arch)]);
            validate(&format!("{reference}@{}", platform.gzip.digest), &[]);
            validate(&format!("{reference}@{}", platform.zstd.digest), &["--fast"]);
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
    let (dir, image) = (world.scratch(), world.stock.image(stock::THREE));
    let (from, to) = (format!("{}/{}", world.host(), stock::THREE), format!("{}/copy/three:1", other.host));
    text(crane(world, &["copy", &from, &to]));
    pull(world, &to, dir.path());
    assert_same(&blobs(dir.path()), &world.stock.content(&image));
    assert_eq!(root(dir.path()), image.index.digest.to_string());
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
