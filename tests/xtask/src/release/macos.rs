//! The plugin for macOS, linked by the catalog's compiler: it knows Apple's C library, and of the two frameworks that the
//! plugin needs besides (for the certificates that the system trusts) it is told the names. Never run by us.

mod stub;

use std::{fs, path::Path};

use kitbag_tests::packages;
use object::macho::{CPU_TYPE_ARM64, CPU_TYPE_X86_64};

use super::{Built, Release, foreign, mach_o};
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
    let compiler = wrapper(triple, frameworks);
    let target = foreign::Target { os: "darwin", arch, rust, compiler, tools: &[] };
    let libraries = FRAMEWORKS.map(|(name, _)| name);
    foreign::plugin(release, &target, |program| mach_o::check(program, processor, &libraries))
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
    fn the_compiler_is_spared_what_it_does_not_know() {
        let arguments = ["-arch", "arm64", "-c", "--target=arm64-apple-macosx", "-liconv", "a b.c"];
        let passed = foreign::tests::passed_to_zig(&wrapper("aarch64-macos", Path::new("/a b")), &arguments);
        assert_eq!(passed, "cc -target aarch64-macos -F /a b -c a b.c\n");
    }
}
