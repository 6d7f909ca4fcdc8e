//! `Cargo.lock`: the part of it that one package needs. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
struct LockFile {
    version: u32,
    package: Vec<Package>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
struct Package {
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<String>,
}

/// The lock file `text` with nothing but the package `root` and what it needs; of its own dependencies only `wanted`.
///
/// # Errors
/// What does not fit, in words.
pub fn pruned(text: &str, root: &str, wanted: &BTreeSet<String>) -> Result<String, String> {
    let file = parse(text)?;
    let mut by_name: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in &file.package {
        by_name.entry(&package.name).or_default().push(package);
    }
    // `name`, or `name version` where there are several; then `(source)`, where that is not enough either.
    let find = |reference: &str| -> Result<&Package, String> {
        let mut words = reference.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        let candidates = by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut matching = candidates.iter().filter(|package| version.is_none_or(|version| package.version == version));
        matching.next().copied().ok_or_else(|| format!("`{reference}` is not in the lock file"))
    };
    let mut root = find(root)?.clone();
    root.dependencies.retain(|reference| wanted.contains(reference.split(' ').next().unwrap_or_default()));
    if root.dependencies.len() < wanted.len() {
        return Err(format!("the lock file does not have all dependencies of `{}`", root.name));
    }
    let mut open: Vec<&str> = root.dependencies.iter().map(String::as_str).collect();
    let mut kept: BTreeSet<&Package> = BTreeSet::new();
    while let Some(reference) = open.pop() {
        let package = find(reference)?;
        if kept.insert(package) {
            open.extend(package.dependencies.iter().map(String::as_str));
        }
    }
    let mut packages: Vec<Package> = kept.into_iter().cloned().collect();
    packages.push(root);
    packages.sort();
    shorten(&mut packages);
    toml::to_string(&LockFile { version: file.version, package: packages }).map_err(|error| error.to_string())
}

/// Packages in the lock file `chosen` that `pinned` does not have, as `name version`.
///
/// # Errors
/// What does not fit, in words.
pub fn unpinned(pinned: &str, chosen: &str) -> Result<Vec<String>, String> {
    let key = |package: Package| (package.name, package.version, package.source, package.checksum);
    let pinned: BTreeSet<_> = parse(pinned)?.package.into_iter().map(key).collect();
    let chosen = parse(chosen)?.package.into_iter().map(key);
    Ok(chosen
        .filter(|package| !pinned.contains(package))
        .map(|(name, version, ..)| format!("{name} {version}"))
        .collect())
}

/// Where one version of a package is left, its name is enough: so cargo writes it.
fn shorten(packages: &mut [Package]) {
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for package in packages.iter() {
        *versions.entry(package.name.clone()).or_default() += 1;
    }
    for reference in packages.iter_mut().flat_map(|package| &mut package.dependencies) {
        let name = reference.split(' ').next().unwrap_or_default();
        if versions.get(name) == Some(&1) {
            *reference = name.to_owned();
        }
    }
}

fn parse(text: &str) -> Result<LockFile, String> {
    toml::from_str(text).map_err(|error| format!("the lock file: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOCK: &str = r#"
version = 4
[[package]]
name = "ours"
version = "0.1.0"
dependencies = ["bits", "sys 1.0.0", "tests"]
[[package]]
name = "bits"
version = "2.0.0"
source = "registry+https://registry.example"
checksum = "aa"
[[package]]
name = "sys"
version = "1.0.0"
source = "registry+https://registry.example"
checksum = "bb"
dependencies = ["bits"]
[[package]]
name = "sys"
version = "2.0.0"
source = "registry+https://registry.example"
checksum = "cc"
[[package]]
name = "tests"
version = "1.0.0"
dependencies = ["sys 2.0.0"]
"#;

    fn wanted(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_what_is_needed_stays() {
        insta::assert_snapshot!(pruned(LOCK, "ours", &wanted(&["bits", "sys"])).unwrap(), @r#"
        version = 4

        [[package]]
        name = "bits"
        version = "2.0.0"
        source = "registry+https://registry.example"
        checksum = "aa"

        [[package]]
        name = "ours"
        version = "0.1.0"
        dependencies = ["bits", "sys"]

        [[package]]
        name = "sys"
        version = "1.0.0"
        source = "registry+https://registry.example"
        checksum = "bb"
        dependencies = ["bits"]
        "#);
    }

    #[test]
    fn a_dependency_that_is_not_locked_is_an_error() {
        assert!(pruned(LOCK, "ours", &wanted(&["bits", "gone"])).unwrap_err().contains("`ours`"));
        assert!(pruned(LOCK, "gone", &wanted(&[])).unwrap_err().contains("`gone`"));
    }

    #[test]
    fn another_version_or_checksum_is_unpinned() {
        let less = pruned(LOCK, "ours", &wanted(&["bits"])).unwrap();
        assert_eq!(unpinned(LOCK, &less), Ok(Vec::new()));
        assert_eq!(unpinned(LOCK, &less.replace("2.0.0", "2.0.1")), Ok(vec!["bits 2.0.1".to_owned()]));
        assert_eq!(unpinned(LOCK, &less.replace("\"aa\"", "\"ab\"")), Ok(vec!["bits 2.0.0".to_owned()]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(cut in 0..LOCK.len(), text in "\\PC{0,20}") {
            let _ = pruned(&format!("{}{text}{}", &LOCK[..cut], &LOCK[cut..]), "ours", &wanted(&["bits"]));
        }
    }
}
