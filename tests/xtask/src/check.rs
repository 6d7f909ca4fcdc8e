//! `cargo xtask test`: everything that decides whether a change lands.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use kitbag_tests::{cache, programs};

use crate::{
    Result,
    demo::{say, set_up},
    progress::Progress,
    torture,
};

/// The version of cargo-deny that the gate runs.
const CARGO_DENY: &str = "0.20.2";

/// Runs every check; the first that fails ends it.
pub(crate) fn run() -> Result {
    let mut progress = Progress::new(12);
    progress.step("packages and targets", set_up)?;
    progress.step("formatting", || cargo(&["fmt", "--all", "--check"]))?;
    progress.step("lints", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"])?;
        let tests = ["clients", "cluster", "deploy", "e2e"].map(|test| ["--test", test]).concat();
        let lint = ["clippy", "--package", "kitbag-tests", "--quiet"];
        cargo(&[&lint[..], &tests, &["--", "--deny", "warnings"]].concat())
    })?;
    progress.step("licences, sources, duplicates, one TLS provider", || {
        deny(&["check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
    })?;
    progress.step("unit and property tests", || cargo(&["test", "--workspace", "--quiet"]))?;
    let (programs, _) = progress.step("the whole catalog, as locked", || -> Result<_> {
        let programs = programs::build(&mut say)?;
        let store = programs::store(&programs, true)?;
        Ok((programs, store))
    })?;
    progress.step("the same bytes from another directory", || rebuild(&programs.builder))?;
    progress.step("manifests, chart and alerts, by helm and promtool", || {
        cargo(&["test", "--package", "kitbag-tests", "--test", "deploy", "--quiet"])
    })?;
    progress.step("real clients", || cargo(&["test", "--package", "kitbag-tests", "--test", "clients", "--quiet"]))?;
    progress.step("the registry under torture, in its short form", || torture::torture(&programs, torture::SHORT))?;
    progress.step("end to end, on a real node", || {
        cargo(&["test", "--package", "kitbag-tests", "--test", "e2e", "--quiet"])
    })?;
    progress.step("end to end, on two nodes", || {
        cargo(&["test", "--package", "kitbag-tests", "--test", "cluster", "--quiet"])
    })
}

/// Checks the dependencies against published advisories.
pub(crate) fn advisories() -> Result {
    deny(&["check", "advisories"])
}

/// Builds a tool again, elsewhere and from nothing but the downloads, and compares it with the lock.
fn rebuild(builder: &std::path::Path) -> Result {
    let root = cache::dir().join(format!("rebuild-{}", std::process::id()));
    let mut command = Command::new(builder);
    command.args(["build", "htop", "--arch", "amd64", "--locked", "--store"]).arg(root.join("store"));
    command.arg("--build-root").arg(root.join("elsewhere"));
    // Caches of its own: what comes out otherwise must not get into the ones that later builds trust.
    command.env("XDG_CACHE_HOME", root.join("cache")).arg("--sources").arg(cache::dir().join("sources"));
    run_quietly(&mut command)?;
    Ok(fs::remove_dir_all(&root)?)
}

fn cargo(arguments: &[&str]) -> Result {
    run_quietly(programs::cargo().args(arguments))
}

/// cargo-deny of the pinned version, installed once into the cache.
fn deny(arguments: &[&str]) -> Result {
    let root: PathBuf = cache::dir().join(format!("cargo-deny-{CARGO_DENY}"));
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        say(&format!("installing cargo-deny {CARGO_DENY} (once; about 4 minutes on two cores)"));
        let mut install = programs::cargo();
        install.env_remove("CARGO_TARGET_DIR");
        install.args(["install", "--quiet", "--locked", "--version", CARGO_DENY, "cargo-deny", "--root"]).arg(&root);
        run_quietly(&mut install)?;
    }
    run_quietly(Command::new(program).current_dir(programs::workspace()).args(arguments))
}

/// Runs a command that says itself what is wrong.
fn run_quietly(command: &mut Command) -> Result {
    let status = command.stdin(Stdio::null()).status().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("failed ({status}): {command:?}").into()) }
}
