//! An image as an OCI image layout (image specification 1.1, "image layout"): a directory to which it is added, or a tar
//! with nothing else in it.

use std::fs::File;
use std::path::Path;

use kitbag_toolsets::Document;
use oci_spec::distribution::Reference;
use serde_json::{Value, json};

use super::{Content, PublishError, tarball};
use crate::fs::At as _;
use crate::store::index::{self, BLOBS, INDEX, LAYOUT, REF_NAME, SHA256};
use crate::store::writer;

/// Annotation by which containerd and podman name an image that they import.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Adds the image to the layout in `dir`, which is made where there is none, in place of one of the same name. `name` is
/// what it is called when it is imported.
///
/// # Errors
/// [`PublishError`]; then the layout's index is as it was.
pub fn write_layout(content: &Content, name: &Reference, dir: &Path) -> Result<(), PublishError> {
    writer::create(dir).map_err(PublishError::Store)?;
    let _lock = lock(dir)?;
    let blobs = writer::initialize(dir).map_err(PublishError::Fs)?;
    let index = index::read(dir).map_err(PublishError::Store)?;
    if index.generations().next().is_some() {
        return Err(PublishError::IsStore(dir.to_owned()));
    }
    for blob in content.all() {
        writer::write_if_new(&blobs.join(blob.digest.digest()), &blob.read()?).map_err(PublishError::Fs)?;
    }
    let new = descriptor(&content.root, name);
    let others = index.descriptors.iter().map(|descriptor| json!(descriptor));
    let manifests: Vec<Value> = others.filter(|other| !same_name(other, &new)).chain([new.clone()]).collect();
    writer::write_if_new(&dir.join(INDEX), &writer::index_json(&manifests)).map_err(PublishError::Fs)
}

/// Writes the image as a layout in a tar, with sorted entries.
///
/// # Errors
/// [`PublishError`]; then what was at `path` is there still.
pub fn write_archive(content: &Content, name: &Reference, path: &Path) -> Result<(), PublishError> {
    tarball::write(path, |tar| {
        tar.directory(BLOBS)?;
        tar.directory(&format!("{BLOBS}/{SHA256}"))?;
        for blob in content.all() {
            tar.file(&format!("{BLOBS}/{SHA256}/{}", blob.digest.digest()), &blob.read()?)?;
        }
        tar.file(INDEX, &writer::index_json(&[descriptor(&content.root, name)]))?;
        tar.file(LAYOUT, &writer::layout_json())
    })
}

fn descriptor(root: &Document, name: &Reference) -> Value {
    json!({
        "mediaType": root.media_type,
        "digest": root.digest,
        "size": root.bytes.len(),
        // The whole name, not the tag alone: a layout may hold several images of one tag.
        "annotations": { REF_NAME: name.whole(), IMAGE_NAME: name.whole() },
    })
}

/// Names are unique in a layout: clients ask for one and take what they find.
fn same_name(one: &Value, other: &Value) -> bool {
    one["annotations"][REF_NAME] == other["annotations"][REF_NAME]
}

/// The directory itself is the lock, so that nothing of us stays in the layout.
fn lock(dir: &Path) -> Result<File, PublishError> {
    let handle = File::open(dir).at("open", dir).map_err(PublishError::Fs)?;
    match handle.try_lock() {
        Ok(()) => Ok(handle),
        Err(std::fs::TryLockError::WouldBlock) => Err(PublishError::Busy(dir.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(source).at("lock", dir).map_err(PublishError::Fs),
    }
}
