//! Where what is built once is kept, outside the checkout: the Kubernetes programs and much else. Safe to delete at any
//! time.

use std::{env, fs, path::PathBuf};

use crate::{
    error::{Result, file},
    go::Program,
};

const KUBERNETES: Program<'_> = Program {
    name: "kubernetes",
    sources: &[
        ("go.mod", include_str!("../cluster/go.mod")),
        ("go.sum", include_str!("../cluster/go.sum")),
        ("main.go", include_str!("../cluster/main.go")),
        ("etcd.go", include_str!("../cluster/etcd.go")),
        ("pull.go", include_str!("../cluster/pull.go")),
    ],
    package: ".",
    // Unstamped, the programs call themselves v0.0.0, and clients complain of the skew.
    stamps: &[
        ("k8s.io/component-base/version.gitVersion", "v1.36.3"),
        ("k8s.io/component-base/version.gitMajor", "1"),
        ("k8s.io/component-base/version.gitMinor", "36"),
        ("k8s.io/component-base/version.gitCommit", "v1.36.3"),
    ],
    announcement: "Kubernetes 1.36.3 from its Go modules (once; about 5 minutes on two cores)",
};

/// kitbag's directory below the user's cache directory.
pub fn dir() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache");
    env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).unwrap_or_else(home).join("kitbag")
}

/// A directory below it that goes when the answer is dropped. For what needs a disk of its own kind: the directory for
/// temporary files may be a mount that a node hides, or a file system that takes no overlay mounts.
///
/// # Errors
/// When the cache can't be written.
pub fn scratch(prefix: &str) -> Result<tempfile::TempDir> {
    let dir = dir();
    fs::create_dir_all(&dir).map_err(file("make", &dir))?;
    tempfile::Builder::new().prefix(prefix).tempdir_in(&dir).map_err(file("write in", &dir))
}

/// The Kubernetes programs in one file, built if they are not in the cache. `say` is told before a build starts.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn kubernetes(say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    KUBERNETES.built_in(&dir(), say)
}
