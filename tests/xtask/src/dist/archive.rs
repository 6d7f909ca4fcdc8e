//! Archives that people unpack: files in one directory, sorted, owned by root. The same files give the same bytes.

use std::fs;

use kitbag_builder::layer::Tree;

use super::Files;
use crate::{Result, release::Built};

/// These programs and texts as a tar, compressed as gzip.
pub(super) fn gzip(programs: &[&str], built: &Built, texts: &Files, date: i64) -> Result<Vec<u8>> {
    let mut tree = Tree::new();
    for name in programs {
        tree.file(&format!("/{name}"), 0o755, fs::read(built.directory.join(name))?)?;
    }
    for (name, content) in texts {
        let mode = if is_program(name, content) { 0o755 } else { 0o644 };
        tree.file(&format!("/{name}"), mode, content.clone())?;
    }
    Ok(tree.pack_gzip(date).bytes)
}

/// Whether a text is a script for people to run, as the one that answers kubectl's questions.
fn is_program(name: &str, content: &[u8]) -> bool {
    content.starts_with(b"#!") && !name.contains('.')
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_archive_is_unpacked_into_programs_and_texts() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kubectl-kitbag"), "\x7fELF").unwrap();
        let built = Built { os: "linux", arch: "amd64", directory: dir.path().to_owned() };
        let texts = [("complete", "#!/bin/sh\n"), ("a.bash", "#!/x"), ("LICENSE", "free")];
        let texts = texts.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into();
        let make = || gzip(&["kubectl-kitbag"], &built, &texts, 1_700_000_000).unwrap();
        let (one, two) = (make(), make());
        assert_eq!(one, two);
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
