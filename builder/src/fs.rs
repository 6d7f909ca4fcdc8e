//! The file system, so that every error names its path and every file that others read is complete or absent.
//!
//! Not an abstraction over file systems: only what the crate needs.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// First characters of the name of every file that is not finished yet.
pub const TEMPORARY: &str = ".tmp-";

/// What could not be done, to which path, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`: {source}", path.display())]
pub struct FsError {
    /// In words: `read`, `write`, `create`.
    pub action: &'static str,
    /// The path.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

impl FsError {
    /// Whether the path does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Names action and path in the error of an I/O operation: `File::open(path).at("open", path)`.
pub trait At<T> {
    /// Does it.
    ///
    /// # Errors
    /// The same error, with its path.
    fn at(self, action: &'static str, path: &Path) -> Result<T, FsError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FsError> {
        self.map_err(|source| FsError { action, path: path.to_owned(), source })
    }
}

/// The content of a file.
///
/// # Errors
/// [`FsError`].
pub fn read(path: &Path) -> Result<Vec<u8>, FsError> {
    fs::read(path).at("read", path)
}

/// The size of a file in bytes; `None` if nothing is there.
///
/// # Errors
/// [`FsError`], but not when the path does not exist.
pub fn size(path: &Path) -> Result<Option<u64>, FsError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

/// The size of a file in bytes, and when it was last modified.
///
/// # Errors
/// [`FsError`].
pub fn size_and_time(path: &Path) -> Result<(u64, SystemTime), FsError> {
    let metadata = fs::metadata(path).at("read", path)?;
    Ok((metadata.len(), metadata.modified().at("read", path)?))
}

/// The names in a directory, sorted. Names that are not UTF-8 appear with replacement characters.
///
/// # Errors
/// [`FsError`].
pub fn list(dir: &Path) -> Result<Vec<String>, FsError> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let names: io::Result<Vec<String>> = fs::read_dir(dir).and_then(|entries| entries.map(name).collect());
    let mut names = names.at("list", dir)?;
    names.sort_unstable();
    Ok(names)
}

/// Makes a directory and its parents, where they are missing.
///
/// # Errors
/// [`FsError`].
pub fn create_dir_all(dir: &Path) -> Result<(), FsError> {
    faults::step().and_then(|()| fs::create_dir_all(dir)).at("create", dir)
}

/// Removes a file.
///
/// # Errors
/// [`FsError`].
pub fn remove_file(path: &Path) -> Result<(), FsError> {
    faults::step().and_then(|()| fs::remove_file(path)).at("remove", path)
}

/// Sets when a file was last modified. Its content stays as it is.
///
/// # Errors
/// [`FsError`].
pub fn set_time(path: &Path, time: SystemTime) -> Result<(), FsError> {
    let set = |file: File| file.set_modified(time);
    faults::step().and_then(|()| File::open(path)).and_then(set).at("set the time of", path)
}

/// Takes the lock that the file at `path` stands for; `None` if another process has it. It ends with the file handle,
/// or with the process.
///
/// # Errors
/// [`FsError`].
pub fn lock(path: &Path) -> Result<Option<File>, FsError> {
    let file = File::options().create(true).append(true).open(path).at("open", path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(source).at("lock", path),
    }
}

/// Writes a file as a whole: whoever opens `path`, now or after a power cut, finds what was there before or all of
/// `bytes`. Who has the old file open keeps it.
///
/// # Errors
/// [`FsError`]; then `path` is as it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    write_atomic_with(
        path,
        |error| error,
        |mut file| {
            for part in faults::parts(bytes) {
                faults::step().and_then(|()| file.write_all(part)).at("write", path)?;
            }
            Ok(())
        },
    )
}

/// [`write_atomic`] of what `fill` writes, piece by piece. `failed` makes its error of ours.
///
/// # Errors
/// The first one; then `path` is as it was.
pub fn write_atomic_with<E>(
    path: &Path,
    failed: impl Fn(FsError) -> E,
    fill: impl FnOnce(&File) -> Result<(), E>,
) -> Result<(), E> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = dir.join(format!("{TEMPORARY}{}-{number}", process::id()));
    let write = || {
        let file = faults::step().and_then(|()| File::create_new(&temporary)).at("create", &temporary);
        let file = file.map_err(&failed)?;
        fill(&file)?;
        let synced = faults::step().and_then(|()| file.sync_all()).at("write", path);
        synced.and_then(|()| rename(&temporary, path)).map_err(&failed)
    };
    let written = write();
    if written.is_err() {
        // The error that matters is the first one.
        let _ = remove_file(&temporary);
    }
    written?;
    sync_dir(dir).map_err(failed)
}

fn rename(from: &Path, to: &Path) -> Result<(), FsError> {
    faults::step().and_then(|()| fs::rename(from, to)).at("write", to)
}

fn sync_dir(dir: &Path) -> Result<(), FsError> {
    faults::step().and_then(|()| File::open(dir)).and_then(|dir| dir.sync_all()).at("write", dir)
}

#[cfg(not(test))]
mod faults {
    //! Without tests, nothing happens here.

    pub(super) fn step() -> std::io::Result<()> {
        Ok(())
    }

    pub(super) fn parts(bytes: &[u8]) -> [&[u8]; 1] {
        [bytes]
    }
}

#[cfg(test)]
pub(crate) mod faults {
    //! Ends the thread's power to change the disk after a number of steps: for the disk, that is being killed.

    use std::cell::Cell;
    use std::io;

    thread_local!(static LEFT: Cell<Option<usize>> = const { Cell::new(None) });

    /// Runs `work`, whose file operations fail from step `steps` on. Gives its result and whether it ran out of steps.
    pub(crate) fn after<T>(steps: usize, work: impl FnOnce() -> T) -> (T, bool) {
        LEFT.set(Some(steps));
        let result = work();
        (result, LEFT.take() == Some(0))
    }

    pub(super) fn step() -> io::Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("killed here by the test")),
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }

    /// Two halves, so that a test can stop between them.
    pub(super) fn parts(bytes: &[u8]) -> [&[u8]; 2] {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        [first, second]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_their_path() {
        let error = read(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "cannot read `/nowhere/at/all`: No such file or directory (os error 2)");
    }

    #[test]
    fn a_file_is_written_wholly_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_atomic(&path, b"before").unwrap();
        for steps in 0.. {
            let (result, stopped) = faults::after(steps, || write_atomic(&path, b"after and longer"));
            let content = read(&path).unwrap();
            assert!(content == b"before" || content == b"after and longer", "step {steps}: {content:?}");
            if !stopped {
                result.unwrap();
                assert_eq!(content, b"after and longer");
                break;
            }
        }
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let occupied = dir.path().join("directory");
        create_dir_all(&occupied.join("not empty")).unwrap();
        write_atomic(&occupied, b"x").unwrap_err();
        assert_eq!(list(dir.path()).unwrap(), ["directory"]);
    }
}
