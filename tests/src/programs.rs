//! kitbag's own programs, built as they ship (static, for musl), and the store that they work on.
//!
//! What is built lies in the cache directory, not in the checkout, so that a fresh clone need not start from nothing.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    cache,
    error::{Error, Result, checked, spawn},
    image::architecture,
};

/// The programs, for this machine.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `kitbag-builder`. It runs where it is built, so it is an ordinary program of this machine.
    pub builder: PathBuf,
    /// `kitbag-registry`, static.
    pub registry: PathBuf,
    /// `kubectl-kitbag`, static.
    pub plugin: PathBuf,
}

/// What cargo is to build.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    /// Packages of the workspace. Together, because what they share is then built once.
    pub packages: &'a [&'a str],
    /// Their target (`x86_64-unknown-linux-musl`); none for this machine's own.
    pub target: Option<&'a str>,
    /// Profile in the root `Cargo.toml`.
    pub profile: &'a str,
    /// Additions to cargo's environment.
    pub environment: &'a [(String, String)],
}

/// Builds the programs that the demonstration, the end-to-end tests and the benchmarks run.
///
/// # Errors
/// When cargo fails; it has said why.
pub fn build(say: &mut dyn FnMut(&str)) -> Result<Programs> {
    say("building kitbag-builder");
    let build = Build { packages: &["kitbag-builder"], target: None, profile: "release", environment: &[] };
    let [builder] = cargo_build(build, ["kitbag-builder"])?;
    let environment = compiler_environment(&builder, architecture())?;
    let target = musl_target();
    say("building kitbag-registry and kubectl-kitbag");
    let packages = &["kitbag-registry", "kitbag-runner"];
    let build = Build { packages, target: Some(&target), profile: "release", environment: &environment };
    let [registry, plugin] = cargo_build(build, ["kitbag-registry", "kubectl-kitbag"])?;
    Ok(Programs { builder, registry, plugin })
}

/// `kitbag-registry` in the profile that ships, for what measures its speed.
///
/// # Errors
/// When cargo fails; it has said why.
pub fn registry_as_shipped(programs: &Programs, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let environment = compiler_environment(&programs.builder, architecture())?;
    say("building kitbag-registry as it ships");
    let target = musl_target();
    let packages = &["kitbag-registry"];
    let build = Build { packages, target: Some(&target), profile: "dist", environment: &environment };
    let [registry] = cargo_build(build, ["kitbag-registry"])?;
    Ok(registry)
}

fn musl_target() -> String {
    format!("{}-unknown-linux-musl", env::consts::ARCH)
}

/// The store of the whole catalog, in the cache directory, brought up to date. With `locked`, every layer must be the
/// one that `toolsets/catalog.lock` names.
///
/// # Errors
/// When a build fails or differs; the builder has said why.
pub fn store(programs: &Programs, locked: bool) -> Result<PathBuf> {
    let store = cache::dir().join("store");
    update_store(&programs.builder, &store, locked)?;
    Ok(store)
}

/// The same for a store elsewhere, by this builder.
///
/// # Errors
/// As [`store`].
pub fn update_store(builder: &Path, store: &Path, locked: bool) -> Result<()> {
    let mut builder = Command::new(builder);
    builder.args(["build", "--store"]).arg(store).stdin(Stdio::null());
    if locked {
        builder.arg("--locked");
    }
    let status = builder.status().map_err(spawn(&builder))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed { command: "kitbag-builder build".into(), status, output: "it said why above".into() })
    }
}

/// Builds programs; the paths of those that are asked for.
///
/// # Errors
/// When cargo fails; it has said why.
pub fn cargo_build<const N: usize>(build: Build<'_>, names: [&str; N]) -> Result<[PathBuf; N]> {
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--locked", "--bins", "--message-format", "json-render-diagnostics"]);
    cargo.args(["--profile", build.profile]);
    cargo.args(build.packages.iter().flat_map(|package| ["--package", package]));
    cargo.args(build.target.iter().flat_map(|target| ["--target", target]));
    cargo.envs(build.environment.iter().map(|(name, value)| (name, value)));
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(spawn(&cargo))?;
    let messages = String::from_utf8_lossy(&checked(&cargo, output)?.stdout).into_owned();
    let mut paths = names.map(|_| PathBuf::new());
    for (path, name) in paths.iter_mut().zip(names) {
        let missing = || Error::Answer { from: "cargo build".into(), answer: format!("it names no program `{name}`") };
        *path = executable(&messages, name).ok_or_else(missing)?;
    }
    Ok(paths)
}

/// cargo in this workspace, with what it builds in the cache directory (or where `CARGO_TARGET_DIR` says).
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    // What the cargo that runs us says of our package: some build scripts (ring's) run again when it differs, and what
    // a test has built would be built again for the demonstration.
    for (name, _) in env::vars_os().filter(|(name, _)| describes_package(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    if env::var_os("CARGO_TARGET_DIR").is_none() {
        cargo.env("CARGO_TARGET_DIR", cache::dir().join("target"));
    }
    cargo
}

fn describes_package(variable: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|start| variable.starts_with(start))
}

/// The root of the checkout that this was built from.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// What cargo's `cc` crate must know to compile the C in some crates for `arch` (`amd64`, `arm64`), with the compiler of
/// the catalog.
///
/// # Errors
/// When the builder cannot get the compiler.
pub fn compiler_environment(builder: &Path, arch: &str) -> Result<Vec<(String, String)>> {
    let mut command = Command::new(builder);
    command.args(["compiler-env", "--arch", arch]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(spawn(&command))?;
    let output = checked(&command, output)?;
    Ok(variables(&String::from_utf8_lossy(&output.stdout)))
}

/// `NAME=VALUE` lines.
fn variables(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

/// The program of that name among those that cargo's messages name.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut paths = messages.filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)));
    paths.find(|path| path.file_name().is_some_and(|file| file == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_tells_where_the_program_is() {
        let messages =
            "{\"reason\":\"compiler-artifact\",\"executable\":\"/t/shop\"}\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(executable(messages, "shop"), Some("/t/shop".into()));
        assert_eq!(executable(messages, "other"), None);
        assert_eq!(executable("{\"executable\":null}\n", "shop"), None);
    }

    #[test]
    fn variables_are_lines() {
        assert_eq!(variables("A=b=c\n\nnothing\n"), [("A".to_owned(), "b=c".to_owned())]);
    }
}
