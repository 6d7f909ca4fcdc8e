//! Rehashing a store: every blob that its index leads to, by whatever way, and what nothing leads to.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};

use kitbag_toolsets::generation::BlobRef;
use kitbag_toolsets::{Arch, ToolRecord, canonical};
use oci_spec::image::{Descriptor, Digest, DigestAlgorithm, ImageIndex, ImageManifest, MediaType};

use super::{StoreError, blob_path, index};
use crate::fs::{self, FsError};

/// What rehashing a store has found.
#[derive(Debug, Default)]
pub struct Verification {
    /// Number of blobs that the index leads to.
    pub blobs: usize,
    /// Their size in bytes, as found.
    pub bytes: u64,
    /// What is wrong; empty for a sound store.
    pub faults: Vec<Fault>,
    /// Files that nothing leads to: unfinished work of a builder that was stopped, or what only older generations,
    /// since dropped, had. They do no harm.
    pub leftovers: Vec<PathBuf>,
}

/// A blob that is not what the index says.
#[derive(Debug)]
pub struct Fault {
    /// What the blob is, for people: ``gzip layer of `strace` 6.1 for amd64``.
    pub of: String,
    /// Its digest, as it should be.
    pub digest: Digest,
    /// What is wrong with it.
    pub kind: FaultKind,
}

/// What can be wrong with a blob.
#[derive(Debug)]
pub enum FaultKind {
    /// It is not there.
    Missing,
    /// It has another size.
    Size {
        /// Bytes that there are.
        found: u64,
        /// Bytes that there should be.
        expected: u64,
    },
    /// It has the right size and other content.
    Content,
    /// Its hash is right, but it is not the document that it should be.
    Document(serde_json::Error),
    /// It cannot be read.
    Unreadable(FsError),
}

/// Rehashes the store at `dir`.
///
/// # Errors
/// [`StoreError`] when there is no index to begin with; all else is a [`Fault`].
pub fn verify(dir: &Path) -> Result<Verification, StoreError> {
    let index = index::read(dir)?;
    let (seen, queue) = (BTreeSet::new(), VecDeque::new());
    let mut walk = Walk { dir, platform: index.platform, seen, queue, found: Verification::default() };
    // One after the other: generations come first, and know more of their tools than the descriptors after them.
    for descriptor in &index.descriptors {
        walk.enter(descriptor, name(descriptor));
        while let Some((descriptor, subject)) = walk.queue.pop_front() {
            walk.visit(&descriptor, &subject);
        }
    }
    walk.leftovers().map_err(StoreError::Fs)?;
    Ok(walk.found)
}

struct Walk<'a> {
    dir: &'a Path,
    /// The only platform whose tools are there.
    platform: Option<Arch>,
    /// Digests that were entered already.
    seen: BTreeSet<String>,
    /// Blobs to look at, each with what it is.
    queue: VecDeque<(Descriptor, Subject)>,
    found: Verification,
}

/// What a blob belongs to, and as what.
struct Subject {
    part: &'static str,
    of: String,
}

impl Walk<'_> {
    fn enter(&mut self, descriptor: &Descriptor, of: String) {
        if self.seen.insert(descriptor.digest().to_string()) {
            self.queue.push_back((descriptor.clone(), Subject { part: part(descriptor.media_type()), of }));
        }
    }

    fn visit(&mut self, descriptor: &Descriptor, subject: &Subject) {
        self.found.blobs += 1;
        let result = self.check(descriptor).and_then(|bytes| self.follow(descriptor, &subject.of, &bytes));
        if let Err(kind) = result {
            let of = format!("{} of {}", subject.part, subject.of);
            self.found.faults.push(Fault { of, digest: descriptor.digest().clone(), kind });
        }
    }

    fn check(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, FaultKind> {
        let bytes = match fs::read(&blob_path(self.dir, descriptor.digest())) {
            Err(error) if error.is_not_found() => return Err(FaultKind::Missing),
            other => other.map_err(FaultKind::Unreadable)?,
        };
        let found = bytes.len() as u64;
        self.found.bytes += found;
        if found != descriptor.size() {
            return Err(FaultKind::Size { found, expected: descriptor.size() });
        }
        // Others may put blobs with other algorithms into a layout; ours are all SHA-256.
        let known = *descriptor.digest().algorithm() == DigestAlgorithm::Sha256;
        if known && canonical::sha256_hex(&bytes) != descriptor.digest().digest() {
            return Err(FaultKind::Content);
        }
        Ok(bytes)
    }

    /// Enters what an index or a manifest names.
    fn follow(&mut self, descriptor: &Descriptor, of: &str, bytes: &[u8]) -> Result<(), FaultKind> {
        match descriptor.media_type() {
            MediaType::ImageIndex => {
                let index: ImageIndex = serde_json::from_slice(bytes).map_err(FaultKind::Document)?;
                for member in index.manifests() {
                    if let Some(record) = index::record(member) {
                        if self.platform.is_some_and(|arch| record.architecture != arch) {
                            continue;
                        }
                        self.enter(&layer(MediaType::ImageLayerGzip, &record.gzip), subject(&record));
                        self.enter(&layer(MediaType::ImageLayerZstd, &record.zstd), subject(&record));
                    }
                    self.enter(member, name(member));
                }
            }
            MediaType::ImageManifest => {
                let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(FaultKind::Document)?;
                self.enter(manifest.config(), of.to_owned());
                for layer in manifest.layers() {
                    self.enter(layer, of.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn leftovers(&mut self) -> Result<(), FsError> {
        let blobs = self.dir.join(index::BLOBS).join(index::SHA256);
        let unfinished = fs::list(self.dir)?.into_iter().filter(|name| name.starts_with(fs::TEMPORARY));
        self.found.leftovers.extend(unfinished.map(|name| self.dir.join(name)));
        let unknown = |name: &String| !self.seen.contains(&format!("{}:{name}", index::SHA256));
        let unreferenced: Vec<PathBuf> =
            fs::list(&blobs)?.into_iter().filter(unknown).map(|name| blobs.join(name)).collect();
        self.found.leftovers.extend(unreferenced);
        Ok(())
    }
}

fn subject(record: &ToolRecord) -> String {
    format!("`{}` {} for {}", record.name, record.version, record.architecture)
}

/// What people call what a descriptor names.
fn name(descriptor: &Descriptor) -> String {
    if let Some(record) = index::record(descriptor) {
        return subject(&record);
    }
    let reference = || descriptor.annotations().as_ref()?.get(index::REF_NAME).cloned();
    let name = reference().unwrap_or_else(|| descriptor.digest().to_string());
    if index::is_generation(descriptor) { format!("generation `{name}`") } else { format!("`{name}`") }
}

fn layer(media_type: MediaType, blob: &BlobRef) -> Descriptor {
    Descriptor::new(media_type, blob.size, blob.digest.clone())
}

fn part(media_type: &MediaType) -> &'static str {
    match media_type {
        MediaType::ImageIndex => "index",
        MediaType::ImageManifest => "manifest",
        MediaType::ImageConfig => "config",
        MediaType::ImageLayerGzip => "gzip layer",
        MediaType::ImageLayerZstd => "zstd layer",
        MediaType::Other(other) if other == super::SBOM_TYPE => "SBOM",
        _ => "blob",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.of)?;
        match &self.kind {
            FaultKind::Missing => f.write_str("is missing")?,
            FaultKind::Size { found, expected } => write!(f, "has {found} bytes instead of {expected}")?,
            FaultKind::Content => f.write_str("has other content than its digest says")?,
            FaultKind::Document(error) => write!(f, "is not what it should be: {error}")?,
            FaultKind::Unreadable(error) => write!(f, "cannot be read: {error}")?,
        }
        write!(f, " (blob `{}`)", self.digest)
    }
}
