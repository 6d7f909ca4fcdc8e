//! Generations: one immutable snapshot of a store, from which images are composed.
//!
//! A generation is kept as an OCI image index (image specification 1.1, "image index") whose descriptors carry, as an
//! annotation, all that composing needs to know of each tool. So one small file is the whole catalog of what is built,
//! and every OCI client can copy it with everything that it names.

mod document;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use oci_spec::image::{Descriptor, Digest};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::canonical;
use crate::compose::Fragments;
use crate::names::Name;
use crate::needs::Needs;
use crate::path::ImagePath;
use crate::platform::Arch;
use crate::resolve::{NameIndex, ToolSet, UnknownName};
use document::Document;

/// `artifactType` of a generation's index.
pub const GENERATION_TYPE: &str = "application/vnd.kitbag.generation.v1+json";
/// `artifactType` of the manifest of one tool for one architecture.
pub const TOOL_TYPE: &str = "application/vnd.kitbag.tool.v1+json";
/// Annotation of a descriptor in a generation: a [`ToolRecord`] as canonical JSON.
pub const TOOL_ANNOTATION: &str = "dev.kitbag.tool";
/// Annotation of a generation: its named sets, as canonical JSON (`{"net":["dig","tcpdump"]}`).
pub const SETS_ANNOTATION: &str = "dev.kitbag.sets";

/// The short name of a generation: the first 12 hexadecimal digits of its index's SHA-256. Also the tag under which its
/// images are found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct GenerationId(SmolStr);

/// One tool (or the base layer) for one architecture, as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolRecord {
    /// Its name; `base` for the base layer, whatever its recipe is called.
    pub name: Name,
    /// Whether this is the base layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
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
    /// Commands that it provides, the main one first.
    pub commands: Vec<String>,
    /// What it wants of the kernel and the pod.
    pub needs: Needs,
    /// Seconds since 1970.
    pub source_date: i64,
    /// Hash of everything that went into the build, 64 hexadecimal digits. A published catalog has no room for it: there
    /// it is empty.
    pub input_hash: String,
    /// Digest of the layer's uncompressed tar (image specification, "Layer DiffID").
    #[serde(rename = "diffID")]
    pub diff_id: Digest,
    /// The layer as gzip.
    pub gzip: BlobRef,
    /// The layer as zstd.
    pub zstd: BlobRef,
}

/// A record, with what composing wants of it: made when an image first has the layer. It reads like the record.
#[derive(Clone, Debug)]
pub struct Layer {
    record: ToolRecord,
    fragments: OnceLock<Fragments>,
}

/// A blob of the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A generation, read and indexed.
#[derive(Clone, Debug)]
pub struct Generation {
    id: GenerationId,
    digest: Digest,
    base: BTreeMap<Arch, Arc<Layer>>,
    tools: BTreeMap<Name, BTreeMap<Arch, Arc<Layer>>>,
    names: NameIndex,
    at_hand: Option<Arch>,
}

/// Why bytes are not a generation.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The bytes are not an image index.
    #[error("the generation is not an image index: {0}")]
    Index(#[source] serde_json::Error),
    /// The index is of another kind.
    #[error("the index has artifact type `{0}`, not `{GENERATION_TYPE}`")]
    ArtifactType(String),
    /// An annotation that must be there is missing or unreadable.
    #[error("annotation `{key}` of {of} is missing or unreadable")]
    Annotation {
        /// Its key.
        key: &'static str,
        /// What should carry it.
        of: String,
    },
    /// Two records for one tool and architecture.
    #[error("`{tool}` for `{arch}` stands twice in the generation")]
    Twice {
        /// The tool.
        tool: Name,
        /// The architecture.
        arch: Arch,
    },
}

impl Generation {
    /// Reads the index in `bytes`.
    ///
    /// # Errors
    /// [`GenerationError`] says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, GenerationError> {
        Self::parse_hashed(bytes, &canonical::sha256_hex(bytes))
    }

    /// [`Self::parse`] for who has the [hash](canonical::sha256_hex) of the bytes already.
    ///
    /// # Errors
    /// As for [`Self::parse`].
    ///
    /// # Panics
    /// When `hash` is not 64 small hexadecimal digits.
    pub fn parse_hashed(bytes: &[u8], hash: &str) -> Result<Self, GenerationError> {
        let document = Document::parse(bytes)?;
        Self::assemble(sha256_digest(hash), document.records, &document.sets)
    }

    /// The generation whose index has the digest, a SHA-256.
    pub(crate) fn assemble(
        digest: Digest,
        records: impl IntoIterator<Item = ToolRecord>,
        sets: &BTreeMap<Name, Vec<Name>>,
    ) -> Result<Self, GenerationError> {
        let mut generation = Self {
            id: GenerationId(SmolStr::new(&digest.digest()[..GenerationId::LENGTH])),
            digest,
            base: BTreeMap::new(),
            tools: BTreeMap::new(),
            names: NameIndex::new(),
            at_hand: None,
        };
        for record in records {
            generation.add(record)?;
        }
        for (name, platforms) in &generation.tools {
            if let Some(record) = platforms.values().next() {
                generation.names.add_tool(name, record.rank, &record.version, &record.commands);
            }
        }
        for (name, tools) in sets {
            generation.names.add_set(name, tools);
        }
        Ok(generation)
    }

    fn add(&mut self, record: ToolRecord) -> Result<(), GenerationError> {
        let platforms = if record.base { &mut self.base } else { self.tools.entry(record.name.clone()).or_default() };
        let (tool, arch) = (record.name.clone(), record.architecture);
        match platforms.insert(arch, Arc::new(Layer { record, fragments: OnceLock::new() })) {
            None => Ok(()),
            Some(_) => Err(GenerationError::Twice { tool, arch }),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &GenerationId {
        &self.id
    }

    /// Digest of its index.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The base layer, by architecture.
    #[must_use]
    pub fn base(&self) -> &BTreeMap<Arch, Arc<Layer>> {
        &self.base
    }

    /// The tools, by name and architecture.
    #[must_use]
    pub fn tools(&self) -> &BTreeMap<Name, BTreeMap<Arch, Arc<Layer>>> {
        &self.tools
    }

    /// Every record: the base layer's, then the tools'.
    pub fn records(&self) -> impl Iterator<Item = &ToolRecord> {
        self.base.values().chain(self.tools.values().flat_map(BTreeMap::values)).map(|layer| &layer.record)
    }

    /// The layers that go with it, in both forms: those of all platforms, unless [`Self::with_layers_for`] has said
    /// otherwise. Records may share one, which then comes more than once.
    pub fn layers(&self) -> impl Iterator<Item = &BlobRef> {
        let at_hand = |record: &&ToolRecord| self.at_hand.is_none_or(|arch| record.architecture == arch);
        self.records().filter(at_hand).flat_map(|record| [&record.gzip, &record.zstd])
    }

    /// The same generation in a place that has the layers of one platform only. What is composed stays as it is.
    #[must_use]
    pub fn with_layers_for(mut self, arch: Arch) -> Self {
        self.at_hand = Some(arch);
        self
    }

    /// What names mean in it.
    #[must_use]
    pub fn names(&self) -> &NameIndex {
        &self.names
    }

    /// The canonical tool set that `path` names in this generation.
    ///
    /// # Errors
    /// [`UnknownName`] for the first name that means nothing here.
    pub fn resolve(&self, path: &ImagePath) -> Result<ToolSet, UnknownName> {
        self.names.resolve(path)
    }
}

impl Layer {
    pub(crate) fn fragments(&self) -> &Fragments {
        self.fragments.get_or_init(|| Fragments::new(&self.record))
    }
}

impl Deref for Layer {
    type Target = ToolRecord;

    fn deref(&self) -> &ToolRecord {
        &self.record
    }
}

/// The index of a generation: `tools` are (record, descriptor of its manifest). The order of the input does not matter.
#[must_use]
pub fn write_generation(tools: &[(ToolRecord, Descriptor)], sets: &BTreeMap<Name, Vec<Name>>) -> Vec<u8> {
    let mut tools: Vec<_> = tools.iter().collect();
    tools.sort_by_key(|(record, _)| (!record.base, record.rank, &record.name, record.architecture));
    let manifests: Vec<serde_json::Value> = tools
        .iter()
        .map(|(record, descriptor)| {
            serde_json::json!({
                "mediaType": descriptor.media_type(),
                "artifactType": TOOL_TYPE,
                "digest": descriptor.digest(),
                "size": descriptor.size(),
                "platform": { "architecture": record.architecture, "os": "linux" },
                "annotations": { TOOL_ANNOTATION: canonical::to_string(record) },
            })
        })
        .collect();
    canonical::to_vec(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "artifactType": GENERATION_TYPE,
        "manifests": manifests,
        "annotations": { SETS_ANNOTATION: canonical::to_string(sets) },
    }))
}

/// The digest `sha256:<hex>`.
///
/// # Panics
/// When `hex` is not 64 small hexadecimal digits.
#[must_use]
pub fn sha256_digest(hex: &str) -> Digest {
    Digest::from_str(&format!("sha256:{hex}")).expect("64 hexadecimal digits make a digest")
}

impl GenerationId {
    /// Number of hexadecimal digits.
    pub const LENGTH: usize = 12;

    /// The id as text, which is the tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
