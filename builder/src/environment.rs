//! The environment of a build's steps: a pure function, and all that the steps see of the machine.

use std::collections::BTreeMap;

use kitbag_toolsets::Arch;
use kitbag_toolsets::recipe::Recipe;

use crate::toolchain::BUILD_TRIPLE;

/// What a build is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Machine {
    /// The machine that builds: generators.
    Build,
    /// A machine that will run what is built.
    Target(Arch),
}

impl Machine {
    /// The architecture of what comes out. The pinned compiler runs on x86-64 only.
    #[must_use]
    pub const fn arch(self) -> Arch {
        match self {
            Self::Build => Arch::Amd64,
            Self::Target(arch) => arch,
        }
    }

    /// In file names and messages: `build`, `amd64`, `arm64`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Target(arch) => arch.as_str(),
        }
    }

    /// The compiler's name of the target.
    #[must_use]
    pub const fn triple(self) -> &'static str {
        match self.arch() {
            Arch::Amd64 => "x86_64-linux-musl",
            Arch::Arm64 => "aarch64-linux-musl",
        }
    }
}

/// The directories of one build.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The unpacked source, where steps run.
    pub work: &'a str,
    /// Where the libraries are, and where a library installs.
    pub prefix: &'a str,
    /// Archives that stay packed.
    pub sources: &'a str,
    /// `TMPDIR`.
    pub temporary: &'a str,
    /// What the compiler keeps between builds.
    pub compiler_cache: &'a str,
    /// What the compiler keeps for this build.
    pub local_cache: &'a str,
    /// `PATH`: wrappers, compiler, generators, the system.
    pub path: &'a str,
}

/// The whole environment of the steps of `recipe`, built for `machine` with `jobs` processes at a time.
#[must_use]
pub fn environment(recipe: &Recipe, machine: Machine, jobs: &str, places: &Places<'_>) -> BTreeMap<String, String> {
    let Places { work, prefix, .. } = places;
    let triple = machine.triple();
    let host = if machine == Machine::Build { BUILD_TRIPLE } else { triple };
    let flags = format!("-Os -ffile-prefix-map={work}=. -ffile-prefix-map={prefix}=/prefix");
    let mut all: BTreeMap<String, String> = [
        ("AR", "ar".to_owned()),
        ("ARCH", machine.arch().as_str().to_owned()),
        ("BUILD_CC", "buildcc".to_owned()),
        ("CC", "cc".to_owned()),
        ("CC_FOR_BUILD", "buildcc".to_owned()),
        ("CFLAGS", flags.clone()),
        ("CONFIGURE", format!("./configure --host={host} --build={BUILD_TRIPLE} --prefix={prefix}")),
        ("CPPFLAGS", format!("-I{prefix}/include")),
        ("CXX", "c++".to_owned()),
        ("CXXFLAGS", flags),
        ("HOME", (*work).to_owned()),
        ("HOSTCC", "buildcc".to_owned()),
        ("JOBS", jobs.to_owned()),
        ("LC_ALL", "C".to_owned()),
        ("LD", "ld".to_owned()),
        ("LDFLAGS", format!("-L{prefix}/lib")),
        // There is no nm; libtool copes.
        ("NM", "false".to_owned()),
        ("PATH", places.path.to_owned()),
        ("PKG_CONFIG", "pkg-config --static".to_owned()),
        ("PKG_CONFIG_LIBDIR", format!("{prefix}/lib/pkgconfig")),
        ("PREFIX", (*prefix).to_owned()),
        ("RANLIB", "ranlib".to_owned()),
        ("SOURCES", places.sources.to_owned()),
        ("SOURCE_DATE_EPOCH", recipe.source_date.to_string()),
        ("STRIP", "strip".to_owned()),
        ("TMPDIR", places.temporary.to_owned()),
        ("TRIPLE", triple.to_owned()),
        ("TZ", "UTC".to_owned()),
        ("ZIG_GLOBAL_CACHE_DIR", places.compiler_cache.to_owned()),
        ("ZIG_LOCAL_CACHE_DIR", places.local_cache.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    all.extend(recipe.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

#[cfg(test)]
mod tests {
    use kitbag_toolsets::Catalog;

    use super::*;

    const PLACES: Places<'_> = Places {
        work: "/w",
        prefix: "/p",
        sources: "/s",
        temporary: "/t",
        compiler_cache: "/zc",
        local_cache: "/zl",
        path: "/wrappers:/usr/bin:/bin",
    };

    fn of(recipe: &str, machine: Machine) -> BTreeMap<String, String> {
        environment(Catalog::builtin().unwrap().recipe(recipe).unwrap(), machine, "2", &PLACES)
    }

    #[test]
    fn a_target_is_configured_for_itself() {
        let environment = of("strace", Machine::Target(Arch::Arm64));
        assert_eq!(
            environment["CONFIGURE"],
            "./configure --host=aarch64-linux-musl --build=x86_64-pc-linux-gnu --prefix=/p"
        );
        assert_eq!(environment["ARCH"], "arm64");
        assert_eq!(environment["SOURCE_DATE_EPOCH"], "1670803200");
    }

    #[test]
    fn a_generator_is_configured_for_the_machine_that_builds() {
        let environment = of("byacc", Machine::Build);
        assert_eq!(
            environment["CONFIGURE"],
            "./configure --host=x86_64-pc-linux-gnu --build=x86_64-pc-linux-gnu --prefix=/p"
        );
    }

    #[test]
    fn a_recipe_can_replace_a_variable() {
        assert_eq!(of("strace", Machine::Target(Arch::Amd64))["CPPFLAGS"], "-I/p/include");
        assert_eq!(of("openssl", Machine::Target(Arch::Amd64))["CPPFLAGS"], "");
    }
}
