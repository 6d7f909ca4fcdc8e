//! containerd: Debian's 1.6 and a current one, each by `ctr` and by the CRI.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use kitbag_tests::{containerd::Containerd, image::architecture, stock};
use kitbag_toolsets::{Compression, Image, PlatformImage};

use crate::{
    Test,
    layout::{Content, assert_same},
    tap::Tap,
    world::{CHUNK, IMAGES, MISSPELLED, NEAR, World, bytes, refusal, text},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("ctr 1 pulls either form for either platform, by digest", |world| pulls_either_form(world, &world.containerd_1)),
    ("ctr 2 pulls either form for either platform, by digest", |world| pulls_either_form(world, &world.containerd_2)),
    ("ctr 1 pulls every form for its platform, by tag", |world| pulls_every_form(world, &world.containerd_1, &[])),
    ("ctr 2 pulls every form for its platform, by tag", |world| {
        pulls_every_form(world, &world.containerd_2, &["--skip-metadata"]);
    }),
    ("containerd 1 pulls gzip under CRI", containerd_1_pulls_under_cri),
    ("containerd 2 pulls every form under CRI", containerd_2_pulls_under_cri),
    ("containerd 1 asks in its order", |world| asks_in_its_order(world, &world.containerd_1, false)),
    ("containerd 2 asks in its order", |world| asks_in_its_order(world, &world.containerd_2, true)),
    ("containerd 1 comes by a mirror", |world| comes_by_a_mirror(world, &world.containerd_1)),
    ("containerd 2 comes by a mirror", |world| comes_by_a_mirror(world, &world.containerd_2)),
    ("containerd 2 fetches in parallel pieces", fetches_in_parallel_pieces),
    ("containerd shows the near name to who looks at headers", shows_the_near_name),
];

fn pulls_either_form(world: &World, containerd: &Containerd) {
    for path in IMAGES {
        for (platform, form) in world.forms(&world.stock.image(path)) {
            let store = Store::new(world, containerd);
            let reference = format!("{}/{path}@{}", world.host(), platform.manifest(form).digest);
            store.pull(&["--platform", &format!("linux/{}", platform.arch)], &reference);
            assert_same(&store.content(), &world.stock.platform_content(platform, form));
        }
    }
}

fn pulls_every_form(world: &World, containerd: &Containerd, flags: &[&str]) {
    for path in IMAGES {
        let image = world.stock.image(path);
        for platform in &image.platforms {
            let (store, name) = (Store::new(world, containerd), format!("linux/{}", platform.arch));
            store.pull(&[flags, &["--platform", &name]].concat(), &format!("{}/{path}:latest", world.host()));
            assert_same(&store.content(), &every_form(world, &image, platform));
        }
    }
}

fn containerd_1_pulls_under_cri(world: &World) {
    pulls_under_cri(world, &world.containerd_1, |image, platform| {
        let index = (image.index.digest.to_string(), image.index.bytes.clone());
        world.stock.platform_content(platform, Compression::Gzip).into_iter().chain([index]).collect()
    });
}

fn containerd_2_pulls_under_cri(world: &World) {
    pulls_under_cri(world, &world.containerd_2, |image, platform| every_form(world, image, platform));
}

/// What it pulls of each image must be what `expected` says, and what it has of the others.
fn pulls_under_cri(world: &World, containerd: &Containerd, expected: impl Fn(&Image, &PlatformImage) -> Content) {
    let store = Store { world, containerd, namespace: "k8s.io".into() };
    let mut all = Content::new();
    for path in IMAGES {
        let image = world.stock.image(path);
        let platform = image.platforms.iter().find(|platform| platform.arch.as_str() == architecture()).unwrap();
        let printed = text(cri_pull(world, containerd, &format!("{}/{path}:latest", world.host())));
        // The image ID is the config's digest: (image specification, "ImageID").
        assert!(printed.starts_with(&platform.config.digest.to_string()), "{printed}");
        all.extend(expected(&image, platform));
        assert_same(&store.content(), &all);
    }
}

/// `tls_first`: whether it tries TLS before plain HTTP on a loopback port.
fn asks_in_its_order(world: &World, containerd: &Containerd, tls_first: bool) {
    let (tap, store, image) = (world.tap(), Store::new(world, containerd), world.stock.image(stock::THREE));
    store.pull(&[], &format!("{}/{}:latest", tap.host(), stock::THREE));
    let (lines, manifests) = (tap.lines(), format!("/v2/{}/manifests/", stock::THREE));
    let by_digest = format!("GET {manifests}{}", image.index.digest);
    assert_eq!(lines[..2], [format!("HEAD {manifests}latest"), by_digest]);
    assert!(lines[2..].iter().all(|line| line.starts_with("GET ") && line.contains("sha256:")), "{lines:?}");
    assert_eq!(tap.hellos() > 0, tls_first);
}

fn comes_by_a_mirror(world: &World, containerd: &Containerd) {
    let (tap, store, image) = (world.tap(), Store::new(world, containerd), world.stock.image(stock::ONE));
    let hosts = world.scratch();
    let dir = hosts.path().join("tools.example");
    fs::create_dir(&dir).unwrap();
    let mirror = format!("[host.\"http://{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n", tap.host());
    fs::write(dir.join("hosts.toml"), format!("server = \"https://tools.example\"\n\n{mirror}")).unwrap();
    let reference = format!("tools.example/{}@{}", stock::ONE, image.platforms[0].zstd.digest);
    let flags = ["--hosts-dir", &hosts.path().display().to_string(), "--platform", "linux/amd64"];
    store.pull(&flags, &reference);
    assert_same(&store.content(), &world.stock.platform_content(&image.platforms[0], Compression::Zstd));
    let lines = tap.lines();
    assert!(lines.iter().all(|line| line.ends_with("?ns=tools.example")), "{lines:?}");
    assert_eq!(tap.hellos(), 0, "the file says http");
}

fn fetches_in_parallel_pieces(world: &World) {
    let (tap, store, image) = (world.tap(), Store::new(world, &world.containerd_2), world.stock.image("gdb"));
    let platform = &image.platforms[0];
    let large = &platform.layers.iter().max_by_key(|layer| layer.gzip.size).unwrap().gzip;
    store.pull(&["--platform", "linux/amd64"], &format!("{}/gdb@{}", tap.host(), platform.gzip.digest));
    assert_same(&store.content(), &world.stock.platform_content(platform, Compression::Gzip));
    let asked: BTreeSet<_> = ranges(&tap, &format!("GET /v2/gdb/blobs/{}", large.digest)).into_iter().collect();
    // Each is open at its end: it hangs up when it has its piece.
    let pieces = (0..large.size).step_by(CHUNK).map(|first| format!("bytes={first}-"));
    assert_eq!(asked, pieces.collect());
}

fn shows_the_near_name(world: &World) {
    for containerd in [&world.containerd_1, &world.containerd_2] {
        let (store, reference) = (Store::new(world, containerd), format!("{}/{MISSPELLED}:latest", world.host()));
        let said = refusal(store.ctr(&["images", "pull", &reference]));
        assert!(said.contains(&reference) && said.contains("not found") && !said.contains(NEAR), "{said}");
        let said = refusal(store.ctr(&["images", "pull", "--http-dump", &reference]));
        assert!(said.contains("Warning: 299") && said.contains(NEAR), "{said}");
        let said = refusal(cri_pull(world, containerd, &reference));
        assert!(said.contains(&reference) && said.contains("not found"), "{said}");
    }
}

/// What a client has that takes every manifest of an index that is for its platform.
fn every_form(world: &World, image: &Image, platform: &PlatformImage) -> Content {
    let forms = [Compression::Gzip, Compression::Zstd].map(|form| world.stock.platform_content(platform, form));
    let index = (image.index.digest.to_string(), image.index.bytes.clone());
    forms.into_iter().flatten().chain([index]).collect()
}

/// The ranges that were asked for by requests of that line.
fn ranges(tap: &Tap, line: &str) -> Vec<String> {
    let requests = tap.requests().into_iter().filter(|request| request.line == line);
    requests.map(|request| request.header("range").unwrap_or("none").to_owned()).collect()
}

/// Asks the CRI to pull, as the kubelet does.
fn cri_pull(world: &World, containerd: &Containerd, reference: &str) -> Command {
    let endpoint = format!("unix://{}", containerd.socket().display());
    world.command(&world.kubernetes, &["cri-pull", "--endpoint", &endpoint, reference])
}

/// What a containerd keeps for one test; other tests' content is not seen.
struct Store<'a> {
    world: &'a World,
    containerd: &'a Containerd,
    namespace: String,
}

impl<'a> Store<'a> {
    fn new(world: &'a World, containerd: &'a Containerd) -> Self {
        let scratch = world.scratch();
        let name = Path::file_name(scratch.path()).unwrap().to_string_lossy().trim_start_matches('.').to_owned();
        Self { world, containerd, namespace: name }
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = self.containerd.ctr(&self.namespace);
        command.args(arguments);
        self.world.isolate(&mut command);
        command
    }

    #[track_caller]
    fn pull(&self, flags: &[&str], reference: &str) {
        text(self.ctr(&[&["images", "pull"], flags, &[reference]].concat()));
    }

    /// All blobs.
    fn content(&self) -> Content {
        let digests = text(self.ctr(&["content", "ls", "--quiet"]));
        let get = |digest: &str| (digest.to_owned(), bytes(self.ctr(&["content", "get", digest])));
        digests.lines().map(get).collect()
    }
}
