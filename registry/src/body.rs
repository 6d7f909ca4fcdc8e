//! Blobs: layers of the store as bytes that can be sent.
//!
//! A blob is never served before its content has been found to have the hash of its name; again after its file has
//! changed. The check is done once, however many clients wait for it. Then the file is mapped, and sending it costs
//! about what `sendfile` does.
//!
//! Before each time that a blob is served its file is looked at. Where it is gone, what was mapped of it is still
//! right. Where it was changed in place, which no builder does, it is checked again; only a response that is being sent
//! at that moment may carry the change, as with `sendfile`, and the client's own check of the digest finds it.

mod map;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kitbag_toolsets::canonical::hex;
use kitbag_toolsets::generation::BlobRef;
use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use crate::held::Held;
use crate::images::BLOB_TYPE;
use crate::metrics::Metrics;
use crate::respond::Content;
use crate::root::{Root, Stamp, find};

/// How many bytes are read at a time.
const BUFFER: usize = 128 << 10;
/// How often a file is looked at again that changes while it is checked: a builder may be replacing it.
const ATTEMPTS: usize = 3;

/// What is known of each blob's file.
#[derive(Debug)]
pub struct Blobs {
    files: Mutex<HashMap<Digest, Known>>,
    metrics: Arc<Metrics>,
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

/// What is known of a blob.
#[derive(Debug, Default)]
struct Known {
    checked: Option<Arc<Checked>>,
    /// Whether it should be there and was not when it was last looked for.
    missing: bool,
}

/// One state of a file, and what the check of it has found, once there has been one.
#[derive(Debug)]
struct Checked {
    stamp: Stamp,
    verdict: OnceCell<Result<Content, Damage>>,
}

impl Blobs {
    /// Nothing is known yet.
    #[must_use]
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { files: Mutex::default(), metrics }
    }

    /// The blob's content.
    ///
    /// # Errors
    /// [`BlobError`]: it is damaged, or cannot be read.
    pub(crate) async fn open(&self, held: &Held, blob: &BlobRef) -> Result<Content, BlobError> {
        let mut attempt = 1;
        loop {
            match self.open_once(held, blob).await {
                Err(BlobError::Damaged { damage: Damage::Changing, .. }) if attempt < ATTEMPTS => attempt += 1,
                result => {
                    if let Err(error @ BlobError::Damaged { damage: Damage::Changing, .. }) = &result {
                        tracing::error!("{error}");
                    }
                    return result;
                }
            }
        }
    }

    async fn open_once(&self, held: &Held, blob: &BlobRef) -> Result<Content, BlobError> {
        // A look at what the kernel has in memory already: cheaper than handing it to another thread.
        let (root, stamp) = match find(held.roots(), &blob.digest) {
            Ok(found) => found,
            Err(source) => return self.without_file(blob, source),
        };
        let checked = self.checked(&blob.digest, stamp);
        if checked.verdict.get().is_none() {
            let unreadable = |source: io::Error| failed(&blob.digest, source);
            // In a task of its own, so that a client that goes away does not take the others' check with it.
            let (checked, root, blob, metrics) =
                (Arc::clone(&checked), Arc::clone(root), blob.clone(), Arc::clone(&self.metrics));
            let task = tokio::spawn(async move {
                let check = async || tokio::task::spawn_blocking(move || check(&root, &blob, stamp, &metrics)).await?;
                checked.verdict.get_or_try_init(check).await.map(|_| ())
            });
            task.await.unwrap_or_else(|ended| Err(ended.into())).map_err(unreadable)?;
            self.count_damaged(&self.files());
        }
        match checked.verdict.get() {
            Some(Ok(content)) => Ok(content.clone()),
            Some(Err(damage)) => Err(BlobError::Damaged { digest: blob.digest.clone(), damage: damage.clone() }),
            None => Err(failed(&blob.digest, io::ErrorKind::Interrupted.into())),
        }
    }

    /// What is mapped of a file that has gone is as right as it was.
    fn without_file(&self, blob: &BlobRef, source: io::Error) -> Result<Content, BlobError> {
        let mapped = self.files().get(&blob.digest).and_then(|known| known.checked.clone());
        match mapped.as_ref().and_then(|checked| checked.verdict.get()) {
            Some(Ok(content)) => Ok(content.clone()),
            _ => Err(failed(&blob.digest, source)),
        }
    }

    /// What is known of the file in this state. What was known of it in another one is forgotten.
    fn checked(&self, digest: &Digest, stamp: Stamp) -> Arc<Checked> {
        let mut files = self.files();
        let known = match files.get_mut(digest) {
            Some(known) => known,
            None => files.entry(digest.clone()).or_default(),
        };
        let was_missing = std::mem::take(&mut known.missing);
        let checked = match &known.checked {
            Some(checked) if checked.stamp == stamp => Arc::clone(checked),
            _ => {
                let checked = Arc::new(Checked { stamp, verdict: OnceCell::new() });
                known.checked = Some(Arc::clone(&checked));
                checked
            }
        };
        if was_missing {
            self.count_damaged(&files);
        }
        checked
    }

    /// Remembers that a file is not there which a listed generation needs.
    pub(crate) fn missing(&self, held: &Held, digest: &Digest) {
        let mut files = self.files();
        if files.get(digest).is_some_and(|known| known.missing) || !held.lists(digest) {
            return;
        }
        tracing::error!(%digest, "a blob is damaged: {}", Damage::Missing);
        files.entry(digest.clone()).or_default().missing = true;
        self.count_damaged(&files);
    }

    /// Enters what rereading a file in this state has found.
    pub(crate) fn reread(&self, digest: &Digest, stamp: Stamp, verdict: Result<(), Damage>) {
        let mut files = self.files();
        let known = files.entry(digest.clone()).or_default();
        known.missing = false;
        // What was known of another state of the file is of no use any more.
        let before = known.checked.take().filter(|checked| checked.stamp == stamp);
        let was_damaged = before.as_ref().is_some_and(|checked| matches!(checked.verdict.get(), Some(Err(_))));
        known.checked = match verdict {
            Ok(()) => before.filter(|_| !was_damaged),
            Err(damage) => {
                if !was_damaged {
                    tracing::error!(%digest, "a blob is damaged: {damage}");
                }
                Some(Arc::new(Checked { stamp, verdict: OnceCell::new_with(Some(Err(damage))) }))
            }
        };
        files.retain(|_, known| known.missing || known.checked.is_some());
        self.count_damaged(&files);
    }

    /// Forgets blobs that nothing holds.
    pub(crate) fn retain(&self, held: &Held) {
        let layers: HashSet<&Digest> = held.layers().map(|layer| &layer.digest).collect();
        let mut files = self.files();
        files.retain(|digest, known| {
            known.missing = known.missing && held.lists(digest);
            layers.contains(digest) && (known.missing || known.checked.is_some())
        });
        files.shrink_to_fit();
        self.count_damaged(&files);
    }

    /// The blobs that are damaged, as far as is known, sorted.
    pub(crate) fn damaged(&self) -> Vec<Digest> {
        let files = self.files();
        let damaged = files.iter().filter(|(_, known)| known.is_damaged());
        let mut digests: Vec<Digest> = damaged.map(|(digest, _)| digest.clone()).collect();
        digests.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        digests
    }

    /// The damaged blobs whose files have become others, or are there again.
    pub(crate) fn changed_since_damaged(&self, held: &Held) -> Vec<BlobRef> {
        let mut damaged: HashMap<Digest, Option<Stamp>> = {
            let files = self.files();
            let damaged = files.iter().filter(|(_, known)| known.is_damaged());
            let stamp = |known: &Known| known.checked.as_ref().filter(|_| !known.missing).map(|checked| checked.stamp);
            damaged.map(|(digest, known)| (digest.clone(), stamp(known))).collect()
        };
        let mut changed = Vec::new();
        for blob in held.layers() {
            if damaged.is_empty() {
                break;
            }
            // Once, whichever generations share it.
            let Some(before) = damaged.remove(&blob.digest) else { continue };
            if find(held.roots(), &blob.digest).is_ok_and(|(_, stamp)| before != Some(stamp)) {
                changed.push(blob.clone());
            }
        }
        changed
    }

    fn count_damaged(&self, files: &HashMap<Digest, Known>) {
        let damaged = files.values().filter(|known| known.is_damaged()).count();
        self.metrics.blobs_damaged.set(i64::try_from(damaged).unwrap_or(i64::MAX));
    }

    /// The map is whole between any two of its operations, whatever became of who held the lock.
    fn files(&self) -> MutexGuard<'_, HashMap<Digest, Known>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_damaged(&self) -> bool {
        let verdict = self.checked.as_ref().and_then(|checked| checked.verdict.get());
        self.missing || matches!(verdict, Some(Err(_)))
    }
}

/// Reads the file, and maps it if it is what it should be. The verdict is about the open file, so it holds for what is
/// mapped even if another file takes the name meanwhile.
fn check(root: &Root, blob: &BlobRef, stamp: Stamp, metrics: &Metrics) -> io::Result<Result<Content, Damage>> {
    let mut reading = Reading::new(root, blob, stamp)?;
    let mut buffer = vec![0; BUFFER];
    while reading.step(&mut buffer, metrics)? > 0 {}
    match reading.verdict()? {
        Ok(()) => {
            let bytes = map::map(&reading.file)?;
            Ok(Ok(Content::new(bytes, BLOB_TYPE, blob.digest.as_ref())))
        }
        Err(damage) => {
            if damage != Damage::Changing {
                tracing::error!(digest = %blob.digest, "a blob is damaged: {damage}");
            }
            Ok(Err(damage))
        }
    }
}

/// The check of a file, in steps.
pub(crate) struct Reading {
    file: File,
    blob: BlobRef,
    stamp: Stamp,
    hash: Sha256,
}

impl Reading {
    /// Begins with the blob's file, which is expected to be in this state.
    pub(crate) fn new(root: &Root, blob: &BlobRef, stamp: Stamp) -> io::Result<Self> {
        Ok(Self { file: root.blob(&blob.digest)?, blob: blob.clone(), stamp, hash: Sha256::new() })
    }

    /// Reads as much as the buffer holds, and gives how much that was: 0 at the end. Nothing is read of a file of
    /// another size.
    pub(crate) fn step(&mut self, buffer: &mut [u8], metrics: &Metrics) -> io::Result<usize> {
        if self.stamp.size != self.blob.size {
            return Ok(0);
        }
        let count = self.file.read(buffer)?;
        self.hash.update(&buffer[..count]);
        metrics.bytes_checked.inc_by(count as u64);
        Ok(count)
    }

    /// What has been found, at the end.
    pub(crate) fn verdict(&mut self) -> io::Result<Result<(), Damage>> {
        if Stamp::of(&self.file.metadata()?) != self.stamp {
            return Ok(Err(Damage::Changing));
        }
        if self.stamp.size != self.blob.size {
            return Ok(Err(Damage::Size { found: self.stamp.size, expected: self.blob.size }));
        }
        let found = hex(&self.hash.finalize_reset());
        Ok(if found == self.blob.digest.digest() { Ok(()) } else { Err(Damage::Content { found }) })
    }
}

fn failed(digest: &Digest, source: io::Error) -> BlobError {
    let digest = digest.clone();
    if source.kind() == io::ErrorKind::NotFound {
        BlobError::Damaged { digest, damage: Damage::Missing }
    } else {
        BlobError::Unreadable { digest, source: Arc::new(source) }
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
