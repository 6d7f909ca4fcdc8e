//! The command line, and what of the environment stands behind its defaults.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, thread};

use clap::{ArgGroup, Args, Parser, Subcommand};
use kitbag_builder::publish::Destination;
use kitbag_builder::store::gc::Policy;
use kitbag_toolsets::platform::UnknownArch;
use kitbag_toolsets::{Arch, Compression, ImagePath};
use oci_spec::distribution::Reference;

/// Makes static tools, deterministic layers of them, and a store that a registry can serve.
#[derive(Debug, Parser)]
#[command(name = "kitbag-builder", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a store that does not verify, layers that are not what the lock says
  2    a mistake on the command line, an unknown name
  3    a source that no origin has, or that has another hash
  4    a recipe that does not build, or whose files do not pass the gate
  5    the store cannot be read or written
  6    this machine lacks something: a program, a compiler, space
  7    a registry that cannot be reached, or does not take an image
  130  interrupted";

const IMAGE: &str = "\
Destinations:
  oci:DIR               an OCI image layout, to which the image is added
  oci-archive:FILE      a tar of one, for `ctr images import`, `podman load`, skopeo
  docker-archive:FILE   a tar for `docker load`: of one platform
  HOST/REPOSITORY[:TAG] a registry

The digests are those that `kitbag-registry` would serve from the same store. Each destination is printed with the
digest by which the image is found there; for a docker-archive that is the image's ID.

Credentials come from $REGISTRY_AUTH_FILE; without it from containers/auth.json in $XDG_RUNTIME_DIR, then from
config.json in $DOCKER_CONFIG or ~/.docker; and from the credential helpers that these files name.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build tools into the store: all of the catalog, or those named
    Build(Build),
    /// List the tools of the catalog
    List(Look),
    /// Show how a tool is made, and what it needs
    Show(Show),
    /// Print the catalog that a cluster publishes, `catalog.json`: what composing the newest generation's images takes
    Catalog(Catalog),
    /// Rehash everything in the store
    Verify(StoreOption),
    /// Remove old generations from the store, and what only they had
    Gc(Gc),
    /// Write the image of some tools into files, or push it to a registry
    #[command(after_help = IMAGE)]
    Image(Image),
    /// Get the pinned compiler, and print the environment by which cargo compiles C with it
    CompilerEnv(CompilerEnv),
}

#[derive(Args, Debug)]
pub(crate) struct StoreOption {
    /// The store [default: kitbag/store in the XDG data directory]
    #[arg(long, value_name = "DIR", env = "KITBAG_STORE")]
    store: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Build {
    /// Tools or sets; all tools if none is named
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Architectures to build for
    #[arg(long, value_name = "ARCH,...", value_delimiter = ',', default_value = "amd64,arm64")]
    pub(crate) arch: Vec<Arch>,
    #[command(flatten)]
    pub(crate) store: StoreOption,
    /// Look for sources in this directory first; may be given several times
    #[arg(long, value_name = "DIR")]
    pub(crate) sources: Vec<PathBuf>,
    /// Builds at a time, and processes of each [default: one for each processor]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Ask no network: sources come from --sources and the download cache
    #[arg(long)]
    pub(crate) offline: bool,
    /// Fail if a layer is not what the lock says
    #[arg(long)]
    pub(crate) locked: bool,
    /// The lock to compare with [default: the one that is compiled in]
    #[arg(long, value_name = "FILE", requires = "locked")]
    pub(crate) lock: Option<PathBuf>,
    /// Write what came out into this lock: toolsets/catalog.lock in a checkout
    #[arg(long, value_name = "FILE", conflicts_with = "locked")]
    pub(crate) update_lock: Option<PathBuf>,
    /// Build again what is in the caches and in the store
    #[arg(long)]
    pub(crate) rebuild: bool,
    /// Build below this directory [default: kitbag/work in the XDG cache directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) build_root: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Gc {
    #[command(flatten)]
    pub(crate) store: StoreOption,
    /// How many generations stay, the newest ones
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
    /// How long a file must have been out of reach before it is removed: `90s`, `10m`, `1h`; 0s only for a store that
    /// no registry serves
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("programs").args(["program_amd64", "program_arm64"]).multiple(true))]
pub(crate) struct Image {
    /// Tools and sets, divided by `/`, as in the path of an image: `strace/tcpdump`
    #[arg(value_name = "TOOL[/TOOL...]", required_unless_present = "server")]
    pub(crate) path: Option<ImagePath>,
    /// The registry's own image instead: its program, and the store to serve
    #[arg(long, conflicts_with_all = ["path", "generation"], requires = "programs")]
    pub(crate) server: bool,
    /// `kitbag-registry` for linux/amd64
    #[arg(long, value_name = "FILE", requires = "server")]
    program_amd64: Option<PathBuf>,
    /// `kitbag-registry` for linux/arm64
    #[arg(long, value_name = "FILE", requires = "server")]
    program_arm64: Option<PathBuf>,
    /// Give the registry on each platform the layers of all platforms, for nodes that are not its own
    #[arg(long, requires = "server")]
    pub(crate) all_layers: bool,
    #[command(flatten)]
    pub(crate) store: StoreOption,
    /// Where the image goes; may be given several times
    #[arg(long, value_name = "DESTINATION", required = true)]
    pub(crate) to: Vec<Destination>,
    /// One platform instead of all: `linux/amd64`
    #[arg(long, value_name = "linux/ARCH", value_parser = platform)]
    pub(crate) platform: Option<Arch>,
    /// How the layers are compressed: every client reads gzip; zstd is smaller
    #[arg(long, value_name = "gzip|zstd", default_value = "gzip", value_parser = compression)]
    pub(crate) compression: Compression,
    /// What the image is called in files [default: localhost/ and its path, or localhost/kitbag-registry, with the
    /// generation as its tag]
    #[arg(long, value_name = "NAME[:TAG]")]
    pub(crate) name: Option<Reference>,
    /// The generation of the store [default: the newest]
    #[arg(long, value_name = "ID")]
    pub(crate) generation: Option<String>,
    /// Speak plain HTTP with registries that are not this machine
    #[arg(long)]
    pub(crate) insecure: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CompilerEnv {
    /// Architecture to compile for
    #[arg(long, value_name = "ARCH", default_value = "amd64")]
    pub(crate) arch: Arch,
    /// Look for the compiler's archive in this directory first; may be given several times
    #[arg(long, value_name = "DIR")]
    pub(crate) sources: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Look {
    #[command(flatten)]
    pub(crate) store: StoreOption,
}

#[derive(Args, Debug)]
pub(crate) struct Catalog {
    #[command(flatten)]
    pub(crate) store: StoreOption,
    /// Write it into this file, as a whole or not at all
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// A tool, a library or a generator
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) store: StoreOption,
}

impl StoreOption {
    /// The store's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.store.clone().unwrap_or_else(|| xdg("XDG_DATA_HOME", ".local/share").join("kitbag/store"))
    }
}

impl Build {
    /// Builds at a time.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from)
    }
}

impl Image {
    /// The registry's programs that were named.
    pub(crate) fn programs(&self) -> impl Iterator<Item = (Arch, &Path)> {
        let named = [(Arch::Amd64, &self.program_amd64), (Arch::Arm64, &self.program_arm64)];
        named.into_iter().filter_map(|(arch, program)| Some((arch, program.as_deref()?)))
    }
}

impl Gc {
    /// What is to go.
    pub(crate) fn policy(&self) -> Policy {
        let keep = NonZeroUsize::new(self.keep as usize).unwrap_or(NonZeroUsize::MIN);
        Policy { keep, grace: self.grace }
    }
}

/// `linux/amd64`.
fn platform(text: &str) -> Result<Arch, String> {
    let arch = text.strip_prefix("linux/").ok_or("images are for `linux/amd64` and `linux/arm64`")?;
    arch.parse().map_err(|error: UnknownArch| error.to_string())
}

fn compression(text: &str) -> Result<Compression, &'static str> {
    match text {
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        _ => Err("`gzip` and `zstd` are known"),
    }
}

/// The files in which credentials for registries may be, the first that has some counts.
pub(crate) fn credential_files() -> Vec<PathBuf> {
    if let Some(file) = env::var_os("REGISTRY_AUTH_FILE") {
        return vec![file.into()];
    }
    let podman = absolute("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    let docker = env::var_os("DOCKER_CONFIG").map_or_else(|| home().join(".docker"), PathBuf::from);
    podman.into_iter().chain([docker.join("config.json")]).collect()
}

/// Where caches are.
pub(crate) fn cache_dir() -> PathBuf {
    xdg("XDG_CACHE_HOME", ".cache").join("kitbag")
}

/// Where cargo keeps crates.
pub(crate) fn cargo_home() -> PathBuf {
    absolute("CARGO_HOME").unwrap_or_else(|| home().join(".cargo"))
}

/// A program on `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
}

/// A directory of the XDG base directory specification: relative paths in its variables are to be ignored.
fn xdg(variable: &str, below_home: &str) -> PathBuf {
    absolute(variable).unwrap_or_else(|| home().join(below_home))
}

fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn home() -> PathBuf {
    env::home_dir().unwrap_or_else(|| PathBuf::from("/"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn architectures_are_divided_by_commas() {
        let cli = Cli::try_parse_from(["kitbag-builder", "build", "strace", "--arch", "arm64,amd64"]).unwrap();
        let Command::Build(build) = cli.command else { panic!("another command") };
        assert_eq!((build.arch, build.names), (vec![Arch::Arm64, Arch::Amd64], vec!["strace".to_owned()]));
        assert!(Cli::try_parse_from(["kitbag-builder", "build", "--arch", "mips"]).is_err());
    }
}
