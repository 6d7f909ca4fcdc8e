//! The documents of one tool for one architecture: its config and its manifest, as pure functions.

use kitbag_toolsets::compose::{Compression, rfc3339};
use kitbag_toolsets::generation::{BlobRef, TOOL_ANNOTATION, TOOL_TYPE};
use kitbag_toolsets::recipe::{Recipe, Role};
use kitbag_toolsets::{Arch, Name, Needs, ToolRecord, canonical};
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

use super::writer::LayerRef;

/// What a tool's record and manifest say, but for its layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolParts {
    /// Its name; `base` for the base layer.
    pub name: Name,
    /// Whether this is the base layer.
    pub base: bool,
    /// Upstream's version.
    pub version: String,
    /// Architecture of the layer.
    pub architecture: Arch,
    /// Order of layers.
    pub rank: u32,
    /// One line for people.
    pub summary: String,
    /// SPDX expression.
    pub license: String,
    /// Where upstream lives.
    pub homepage: String,
    /// Commands that it provides, the main one first.
    pub commands: Vec<String>,
    /// What it wants of the kernel and the pod.
    pub needs: Needs,
    /// Seconds since 1970.
    pub source_date: i64,
    /// Hash of everything that went into the build, 64 hexadecimal digits.
    pub input_hash: String,
}

impl ToolParts {
    /// What the recipe of a tool, or of the base layer, says.
    ///
    /// # Panics
    /// Never: `base` is a name.
    #[must_use]
    pub fn of(recipe: &Recipe, architecture: Arch, input_hash: &str) -> Self {
        let base = recipe.role == Role::Base;
        let name = if base { Name::parse("base").expect("`base` is a name") } else { recipe.name.clone() };
        Self {
            name,
            base,
            version: recipe.version.clone(),
            architecture,
            rank: recipe.rank,
            summary: recipe.summary.clone(),
            license: recipe.license.clone(),
            homepage: recipe.homepage.clone(),
            commands: recipe.commands.clone(),
            needs: recipe.needs.clone(),
            source_date: recipe.source_date,
            input_hash: input_hash.to_owned(),
        }
    }

    /// The record of this tool with its layer.
    pub(super) fn record(&self, layer: &LayerRef) -> ToolRecord {
        ToolRecord {
            name: self.name.clone(),
            base: self.base,
            version: self.version.clone(),
            architecture: self.architecture,
            rank: self.rank,
            summary: self.summary.clone(),
            license: self.license.clone(),
            commands: self.commands.clone(),
            needs: self.needs.clone(),
            source_date: self.source_date,
            input_hash: self.input_hash.clone(),
            diff_id: layer.diff_id.clone(),
            gzip: layer.gzip.clone(),
            zstd: layer.zstd.clone(),
        }
    }

    /// Annotations and labels that every OCI client shows.
    fn labels(&self) -> Value {
        json!({
            "org.opencontainers.image.created": rfc3339(self.source_date),
            "org.opencontainers.image.description": self.summary,
            "org.opencontainers.image.licenses": self.license,
            "org.opencontainers.image.title": self.name,
            "org.opencontainers.image.url": self.homepage,
            "org.opencontainers.image.version": self.version,
        })
    }

    /// A real image config: so clients that know nothing of artifacts can show and copy the tool.
    pub(super) fn config(&self, layer: &LayerRef) -> Vec<u8> {
        canonical::to_vec(&json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": rfc3339(self.source_date),
            "config": { "Labels": self.labels() },
            // One for each form of the layer; the SBOM is no tar.
            "rootfs": { "type": "layers", "diff_ids": [layer.diff_id, layer.diff_id] },
        }))
    }

    /// The manifest: both forms of the layer, and the SBOM.
    pub(super) fn manifest(&self, record: &ToolRecord, config: &Descriptor, sbom: &Descriptor) -> Vec<u8> {
        let mut annotations = self.labels();
        annotations[TOOL_ANNOTATION] = Value::String(canonical::to_string(record));
        canonical::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageManifest,
            "artifactType": TOOL_TYPE,
            "config": config,
            "layers": [layer(Compression::Gzip, &record.gzip), layer(Compression::Zstd, &record.zstd), sbom],
            "annotations": annotations,
        }))
    }
}

fn layer(compression: Compression, blob: &BlobRef) -> Value {
    json!({ "mediaType": compression.media_type(), "digest": blob.digest, "size": blob.size })
}
