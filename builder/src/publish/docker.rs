//! An image as `docker save` writes it: `manifest.json`, the config, and a plain tar for each layer.
//!
//! The config is the registry's own, so the image's ID is the same as that of a pulled one. Its layers are unpacked,
//! because this format names them by what they hold; the manifest, which names compressed ones, has no place in it.

use std::collections::HashSet;
use std::path::Path;

use kitbag_toolsets::canonical;
use oci_spec::distribution::Reference;
use serde_json::json;

use super::content::Layer;
use super::{Content, PublishError, tarball};

/// Writes an image of one platform. `name` is what it is called when it is loaded.
///
/// # Errors
/// [`PublishError`]; then what was at `path` is there still.
pub fn write_docker_archive(content: &Content, name: &Reference, path: &Path) -> Result<(), PublishError> {
    let [platform] = &content.platforms[..] else {
        return Err(PublishError::SeveralPlatforms(content.platforms.iter().map(|platform| platform.arch).collect()));
    };
    let config = format!("{}.json", platform.config.digest.digest());
    let file = |layer: &Layer| format!("{}.tar", layer.diff_id.digest());
    let manifest = json!([{
        "Config": config,
        "RepoTags": [name.whole()],
        "Layers": platform.layers.iter().map(file).collect::<Vec<_>>(),
    }]);
    tarball::write(path, |tar| {
        tar.file(&config, &platform.config.bytes)?;
        let mut written = HashSet::new();
        for layer in platform.layers.iter().filter(|layer| written.insert(&layer.diff_id)) {
            tar.file(&file(layer), &unpacked(layer)?)?;
        }
        tar.file("manifest.json", &canonical::to_vec(&manifest))
    })
}

/// The tar of a layer, by its smaller form.
fn unpacked(layer: &Layer) -> Result<Vec<u8>, PublishError> {
    let wrong = |reason: String| PublishError::Layer {
        digest: layer.zstd.digest.clone(),
        diff_id: layer.diff_id.clone(),
        reason,
    };
    let tar = zstd::decode_all(&*layer.zstd.read()?).map_err(|error| wrong(error.to_string()))?;
    match canonical::sha256_hex(&tar) {
        hash if hash == layer.diff_id.digest() => Ok(tar),
        hash => Err(wrong(format!("it is `sha256:{hash}`"))),
    }
}
