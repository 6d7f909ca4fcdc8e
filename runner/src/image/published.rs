//! An image from the catalog that a cluster publishes: composed here, by the same function as in its registries. No
//! registry is asked, and what answers in its place on a node can't give another image.

use std::collections::BTreeMap;

use kitbag_toolsets::compose::{LATEST, ZSTD};
use kitbag_toolsets::{Compression, ImagePath, Name, Needs};

use super::{How, Image, ImageError};
use crate::discovery::Discovered;

/// The image of `path` that the cluster's nodes can pull.
pub(super) fn resolve(discovered: &Discovered, path: &ImagePath, tag: Option<&str>) -> Result<Image, ImageError> {
    let Discovered { registry, generation, published } = discovered;
    let compression = compression(discovered, tag.unwrap_or(LATEST))?;
    let absent = |message: String| ImageError::NotInCluster { message, generation: generation.clone() };
    let set = published.resolve(path).map_err(|error| absent(error.to_string()))?;
    let image = published.compose(&set).map_err(|error| absent(error.to_string()))?;
    let digest = &image.form(compression).index.digest;
    // The tools' own names: what a set means may change with a generation. Together they may be longer than the set's.
    let canonical = set.to_string().parse().unwrap_or_else(|_| path.clone());
    let layers = image.platforms().first().map(|platform| platform.layers.as_slice()).unwrap_or_default();
    let tools: Vec<_> = layers.iter().filter(|layer| !layer.base).collect();
    let needs: BTreeMap<Name, Needs> = tools.iter().map(|tool| (tool.name.clone(), tool.needs.clone())).collect();
    let tools: Vec<String> = tools.iter().map(|tool| format!("{}={}", tool.name, tool.version)).collect();
    Ok(Image {
        reference: registry.pinned(&canonical, digest),
        digest: Some(digest.to_string()),
        tools: tools.join(" "),
        needs,
        resolved: How::ByCluster(generation.clone()),
    })
}

/// The form of the image that the tag names, where it is of the cluster's generation.
fn compression(discovered: &Discovered, tag: &str) -> Result<Compression, ImageError> {
    let (name, compression) = match tag.strip_suffix(ZSTD) {
        Some(name) => (name, Compression::Zstd),
        None => (tag, Compression::Gzip),
    };
    let Discovered { registry, generation, .. } = discovered;
    if name == LATEST || name == generation.as_str() {
        return Ok(compression);
    }
    Err(ImageError::Generation { tag: tag.to_owned(), generation: generation.clone(), registry: registry.clone() })
}
