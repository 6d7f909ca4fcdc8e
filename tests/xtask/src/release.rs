//! `cargo xtask release`: kitbag's programs as they ship, static, for both architectures.

mod foreign;
mod mach_o;
mod macos;
mod pe;
mod sources;
mod windows;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kitbag_tests::programs::{self, Build, cargo_build, compiler_environment};

pub(crate) use self::{macos::plugin as plugin_for_macos, sources::Sources, windows::plugin as plugin_for_windows};
use crate::{
    Result,
    demo::{say, set_up},
};

const PROGRAMS: [&str; 3] = ["kitbag-builder", "kitbag-registry", "kubectl-kitbag"];
/// Architectures, as images, Rust and readelf name them.
const TARGETS: [(&str, &str, &str); 2] = [
    ("amd64", "x86_64-unknown-linux-musl", "Advanced Micro Devices X86-64"),
    ("arm64", "aarch64-unknown-linux-musl", "AArch64"),
];

/// Builds the programs into `target/release-programs/ARCH`, and refuses what is not static.
pub(crate) fn run() -> Result {
    set_up()?;
    programs(&Release { profile: "dist", builder: &builder()?, sources: &Sources::find()?, environment: &[] }).map(drop)
}

/// How programs are built.
#[derive(Clone, Copy)]
pub(crate) struct Release<'a> {
    /// A profile of the root `Cargo.toml`.
    pub(crate) profile: &'a str,
    /// Where the compiler is had from.
    pub(crate) builder: &'a Path,
    /// What the programs are built of.
    pub(crate) sources: &'a Sources,
    /// Additions to cargo's environment.
    pub(crate) environment: &'a [(String, String)],
}

/// The programs for one platform.
pub(crate) struct Built {
    /// The operating system, as Go names it.
    pub(crate) os: &'static str,
    /// The architecture, as Go and images name it.
    pub(crate) arch: &'static str,
    /// Where they are.
    pub(crate) directory: PathBuf,
}

/// The plugin's file name on that operating system.
pub(crate) fn plugin_name(os: &str) -> &'static str {
    if os == "windows" { "kubectl-kitbag.exe" } else { "kubectl-kitbag" }
}

/// The builder for this machine.
pub(crate) fn builder() -> Result<PathBuf> {
    let build = Build { packages: &["kitbag-builder"], target: None, profile: "release", environment: &[] };
    let [builder] = cargo_build(build, ["kitbag-builder"])?;
    Ok(builder)
}

/// Builds the programs for Linux, and refuses what is not static.
pub(crate) fn programs(release: &Release<'_>) -> Result<[Built; 2]> {
    let [first, second] = TARGETS.map(|(arch, target, machine)| for_arch(release, arch, target, machine));
    Ok([first?, second?])
}

fn for_arch(release: &Release<'_>, arch: &'static str, target: &str, machine: &str) -> Result<Built> {
    say(&format!("building for linux/{arch}"));
    let environment = release.environment(compiler_environment(release.builder, arch)?);
    let packages = &["kitbag-builder", "kitbag-registry", "kitbag-runner"];
    let build = Build { packages, target: Some(target), profile: release.profile, environment: &environment };
    let directory = directory(arch)?;
    for path in &cargo_build(build, PROGRAMS)? {
        check_static(path, machine)?;
        copy(path, &directory)?;
    }
    Ok(Built { os: "linux", arch, directory })
}

impl Release<'_> {
    /// What cargo is told of the compiler, and all else that it is told.
    fn environment(&self, compiler: Vec<(String, String)>) -> Vec<(String, String)> {
        compiler.into_iter().chain([self.sources.flags()]).chain(self.environment.iter().cloned()).collect()
    }
}

/// Where the programs for a platform go.
fn directory(name: &str) -> Result<PathBuf> {
    let directory = programs::workspace().join("target/release-programs").join(name);
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn copy(program: &Path, directory: &Path) -> Result {
    let copy = directory.join(program.file_name().unwrap_or_default());
    let size = fs::copy(program, &copy)?;
    println!("{:>8.2} MB  {}", size as f64 / 1e6, copy.display());
    Ok(())
}

/// It has to be for that machine, and neither an interpreter nor a shared library may be wanted.
fn check_static(program: &Path, machine: &str) -> Result {
    let mut readelf = Command::new("readelf");
    let output = readelf.args(["--wide", "--file-header", "--program-headers", "--dynamic"]).arg(program).output()?;
    let headers = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !headers.contains("LOAD") {
        return Err(format!("readelf cannot read {}", program.display()).into());
    }
    let of = headers.lines().find_map(|line| line.trim().strip_prefix("Machine:")).unwrap_or_default().trim();
    if of != machine {
        return Err(format!("{} is for `{of}` instead of `{machine}`", program.display()).into());
    }
    match headers.lines().find(|line| line.contains("INTERP") || line.contains("(NEEDED)")) {
        Some(line) => Err(format!("{} is not static: {}", program.display(), line.trim()).into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_for_another_machine_or_a_dynamic_one_is_refused() {
        let own = std::env::current_exe().unwrap();
        let own_machine = if cfg!(target_arch = "x86_64") { TARGETS[0].2 } else { TARGETS[1].2 };
        assert!(check_static(&own, own_machine).unwrap_err().to_string().contains("is not static"));
        assert!(check_static(&own, "another").unwrap_err().to_string().contains("instead of `another`"));
    }
}
