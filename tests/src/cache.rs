//! What is built once and kept outside the checkout: the Kubernetes programs. Safe to delete at any time, and safe for
//! several users at once.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{Result, file, run},
    image::hex,
};

/// The sources of the multi-call binary; they are part of this program, and their content is the cache's key.
const SOURCES: [(&str, &str); 5] = [
    ("go.mod", include_str!("../cluster/go.mod")),
    ("go.sum", include_str!("../cluster/go.sum")),
    ("main.go", include_str!("../cluster/main.go")),
    ("etcd.go", include_str!("../cluster/etcd.go")),
    ("pull.go", include_str!("../cluster/pull.go")),
];

/// Unstamped, the programs call themselves v0.0.0, and clients complain of the skew.
const STAMPS: [(&str, &str); 4] =
    [("gitVersion", "v1.36.3"), ("gitMajor", "1"), ("gitMinor", "36"), ("gitCommit", "v1.36.3")];

/// How the directories begin in which builds are made.
const BUILD: &str = "kubernetes-build-";

/// kitbag's directory below the user's cache directory.
pub fn dir() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache");
    env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).unwrap_or_else(home).join("kitbag")
}

/// The Kubernetes programs in one file, built if they are not in the cache. `say` is told before a build starts.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn kubernetes(say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    kubernetes_in(&dir(), say)
}

fn kubernetes_in(cache: &Path, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let version = run(Command::new("go").args(["env", "GOVERSION", "GOARCH"]))?;
    let path = cache.join(format!("kubernetes-{}", key(&SOURCES, &String::from_utf8_lossy(&version.stdout))));
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(cache).map_err(file("make", cache))?;
    let lock = cache.join("kubernetes.lock");
    let lock_file = File::create(&lock).map_err(file("write", &lock))?;
    lock_file.lock().map_err(file("lock", &lock))?;
    if path.exists() {
        return Ok(path);
    }
    say("building Kubernetes 1.36.3 from its Go modules (once; about 5 minutes on two cores)");
    remove_stale(cache)?;
    let work = tempfile::Builder::new().prefix(BUILD).tempdir_in(cache).map_err(file("write in", cache))?;
    for (name, content) in SOURCES {
        let source = work.path().join(name);
        fs::write(&source, content).map_err(file("write", &source))?;
    }
    let stamps = STAMPS.map(|(name, value)| format!(" -X k8s.io/component-base/version.{name}={value}")).concat();
    let mut go = Command::new("go");
    go.current_dir(work.path()).env("CGO_ENABLED", "0").args([
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-mod=readonly",
    ]);
    go.args(["-ldflags", &format!("-s -w{stamps}"), "-o", "built", "."]);
    run(&mut go)?;
    fs::rename(work.path().join("built"), &path).map_err(file("rename", &path))?;
    Ok(path)
}

/// Remove what interrupted builds left. The lock is held, so none of them is under way.
fn remove_stale(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache).map_err(file("read", cache))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(BUILD) {
            fs::remove_dir_all(entry.path()).map_err(file("remove", entry.path()))?;
        }
    }
    Ok(())
}

/// A short name for what is built from `sources` by this version of Go.
fn key(sources: &[(&str, &str)], version: &str) -> String {
    let lengths = sources.iter().map(|(name, content)| format!("{name} {}\n{content}", content.len()));
    let all = format!("{version}\n{STAMPS:?}\n{}", lengths.collect::<String>());
    hex(all.as_bytes())[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_names_contents_and_the_compiler() {
        let base = key(&[("a", "x"), ("b", "y")], "go1");
        assert_eq!(base, key(&[("a", "x"), ("b", "y")], "go1"));
        for other in [key(&[("a", "x"), ("b", "z")], "go1"), key(&[("a", "xb"), ("", "y")], "go1")] {
            assert_ne!(base, other);
        }
        assert_ne!(base, key(&[("a", "x"), ("b", "y")], "go2"));
    }
}
