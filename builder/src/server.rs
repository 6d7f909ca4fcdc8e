//! The registry's own image: the base layer, the program, and a store to serve; for each platform that there is a program
//! for. The same programs and store give the same bytes.
//!
//! Where it runs and with which settings is not its affair: it knows where its store is, and who it is.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kitbag_toolsets::compose::{GENERATION_ANNOTATION, rfc3339};
use kitbag_toolsets::generation::sha256_digest;
use kitbag_toolsets::{Arch, Compression, Document, Generation, canonical};
use oci_spec::image::MediaType;
use serde_json::{Value, json};

use crate::elf::{self, ElfFault};
use crate::layer::{LayerError, Tree};
use crate::publish::Content;
use crate::publish::content::{Blob, Layer, Platform};
use crate::store::{Store, StoreError, part};

/// Where the program is in the image.
pub const PROGRAM: &str = "/usr/bin/kitbag-registry";
/// Where the store is.
pub const STORE: &str = "/usr/share/kitbag/store";
/// User and group: a number that nothing else has. On a shared port, whoever has it may take a share of the connections.
pub const USER: u32 = 50505;
/// Generations in the image: the newest, and the one before, so that what was named by its digests can still be pulled.
pub const GENERATIONS: usize = 2;

/// Of the program.
const LICENSE: &str = "(Apache-2.0 OR MIT)";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const PATH: &str = "PATH=/usr/sbin:/usr/bin";
/// Where each of the program's commands finds the store.
const STORE_SETTING: &str = "KITBAG_STORE";

/// What the image is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The store that it serves.
    pub store: &'a Store,
    /// `kitbag-registry` for each platform.
    pub programs: &'a BTreeMap<Arch, Vec<u8>>,
    /// Whether each platform's image has the layers of all platforms. A registry on a node serves that node alone; one for
    /// nodes of several platforms needs all.
    pub all_layers: bool,
    /// How its layers are compressed.
    pub compression: Compression,
}

/// Why there is no such image.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Not a program that runs in the image.
    #[error("the program for linux/{arch} cannot be used: {fault}")]
    Program {
        /// For which platform it was given.
        arch: Arch,
        /// What is wrong with it.
        #[source]
        fault: ElfFault,
    },
    /// A text file, an archive.
    #[error("what was named as the program for linux/{0} is no ELF file")]
    NotAProgram(Arch),
    /// The store lacks the layer that everything stands on.
    #[error("the store has no base layer for linux/{0}: build `base` for it")]
    NoBase(Arch),
    /// The store is damaged.
    #[error(transparent)]
    Store(StoreError),
    /// A path of the image is taken.
    #[error(transparent)]
    Layer(LayerError),
}

/// Makes the image for each platform of which there is a program.
///
/// # Errors
/// [`ServerError`].
pub fn image(parts: Parts<'_>) -> Result<Content, ServerError> {
    let newest = &*parts.store.generations()[0];
    let made = parts.programs.iter().map(|(&arch, program)| platform(parts, newest, arch, program));
    let platforms = made.collect::<Result<Vec<_>, _>>()?;
    let descriptor = |platform: &Platform| {
        json!({
            "mediaType": platform.manifest.media_type,
            "digest": platform.manifest.digest,
            "size": platform.manifest.bytes.len(),
            "platform": { "architecture": platform.arch, "os": "linux" },
        })
    };
    let root = document(
        MediaType::ImageIndex,
        &json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageIndex,
            "manifests": platforms.iter().map(descriptor).collect::<Vec<_>>(),
            "annotations": annotations(newest),
        }),
    );
    Ok(Content { root, platforms })
}

fn platform(parts: Parts<'_>, newest: &Generation, arch: Arch, program: &[u8]) -> Result<Platform, ServerError> {
    let base = newest.base().get(&arch).ok_or(ServerError::NoBase(arch))?;
    let date = newest.records().map(|record| record.source_date).max().unwrap_or_default();
    let base_layer = Layer {
        diff_id: base.diff_id.clone(),
        gzip: Blob::in_store(&base.gzip, parts.store),
        zstd: Blob::in_store(&base.zstd, parts.store),
    };
    let program_layer = Layer::packed(&program_tree(arch, program)?.pack(date));
    let store_layer = Layer::packed(&store_tree(parts, arch)?.pack(date));
    let layers = vec![base_layer, program_layer, store_layer];
    let steps = [
        format!("kitbag: base {}", base.version),
        format!("kitbag: kitbag-registry {VERSION}"),
        format!("kitbag: store, generation {}", newest.id()),
    ];
    let config = document(MediaType::ImageConfig, &config(newest, arch, &rfc3339(date), &layers, &steps));
    let manifest = document(MediaType::ImageManifest, &manifest(newest, &config, &layers, parts.compression));
    Ok(Platform { arch, manifest, config, layers, compression: parts.compression })
}

fn program_tree(arch: Arch, program: &[u8]) -> Result<Tree, ServerError> {
    if !elf::is_elf(program) {
        return Err(ServerError::NotAProgram(arch));
    }
    elf::check(program, arch, &[]).map_err(|fault| ServerError::Program { arch, fault })?;
    let mut tree = Tree::new();
    tree.file(PROGRAM, 0o755, program.to_vec()).map_err(ServerError::Layer)?;
    Ok(tree)
}

fn store_tree(parts: Parts<'_>, arch: Arch) -> Result<Tree, ServerError> {
    let only = (!parts.all_layers).then_some(arch);
    let mut tree = Tree::new();
    for (path, content) in part::files(parts.store, GENERATIONS, only).map_err(ServerError::Store)? {
        tree.file(&format!("{STORE}/{path}"), 0o644, content).map_err(ServerError::Layer)?;
    }
    Ok(tree)
}

fn config(newest: &Generation, arch: Arch, created: &str, layers: &[Layer], steps: &[String]) -> Value {
    json!({
        "architecture": arch,
        "os": "linux",
        "created": created,
        "config": {
            "User": format!("{USER}:{USER}"),
            "Env": [PATH, format!("{STORE_SETTING}={STORE}")],
            "Entrypoint": [PROGRAM, "serve"],
            "WorkingDir": "/",
            "Labels": {
                GENERATION_ANNOTATION: newest.id(),
                "org.opencontainers.image.created": created,
                "org.opencontainers.image.description": "a registry that composes images of debugging tools from their path",
                "org.opencontainers.image.licenses": licenses(newest),
                "org.opencontainers.image.title": "kitbag-registry",
                "org.opencontainers.image.version": VERSION,
            },
        },
        "history": steps.iter().map(|step| json!({ "created": created, "created_by": step })).collect::<Vec<_>>(),
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>() },
    })
}

fn manifest(newest: &Generation, config: &Document, layers: &[Layer], compression: Compression) -> Value {
    let layer = |layer: &Layer| {
        let blob = layer.form(compression);
        json!({ "mediaType": compression.media_type(), "digest": blob.digest, "size": blob.size })
    };
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest,
        "config": { "mediaType": config.media_type, "digest": config.digest, "size": config.bytes.len() },
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        "annotations": annotations(newest),
    })
}

/// Of all that is in the image: every tool is.
fn licenses(newest: &Generation) -> String {
    let expression = |license: &str| if license.contains(' ') { format!("({license})") } else { license.to_owned() };
    let tools: BTreeSet<String> = newest.records().map(|record| expression(&record.license)).collect();
    [LICENSE.to_owned()].into_iter().chain(tools).collect::<Vec<_>>().join(" AND ")
}

fn annotations(newest: &Generation) -> Value {
    json!({
        GENERATION_ANNOTATION: newest.id(),
        "org.opencontainers.image.title": "kitbag-registry",
        "org.opencontainers.image.version": VERSION,
    })
}

fn document(media_type: MediaType, value: &Value) -> Document {
    let bytes = Bytes::from(canonical::to_vec(value));
    Document { digest: sha256_digest(&canonical::sha256_hex(&bytes)), bytes, media_type }
}

#[cfg(test)]
mod tests;
