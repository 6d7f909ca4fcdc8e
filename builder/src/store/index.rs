//! `oci-layout` and `index.json`: the two files by which everything else is found.

use std::borrow::Cow;
use std::path::Path;

#[cfg(feature = "build")]
use kitbag_toolsets::generation::TOOL_TYPE;
use kitbag_toolsets::generation::{GENERATION_TYPE, TOOL_ANNOTATION};
use kitbag_toolsets::{Arch, ToolRecord};
use oci_spec::image::{Descriptor, Digest, ImageIndex, MediaType, OciLayout};
use serde::Deserialize;
use serde::de::Error as _;

use super::{StoreError, half_written};
use crate::fs;

pub(crate) const LAYOUT: &str = "oci-layout";
pub(crate) const INDEX: &str = "index.json";
pub(crate) const BLOBS: &str = "blobs";
pub(crate) const SHA256: &str = "sha256";
/// Held by who writes; OCI clients don't look at it.
pub(super) const LOCK: &str = ".lock";
pub(super) const VERSION: &str = "1.0.0";
/// Annotation by which clients find a manifest in a layout (image specification, "pre-defined annotation keys").
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Annotation of an `index.json`: the only platform (`amd64`) whose layers are there. It makes a part of a store, which
/// composes and names the same images as the whole.
pub(super) const PLATFORM: &str = "dev.kitbag.platform";

/// The descriptors of an `index.json`, in their order.
pub(crate) struct Index {
    pub(crate) descriptors: Vec<Descriptor>,
    /// The only platform whose layers are there; none for a whole store.
    pub(super) platform: Option<Arch>,
}

impl Index {
    /// Descriptors of generations, oldest first.
    #[cfg(feature = "build")]
    pub(crate) fn generations(&self) -> impl DoubleEndedIterator<Item = &Descriptor> {
        self.descriptors.iter().filter(|descriptor| is_generation(descriptor))
    }

    /// Descriptors of generations and tools.
    #[cfg(feature = "build")]
    pub(super) fn ours(&self) -> impl Iterator<Item = &Descriptor> {
        self.descriptors.iter().filter(|descriptor| is_ours(descriptor))
    }

    /// Descriptors that others have put there.
    #[cfg(feature = "build")]
    pub(super) fn foreign(&self) -> impl Iterator<Item = &Descriptor> {
        self.descriptors.iter().filter(|descriptor| !is_ours(descriptor))
    }
}

/// The record of the tool that a descriptor of a generation carries.
pub(super) fn record(descriptor: &Descriptor) -> Option<ToolRecord> {
    serde_json::from_str(descriptor.annotations().as_ref()?.get(TOOL_ANNOTATION)?).ok()
}

pub(super) fn is_generation(descriptor: &Descriptor) -> bool {
    is(descriptor, GENERATION_TYPE)
}

#[cfg(feature = "build")]
fn is_ours(descriptor: &Descriptor) -> bool {
    is_generation(descriptor) || is(descriptor, TOOL_TYPE)
}

fn is(descriptor: &Descriptor, artifact_type: &str) -> bool {
    *descriptor.artifact_type() == Some(MediaType::Other(artifact_type.to_owned()))
}

/// Reads the layout at `dir`.
pub(crate) fn read(dir: &Path) -> Result<Index, StoreError> {
    let bytes = read_bytes(dir)?;
    let path = dir.join(INDEX);
    let index: ImageIndex = parse(&path, &bytes)?;
    let platform = index.annotations().as_ref().and_then(|annotations| annotations.get(PLATFORM));
    let platform = platform.map(|name| platform_named(&path, name)).transpose()?;
    Ok(Index { descriptors: index.manifests().clone(), platform })
}

/// Reads the layout at `dir` for who will change it.
///
/// # Errors
/// [`StoreError::Part`]; and as for [`read`].
#[cfg(feature = "build")]
pub(super) fn read_whole(dir: &Path) -> Result<Index, StoreError> {
    match read(dir)? {
        Index { platform: Some(arch), .. } => Err(StoreError::Part { dir: dir.to_owned(), arch }),
        index => Ok(index),
    }
}

fn platform_named(path: &Path, name: &str) -> Result<Arch, StoreError> {
    name.parse().map_err(|error| {
        let source = serde_json::Error::custom(format!("annotation `{PLATFORM}`: {error}"));
        StoreError::UnreadableJson { path: path.to_owned(), source }
    })
}

/// The digests of the generations of the layout at `dir`, oldest first, and the only platform whose layers are there. Of
/// all the tools beside them nothing is kept: there may be thousands, and who serves the store waits for this.
pub(super) fn read_generations(dir: &Path) -> Result<(Vec<Digest>, Option<Arch>), StoreError> {
    #[derive(Deserialize)]
    struct Layout<'a> {
        #[serde(borrow)]
        manifests: Vec<Member<'a>>,
        #[serde(default)]
        annotations: Annotations,
    }
    #[derive(Default, Deserialize)]
    struct Annotations {
        #[serde(rename = "dev.kitbag.platform")]
        platform: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Member<'a> {
        #[serde(borrow, default)]
        artifact_type: Option<Cow<'a, str>>,
        #[serde(borrow)]
        digest: Cow<'a, str>,
    }
    let (path, bytes) = (dir.join(INDEX), read_bytes(dir)?);
    let unreadable = |source| StoreError::UnreadableJson { path: path.clone(), source };
    let layout: Layout<'_> = serde_json::from_slice(&bytes).map_err(unreadable)?;
    let generations = layout.manifests.iter().filter(|member| member.artifact_type.as_deref() == Some(GENERATION_TYPE));
    let digest =
        |member: &Member<'_>| member.digest.parse().map_err(|error| unreadable(serde_json::Error::custom(error)));
    let digests = generations.map(digest).collect::<Result<_, _>>()?;
    let platform = layout.annotations.platform.map(|name| platform_named(&path, &name)).transpose()?;
    Ok((digests, platform))
}

/// The index of the layout at `dir`, if it is one.
fn read_bytes(dir: &Path) -> Result<Vec<u8>, StoreError> {
    let Some(layout) = read_if_there(&dir.join(LAYOUT))? else {
        return Err(absent(dir));
    };
    let layout: OciLayout = parse(&dir.join(LAYOUT), &layout)?;
    if layout.image_layout_version() != VERSION {
        let version = layout.image_layout_version().clone();
        return Err(StoreError::UnsupportedVersion { dir: dir.to_owned(), version });
    }
    read_if_there(&dir.join(INDEX))?.ok_or_else(|| half_written(dir, format!("`{INDEX}` is missing")))
}

/// What a directory without `oci-layout` is. A writer makes that file before the first blob, so that one who was
/// stopped earlier has left a place where nothing is yet; blobs without it come from an unfinished copy.
pub(super) fn absent(dir: &Path) -> StoreError {
    let names = match fs::list(dir) {
        Err(error) if error.is_not_found() => return StoreError::Missing(dir.to_owned()),
        Err(error) => return StoreError::Fs(error),
        Ok(names) => names,
    };
    let ours = |name: &String| matches!(name.as_str(), INDEX | BLOBS | LOCK) || name.starts_with(fs::TEMPORARY);
    if !names.iter().all(ours) {
        return StoreError::NotALayout(dir.to_owned());
    }
    match fs::list(&dir.join(BLOBS).join(SHA256)) {
        Ok(blobs) if !blobs.is_empty() => half_written(dir, format!("`{LAYOUT}` is missing")),
        _ => StoreError::Missing(dir.to_owned()),
    }
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(StoreError::Fs(error)),
    }
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|source| StoreError::UnreadableJson { path: path.to_owned(), source })
}
