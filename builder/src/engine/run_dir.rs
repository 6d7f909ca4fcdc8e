//! A directory for the builds of this run, that is gone afterwards, even if only the next run can remove it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process;

use crate::fs::{self, FsError};
use crate::toolchain::remove_tree;

/// The directory. Its lock, which ends with the process, says that it is in use.
#[derive(Debug)]
pub(super) struct RunDir {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl RunDir {
    /// Makes one below `work`, after removing those of runs that were killed.
    pub(super) fn create(work: &Path) -> Result<Self, FsError> {
        fs::create_dir_all(work)?;
        sweep(work)?;
        let path = work.join(process::id().to_string());
        let lock_path = path.with_extension("lock");
        loop {
            if let Some(lock) = fs::lock(&lock_path)? {
                remove_tree(&path)?;
                fs::create_dir_all(&path)?;
                return Ok(Self { path, lock_path, _lock: lock });
            }
            // Another run is just sweeping it.
            std::thread::yield_now();
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // The next run will try again.
        let _ = remove_tree(&self.path);
        let _ = fs::remove_file(&self.lock_path);
    }
}

fn sweep(work: &Path) -> Result<(), FsError> {
    for name in fs::list(work)? {
        let Some(run) = name.strip_suffix(".lock") else { continue };
        if let Some(_lock) = fs::lock(&work.join(&name))? {
            remove_tree(&work.join(run))?;
            fs::remove_file(&work.join(&name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_has_left_is_removed_and_what_another_uses_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path();
        for run in ["1", "2"] {
            fs::create_dir_all(&work.join(run).join("deep")).unwrap();
        }
        std::fs::write(work.join("1.lock"), "").unwrap();
        let _used = fs::lock(&work.join("2.lock")).unwrap().unwrap();
        let run = RunDir::create(work).unwrap();
        let own = process::id().to_string();
        assert!(run.path().is_dir());
        drop(run);
        let left = fs::list(work).unwrap();
        assert_eq!(left, ["2", "2.lock"], "{own}");
    }
}
