//! The C compiler: one pinned archive that holds a compiler, musl and the kernel's headers for every target, and the
//! wrappers by which builds call it.

use std::fs::{self as std_fs, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process;

use kitbag_toolsets::recipe::Source;

use crate::fs::{self, At as _, FsError};
use crate::unpack::{self, UnpackError};

/// SHA-256 of the archive: an input of everything that is compiled with it.
pub const ZIG_SHA256: &str = "97079827064a7492cce5541ceb438ae8003ce1e54e399676da2d62fb7a5dc08b";
/// The host on which the pinned compiler runs, as configure scripts call it.
pub const BUILD_TRIPLE: &str = "x86_64-pc-linux-gnu";

/// `-Os` for what the driver defines and links by it, `-Oz` for the code: a tenth smaller.
const COMPILE: &str = "-Os -Xclang -Oz -fomit-frame-pointer -fno-sanitize=undefined -fno-stack-protector -fno-asynchronous-unwind-tables \
                       -fno-unwind-tables -ffunction-sections -fdata-sections";
/// Exceptions are found by unwind tables.
const COMPILE_CXX: &str = "-Os -Xclang -Oz -fomit-frame-pointer -fno-sanitize=undefined -fno-stack-protector -ffunction-sections -fdata-sections";
/// Only for linking: together with `-c`, `--gc-sections` leaves an empty object.
const LINK: &str = "-static -s -Wl,--gc-sections -Wl,--build-id=none";

/// The compiler's archive. Compiled for x86-64 hosts.
#[must_use]
pub fn zig_source() -> Source {
    Source {
        file: "ziglang-0.17.0-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl".to_owned(),
        sha256: ZIG_SHA256.to_owned(),
        urls: Vec::new(),
        debian: None,
        pypi: Some("ziglang==0.17.0".to_owned()),
        strip: 1,
        unpack: None,
        exclude: Vec::new(),
    }
}

/// The programs that stand first on a build's `PATH`, name and script, for `triple` as target and `build` as the triple
/// of the machine that builds.
///
/// They call `zig` by its bare name: a path would get into what it makes. Everything is linked with `-s`, so `strip` has
/// nothing to do, and zig's own would empty the file.
#[must_use]
pub fn wrappers(triple: &str, build: &str) -> Vec<(&'static str, String)> {
    // `-static` once more at the end: libtool swallows the first.
    let link = format!(
        "link='{LINK}' last=-static\n\
         for argument in \"$@\"; do\n  case $argument in -c | -S | -E | -M | -MM | -fsyntax-only) link= last= ;; esac\ndone\n"
    );
    let driver = |command: &str, flags: &str| {
        format!("#!/bin/sh\n{link}exec zig {command} -target {triple} {flags} $link \"$@\" $last\n")
    };
    // Helpers that run during a build and are thrown away. Makefiles ask for `-g -O2` here, and for each such choice the
    // compiler would build its C library once more.
    let helper = format!(
        "#!/bin/sh\nfor argument; do\n  shift\n  case $argument in\n    -g* | -O*) ;;\n    \
         *) set -- \"$@\" \"$argument\" ;;\n  esac\ndone\n{link}\
         exec zig cc -target {build} {COMPILE} $link \"$@\" $last\n"
    );
    // What runs on the host only during the build of a crate may be dynamic, like the host's compiler would make it.
    let host = "#!/bin/sh\nfor argument; do\n  shift\n  case $argument in\n    -lgcc_s) set -- \"$@\" -lunwind ;;\n    \
                *) set -- \"$@\" \"$argument\" ;;\n  esac\ndone\nexec zig cc -target x86_64-linux-gnu \"$@\"\n";
    vec![
        ("ar", "#!/bin/sh\nexec zig ar \"$@\"\n".to_owned()),
        ("buildcc", helper),
        ("c++", driver("c++", COMPILE_CXX)),
        ("cc", driver("cc", COMPILE)),
        ("hostcc", host.to_owned()),
        ("ld", "#!/bin/sh\nexec zig ld.lld \"$@\"\n".to_owned()),
        ("ranlib", "#!/bin/sh\nexec zig ranlib \"$@\"\n".to_owned()),
        ("strip", "#!/bin/sh\nexit 0\n".to_owned()),
    ]
}

/// The unpacked compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zig {
    /// The directory with the program `zig`.
    pub bin: PathBuf,
    /// What it keeps between builds: the C library of each target, above all. Its own locks make sharing safe.
    pub cache: PathBuf,
}

/// Why there is no compiler.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// Its archive does not unpack.
    #[error("cannot unpack the compiler: {0}")]
    Unpack(#[source] UnpackError),
    /// The file system says no.
    #[error(transparent)]
    Fs(FsError),
}

impl Zig {
    /// Where the compiler is, or will be, below the directory `toolchains`.
    #[must_use]
    pub fn below(toolchains: &Path) -> Self {
        let dir = toolchains.join(format!("zig-{}", &ZIG_SHA256[..12]));
        Self { bin: dir.join("bin"), cache: dir.with_extension("cache") }
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.bin.join("zig").exists()
    }

    /// Unpacks it from its archive, whose hash the caller has checked. Whoever looks sees all of it or nothing.
    ///
    /// # Errors
    /// [`ToolchainError`].
    pub fn install(&self, archive: &Path) -> Result<(), ToolchainError> {
        let dir = self.bin.parent().unwrap_or(&self.bin);
        let temporary = dir.with_extension(format!("new-{}", process::id()));
        remove_tree(&temporary).map_err(ToolchainError::Fs)?;
        let bin = temporary.join("bin");
        fs::create_dir_all(&bin).map_err(ToolchainError::Fs)?;
        unpack::zip(archive, &bin, 1).map_err(ToolchainError::Unpack)?;
        make_executable(&bin.join("zig")).map_err(ToolchainError::Fs)?;
        match std_fs::rename(&temporary, dir) {
            // Another builder was faster: its copy is the same.
            Err(_) if self.is_installed() => remove_tree(&temporary).map_err(ToolchainError::Fs),
            other => other.at("create", dir).map_err(ToolchainError::Fs),
        }
    }
}

/// Writes `script` as a program.
///
/// # Errors
/// [`FsError`].
pub fn write_program(path: &Path, script: &str) -> Result<(), FsError> {
    std_fs::write(path, script).at("write", path)?;
    make_executable(path)
}

fn make_executable(path: &Path) -> Result<(), FsError> {
    let file = File::open(path).at("open", path)?;
    file.set_permissions(std_fs::Permissions::from_mode(0o755)).at("make executable", path)
}

/// Removes a directory with everything in it, if it is there.
///
/// # Errors
/// [`FsError`].
pub(crate) fn remove_tree(dir: &Path) -> Result<(), FsError> {
    match std_fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_call_the_compiler_by_its_bare_name() {
        for (name, script) in wrappers("aarch64-linux-musl", "x86_64-linux-musl") {
            assert!(script.starts_with("#!/bin/sh\n"), "{name}");
            assert!(name == "strip" || script.contains("exec zig "), "{name}");
        }
    }

    #[test]
    fn link_flags_come_only_when_linking() {
        let dir = tempfile::tempdir().unwrap();
        write_program(&dir.path().join("zig"), "#!/bin/sh\necho \"$@\"\n").unwrap();
        for (name, script) in wrappers("t", "b") {
            write_program(&dir.path().join(name), &script).unwrap();
        }
        let run = |arguments: &[&str]| {
            let output = process::Command::new(dir.path().join(arguments[0]))
                .args(&arguments[1..])
                .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        insta::assert_snapshot!(run(&["cc", "-c", "a b.c"]), @"cc -target t -Os -Xclang -Oz -fomit-frame-pointer -fno-sanitize=undefined -fno-stack-protector -fno-asynchronous-unwind-tables -fno-unwind-tables -ffunction-sections -fdata-sections -c a b.c");
        insta::assert_snapshot!(run(&["cc", "a.o", "-o", "a"]), @"cc -target t -Os -Xclang -Oz -fomit-frame-pointer -fno-sanitize=undefined -fno-stack-protector -fno-asynchronous-unwind-tables -fno-unwind-tables -ffunction-sections -fdata-sections -static -s -Wl,--gc-sections -Wl,--build-id=none a.o -o a -static");
        insta::assert_snapshot!(run(&["c++", "a.o"]), @"c++ -target t -Os -Xclang -Oz -fomit-frame-pointer -fno-sanitize=undefined -fno-stack-protector -ffunction-sections -fdata-sections -static -s -Wl,--gc-sections -Wl,--build-id=none a.o -static");
        insta::assert_snapshot!(run(&["buildcc", "-g", "-O2", "a b.c"]), @"cc -target b -Os -Xclang -Oz -fomit-frame-pointer -fno-sanitize=undefined -fno-stack-protector -fno-asynchronous-unwind-tables -fno-unwind-tables -ffunction-sections -fdata-sections -static -s -Wl,--gc-sections -Wl,--build-id=none a b.c -static");
        insta::assert_snapshot!(run(&["hostcc", "-lgcc_s", "a b.o"]), @"cc -target x86_64-linux-gnu -lunwind a b.o");
    }
}
