//! Recipes of kind `cargo`: our own `kitbag-init`, whose source is compiled into this program, so that a builder needs no
//! checkout. Pinned by the workspace's `Cargo.lock`, built by the compiler that `rust-toolchain.toml` names.

pub mod lockfile;
pub mod manifest;

use std::collections::BTreeMap;
use std::fs as std_fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use include_dir::{Dir, include_dir};
use kitbag_toolsets::{Arch, canonical};
use serde_json::json;

use crate::fs::{self, At as _, FsError};
use crate::process::{Interrupt, ProcessError};

static SOURCE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../runner/init/src");
const MANIFEST: &str = include_str!("../../runner/init/Cargo.toml");
const WORKSPACE: &str = include_str!("../../Cargo.toml");
const LOCKFILE: &str = include_str!("../../Cargo.lock");
const TOOLCHAIN: &str = include_str!("../../rust-toolchain.toml");
const LICENSES: [(&str, &str); 2] =
    [("LICENSE-APACHE", include_str!("../../LICENSE-APACHE")), ("LICENSE-MIT", include_str!("../../LICENSE-MIT"))];

/// A crate that can be built anywhere: its files by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crate {
    /// Its name, which is its program's too.
    pub name: &'static str,
    /// Its files, `Cargo.toml` and `Cargo.lock` among them.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// What goes wrong with a crate.
#[derive(Debug, thiserror::Error)]
pub enum CargoError {
    /// The compiled-in sources do not fit together.
    #[error("the sources of `kitbag-init` in this program do not fit together: {0}")]
    Embedded(String),
    /// No Rust.
    #[error("cannot run `rustc`: {0}; `kitbag-init` is built with Rust {RUST}: install it with rustup", RUST = rust_version())]
    NoRust(String),
    /// Another Rust.
    #[error(
        "rustc here is {found}, but `kitbag-init` is built with {wanted}: run `rustup toolchain install {wanted} \
         --profile minimal --target x86_64-unknown-linux-musl,aarch64-unknown-linux-musl`"
    )]
    WrongRust {
        /// The version that was found.
        found: String,
        /// The version that is pinned.
        wanted: String,
    },
    /// No standard library for the target.
    #[error("Rust's library for `{target}` is missing: run `rustup target add --toolchain {version} {target}`")]
    NoTarget {
        /// The target.
        target: &'static str,
        /// The toolchain.
        version: String,
    },
    /// Cargo chose packages that the lock file does not pin.
    #[error("cargo wants packages that are not pinned: {0}; update Cargo.lock and build the builder anew")]
    Unpinned(String),
    /// A program did not run.
    #[error(transparent)]
    Process(ProcessError),
    /// The file system says no.
    #[error(transparent)]
    Fs(FsError),
}

/// The Rust release that is pinned, e.g. `1.95.0`.
#[must_use]
pub fn rust_version() -> String {
    let table: toml::Table = TOOLCHAIN.parse().unwrap_or_default();
    table["toolchain"]["channel"].as_str().unwrap_or_default().to_owned()
}

/// Rust's name of a target.
#[must_use]
pub const fn target(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "x86_64-unknown-linux-musl",
        Arch::Arm64 => "aarch64-unknown-linux-musl",
    }
}

impl Crate {
    /// `kitbag-init`, made independent of the workspace.
    ///
    /// # Errors
    /// [`CargoError::Embedded`], which the tests of this crate rule out.
    pub fn init() -> Result<Self, CargoError> {
        let name = "kitbag-init";
        let manifest = manifest::standalone(MANIFEST, WORKSPACE).map_err(CargoError::Embedded)?;
        let lockfile =
            lockfile::pruned(LOCKFILE, name, &manifest::dependencies(&manifest)).map_err(CargoError::Embedded)?;
        let mut files = BTreeMap::new();
        add(&SOURCE, &mut files);
        files.insert("Cargo.toml".to_owned(), manifest.to_string().into_bytes());
        files.insert("Cargo.lock".to_owned(), lockfile.into_bytes());
        files.extend(LICENSES.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())));
        Ok(Self { name, files })
    }

    /// Hash of all of its files.
    #[must_use]
    pub fn hash(&self) -> String {
        let hashes: BTreeMap<_, _> =
            self.files.iter().map(|(path, bytes)| (path, canonical::sha256_hex(bytes))).collect();
        canonical::sha256_hex(&canonical::to_vec(&json!(hashes)))
    }

    /// Writes it into `dir`.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn write(&self, dir: &Path) -> Result<(), FsError> {
        for (path, bytes) in &self.files {
            let path = dir.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            std_fs::write(&path, bytes).at("write", &path)?;
        }
        Ok(())
    }
}

fn add(dir: &'static Dir<'static>, files: &mut BTreeMap<String, Vec<u8>>) {
    for file in dir.files() {
        files.insert(format!("src/{}", file.path().display()), file.contents().to_vec());
    }
    dir.dirs().for_each(|dir| add(dir, files));
}

/// The Rust that is installed: its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rust {
    sysroot: PathBuf,
    cargo: PathBuf,
}

impl Rust {
    /// Finds the pinned release: as `rustc`, or among rustup's toolchains.
    ///
    /// # Errors
    /// [`CargoError`] says what to install.
    pub fn find() -> Result<Self, CargoError> {
        let wanted = rust_version();
        let plain = ask(Command::new("rustc"));
        let is_wanted = |answer: &Result<Answer, String>| answer.as_ref().is_ok_and(|answer| answer.is_whole(&wanted));
        let answer = if is_wanted(&plain) {
            plain
        } else {
            let mut rustup = Command::new("rustup");
            rustup.args(["run", &wanted, "rustc"]);
            let toolchain = ask(rustup);
            if is_wanted(&toolchain) { toolchain } else { plain }
        };
        let Answer { release, sysroot } = answer.map_err(CargoError::NoRust)?;
        if release != wanted {
            return Err(CargoError::WrongRust { found: release, wanted });
        }
        let own = sysroot.join("bin/cargo");
        let cargo = if own.exists() { own } else { PathBuf::from("cargo") };
        Ok(Self { sysroot, cargo })
    }

    /// Gets the crates that the crate in `dir` pins, from cargo's cache or, if `online`, from where cargo is configured
    /// for.
    ///
    /// # Errors
    /// [`CargoError`]; also when cargo would take anything but what is pinned.
    pub fn fetch(
        &self,
        dir: &Path,
        arch: Arch,
        cargo_home: &Path,
        online: bool,
        log: &std_fs::File,
        interrupt: &Interrupt,
    ) -> Result<bool, CargoError> {
        if !library(&self.sysroot, arch).exists() {
            return Err(CargoError::NoTarget { target: target(arch), version: rust_version() });
        }
        let pinned = fs::read(&dir.join("Cargo.lock")).map_err(CargoError::Fs)?;
        let attempts: &[&[&str]] = if online { &[&["--offline"], &[]] } else { &[&["--offline"]] };
        for more in attempts {
            let mut command = Command::new(&self.cargo);
            command.args(["fetch", "--target", target(arch)]).args(*more).current_dir(dir);
            command.env("RUSTC", self.rustc()).env("CARGO_HOME", cargo_home).env("CARGO_TERM_COLOR", "never");
            let handle = || log.try_clone().at("write", dir).map_err(CargoError::Fs);
            command.stdout(handle()?).stderr(handle()?);
            if interrupt.run(&mut command).map_err(CargoError::Process)?.success() {
                let chosen = fs::read(&dir.join("Cargo.lock")).map_err(CargoError::Fs)?;
                let text = String::from_utf8_lossy;
                let unpinned = lockfile::unpinned(&text(&pinned), &text(&chosen)).map_err(CargoError::Embedded)?;
                return if unpinned.is_empty() { Ok(true) } else { Err(CargoError::Unpinned(unpinned.join(", "))) };
            }
        }
        Ok(false)
    }

    /// What to run in the crate's directory: program and arguments.
    #[must_use]
    pub fn build_command(&self, arch: Arch) -> (String, Vec<&'static str>) {
        let arguments = vec!["build", "--offline", "--locked", "--release", "--bins", "--target", target(arch)];
        (self.cargo.to_string_lossy().into_owned(), arguments)
    }

    /// The environment of a build in `work`; `path` has the wrappers and the C compiler.
    ///
    /// # Errors
    /// [`FsError`] when cargo's directory cannot be read.
    pub fn environment(
        &self,
        base: &BTreeMap<String, String>,
        work: &str,
        cargo_home: &Path,
    ) -> Result<BTreeMap<String, String>, FsError> {
        let mut all: BTreeMap<String, String> = [
            "HOME",
            "LC_ALL",
            "PATH",
            "SOURCE_DATE_EPOCH",
            "TMPDIR",
            "TZ",
            "ZIG_GLOBAL_CACHE_DIR",
            "ZIG_LOCAL_CACHE_DIR",
        ]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), base.get(name)?.clone())))
        .collect();
        // The directories under it are named after the registry's host.
        let registry = cargo_home.join("registry/src");
        let registries = if registry.exists() { fs::list(&registry)? } else { Vec::new() };
        let mut flags = vec![format!("--remap-path-prefix={work}=/b")];
        flags.extend(
            registries.iter().map(|name| format!("--remap-path-prefix={}=/deps", registry.join(name).display())),
        );
        flags.push(format!("--remap-path-prefix={}=/rust", self.sysroot.display()));
        flags.extend(
            ["-Clinker=rust-lld", "-Ctarget-feature=+crt-static", "-Crelocation-model=static"].map(str::to_owned),
        );
        let jobs = base.get("JOBS").cloned().unwrap_or_default();
        let more = [
            ("CARGO_BUILD_JOBS", jobs),
            ("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}")),
            ("CARGO_HOME", cargo_home.display().to_string()),
            ("CARGO_INCREMENTAL", "0".to_owned()),
            ("CARGO_TARGET_DIR", format!("{work}/target")),
            // Build scripts run here; with this they need no C compiler of the machine's.
            ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "hostcc".to_owned()),
            ("CARGO_TERM_COLOR", "never".to_owned()),
            ("RUSTC", self.rustc().display().to_string()),
        ];
        all.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let bin = self.sysroot.join("bin");
        all.entry("PATH".to_owned()).and_modify(|path| *path = format!("{}:{path}", bin.display()));
        Ok(all)
    }

    fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }
}

struct Answer {
    release: String,
    sysroot: PathBuf,
}

impl Answer {
    /// Whether it is the release that is wanted, with the libraries of all targets.
    fn is_whole(&self, wanted: &str) -> bool {
        self.release == wanted && Arch::ALL.iter().all(|&arch| library(&self.sysroot, arch).exists())
    }
}

/// Rust's library for a target.
fn library(sysroot: &Path, arch: Arch) -> PathBuf {
    sysroot.join("lib/rustlib").join(target(arch))
}

/// Where the Rust is that `rustc` calls, and which.
fn ask(mut rustc: Command) -> Result<Answer, String> {
    let sysroot = PathBuf::from(output(rustc.args(["--print", "sysroot"]))?.trim());
    let version = output(Command::new(sysroot.join("bin/rustc")).args(["--version", "--verbose"]))?;
    let release = version.lines().find_map(|line| line.strip_prefix("release: ")).unwrap_or("unknown").to_owned();
    Ok(Answer { release, sysroot })
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("it gives no reason").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_in_crate_is_whole() {
        let init = Crate::init().unwrap();
        assert!(init.files.contains_key("src/main.rs"));
        let lock = String::from_utf8(init.files["Cargo.lock"].clone()).unwrap();
        assert!(lock.contains("name = \"rustix\"") && !lock.contains("name = \"tempfile\""), "{lock}");
        let manifest = String::from_utf8(init.files["Cargo.toml"].clone()).unwrap();
        assert!(!manifest.contains("workspace = true"), "{manifest}");
    }

    #[test]
    fn every_file_counts() {
        let init = Crate::init().unwrap();
        let mut changed = init.clone();
        changed.files.get_mut("src/main.rs").unwrap().push(b'\n');
        assert_ne!(init.hash(), changed.hash());
    }

    #[test]
    fn the_pinned_release_is_a_release() {
        assert_eq!(rust_version().split('.').count(), 3);
    }
}
