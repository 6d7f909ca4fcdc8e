//! containerd: Debian's 1.6 and a current one, each by `ctr` and by the CRI.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use kitbag_tests::{containerd::Containerd, stock};
use kitbag_toolsets::{Compression, Image};

use crate::{
    Test,
    layout::{Content, assert_same},
    tap::Tap,
    world::{CHUNK, IMAGES, LATEST, MISSPELLED, NEAR, Part, World, bytes, refusal, tag, text},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("ctr 1 pulls either form for either platform, by digest", |world| pulls_either_form(world, &world.containerd_1)),
    ("ctr 2 pulls either form for either platform, by digest", |world| pulls_either_form(world, &world.containerd_2)),
    ("ctr 1 pulls each form by its tag, and nothing of the other", |world| {
        pulls_each_form(world, &world.containerd_1, &[]);
    }),
    ("ctr 2 pulls each form by its tag, and nothing of the other", |world| {
        pulls_each_form(world, &world.containerd_2, &["--skip-metadata"]);
    }),
    ("containerd 1 pulls each form by its tag under CRI, and nothing of the other", |world| {
        pulls_under_cri(world, &world.containerd_1);
    }),
    ("containerd 2 pulls each form by its tag under CRI, and nothing of the other", |world| {
        pulls_under_cri(world, &world.containerd_2);
    }),
    ("containerd 1 asks in its order", |world| asks_in_its_order(world, &world.containerd_1, false)),
    ("containerd 2 asks in its order", |world| asks_in_its_order(world, &world.containerd_2, true)),
    ("containerd 1 comes by a mirror", |world| comes_by_a_mirror(world, &world.containerd_1)),
    ("containerd 2 comes by a mirror", |world| comes_by_a_mirror(world, &world.containerd_2)),
    ("containerd 2 fetches in parallel pieces", fetches_in_parallel_pieces),
    ("containerd shows the near name to who looks at headers", shows_the_near_name),
];

fn pulls_either_form(world: &World, containerd: &Containerd) {
    for path in IMAGES {
        for part in world.parts(&world.stock.image(path)) {
            let store = Store::new(world, containerd);
            let reference = format!("{}/{path}@{}", world.host(), part.manifest.digest);
            store.pull(&["--platform", &format!("linux/{}", part.platform.arch)], &reference);
            assert_same(&store.content(), &part.content);
        }
    }
}

fn pulls_each_form(world: &World, containerd: &Containerd, flags: &[&str]) {
    for path in IMAGES {
        let image = world.stock.image(path);
        for part in world.parts(&image) {
            let (store, name) = (Store::new(world, containerd), format!("linux/{}", part.platform.arch));
            let reference = format!("{}/{path}:{}", world.host(), tag(LATEST, part.form));
            store.pull(&[flags, &["--platform", &name]].concat(), &reference);
            assert_same(&store.content(), &with_index(&image, part));
        }
    }
}

fn pulls_under_cri(world: &World, containerd: &Containerd) {
    let store = Store { world, containerd, namespace: "k8s.io".into() };
    for path in IMAGES {
        let image = world.stock.image(path);
        for part in world.parts(&image).filter(Part::is_here) {
            let reference = format!("{}/{path}:{}", world.host(), tag(LATEST, part.form));
            let printed = text(cri_pull(world, containerd, &[&reference]));
            // The image ID is the config's digest: (image specification, "ImageID").
            assert!(printed.starts_with(&part.platform.config.digest.to_string()), "{printed}");
            assert_same(&store.content(), &with_index(&image, part));
            // What is unpacked already is not fetched in the other form.
            text(cri_pull(world, containerd, &["--remove", &reference]));
            assert_same(&store.content(), &Content::new());
        }
    }
}

/// `tls_first`: whether it tries TLS before plain HTTP on a loopback port.
fn asks_in_its_order(world: &World, containerd: &Containerd, tls_first: bool) {
    let (tap, store, image) = (world.tap(), Store::new(world, containerd), world.stock.image(stock::THREE));
    store.pull(&[], &format!("{}/{}:latest", tap.host(), stock::THREE));
    let (lines, manifests) = (tap.lines(), format!("/v2/{}/manifests/", stock::THREE));
    let by_digest = format!("GET {manifests}{}", image.form(Compression::Gzip).index.digest);
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
    let reference = format!("tools.example/{}@{}", stock::ONE, image.form(Compression::Zstd).manifests[0].digest);
    let flags = ["--hosts-dir", &hosts.path().display().to_string(), "--platform", "linux/amd64"];
    store.pull(&flags, &reference);
    assert_same(&store.content(), &world.stock.platform_content(&image, 0, Compression::Zstd));
    let lines = tap.lines();
    assert!(lines.iter().all(|line| line.ends_with("?ns=tools.example")), "{lines:?}");
    assert_eq!(tap.hellos(), 0, "the file says http");
}

fn fetches_in_parallel_pieces(world: &World) {
    let (tap, store, image) = (world.tap(), Store::new(world, &world.containerd_2), world.stock.image("gdb"));
    let large = &image.platforms()[0].layers.iter().max_by_key(|layer| layer.gzip.size).unwrap().gzip;
    let manifest = &image.form(Compression::Gzip).manifests[0];
    store.pull(&["--platform", "linux/amd64"], &format!("{}/gdb@{}", tap.host(), manifest.digest));
    assert_same(&store.content(), &world.stock.platform_content(&image, 0, Compression::Gzip));
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
        let said = refusal(cri_pull(world, containerd, &[&reference]));
        assert!(said.contains(&reference) && said.contains("not found"), "{said}");
    }
}

/// What a client has that came to a part of an image by its index.
fn with_index(image: &Image, part: Part<'_>) -> Content {
    let index = &image.form(part.form).index;
    part.content.into_iter().chain([(index.digest.to_string(), index.bytes.to_vec())]).collect()
}

/// The ranges that were asked for by requests of that line.
fn ranges(tap: &Tap, line: &str) -> Vec<String> {
    let requests = tap.requests().into_iter().filter(|request| request.line == line);
    requests.map(|request| request.header("range").unwrap_or("none").to_owned()).collect()
}

/// Asks the CRI to pull, as the kubelet does.
fn cri_pull(world: &World, containerd: &Containerd, arguments: &[&str]) -> Command {
    let endpoint = format!("unix://{}", containerd.socket().display());
    world.command(&world.kubernetes, &[&["cri-pull", "--endpoint", &endpoint], arguments].concat())
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
