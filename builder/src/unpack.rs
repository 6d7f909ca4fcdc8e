//! Archives of sources into directories. Their hash has been checked before: what is in them is what the recipe's
//! author has seen.

use std::fs::{self as std_fs, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use kitbag_toolsets::recipe::Source;

use crate::fs::{self, At as _, FsError};

/// Why an archive does not unpack.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// `tar` could not be started.
    #[error("cannot run `tar`: {0}; install it, with `xz` and `bzip2`")]
    NoTar(#[source] io::Error),
    /// `tar` does not like it.
    #[error("`tar` cannot unpack `{}`: {message}", archive.display())]
    Tar {
        /// The archive.
        archive: PathBuf,
        /// What tar said.
        message: String,
    },
    /// Damaged, or of a kind that is not known.
    #[error("cannot read `{}`: {source}", archive.display())]
    Zip {
        /// The archive.
        archive: PathBuf,
        /// What is wrong.
        #[source]
        source: zip::result::ZipError,
    },
    /// The file system says no.
    #[error(transparent)]
    Fs(FsError),
}

/// Unpacks `archive`, which is what `source` pins, into `dir`.
///
/// # Errors
/// [`UnpackError`].
pub fn unpack(source: &Source, archive: &Path, dir: &Path) -> Result<(), UnpackError> {
    fs::create_dir_all(dir).map_err(UnpackError::Fs)?;
    match Path::new(&source.file).extension().and_then(|extension| extension.to_str()) {
        Some("whl" | "zip") => zip(archive, dir, source.strip),
        _ => tar(source, archive, dir),
    }
}

/// The host's tar: it knows every compression that upstreams use.
fn tar(source: &Source, archive: &Path, dir: &Path) -> Result<(), UnpackError> {
    let output = Command::new("tar")
        .args(tar_arguments(source))
        .arg("-C")
        .arg(dir)
        .arg("-f")
        .arg(archive)
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .map_err(UnpackError::NoTar)?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("no reason given").to_owned();
    Err(UnpackError::Tar { archive: archive.to_owned(), message })
}

/// Globs are relative to the stripped path, so each dropped component is one more `*`.
fn tar_arguments(source: &Source) -> Vec<String> {
    let mut arguments: Vec<String> = ["-x", "--no-same-owner", "--no-same-permissions"].map(str::to_owned).into();
    arguments.push(format!("--strip-components={}", source.strip));
    if !source.exclude.is_empty() {
        arguments.extend(["--anchored", "--wildcards", "--no-wildcards-match-slash"].map(str::to_owned));
        arguments.extend(source.exclude.iter().map(|glob| format!("--exclude={}{glob}", "*/".repeat(source.strip))));
    }
    arguments
}

/// Unpacks a zip archive, a wheel for one, without its first `strip` path components.
///
/// # Errors
/// [`UnpackError`].
pub fn zip(archive: &Path, dir: &Path, strip: usize) -> Result<(), UnpackError> {
    let bad = |source| UnpackError::Zip { archive: archive.to_owned(), source };
    let file = File::open(archive).at("open", archive).map_err(UnpackError::Fs)?;
    let mut zip = zip::ZipArchive::new(io::BufReader::new(file)).map_err(bad)?;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(bad)?;
        let Some(path) = entry.enclosed_name().and_then(|path| stripped(&path, strip)) else { continue };
        let path = dir.join(path);
        if entry.is_dir() {
            fs::create_dir_all(&path).map_err(UnpackError::Fs)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(UnpackError::Fs)?;
        }
        let mut out = File::create(&path).at("create", &path).map_err(UnpackError::Fs)?;
        io::copy(&mut entry, &mut out).at("write", &path).map_err(UnpackError::Fs)?;
    }
    Ok(())
}

/// `path` without its first components; nothing where that is all.
fn stripped(path: &Path, strip: usize) -> Option<PathBuf> {
    let rest: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).skip(strip).collect();
    (!rest.as_os_str().is_empty()).then_some(rest)
}

/// Puts a copy of an archive that stays packed where the steps find it.
///
/// # Errors
/// [`FsError`].
pub(crate) fn copy(archive: &Path, dir: &Path, name: &str) -> Result<(), FsError> {
    let to = dir.join(name);
    std_fs::copy(archive, &to).at("write", &to).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn source(file: &str, strip: usize, exclude: &[&str]) -> Source {
        Source {
            file: file.to_owned(),
            sha256: String::new(),
            urls: Vec::new(),
            debian: None,
            pypi: None,
            strip,
            unpack: None,
            exclude: exclude.iter().map(|glob| (*glob).to_owned()).collect(),
        }
    }

    fn files(dir: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![dir.to_owned()];
        while let Some(next) = open.pop() {
            for name in fs::list(&next).unwrap() {
                let path = next.join(name);
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.push(path.strip_prefix(dir).unwrap().display().to_string());
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn a_tar_loses_its_first_components_and_what_is_excluded() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tar");
        let mut builder = tar::Builder::new(File::create(&archive).unwrap());
        for path in ["a-1/src/a.c", "a-1/demos/x/y", "a-1/apps/demos/z", "a-1/t/r_data/big", "a-1/t/r/small"] {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(0);
            builder.append_data(&mut header, path, io::empty()).unwrap();
        }
        builder.finish().unwrap();
        let out = dir.path().join("out");
        unpack(&source("a.tar", 1, &["demos/*", "t/*_data"]), &archive, &out).unwrap();
        assert_eq!(files(&out), ["apps/demos/z", "src/a.c", "t/r/small"]);
    }

    #[test]
    fn a_wheel_is_a_zip_whose_paths_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.whl");
        let mut writer = zip::ZipWriter::new(File::create(&archive).unwrap());
        for path in ["top/a/b", "top/c", "../../evil"] {
            writer.start_file(path, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(b"x").unwrap();
        }
        writer.finish().unwrap();
        let out = dir.path().join("deep/out");
        unpack(&source("a.whl", 1, &[]), &archive, &out).unwrap();
        assert_eq!(files(dir.path()), ["a.whl", "deep/out/a/b", "deep/out/c"]);
    }

    #[test]
    fn what_is_no_archive_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tar.xz");
        std_fs::write(&archive, "hello").unwrap();
        let error = unpack(&source("a.tar.xz", 1, &[]), &archive, &dir.path().join("out")).unwrap_err();
        assert!(error.to_string().contains("a.tar.xz"), "{error}");
        std_fs::write(dir.path().join("b.zip"), "hello").unwrap();
        let error = unpack(&source("b.zip", 1, &[]), &dir.path().join("b.zip"), &dir.path().join("out")).unwrap_err();
        assert!(error.to_string().contains("b.zip"), "{error}");
    }
}
