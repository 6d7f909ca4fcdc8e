//! The plugin for Windows, linked by the catalog's compiler: it knows Windows' libraries (mingw-w64's files that name them),
//! and has libraries of its own in place of GCC's.

use kitbag_tests::packages;

use super::{Built, Release, foreign, pe};
use crate::{Result, demo::say};

const RUST: &str = "x86_64-pc-windows-gnu";
/// What rustc makes libraries with that only name what is in Windows' own.
const DLLTOOL: (&str, &str) = ("x86_64-w64-mingw32-dlltool", "#!/bin/sh\nexec zig dlltool \"$@\"\n");
/// Compiles and links. Rust wants GCC's libraries, of which `libgcc_eh` has a substitute and the others need none, and asks
/// for what this linker does unasked. The crate winapi wants libraries that it brings, by names of its own; all but one,
/// which nothing here uses, the compiler has too. The same program is the same bytes: it holds no date.
const COMPILER: &str = "#!/bin/sh
for argument; do
  shift
  case $argument in
    -lgcc_eh) set -- \"$@\" -lunwind ;;
    -lwinapi_synchronization) ;;
    -lwinapi_*) set -- \"$@\" \"-l${argument#-lwinapi_}\" ;;
    -lgcc | -lgcc_s | -lmsvcrt | -l:libpthread.a) ;;
    --target=* | -Wl,--dynamicbase | -Wl,--high-entropy-va | -Wl,--disable-auto-image-base) ;;
    *) set -- \"$@\" \"$argument\" ;;
  esac
done
exec zig cc -target x86_64-windows-gnu -Wl,-Brepro \"$@\"
";

/// Builds the plugin, and refuses what Windows would not start.
pub(crate) fn plugin(release: &Release<'_>) -> Result<Built> {
    packages::add_targets(&[RUST], &mut say)?;
    let compiler = COMPILER.to_owned();
    let target = foreign::Target { os: "windows", arch: "amd64", rust: RUST, compiler, tools: &[DLLTOOL] };
    foreign::plugin(release, &target, pe::check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::foreign::tests::passed_to_zig;

    #[test]
    fn the_compiler_is_given_libraries_that_it_has() {
        let arguments = ["-Wl,--dynamicbase", "a b.o", "-lgcc_eh", "-lgcc", "-lwinapi_user32", "-lntdll", "-o", "x"];
        let expected = "cc -target x86_64-windows-gnu -Wl,-Brepro a b.o -lunwind -luser32 -lntdll -o x\n";
        assert_eq!(passed_to_zig(COMPILER, &arguments), expected);
        assert_eq!(passed_to_zig(DLLTOOL.1, &["-d", "a b.def"]), "dlltool -d a b.def\n");
    }
}
