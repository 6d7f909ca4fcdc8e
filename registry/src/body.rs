//! Blobs: layers of the store as bytes that can be sent.
//!
//! A blob is never served before its content has been found to have the hash of its name; again after its file has
//! changed. The check is done once, however many clients wait for it. Then the file is mapped, and sending it costs
//! about what `sendfile` does.

mod map;

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use kitbag_builder::store::Store;
use kitbag_toolsets::canonical::hex;
use kitbag_toolsets::generation::BlobRef;
use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use crate::images::BLOB_TYPE;
use crate::respond::Content;

/// The store's blobs, with what is known of each file.
#[derive(Debug)]
pub struct Blobs {
    store: Store,
    files: Mutex<HashMap<Digest, Arc<Checked>>>,
}

/// Why a blob cannot be served.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BlobError {
    /// The file is not what it should be.
    #[error(
        "blob `{digest}` is damaged in this registry's store: {damage}; find out more with `kitbag-builder verify`"
    )]
    Damaged {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The file cannot be read, for now.
    #[error("blob `{digest}` cannot be read from this registry's store: {source}")]
    Unreadable {
        /// The blob.
        digest: Digest,
        /// The system's answer.
        #[source]
        source: Arc<io::Error>,
    },
}

/// What is wrong with a blob's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is gone.
    #[error("its file is missing")]
    Missing,
    /// It is too short or too long.
    #[error("it has {found} bytes instead of {expected}")]
    Size {
        /// Bytes that there are.
        found: u64,
        /// Bytes that there should be.
        expected: u64,
    },
    /// It has other content.
    #[error("its content has the hash `sha256:{found}`")]
    Content {
        /// The hash of what there is.
        found: String,
    },
    /// Somebody writes to it, which nobody may.
    #[error("it changed while it was read")]
    Changing,
}

/// One state of a file, and what the check of it has found, once there has been one.
#[derive(Debug)]
struct Checked {
    stamp: Stamp,
    verdict: OnceCell<Result<Content, Damage>>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Blobs {
    /// The blobs of a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, files: Mutex::new(HashMap::new()) }
    }

    /// The blob's content.
    ///
    /// # Errors
    /// [`BlobError`]: it is damaged, or cannot be read.
    pub async fn open(&self, blob: &BlobRef) -> Result<Content, BlobError> {
        let path = self.store.blob_path(&blob.digest);
        let unreadable = |source| failed(&blob.digest, source);
        // A look at what the kernel has in memory already: cheaper than handing it to another thread.
        let stamp = Stamp::of(&path.metadata().map_err(unreadable)?);
        let checked = self.checked(&blob.digest, stamp);
        if checked.verdict.get().is_none() {
            // In a task of its own, so that a client that goes away does not take the others' check with it.
            let (checked, blob) = (Arc::clone(&checked), blob.clone());
            let task = tokio::spawn(async move {
                let check = async || tokio::task::spawn_blocking(move || check(&path, &blob, stamp)).await?;
                checked.verdict.get_or_try_init(check).await.map(|_| ())
            });
            task.await.unwrap_or_else(|ended| Err(ended.into())).map_err(unreadable)?;
        }
        match checked.verdict.get() {
            Some(Ok(content)) => Ok(content.clone()),
            Some(Err(damage)) => Err(BlobError::Damaged { digest: blob.digest.clone(), damage: damage.clone() }),
            None => Err(unreadable(io::ErrorKind::Interrupted.into())),
        }
    }

    /// What is known of the file in this state. What was known of it in another one is forgotten.
    fn checked(&self, digest: &Digest, stamp: Stamp) -> Arc<Checked> {
        // The map is whole between any two of its operations, whatever became of who held the lock.
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match files.get(digest) {
            Some(checked) if checked.stamp == stamp => Arc::clone(checked),
            _ => {
                let checked = Arc::new(Checked { stamp, verdict: OnceCell::new() });
                files.insert(digest.clone(), Arc::clone(&checked));
                checked
            }
        }
    }
}

/// Reads the file, and maps it if it is what it should be. The verdict is about the open file, so it holds for what is
/// mapped even if another file takes the name meanwhile.
fn check(path: &Path, blob: &BlobRef, stamp: Stamp) -> io::Result<Result<Content, Damage>> {
    let mut file = File::open(path)?;
    let verdict = verdict(&mut file, blob, stamp)?;
    if let Err(damage) = &verdict {
        tracing::error!(digest = %blob.digest, path = %path.display(), "a blob is damaged: {damage}");
        return Ok(Err(damage.clone()));
    }
    let bytes = map::map(&file)?;
    Ok(Ok(Content::new(bytes, BLOB_TYPE, blob.digest.as_ref())))
}

fn verdict(file: &mut File, blob: &BlobRef, stamp: Stamp) -> io::Result<Result<(), Damage>> {
    if stamp.size != blob.size {
        return Ok(Err(Damage::Size { found: stamp.size, expected: blob.size }));
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    let found = hex(&hash.finalize());
    if Stamp::of(&file.metadata()?) != stamp {
        return Ok(Err(Damage::Changing));
    }
    Ok(if found == blob.digest.digest() { Ok(()) } else { Err(Damage::Content { found }) })
}

fn failed(digest: &Digest, source: io::Error) -> BlobError {
    let digest = digest.clone();
    if source.kind() == io::ErrorKind::NotFound {
        BlobError::Damaged { digest, damage: Damage::Missing }
    } else {
        BlobError::Unreadable { digest, source: Arc::new(source) }
    }
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

impl BlobError {
    /// The digest of the blob.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Damaged { digest, .. } | Self::Unreadable { digest, .. } => digest,
        }
    }
}

#[cfg(test)]
mod tests;
