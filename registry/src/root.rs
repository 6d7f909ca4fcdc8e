//! The directory of a store, held open: whatever takes its name later, its blobs are still found.
//!
//! Files only: what they should contain is `body`'s affair.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::image::Digest;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, fstat, openat, statat};

/// A store's directory.
#[derive(Debug)]
pub(crate) struct Root {
    directory: OwnedFd,
    identity: Identity,
}

/// Device and inode: which directory it is, whatever it is called.
pub(crate) type Identity = (u64, u64);

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    pub(crate) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Root {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let directory = openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&directory)?;
        Ok(Self { directory, identity: (stat.st_dev, stat.st_ino) })
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// The state of the blob's file. Costs no file descriptor.
    pub(crate) fn stamp(&self, digest: &Digest) -> io::Result<Stamp> {
        Ok(Stamp::from(statat(&self.directory, blob_path(digest), AtFlags::empty())?))
    }

    pub(crate) fn blob(&self, digest: &Digest) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(openat(&self.directory, blob_path(digest), flags, Mode::empty())?.into())
    }
}

/// Relative to the store (image specification 1.1, "Image Layout", `blobs` directory).
fn blob_path(digest: &Digest) -> PathBuf {
    Path::new("blobs").join(digest.algorithm().as_ref()).join(digest.digest())
}

/// The first root that has the blob, and the state of its file there.
pub(crate) fn find<'a>(roots: &'a [Arc<Root>], digest: &Digest) -> io::Result<(&'a Arc<Root>, Stamp)> {
    let mut refusal = io::Error::from(io::ErrorKind::NotFound);
    for root in roots {
        match root.stamp(digest) {
            Ok(stamp) => return Ok((root, stamp)),
            // That it cannot be read is the better reason.
            Err(error) if refusal.kind() == io::ErrorKind::NotFound => refusal = error,
            Err(_) => {}
        }
    }
    Err(refusal)
}

impl Stamp {
    pub(crate) fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

impl From<Stat> for Stamp {
    fn from(stat: Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size as u64,
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_ask_for_a_file_agree() {
        let dir = tempfile::tempdir().unwrap();
        let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        std::fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        std::fs::write(dir.path().join(blob_path(&digest)), "12345").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let stamp = root.stamp(&digest).unwrap();
        assert_eq!(stamp, Stamp::of(&root.blob(&digest).unwrap().metadata().unwrap()));
        assert_eq!(stamp.size, 5);
    }
}
