//! Where the sources of the dependencies lie on this machine: cargo says it. Their texts of panics hold their paths.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use kitbag_tests::programs;
use serde_json::Value;

use crate::Result;

/// What stands in a program for the directory with its dependencies.
const DEPENDENCIES: &str = "/dependencies";

/// Every package that the workspace is built of and that is not its own.
pub(crate) struct Sources(Vec<Source>);

struct Source {
    name: String,
    directory: PathBuf,
}

impl Sources {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let mut cargo = programs::cargo();
        let output = cargo.args(["metadata", "--format-version", "1", "--locked"]).output()?;
        if !output.status.success() {
            return Err(format!("`cargo metadata` fails: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Self::read(&serde_json::from_slice(&output.stdout)?).ok_or_else(|| "`cargo metadata` names no packages".into())
    }

    fn read(metadata: &Value) -> Option<Self> {
        let packages = metadata["packages"].as_array()?.iter().filter(|package| !package["source"].is_null());
        let sources = packages.map(|package| {
            let directory = Path::new(package["manifest_path"].as_str()?).parent()?.to_owned();
            Some(Source { name: package["name"].as_str()?.to_owned(), directory })
        });
        sources.collect::<Option<_>>().map(Self)
    }

    /// Where the packages of that name lie: one for each version.
    pub(crate) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Path> {
        self.0.iter().filter(move |source| source.name == name).map(|source| source.directory.as_path())
    }

    /// For cargo's environment: nothing of this machine's directories, or of where the packages came from, gets into a
    /// program. Takes the place of all other flags for rustc, which would make other bytes.
    pub(crate) fn flags(&self) -> (String, String) {
        let parents: BTreeSet<_> = self.0.iter().filter_map(|source| source.directory.parent()).collect();
        let flags: Vec<_> = parents
            .into_iter()
            .map(|parent| format!("--remap-path-prefix={}={DEPENDENCIES}", parent.display()))
            .collect();
        ("CARGO_ENCODED_RUSTFLAGS".to_owned(), flags.join("\u{1f}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_dependencies_have_no_place() {
        let package = |name: &str, path: &str, source| json!({ "name": name, "manifest_path": path, "source": source });
        let sources = Sources::read(&json!({ "packages": [
            package("bytes", "/home/me/registry/src/a/bytes-1.0.0/Cargo.toml", Some("registry")),
            package("http", "/home/me/registry/src/a/http-1.0.0/Cargo.toml", Some("registry")),
            package("http", "/vendor/http-2.0.0/Cargo.toml", Some("registry")),
            package("own", "/work/own/Cargo.toml", None),
        ] }))
        .unwrap();
        let (_, flags) = sources.flags();
        let expected = "--remap-path-prefix=/home/me/registry/src/a=/dependencies\u{1f}\
                        --remap-path-prefix=/vendor=/dependencies";
        assert_eq!(flags, expected);
        let expected = ["/home/me/registry/src/a/http-1.0.0", "/vendor/http-2.0.0"].map(Path::new);
        assert_eq!(sources.of("http").collect::<Vec<_>>(), expected);
    }
}
