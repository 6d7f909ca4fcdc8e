//! Go programs, built once and kept outside the checkout. Safe to delete at any time, and safe for several users at once.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{Result, file, run},
    image::hex,
};

/// A program to be built from Go modules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a> {
    /// What its file in the cache is called, before the key.
    pub(crate) name: &'a str,
    /// `go.mod`, `go.sum` and what is written in Go, by file name. They are part of our program, and their content is
    /// the cache's key.
    pub(crate) sources: &'a [(&'a str, &'a str)],
    /// The package to build: `.`, or one of a module that `go.mod` names as a tool.
    pub(crate) package: &'a str,
    /// Variables that the linker sets, by their names with their packages' path.
    pub(crate) stamps: &'a [(&'a str, &'a str)],
    /// What a build is and how long it takes, for who waits.
    pub(crate) announcement: &'a str,
}

impl Program<'_> {
    /// The program, built if it is not in `cache`. `say` is told before a build starts.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub(crate) fn built_in(&self, cache: &Path, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        let version = run(go().args(["env", "GOVERSION", "GOARCH"]))?;
        let path = cache.join(format!("{}-{}", self.name, self.key(&String::from_utf8_lossy(&version.stdout))));
        if path.exists() {
            return Ok(path);
        }
        fs::create_dir_all(cache).map_err(file("make", cache))?;
        let lock = cache.join(format!("{}.lock", self.name));
        let lock_file = File::create(&lock).map_err(file("write", &lock))?;
        lock_file.lock().map_err(file("lock", &lock))?;
        if path.exists() {
            return Ok(path);
        }
        say(&format!("building {}", self.announcement));
        let prefix = format!("{}-build-", self.name);
        remove_stale(cache, &prefix)?;
        let work = tempfile::Builder::new().prefix(&prefix).tempdir_in(cache).map_err(file("write in", cache))?;
        for (name, content) in self.sources {
            let source = work.path().join(name);
            fs::write(&source, content).map_err(file("write", &source))?;
        }
        let stamps: String = self.stamps.iter().map(|(name, value)| format!(" -X {name}={value}")).collect();
        let mut build = go();
        build.current_dir(work.path()).args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"]);
        build.args(["-ldflags", &format!("-s -w -buildid={stamps}"), "-o", "built", self.package]);
        run(&mut build)?;
        fs::rename(work.path().join("built"), &path).map_err(file("rename", &path))?;
        Ok(path)
    }

    /// A short name for what this version of Go builds.
    fn key(&self, version: &str) -> String {
        let lengths = self.sources.iter().map(|(name, content)| format!("{name} {}\n{content}", content.len()));
        let all = format!("{version}\n{} {:?}\n{}", self.package, self.stamps, lengths.collect::<String>());
        hex(all.as_bytes())[..16].to_owned()
    }
}

/// Go, without what a user has set for it that changes what comes out. It doesn't fetch another version of itself.
fn go() -> Command {
    let mut go = Command::new("go");
    go.envs([("CGO_ENABLED", "0"), ("GOFLAGS", ""), ("GOWORK", "off"), ("GOTOOLCHAIN", "local")]);
    go
}

/// Remove what interrupted builds left. The lock is held, so none of them is under way.
fn remove_stale(cache: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(cache).map_err(file("read", cache))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_dir_all(entry.path()).map_err(file("remove", entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: [(&str, &str); 2] = [
        ("go.mod", "module hello\n\ngo 1.26.0\n"),
        ("main.go", "package main\n\nvar Word = \"\"\n\nfunc main() { print(Word) }\n"),
    ];

    fn program<'a>(sources: &'a [(&'a str, &'a str)]) -> Program<'a> {
        Program { name: "hello", sources, package: ".", stamps: &[("main.Word", "stamped")], announcement: "hello" }
    }

    #[test]
    fn a_program_is_built_once() {
        let cache = tempfile::tempdir().unwrap();
        fs::create_dir(cache.path().join("hello-build-interrupted")).unwrap();
        let mut said = Vec::new();
        let path = program(&HELLO).built_in(cache.path(), &mut |text| said.push(text.to_owned())).unwrap();
        let again = program(&HELLO).built_in(cache.path(), &mut |text| said.push(text.to_owned())).unwrap();
        assert_eq!((path.clone(), vec!["building hello".to_owned()]), (again, said));
        assert_eq!(run(&mut Command::new(&path)).unwrap().stderr, b"stamped");
        let mut left: Vec<_> = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        left.sort();
        assert_eq!(left, [path, cache.path().join("hello.lock")]);
    }

    #[test]
    fn a_key_depends_on_names_contents_package_and_the_compiler() {
        let key = |sources: &[(&str, &str)], version| program(sources).key(version);
        let base = key(&[("a", "x"), ("b", "y")], "go1");
        assert_eq!(base, key(&[("a", "x"), ("b", "y")], "go1"));
        for other in [key(&[("a", "x"), ("b", "z")], "go1"), key(&[("a", "xb"), ("", "y")], "go1")] {
            assert_ne!(base, other);
        }
        assert_ne!(base, key(&[("a", "x"), ("b", "y")], "go2"));
        assert_ne!(base, Program { package: "./b", ..program(&[("a", "x"), ("b", "y")]) }.key("go1"));
    }
}
