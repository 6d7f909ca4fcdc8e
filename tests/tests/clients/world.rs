//! What all tests share: the store, the registry over it, and the clients, each without anything of this machine's user.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kitbag_tests::{
    Result, cache,
    clients::{self, Clients},
    containerd::Containerd,
    image::architecture,
    printed::{Printed, run},
    programs,
    registry::Registry,
    stock::{self, Stock},
};
use kitbag_toolsets::{Compression, Document, Image, PlatformImage};

use crate::{layout::Content, tap::Tap};

/// The images that each client pulls.
pub(crate) const IMAGES: [&str; 3] = [stock::ONE, stock::THREE, stock::TWELVE];
/// The newest generation's tag.
pub(crate) const LATEST: &str = "latest";
/// A misspelled tool, and what a person has to be told.
pub(crate) const MISSPELLED: &str = "tcpdmp";
pub(crate) const NEAR: &str = "did you mean `tcpdump`";
/// Bytes of a piece when containerd fetches in parallel.
pub(crate) const CHUNK: usize = 1 << 20;

/// The registry and its clients.
pub(crate) struct World {
    /// The store.
    pub(crate) stock: Stock,
    /// Clients that are built.
    pub(crate) clients: Clients,
    /// The Kubernetes programs, one of which asks a CRI to pull.
    pub(crate) kubernetes: PathBuf,
    /// `kitbag-builder`.
    pub(crate) builder: PathBuf,
    /// Debian's containerd.
    pub(crate) containerd_1: Containerd,
    /// containerd 2.
    pub(crate) containerd_2: Containerd,
    registry: Registry,
    /// The clients' home.
    home: PathBuf,
    /// Holds all files.
    _dir: tempfile::TempDir,
}

impl World {
    /// Builds what is missing, and starts everything.
    pub(crate) fn start() -> Result<Self> {
        let mut say = |text: &str| eprintln!("{text}");
        let (clients, kubernetes) = (clients::build(&mut say)?, cache::kubernetes(&mut say)?);
        let programs = programs::build(&mut say)?;
        let dir = cache::scratch("clients-")?;
        let stock = Stock::make(&dir.path().join("store"))?;
        let home = dir.path().join("home");
        fs::create_dir(&home).expect("the directory is ours");
        let registry = Registry::start_on_host(&programs.registry, stock.dir(), &dir.path().join("registry.log"))?;
        let ctr = |name: &str| PathBuf::from("/usr/bin").join(name);
        let containerd_1 = Containerd::start(&ctr("containerd"), &ctr("ctr"), &dir.path().join("containerd-1"), CHUNK)?;
        let containerd_2 =
            Containerd::start(&clients.containerd, &clients.ctr, &dir.path().join("containerd-2"), CHUNK)?;
        Ok(Self {
            stock,
            clients,
            kubernetes,
            builder: programs.builder,
            containerd_1,
            containerd_2,
            registry,
            home,
            _dir: dir,
        })
    }

    /// `host:port` of the registry.
    pub(crate) fn host(&self) -> String {
        self.registry.address().to_string()
    }

    /// Another way to the registry, on which requests are seen.
    pub(crate) fn tap(&self) -> Tap {
        Tap::on(self.registry.address())
    }

    /// A fresh directory.
    pub(crate) fn scratch(&self) -> tempfile::TempDir {
        tempfile::tempdir_in(&self.home).unwrap()
    }

    /// A client with these arguments, and no setting from outside.
    pub(crate) fn command(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program.as_ref());
        command.args(arguments);
        self.isolate(&mut command);
        command
    }

    /// Takes all settings from outside away from a command.
    pub(crate) fn isolate(&self, command: &mut Command) {
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", &self.home).env("TMPDIR", &self.home).current_dir(&self.home);
    }

    /// The tools, by name: what the catalog lists.
    pub(crate) fn tools() -> Vec<&'static str> {
        let mut tools: Vec<_> = stock::TWELVE.split('/').collect();
        tools.sort_unstable();
        tools
    }

    /// What a client can choose to have of an image: each platform in each form.
    pub(crate) fn parts<'a>(&'a self, image: &'a Image) -> impl Iterator<Item = Part<'a>> {
        let part = move |form, (position, platform)| Part {
            platform,
            form,
            manifest: &image.form(form).manifests[position],
            content: self.stock.platform_content(image, position, form),
        };
        Compression::ALL
            .into_iter()
            .flat_map(move |form| image.platforms().iter().enumerate().map(move |at| part(form, at)))
    }

    /// `latest` and the generations: the tags that are listed of every image. There are those with `-zstd`, too.
    pub(crate) fn tags(&self) -> Vec<String> {
        let mut tags: Vec<_> = self.stock.generations().iter().map(ToString::to_string).collect();
        tags.push(LATEST.to_owned());
        tags.sort();
        tags
    }
}

/// One platform of an image in one form.
pub(crate) struct Part<'a> {
    /// The platform.
    pub(crate) platform: &'a PlatformImage,
    /// The form.
    pub(crate) form: Compression,
    /// Its manifest.
    pub(crate) manifest: &'a Document,
    /// The manifest and what it names.
    pub(crate) content: Content,
}

impl Part<'_> {
    /// Is it for this machine?
    pub(crate) fn is_here(&self) -> bool {
        self.platform.arch.as_str() == architecture()
    }
}

/// The tag of an image's form: `tag` is that of the generation.
pub(crate) fn tag(tag: &str, form: Compression) -> String {
    match form {
        Compression::Gzip => tag.to_owned(),
        Compression::Zstd => format!("{tag}-zstd"),
    }
}

/// Runs a client, which must succeed; what it printed.
#[track_caller]
pub(crate) fn text(command: Command) -> String {
    String::from_utf8(bytes(command)).unwrap()
}

/// Runs a client, which must succeed; the bytes that it printed.
#[track_caller]
pub(crate) fn bytes(mut command: Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a client, which must fail; everything that it printed.
#[track_caller]
pub(crate) fn refusal(command: Command) -> String {
    let Printed { stdout, stderr, code } = run(command, b"");
    assert!(code.is_some_and(|code| code != 0), "it succeeded: {stdout}{stderr}");
    stdout + &stderr
}
