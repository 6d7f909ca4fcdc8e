//! The store: finished tools as an OCI image layout (image specification 1.1, "image layout"), and the generations of
//! it. This half reads; [`writer`] writes, [`gc`] removes, [`verify()`] rehashes.

#[cfg(feature = "build")]
pub mod gc;
pub(crate) mod index;
#[cfg(feature = "build")]
pub mod part;
#[cfg(feature = "build")]
mod tool;
mod verify;
#[cfg(feature = "build")]
pub mod writer;

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kitbag_toolsets::generation::{BlobRef, GenerationError};
use kitbag_toolsets::{Arch, Generation, ToolRecord, canonical};
use oci_spec::image::Digest;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use crate::fs::{self, At as _, FsError};
pub use verify::{Fault, FaultKind, Verification, verify};
#[cfg(feature = "build")]
pub use {
    tool::ToolParts,
    writer::{LayerRef, StoreWriter},
};

/// Media type of the SBOM beside a tool's layers.
pub const SBOM_TYPE: &str = "application/spdx+json";

/// An opened store: what its `index.json` named when it was opened. Later generations are seen by opening it again.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    generations: Vec<Arc<Generation>>,
}

/// Why there is no store to work with.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No directory, or nothing in it yet.
    #[error("there is no store at `{path}`: make one with `kitbag-builder build --store {path}`", path = .0.display())]
    Missing(PathBuf),
    /// A directory with something else in it.
    #[error("`{}` is no store: it has no `oci-layout`, but other files; name an empty or a new directory", .0.display())]
    NotALayout(PathBuf),
    /// A layout of another version.
    #[error("the store at `{}` has layout version `{version}`; this program knows `1.0.0`", dir.display())]
    UnsupportedVersion {
        /// The store.
        dir: PathBuf,
        /// The version that it says it has.
        version: String,
    },
    /// A part of it did not arrive.
    #[error("the store at `{}` is half written: {lacks}; copy it again, or make a new one with `kitbag-builder build`", dir.display())]
    HalfWritten {
        /// The store.
        dir: PathBuf,
        /// What is missing or too short.
        lacks: String,
    },
    /// A layout without a generation.
    #[error("the store at `{}` holds no generation yet: build into it with `kitbag-builder build`", .0.display())]
    NoGeneration(PathBuf),
    /// A file that should be JSON.
    #[error("`{}` is damaged: {source}; copy the store again", path.display())]
    UnreadableJson {
        /// The file.
        path: PathBuf,
        /// Where it stops to be what it should be.
        #[source]
        source: serde_json::Error,
    },
    /// A generation whose bytes are right, but not understood.
    #[error("cannot read generation `{digest}` of the store at `{}`: {source}", dir.display())]
    UnreadableGeneration {
        /// The store.
        dir: PathBuf,
        /// Digest of its index.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: GenerationError,
    },
    /// A blob whose bytes are not those that its name promises.
    #[error("blob `{}` is damaged: its content has another hash than its name; run `kitbag-builder verify`", .0.display())]
    Damaged(PathBuf),
    /// Not a whole store: what one needs to serve nodes of one platform.
    #[error(
        "the store at `{}` has layers for linux/{arch} only: it can be served, not written to; name another one",
        dir.display()
    )]
    Part {
        /// The store.
        dir: PathBuf,
        /// What it has layers for.
        arch: Arch,
    },
    /// Another process writes to the store.
    #[error("another builder is writing to the store at `{}`: wait until it has ended", .0.display())]
    Locked(PathBuf),
    /// The file system says no.
    #[error(transparent)]
    Fs(FsError),
}

impl Store {
    /// Opens the store at `dir`.
    ///
    /// Every generation is read and its hash checked; of every layer it is checked that it is there in its full length.
    ///
    /// # Errors
    /// [`StoreError`]: missing, half written, damaged, without a generation.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::read(dir, &[])
    }

    /// Opens the same directory again, and sees what was written since.
    ///
    /// What this store has is not read again: neither its generations, nor the lengths of their layers. So it costs
    /// as much as there is news, and old damage does not keep a new generation from being seen.
    ///
    /// # Errors
    /// As for [`Self::open`], where what is new is broken.
    pub fn reopen(&self) -> Result<Self, StoreError> {
        Self::read(&self.dir, &self.generations)
    }

    fn read(dir: &Path, known: &[Arc<Generation>]) -> Result<Self, StoreError> {
        let mut generations = Vec::new();
        let (digests, platform) = index::read_generations(dir)?;
        for digest in digests.into_iter().rev() {
            let generation = match known.iter().find(|generation| *generation.digest() == digest) {
                Some(generation) => Arc::clone(generation),
                None => {
                    let generation = read_generation(dir, &digest)?.0;
                    Arc::new(match platform {
                        Some(arch) => generation.with_layers_for(arch),
                        None => generation,
                    })
                }
            };
            generations.push(generation);
        }
        if generations.is_empty() {
            return Err(StoreError::NoGeneration(dir.to_owned()));
        }
        let lengths = Lengths::of(dir).map_err(StoreError::Fs)?;
        let mut checked: HashSet<&BlobRef> = known.iter().flat_map(|generation| generation.layers()).collect();
        for record in generations.iter().flat_map(|generation| generation.records()) {
            if platform.is_some_and(|arch| record.architecture != arch) {
                continue;
            }
            for blob in [&record.gzip, &record.zstd] {
                if checked.insert(blob) {
                    lengths.check(record, blob)?;
                }
            }
        }
        Ok(Self { dir: dir.to_owned(), generations })
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its generations, newest first; there is at least one.
    #[must_use]
    pub fn generations(&self) -> &[Arc<Generation>] {
        &self.generations
    }

    /// Where the blob is, if it is there at all.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        blob_path(&self.dir, digest)
    }

    /// Rehashes the whole store: [`verify()`].
    ///
    /// # Errors
    /// [`StoreError`] when there is no index to begin with.
    pub fn verify(&self) -> Result<Verification, StoreError> {
        verify(&self.dir)
    }
}

fn blob_path(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join(index::BLOBS).join(digest.algorithm().as_ref()).join(digest.digest())
}

/// The generation with this digest, and its bytes.
fn read_generation(dir: &Path, digest: &Digest) -> Result<(Generation, Vec<u8>), StoreError> {
    let path = blob_path(dir, digest);
    let bytes = match fs::read(&path) {
        Err(error) if error.is_not_found() => {
            return Err(half_written(dir, format!("the index of generation `{digest}` is missing")));
        }
        other => other.map_err(StoreError::Fs)?,
    };
    let hash = canonical::sha256_hex(&bytes);
    if hash != digest.digest() {
        return Err(StoreError::Damaged(path));
    }
    match Generation::parse_hashed(&bytes, &hash) {
        Ok(generation) => Ok((generation, bytes)),
        Err(source) => Err(StoreError::UnreadableGeneration { dir: dir.to_owned(), digest: digest.clone(), source }),
    }
}

/// Checks that blobs are there in their full length. There may be thousands, and who serves the store waits: so they are
/// looked for from their directory, not from the root of the file system each time.
struct Lengths<'a> {
    dir: &'a Path,
    blobs: OwnedFd,
}

impl<'a> Lengths<'a> {
    fn of(dir: &'a Path) -> Result<Self, FsError> {
        let path = dir.join(index::BLOBS);
        let blobs = openat(CWD, &path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self { dir, blobs: blobs.map_err(io::Error::from).at("open", &path)? })
    }

    fn check(&self, record: &ToolRecord, blob: &BlobRef) -> Result<(), StoreError> {
        let path = format!("{}/{}", blob.digest.algorithm(), blob.digest.digest());
        let lacks = match statat(&self.blobs, path, AtFlags::empty()) {
            Ok(stat) if u64::try_from(stat.st_size) == Ok(blob.size) => return Ok(()),
            Ok(stat) => format!("has {} bytes instead of {}", stat.st_size, blob.size),
            Err(Errno::NOENT) => "is missing".to_owned(),
            Err(error) => {
                let (path, source) = (blob_path(self.dir, &blob.digest), error.into());
                return Err(StoreError::Fs(FsError { action: "read", path, source }));
            }
        };
        let of = format!("a layer of `{}` for `{}` (blob `{}`)", record.name, record.architecture, blob.digest);
        Err(half_written(self.dir, format!("{of} {lacks}")))
    }
}

fn half_written(dir: &Path, lacks: String) -> StoreError {
    StoreError::HalfWritten { dir: dir.to_owned(), lacks }
}

#[cfg(test)]
#[cfg(feature = "build")]
mod tests;
