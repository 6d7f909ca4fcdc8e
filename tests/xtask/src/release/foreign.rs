//! The plugin for a system that is not this one, linked by the catalog's compiler. What Rust tells the compilers of that
//! system goes through a script, which takes away what this one does not know.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use kitbag_tests::programs::{Build, cargo_build, compiler_environment};

use super::{Built, Release};
use crate::{Result, demo::say};

/// What it is built for, and how.
pub(super) struct Target<'a> {
    /// The operating system, as Go names it.
    pub(super) os: &'static str,
    /// The architecture, as Go names it.
    pub(super) arch: &'static str,
    /// The target, as Rust names it.
    pub(super) rust: &'a str,
    /// The script that compiles and links.
    pub(super) compiler: String,
    /// Scripts besides that rustc calls by these names.
    pub(super) tools: &'a [(&'a str, &'a str)],
}

/// Builds it; what `check` refuses is refused.
pub(super) fn plugin(release: &Release<'_>, target: &Target<'_>, check: impl FnOnce(&[u8]) -> Result) -> Result<Built> {
    let Target { os, arch, rust, compiler, tools } = target;
    let program = super::plugin_name(os);
    say(&format!("building {program} for {os}/{arch}"));
    let directory = super::directory(&format!("{os}-{arch}"))?;
    let path = directory.join("cc");
    script(&path, compiler)?;
    let mut environment = compiler_environment(release.builder, arch)?;
    environment.extend(variables(rust, &path, &environment));
    if !tools.is_empty() {
        let directory = super::directory(&format!("{os}-{arch}/tools"))?;
        for (name, text) in *tools {
            script(&directory.join(name), text)?;
        }
        find_in(&directory, &mut environment);
    }
    let environment = release.environment(environment);
    let packages = &["kitbag-runner"];
    let build = Build { packages, target: Some(rust), profile: release.profile, environment: &environment };
    let [built]: [PathBuf; 1] = cargo_build(build, [program])?;
    check(&fs::read(&built)?).map_err(|error| format!("{os} would not start {}: {error}", built.display()))?;
    super::copy(&built, &directory)?;
    Ok(Built { os, arch, directory })
}

fn script(path: &Path, text: &str) -> Result {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// What cargo is told besides, for `target`.
fn variables(target: &str, compiler: &Path, compilers: &[(String, String)]) -> Vec<(String, String)> {
    let name = target.replace('-', "_");
    let compiler = compiler.display().to_string();
    let ar =
        compilers.iter().find(|(name, _)| name.starts_with("AR_")).map(|(_, ar)| (format!("AR_{name}"), ar.clone()));
    [(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), compiler.clone()), (format!("CC_{name}"), compiler)]
        .into_iter()
        .chain(ar)
        .collect()
}

/// Has programs looked for in this directory too, after all others.
fn find_in(directory: &Path, environment: &mut [(String, String)]) {
    for (_, path) in environment.iter_mut().filter(|(name, _)| name == "PATH") {
        path.push(':');
        path.push_str(&directory.display().to_string());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn cargo_is_told_of_compiler_and_linker() {
        let known = [("AR_x86_64_unknown_linux_musl".to_owned(), "/w/ar".to_owned())];
        let lines = variables("aarch64-apple-darwin", Path::new("/w/cc"), &known);
        let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "CARGO_TARGET_AARCH64_APPLE_DARWIN_LINKER=/w/cc",
            "CC_aarch64_apple_darwin=/w/cc",
            "AR_aarch64_apple_darwin=/w/ar",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn tools_are_found_after_those_of_this_machine() {
        let mut environment = [("AR", "/w/ar"), ("PATH", "/bin")].map(|(name, value)| (name.into(), value.into()));
        find_in(Path::new("/w/tools"), &mut environment);
        assert_eq!(environment.map(|(_, value)| value), ["/w/ar", "/bin:/w/tools"]);
    }

    /// What zig is called with when `script` is called with `arguments`.
    pub(in super::super) fn passed_to_zig(text: &str, arguments: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        script(&dir.path().join("zig"), "#!/bin/sh\necho \"$@\"\n").unwrap();
        let compiler = dir.path().join("compiler");
        script(&compiler, text).unwrap();
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        let mut called = std::process::Command::new("sh");
        let output = called.arg(&compiler).args(arguments).env("PATH", path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}
