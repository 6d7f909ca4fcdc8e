//! The plugin for macOS, linked by the catalog's compiler: it knows Apple's C library, and of the two frameworks that the
//! plugin needs besides (for the certificates that the system trusts) it is told the names. Never run by us.

mod stub;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use kitbag_tests::{
    packages,
    programs::{Build, cargo_build, compiler_environment},
};
use object::macho::{CPU_TYPE_ARM64, CPU_TYPE_X86_64};

use super::{Built, Release, mach_o};
use crate::{Result, demo::say};

/// An architecture, by all its names.
struct Target {
    /// As Go has it.
    arch: &'static str,
    /// As Rust has it.
    rust: &'static str,
    /// As the compiler has it.
    triple: &'static str,
    /// As it stands in programs.
    processor: u32,
}

const TARGETS: [Target; 2] = [
    Target { arch: "amd64", rust: "x86_64-apple-darwin", triple: "x86_64-macos.11.0-none", processor: CPU_TYPE_X86_64 },
    Target {
        arch: "arm64",
        rust: "aarch64-apple-darwin",
        triple: "aarch64-macos.11.0-none",
        processor: CPU_TYPE_ARM64,
    },
];
/// Frameworks, and the crate that declares what is used of each.
const FRAMEWORKS: [(&str, &str); 2] =
    [("CoreFoundation", "core-foundation-sys"), ("Security", "security-framework-sys")];
const PLUGIN: &str = "kubectl-kitbag";

/// Builds the plugin for both architectures, and refuses what macOS would not start.
pub(crate) fn plugin(release: &Release<'_>) -> Result<[Built; 2]> {
    packages::add_targets(&TARGETS.map(|target| target.rust), &mut say)?;
    let frameworks = super::directory("frameworks")?;
    for (name, declared_by) in FRAMEWORKS {
        let directory = frameworks.join(format!("{name}.framework"));
        fs::create_dir_all(&directory)?;
        let symbols = stub::symbols(release.sources.of(declared_by))?;
        fs::write(directory.join(format!("{name}.tbd")), stub::stub(name, &symbols))?;
    }
    let [first, second] = TARGETS.map(|target| for_arch(release, &target, &frameworks));
    Ok([first?, second?])
}

fn for_arch(release: &Release<'_>, target: &Target, frameworks: &Path) -> Result<Built> {
    let Target { arch, rust, triple, processor } = *target;
    say(&format!("building {PLUGIN} for darwin/{arch}"));
    let directory = super::directory(&format!("darwin-{arch}"))?;
    let compiler = directory.join("cc");
    fs::write(&compiler, wrapper(triple, frameworks))?;
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755))?;
    let mut environment = compiler_environment(release.builder, arch)?;
    environment.extend(variables(rust, &compiler, &environment));
    let environment = release.environment(environment);
    let packages = &["kitbag-runner"];
    let build = Build { packages, target: Some(rust), profile: release.profile, environment: &environment };
    let [program] = cargo_build(build, [PLUGIN])?;
    mach_o::check(&fs::read(&program)?, processor, &FRAMEWORKS.map(|(name, _)| name))
        .map_err(|error| format!("macOS would not start {}: {error}", program.display()))?;
    super::copy(&program, &directory)?;
    Ok(Built { os: "darwin", arch, directory })
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

/// Compiles and links for `triple`. Rust's names of the target are not the compiler's, and it has no libiconv, which nothing
/// here uses.
fn wrapper(triple: &str, frameworks: &Path) -> String {
    format!(
        "#!/bin/sh
skip=
for argument; do
  shift
  if [ \"$skip\" ]; then
    skip=
    continue
  fi
  case $argument in
    -arch | -target) skip=yes ;;
    --target=* | -mmacosx-version-min=* | -liconv) ;;
    *) set -- \"$@\" \"$argument\" ;;
  esac
done
exec zig cc -target {triple} -F '{}' \"$@\"
",
        frameworks.display()
    )
}

#[cfg(test)]
mod tests {
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
    fn the_compiler_is_spared_what_it_does_not_know() {
        let dir = tempfile::tempdir().unwrap();
        let zig = dir.path().join("zig");
        fs::write(&zig, "#!/bin/sh\necho \"$@\"\n").unwrap();
        fs::set_permissions(&zig, fs::Permissions::from_mode(0o755)).unwrap();
        let compiler = dir.path().join("compiler");
        fs::write(&compiler, wrapper("aarch64-macos", Path::new("/a b"))).unwrap();
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        let mut called = std::process::Command::new("sh");
        called.arg(&compiler).args(["-arch", "arm64", "-c", "--target=arm64-apple-macosx", "-liconv", "a b.c"]);
        let output = called.env("PATH", path).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "cc -target aarch64-macos -F /a b -c a b.c\n");
    }
}
