//! Archives that people unpack: files in one directory, sorted, owned by root. The same files give the same bytes.

use std::collections::BTreeMap;

use kitbag_builder::layer::Tree;

use crate::Result;

/// The files as a tar, compressed as gzip. What has no dot in its name, and is no text of ours, is a program.
pub(super) fn gzip(files: &BTreeMap<String, Vec<u8>>, date: i64) -> Result<Vec<u8>> {
    let mut tree = Tree::new();
    for (name, content) in files {
        let mode = if is_program(name, content) { 0o755 } else { 0o644 };
        tree.file(&format!("/{name}"), mode, content.clone())?;
    }
    Ok(tree.pack_gzip(date).bytes)
}

fn is_program(name: &str, content: &[u8]) -> bool {
    content.starts_with(b"\x7fELF") || (content.starts_with(b"#!") && !name.contains('.'))
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn an_archive_is_unpacked_into_programs_and_texts() {
        let content =
            [("kubectl-kitbag", "\x7fELF"), ("complete", "#!/bin/sh\n"), ("a.bash", "#!/x"), ("LICENSE", "free")];
        let files = content.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into();
        let (one, two) = (gzip(&files, 1_700_000_000).unwrap(), gzip(&files, 1_700_000_000).unwrap());
        assert_eq!(one, two);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.tar.gz"), one).unwrap();
        let output = Command::new("tar").current_dir(dir.path()).args(["--utc", "-tvf", "x.tar.gz"]).output().unwrap();
        let listed: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            listed,
            [
                "-rw-r--r-- 0/0 4 2023-11-14 22:13 LICENSE",
                "-rw-r--r-- 0/0 4 2023-11-14 22:13 a.bash",
                "-rwxr-xr-x 0/0 10 2023-11-14 22:13 complete",
                "-rwxr-xr-x 0/0 4 2023-11-14 22:13 kubectl-kitbag",
            ]
        );
    }
}
