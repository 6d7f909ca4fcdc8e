//! An image with all that it names: documents in memory, layers wherever they are. Each blob is hashed when it is read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use kitbag_toolsets::generation::BlobRef;
use kitbag_toolsets::{Arch, Compression, Document, Image, canonical};
use oci_spec::image::Digest;

use super::PublishError;
use crate::fs;
use crate::layer;
use crate::store::{Store, StoreError};

/// An image in one compression, for all of its platforms or for one.
#[derive(Clone, Debug)]
pub struct Content {
    /// By which the image is named: its index, or the manifest of its only platform.
    pub root: Document,
    /// What there is for each platform.
    pub platforms: Vec<Platform>,
}

/// An image for one platform.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Its architecture.
    pub arch: Arch,
    /// Its manifest.
    pub manifest: Document,
    /// Its config.
    pub config: Document,
    /// Its layers, in their order.
    pub layers: Vec<Layer>,
    /// The form of the layers that the manifest names.
    pub compression: Compression,
}

/// A layer in both forms.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// As gzip.
    pub gzip: Blob,
    /// As zstd.
    pub zstd: Blob,
}

/// Bytes with a digest.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Their digest.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Memory(Bytes),
    File(PathBuf),
}

impl Content {
    /// The image as a registry over the store would serve it: by `latest` as gzip, by `latest-zstd` as zstd.
    #[must_use]
    pub fn of(image: &Image, compression: Compression, store: &Store) -> Self {
        let form = image.form(compression);
        let blob = |blob: &BlobRef| Blob::in_store(blob, store);
        let platform = |(platform, manifest): (&kitbag_toolsets::PlatformImage, &Document)| Platform {
            arch: platform.arch,
            manifest: manifest.clone(),
            config: platform.config.clone(),
            layers: platform
                .layers
                .iter()
                .map(|layer| Layer { diff_id: layer.diff_id.clone(), gzip: blob(&layer.gzip), zstd: blob(&layer.zstd) })
                .collect(),
            compression,
        };
        let platforms = image.platforms().iter().zip(&form.manifests).map(platform).collect();
        Self { root: form.index.clone(), platforms }
    }

    /// The image for one platform alone, named by its manifest.
    ///
    /// # Errors
    /// [`PublishError::NoPlatform`].
    pub fn only(self, arch: Arch) -> Result<Self, PublishError> {
        let has = self.platforms.iter().map(|platform| platform.arch).collect();
        let platform = self.platforms.into_iter().find(|platform| platform.arch == arch);
        let platform = platform.ok_or(PublishError::NoPlatform { wanted: arch, has })?;
        Ok(Self { root: platform.manifest.clone(), platforms: vec![platform] })
    }

    /// What manifests name: layers and configs, each once.
    #[must_use]
    pub fn blobs(&self) -> Vec<Blob> {
        let of = |platform: &Platform| {
            let layers = platform.layers.iter().map(|layer| layer.form(platform.compression).clone());
            layers.chain([Blob::of(&platform.config)]).collect::<Vec<_>>()
        };
        let mut blobs: Vec<Blob> = Vec::new();
        for blob in self.platforms.iter().flat_map(of) {
            if blobs.iter().all(|other| other.digest != blob.digest) {
                blobs.push(blob);
            }
        }
        blobs
    }

    /// Everything, the documents too, sorted by digest.
    #[must_use]
    pub fn all(&self) -> Vec<Blob> {
        let documents = self.platforms.iter().map(|platform| &platform.manifest).chain([&self.root]);
        let all = self.blobs().into_iter().chain(documents.map(Blob::of));
        let sorted: BTreeMap<String, Blob> = all.map(|blob| (blob.digest.to_string(), blob)).collect();
        sorted.into_values().collect()
    }
}

impl Layer {
    /// A layer that was just packed.
    #[must_use]
    pub fn packed(layer: &layer::Layer) -> Self {
        let blob = |blob: &layer::Blob| Blob {
            digest: blob.digest.clone(),
            size: blob.bytes.len() as u64,
            source: Source::Memory(Bytes::copy_from_slice(&blob.bytes)),
        };
        Self { diff_id: layer.diff_id.clone(), gzip: blob(&layer.gzip), zstd: blob(&layer.zstd) }
    }

    /// The layer in one of its forms.
    #[must_use]
    pub const fn form(&self, compression: Compression) -> &Blob {
        match compression {
            Compression::Gzip => &self.gzip,
            Compression::Zstd => &self.zstd,
        }
    }
}

impl Blob {
    /// A blob of the store.
    #[must_use]
    pub fn in_store(blob: &BlobRef, store: &Store) -> Self {
        let source = Source::File(store.blob_path(&blob.digest));
        Self { digest: blob.digest.clone(), size: blob.size, source }
    }

    fn of(document: &Document) -> Self {
        let source = Source::Memory(document.bytes.clone());
        Self { digest: document.digest.clone(), size: document.bytes.len() as u64, source }
    }

    /// The bytes. They have the digest.
    ///
    /// # Errors
    /// [`PublishError`]: the file cannot be read, or holds something else.
    pub fn read(&self) -> Result<Bytes, PublishError> {
        match &self.source {
            Source::Memory(bytes) => Ok(bytes.clone()),
            Source::File(path) => {
                let bytes = fs::read(path).map_err(PublishError::Fs)?;
                if canonical::sha256_hex(&bytes) != self.digest.digest() {
                    return Err(PublishError::Store(StoreError::Damaged(path.clone())));
                }
                Ok(bytes.into())
            }
        }
    }
}
