//! Archives that people unpack: files in one directory, sorted, owned by root. The same files give the same bytes.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write as _},
};

use kitbag_builder::layer::Tree;
use time::OffsetDateTime;
use zip::{DateTime, ZipWriter, write::SimpleFileOptions};

use super::Files;
use crate::{Result, release::Built};

/// zlib's best compression: nobody waits for it.
const BEST: i64 = 9;

/// These programs and texts as a tar, compressed as gzip.
pub(super) fn gzip(programs: &[&str], built: &Built, texts: &Files, date: i64) -> Result<Vec<u8>> {
    let mut tree = Tree::new();
    for (name, (mode, content)) in files(programs, built, texts)? {
        tree.file(&format!("/{name}"), mode, content)?;
    }
    Ok(tree.pack_gzip(date).bytes)
}

/// The same as a zip, which Windows unpacks by itself.
pub(super) fn zip(programs: &[&str], built: &Built, texts: &Files, date: i64) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_level(Some(BEST)).last_modified_time(moment(date)?);
    for (name, (mode, content)) in files(programs, built, texts)? {
        archive.start_file(name, options.unix_permissions(mode))?;
        archive.write_all(&content)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// What goes in, by name, with its mode.
fn files(programs: &[&str], built: &Built, texts: &Files) -> Result<BTreeMap<String, (u32, Vec<u8>)>> {
    let programs = programs
        .iter()
        .map(|name| -> Result<_> { Ok(((*name).to_owned(), (0o755, fs::read(built.directory.join(name))?))) });
    let texts = texts.iter().map(|(name, content)| {
        let mode = if is_program(name, content) { 0o755 } else { 0o644 };
        Ok((name.clone(), (mode, content.clone())))
    });
    programs.chain(texts).collect()
}

/// As a zip says it: in UTC, as everything here, and from 1980 on.
fn moment(date: i64) -> Result<DateTime> {
    let date = OffsetDateTime::from_unix_timestamp(date)?;
    let year = u16::try_from(date.year())?;
    let (month, day) = (date.month().into(), date.day());
    Ok(DateTime::from_date_and_time(year, month, day, date.hour(), date.minute(), date.second()).unwrap_or_default())
}

/// Whether a text is a script for people to run, as the one that answers kubectl's questions.
fn is_program(name: &str, content: &[u8]) -> bool {
    content.starts_with(b"#!") && !name.contains('.')
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, process::Command};

    use super::*;

    /// A program and some texts.
    fn made(
        make: impl Fn(&[&str], &Built, &Files, i64) -> Result<Vec<u8>>,
        program: &str,
    ) -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(program), "\x7fELF").unwrap();
        let built = Built { os: "linux", arch: "amd64", directory: dir.path().to_owned() };
        let texts = [("complete", "#!/bin/sh\n"), ("a.bash", "#!/x"), ("LICENSE", "free")];
        let texts = texts.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into();
        let make = || make(&[program], &built, &texts, 1_700_000_000).unwrap();
        let (one, two) = (make(), make());
        assert_eq!(one, two);
        (dir, one)
    }

    #[test]
    fn an_archive_is_unpacked_into_programs_and_texts() {
        let (dir, archive) = made(gzip, "kubectl-kitbag");
        fs::write(dir.path().join("x.tar.gz"), archive).unwrap();
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
    #[test]
    fn a_zip_holds_the_same() {
        let (_, archive) = made(zip, "kubectl-kitbag.exe");
        let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
        let mut listed = Vec::new();
        for index in 0..archive.len() {
            let mut file = archive.by_index(index).unwrap();
            let mut content = String::new();
            file.read_to_string(&mut content).unwrap();
            let (mode, date) = (file.unix_mode().unwrap(), file.last_modified().unwrap());
            listed.push(format!("{mode:o} {date} {} {content:?}", file.name().unwrap()));
        }
        let expected = [
            "100644 2023-11-14 22:13:20 LICENSE \"free\"",
            "100644 2023-11-14 22:13:20 a.bash \"#!/x\"",
            "100755 2023-11-14 22:13:20 complete \"#!/bin/sh\\n\"",
            "100755 2023-11-14 22:13:20 kubectl-kitbag.exe \"\\u{7f}ELF\"",
        ];
        assert_eq!(listed, expected);
    }
}
