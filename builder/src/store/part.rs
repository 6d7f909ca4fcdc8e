//! A part of a store, as files: its newest generations, whole or with the layers of one platform only.
//!
//! A node pulls nothing but its own platform's layers, so its registry need hold no others. The generations in it are those
//! of the store, byte for byte, so every image has the digest that it has elsewhere, on every platform.

use std::collections::BTreeMap;

use kitbag_toolsets::{Arch, canonical};
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest};
use serde_json::{Value, json};

use super::index::{self, BLOBS, INDEX, LAYOUT, PLATFORM, SHA256};
use super::{Store, StoreError, half_written, writer};
use crate::fs;

/// The files of a store with the newest `generations` of this one, by path. With an architecture, without the layers of
/// the others.
///
/// # Errors
/// [`StoreError`] where something is missing or damaged.
pub fn files(store: &Store, generations: usize, arch: Option<Arch>) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
    let mut part = Part { store, files: BTreeMap::new() };
    let kept: Vec<&Digest> = store.generations().iter().take(generations).map(|kept| kept.digest()).collect();
    let wanted = |other: Arch| arch.is_none_or(|arch| arch == other);
    for &digest in &kept {
        let index: ImageIndex = part.document(digest)?;
        for member in index.manifests() {
            let Some(record) = index::record(member).filter(|record| wanted(record.architecture)) else { continue };
            part.blob(&record.gzip.digest)?;
            part.blob(&record.zstd.digest)?;
            let manifest: ImageManifest = part.document(member.digest())?;
            part.blob(manifest.config().digest())?;
            manifest.layers().iter().try_for_each(|layer| part.blob(layer.digest()))?;
        }
    }
    let whole = index::read_whole(store.dir())?;
    let listed = |descriptor: &&Descriptor| {
        if index::is_generation(descriptor) {
            return kept.contains(&descriptor.digest());
        }
        // Tools of the newest generation, by names that clients ask for.
        part.files.contains_key(&path(descriptor.digest()))
    };
    let mut manifests: Value = json!({
        "schemaVersion": 2,
        "mediaType": oci_spec::image::MediaType::ImageIndex,
        "manifests": whole.descriptors.iter().filter(listed).collect::<Vec<_>>(),
    });
    if let Some(arch) = arch {
        manifests["annotations"] = json!({ PLATFORM: arch });
    }
    part.files.insert(INDEX.to_owned(), canonical::to_vec(&manifests));
    part.files.insert(LAYOUT.to_owned(), writer::layout_json());
    Ok(part.files)
}

/// The files, as they come together.
struct Part<'a> {
    store: &'a Store,
    files: BTreeMap<String, Vec<u8>>,
}

impl Part<'_> {
    fn blob(&mut self, digest: &Digest) -> Result<(), StoreError> {
        let name = path(digest);
        if self.files.contains_key(&name) {
            return Ok(());
        }
        let file = self.store.blob_path(digest);
        let bytes = match fs::read(&file) {
            Err(error) if error.is_not_found() => {
                return Err(half_written(self.store.dir(), format!("blob `{digest}` is missing")));
            }
            other => other.map_err(StoreError::Fs)?,
        };
        if canonical::sha256_hex(&bytes) != digest.digest() {
            return Err(StoreError::Damaged(file));
        }
        self.files.insert(name, bytes);
        Ok(())
    }

    fn document<T: serde::de::DeserializeOwned>(&mut self, digest: &Digest) -> Result<T, StoreError> {
        self.blob(digest)?;
        index::parse(&self.store.blob_path(digest), &self.files[&path(digest)])
    }
}

fn path(digest: &Digest) -> String {
    format!("{BLOBS}/{SHA256}/{}", digest.digest())
}

#[cfg(test)]
mod tests;
