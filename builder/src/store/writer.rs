//! The writing half of the store. One writer at a time; readers need no lock.
//!
//! Whatever happens to a writer, and whenever, the store stays sound: blobs come under temporary names and get their
//! own when they are complete, and `index.json`, which alone makes them count, is replaced last.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use kitbag_toolsets::generation::{BlobRef, GENERATION_TYPE, TOOL_TYPE, sha256_digest, write_generation};
use kitbag_toolsets::{Arch, GenerationId, Name, ToolRecord, canonical};
use oci_spec::image::{Descriptor, Digest, ImageIndex, MediaType};
use serde_json::{Value, json};

use super::index::{self, BLOBS, INDEX, LAYOUT, LOCK, REF_NAME, SHA256, VERSION};
use super::{SBOM_TYPE, StoreError, ToolParts, blob_path, read_generation};
use crate::fs::{self, FsError};
use crate::layer::{Blob, Layer};

/// A store, open for writing until this is dropped. Blobs may be put from several threads.
#[derive(Debug)]
pub struct StoreWriter {
    dir: PathBuf,
    newest: Option<Newest>,
    _lock: File,
}

/// The newest generation, with the descriptors that its index holds.
#[derive(Debug)]
struct Newest {
    id: GenerationId,
    members: Vec<(ToolRecord, Descriptor)>,
}

/// A layer that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRef {
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The layer as gzip.
    pub gzip: BlobRef,
    /// The layer as zstd.
    pub zstd: BlobRef,
}

impl From<&ToolRecord> for LayerRef {
    fn from(record: &ToolRecord) -> Self {
        Self { diff_id: record.diff_id.clone(), gzip: record.gzip.clone(), zstd: record.zstd.clone() }
    }
}

impl StoreWriter {
    /// Opens the store at `dir` for writing, and makes it where there is none. What a stopped writer has left
    /// unfinished is removed.
    ///
    /// # Errors
    /// [`StoreError`]: another writer has it, the directory is something else, the newest generation is damaged.
    pub fn open_or_create(dir: &Path) -> Result<Self, StoreError> {
        create(dir)?;
        let lock = lock(dir)?;
        fs::create_dir_all(&dir.join(BLOBS).join(SHA256)).map_err(StoreError::Fs)?;
        clean(dir).map_err(StoreError::Fs)?;
        initialize(dir).map_err(StoreError::Fs)?;
        let newest = match index::read_whole(dir)?.generations().next_back() {
            None => None,
            Some(descriptor) => Some(Newest::read(dir, descriptor.digest())?),
        };
        Ok(Self { dir: dir.to_owned(), newest, _lock: lock })
    }

    /// The newest generation, if there is one.
    #[must_use]
    pub fn latest(&self) -> Option<&GenerationId> {
        self.newest.as_ref().map(|newest| &newest.id)
    }

    /// The tool as the newest generation has it, if it was made from the same inputs and its layer is intact.
    #[must_use]
    pub fn find(&self, name: &Name, arch: Arch, input_hash: &str) -> Option<(ToolRecord, Descriptor)> {
        let same = |record: &ToolRecord| {
            record.name == *name && record.architecture == arch && record.input_hash == input_hash
        };
        let (record, descriptor) = self.newest.as_ref()?.members.iter().find(|(record, _)| same(record))?;
        let intact = |blob: &BlobRef| {
            fs::read(&blob_path(&self.dir, &blob.digest))
                .is_ok_and(|bytes| canonical::sha256_hex(&bytes) == blob.digest.digest())
        };
        (intact(&record.gzip) && intact(&record.zstd)).then(|| (record.clone(), descriptor.clone()))
    }

    /// Puts both forms of a layer.
    ///
    /// # Errors
    /// [`StoreError::Fs`].
    pub fn put_layer(&self, layer: &Layer) -> Result<LayerRef, StoreError> {
        let put = |blob: &Blob| {
            self.put(&blob.digest, &blob.bytes)?;
            Ok(BlobRef { digest: blob.digest.clone(), size: blob.bytes.len() as u64 })
        };
        Ok(LayerRef { diff_id: layer.diff_id.clone(), gzip: put(&layer.gzip)?, zstd: put(&layer.zstd)? })
    }

    /// Puts the config, the SBOM and the manifest of a tool whose layer is in the store already. It counts once it is
    /// part of a generation: [`Self::commit`].
    ///
    /// # Errors
    /// [`StoreError::Fs`].
    pub fn put_tool(
        &self,
        parts: &ToolParts,
        layer: &LayerRef,
        sbom: &[u8],
    ) -> Result<(ToolRecord, Descriptor), StoreError> {
        let record = parts.record(layer);
        let config = self.put_blob(MediaType::ImageConfig, &parts.config(layer))?;
        let sbom = self.put_blob(MediaType::Other(SBOM_TYPE.to_owned()), sbom)?;
        let manifest = self.put_blob(MediaType::ImageManifest, &parts.manifest(&record, &config, &sbom))?;
        Ok((record, manifest))
    }

    /// Puts any blob. One that is there already, and sound, is left alone.
    ///
    /// # Errors
    /// [`StoreError::Fs`].
    pub fn put_blob(&self, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor, StoreError> {
        let digest = sha256_digest(&canonical::sha256_hex(bytes));
        self.put(&digest, bytes)?;
        Ok(Descriptor::new(media_type, bytes.len() as u64, digest))
    }

    /// Makes a generation: the newest one, with `tools` added or in place of what it had of the same name and
    /// architecture, and with `sets` as its named sets. Where that changes nothing, no generation is added.
    ///
    /// # Errors
    /// [`StoreError`]; then the index is as it was.
    pub fn commit(
        &mut self,
        tools: Vec<(ToolRecord, Descriptor)>,
        sets: &BTreeMap<Name, Vec<Name>>,
    ) -> Result<GenerationId, StoreError> {
        let before = self.newest.as_ref().map(|newest| newest.members.clone()).unwrap_or_default();
        let members: BTreeMap<_, _> = before
            .into_iter()
            .chain(tools)
            .map(|(record, descriptor)| ((record.base, record.name.clone(), record.architecture), (record, descriptor)))
            .collect();
        let members: Vec<(ToolRecord, Descriptor)> = members.into_values().collect();
        let bytes = write_generation(&members, sets);
        let descriptor = self.put_blob(MediaType::ImageIndex, &bytes)?;
        let newest = Newest::read(&self.dir, descriptor.digest())?;
        self.write_index(&descriptor, &newest)?;
        let id = newest.id.clone();
        self.newest = Some(newest);
        Ok(id)
    }

    /// Blobs are named by their content, so what stands under the name is either this or damaged.
    fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        write_if_new(&blob_path(&self.dir, digest), bytes).map_err(StoreError::Fs)
    }

    /// Older generations, oldest first, then the newest, then its tools by name, then what others have put there.
    fn write_index(&self, generation: &Descriptor, newest: &Newest) -> Result<(), StoreError> {
        let index = index::read(&self.dir)?;
        let older = index.generations().filter(|descriptor| descriptor.digest() != generation.digest());
        let older = older.map(|descriptor| json!(descriptor));
        let this = json!({
            "mediaType": MediaType::ImageIndex,
            "artifactType": GENERATION_TYPE,
            "digest": generation.digest(),
            "size": generation.size(),
            "annotations": { REF_NAME: newest.id },
        });
        let tools = newest.members.iter().map(|(record, descriptor)| named(record, descriptor));
        let foreign = index.foreign().map(|descriptor| json!(descriptor));
        let manifests: Vec<Value> = older.chain([this]).chain(tools).chain(foreign).collect();
        write_if_new(&self.dir.join(INDEX), &index_json(&manifests)).map_err(StoreError::Fs)
    }
}

impl Newest {
    fn read(dir: &Path, digest: &Digest) -> Result<Self, StoreError> {
        let (generation, bytes) = read_generation(dir, digest)?;
        let index: ImageIndex = index::parse(&blob_path(dir, digest), &bytes)?;
        let member = |descriptor: &Descriptor| Some((index::record(descriptor)?, descriptor.clone()));
        Ok(Self { id: generation.id().clone(), members: index.manifests().iter().filter_map(member).collect() })
    }
}

/// Makes the directory, if it is a place where a store may be.
pub(crate) fn create(dir: &Path) -> Result<(), StoreError> {
    if !dir.join(LAYOUT).exists() {
        match index::absent(dir) {
            // What an unfinished copy has brought is completed by building.
            StoreError::Missing(_) | StoreError::HalfWritten { .. } => {}
            error => return Err(error),
        }
    }
    fs::create_dir_all(dir).map_err(StoreError::Fs)
}

pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    match fs::lock(&dir.join(LOCK)) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(StoreError::Locked(dir.to_owned())),
        Err(error) => Err(StoreError::Fs(error)),
    }
}

/// Removes the temporary files of writers that were stopped.
fn clean(dir: &Path) -> Result<(), FsError> {
    let blobs = dir.join(BLOBS).join(SHA256);
    for dir in [dir, &blobs] {
        for name in fs::list(dir)?.iter().filter(|name| name.starts_with(fs::TEMPORARY)) {
            fs::remove_file(&dir.join(name))?;
        }
    }
    Ok(())
}

/// The directory of blobs and the two files of a layout, where they are missing. `oci-layout` comes last: without it,
/// nothing is there. Gives the directory of blobs.
pub(crate) fn initialize(dir: &Path) -> Result<PathBuf, FsError> {
    let blobs = dir.join(BLOBS).join(SHA256);
    fs::create_dir_all(&blobs)?;
    for (name, bytes) in [(INDEX, index_json(&[])), (LAYOUT, layout_json())] {
        let path = dir.join(name);
        if fs::size(&path)?.is_none() {
            fs::write_atomic(&path, &bytes)?;
        }
    }
    Ok(blobs)
}

/// The content of `oci-layout`.
pub(crate) fn layout_json() -> Vec<u8> {
    canonical::to_vec(&json!({ "imageLayoutVersion": VERSION }))
}

pub(crate) fn write_if_new(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    if fs::read(path).is_ok_and(|present| present == bytes) { Ok(()) } else { fs::write_atomic(path, bytes) }
}

pub(crate) fn index_json(manifests: &[Value]) -> Vec<u8> {
    canonical::to_vec(&json!({ "schemaVersion": 2, "mediaType": MediaType::ImageIndex, "manifests": manifests }))
}

/// The descriptor by which clients find one tool: `oci:STORE:strace-6.1-amd64`.
fn named(record: &ToolRecord, descriptor: &Descriptor) -> Value {
    let versioned = record.name.with_version(&record.version).unwrap_or_else(|| record.name.clone());
    json!({
        "mediaType": descriptor.media_type(),
        "artifactType": TOOL_TYPE,
        "digest": descriptor.digest(),
        "size": descriptor.size(),
        "platform": { "architecture": record.architecture, "os": "linux" },
        "annotations": { REF_NAME: format!("{versioned}-{}", record.architecture) },
    })
}
