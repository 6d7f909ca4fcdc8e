//! The pinned compiler for others: what cargo must know to compile the C in some crates with it.

use std::path::Path;

use kitbag_toolsets::Arch;

use crate::environment::Machine;
use crate::toolchain::Zig;

/// The wrappers by which cargo's build scripts compile C for `arch`: name and script. They compile only; Rust links.
#[must_use]
pub fn cargo_wrappers(arch: Arch) -> Vec<(&'static str, String)> {
    let triple = Machine::Target(arch).triple();
    vec![
        ("ar", "#!/bin/sh\nexec zig ar \"$@\"\n".to_owned()),
        // Rust's name of the target is not zig's.
        (
            "cc",
            format!(
                "#!/bin/sh\nfor argument; do\n  shift\n  case $argument in\n    --target=*) ;;\n    \
                 *) set -- \"$@\" \"$argument\" ;;\n  esac\ndone\n\
                 exec zig cc -target {triple} -fno-sanitize=undefined -ffunction-sections -fdata-sections \"$@\"\n"
            ),
        ),
    ]
}

/// The variables that make cargo's build scripts use the wrappers in the directory `wrappers`, beside what is on `path`.
#[must_use]
pub fn cargo_variables(arch: Arch, wrappers: &Path, zig: &Zig, path: &str) -> Vec<(String, String)> {
    let target = match arch {
        Arch::Amd64 => "x86_64_unknown_linux_musl",
        Arch::Arm64 => "aarch64_unknown_linux_musl",
    };
    let wrapper = |name: &str| wrappers.join(name).display().to_string();
    vec![
        (format!("AR_{target}"), wrapper("ar")),
        (format!("CC_{target}"), wrapper("cc")),
        ("PATH".to_owned(), format!("{path}:{}", zig.bin.display())),
        ("ZIG_GLOBAL_CACHE_DIR".to_owned(), zig.cache.display().to_string()),
        ("ZIG_LOCAL_CACHE_DIR".to_owned(), zig.cache.display().to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_told_where_the_compiler_is() {
        let zig = Zig { bin: "/zig/bin".into(), cache: "/zig.cache".into() };
        let lines: Vec<String> = cargo_variables(Arch::Arm64, Path::new("/w"), &zig, "/usr/bin")
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        AR_aarch64_unknown_linux_musl=/w/ar
        CC_aarch64_unknown_linux_musl=/w/cc
        PATH=/usr/bin:/zig/bin
        ZIG_GLOBAL_CACHE_DIR=/zig.cache
        ZIG_LOCAL_CACHE_DIR=/zig.cache
        ");
    }
}
