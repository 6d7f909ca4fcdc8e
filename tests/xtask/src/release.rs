//! `cargo xtask release`: kitbag's programs as they ship, static, for both architectures.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kitbag_tests::programs::{self, Build, cargo_build, compiler_environment};

use crate::{
    Result,
    demo::{say, set_up},
};

const PROGRAMS: [&str; 3] = ["kitbag-builder", "kitbag-registry", "kubectl-kitbag"];
/// Architectures, as images and as Rust name them.
const TARGETS: [(&str, &str); 2] = [("amd64", "x86_64-unknown-linux-musl"), ("arm64", "aarch64-unknown-linux-musl")];

/// Builds the programs into `target/release-programs/ARCH`, and refuses what is not static.
pub(crate) fn run() -> Result {
    set_up()?;
    programs("dist").map(|_| ())
}

/// The programs for one architecture.
pub(crate) struct Built {
    /// As images name it.
    pub(crate) arch: &'static str,
    /// Where they are.
    pub(crate) directory: PathBuf,
}

/// Builds the programs in a profile of the root `Cargo.toml`, and refuses what is not static.
pub(crate) fn programs(profile: &str) -> Result<[Built; 2]> {
    let host = Build { packages: &["kitbag-builder"], target: None, profile: "release", environment: &[] };
    let [builder] = cargo_build(host, ["kitbag-builder"])?;
    let built = TARGETS.map(|(arch, target)| for_arch(&builder, arch, target, profile));
    let [first, second] = built;
    Ok([first?, second?])
}

fn for_arch(builder: &Path, arch: &'static str, target: &str, profile: &str) -> Result<Built> {
    say(&format!("building for linux/{arch}"));
    let environment = compiler_environment(builder, arch)?;
    let packages = &["kitbag-builder", "kitbag-registry", "kitbag-runner"];
    let build = Build { packages, target: Some(target), profile, environment: &environment };
    let directory = programs::workspace().join("target/release-programs").join(arch);
    fs::create_dir_all(&directory)?;
    for (path, name) in cargo_build(build, PROGRAMS)?.iter().zip(PROGRAMS) {
        check_static(path)?;
        let copy = directory.join(name);
        let size = fs::copy(path, &copy)?;
        println!("{:>8.2} MB  {}", size as f64 / 1e6, copy.display());
    }
    Ok(Built { arch, directory })
}

/// Neither an interpreter nor a shared library may be wanted.
fn check_static(program: &Path) -> Result {
    let output = Command::new("readelf").args(["--wide", "--program-headers", "--dynamic"]).arg(program).output()?;
    let headers = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !headers.contains("LOAD") {
        return Err(format!("readelf cannot read {}", program.display()).into());
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
    fn a_dynamic_program_is_refused() {
        let own = std::env::current_exe().unwrap();
        assert!(check_static(&own).unwrap_err().to_string().contains("is not static"));
    }
}
