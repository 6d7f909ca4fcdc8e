//! The catalog of a generation as a cluster publishes it, `catalog.json`: all that composing needs, and nothing of the
//! store. Who has read it composes the very bytes that the registries of that cluster serve, and asks none of them.
//!
//! It is not a [generation](crate::generation): no client can copy it, and it names no manifests of tools.

mod document;

use oci_spec::image::Digest;
use serde_json::Value;

use crate::canonical;
use crate::compose::{ComposeError, Compression, Image};
use crate::generation::{Generation, GenerationError, GenerationId, sha256_digest};
use crate::names::Name;
use crate::path::ImagePath;
use crate::resolve::{ToolSet, UnknownName};
use document::Document;

/// What this program writes and reads. Another number is for what an older program would read wrongly.
pub const VERSION: u64 = 1;

/// The most bytes that are read: what Kubernetes lets a ConfigMap have in all.
pub const MAX_SIZE: usize = 1 << 20;

/// The key of the hash over everything else.
const CHECKSUM: &str = "checksum";

/// A published catalog, read and indexed.
#[derive(Clone, Debug)]
pub struct Published {
    generation: Generation,
}

/// Why a text is not a published catalog, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// Longer than [`MAX_SIZE`].
    #[error("it has {size} bytes; {MAX_SIZE} are allowed")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
    },
    /// No JSON, or no object.
    #[error("it is no JSON object: {0}")]
    Json(#[source] serde_json::Error),
    /// No catalog of any version.
    #[error("it is no catalog: its `version` is no number")]
    Unversioned,
    /// Of a version that is not [`VERSION`].
    #[error("it is of version {found}; this program reads version {VERSION}")]
    Version {
        /// What it says.
        found: u64,
    },
    /// It does not have the checksum that it says: somebody has changed it.
    #[error("it was changed after it was written: its checksum is `{found}`, and `{expected}` stands in it")]
    Changed {
        /// What it has.
        found: String,
        /// What it says.
        expected: String,
    },
    /// It was written so, and cannot be read.
    #[error("this program does not understand it: {0}")]
    Content(#[source] serde_json::Error),
    /// The generation's digest is not a SHA-256.
    #[error("`{0}` is not the digest of a generation: a `sha256:` is wanted")]
    Digest(Digest),
    /// Its tools are no generation.
    #[error(transparent)]
    Generation(GenerationError),
    /// Whoever wrote it composes other bytes from it than this program, which is of another version.
    #[error("it was written by a kitbag that composes images otherwise: `{theirs}` there is `{ours}` here")]
    Composition {
        /// The digest of the image of all tools, by this program.
        ours: String,
        /// The same, as the catalog has it.
        theirs: String,
    },
}

impl Published {
    /// What of `generation` is published.
    #[must_use]
    pub fn of(generation: &Generation) -> Self {
        let document = Document::of(generation);
        let generation = document.generation().expect("the tools of a generation make one");
        Self { generation }
    }

    /// Reads what [`Self::to_json`] has written, or what has become of it.
    ///
    /// # Errors
    /// [`PublishedError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PublishedError> {
        if text.len() > MAX_SIZE {
            return Err(PublishedError::TooLarge { size: text.len() });
        }
        let members: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(PublishedError::Json)?;
        match members.get("version").and_then(Value::as_u64) {
            None => return Err(PublishedError::Unversioned),
            Some(VERSION) => {}
            Some(found) => return Err(PublishedError::Version { found }),
        }
        let document = Document::parse(unseal(members)?).map_err(PublishedError::Content)?;
        let generation = document.generation()?;
        let (ours, theirs) = (composed(&generation), document.composed);
        if ours != theirs {
            let [ours, theirs] = [ours, theirs].map(|digest| digest.map_or("nothing".to_owned(), |it| it.to_string()));
            return Err(PublishedError::Composition { ours, theirs });
        }
        Ok(Self { generation })
    }

    /// The text that is published: canonical JSON, the same for the same generation.
    #[must_use]
    pub fn to_json(&self) -> String {
        seal(Document::of(&self.generation).to_members())
    }

    /// The generation, as far as it is published: its records have no input hash.
    #[must_use]
    pub const fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Its id, which is the tag of its images.
    #[must_use]
    pub fn id(&self) -> &GenerationId {
        self.generation.id()
    }

    /// The canonical tool set that `path` names.
    ///
    /// # Errors
    /// [`UnknownName`] for the first name that means nothing.
    pub fn resolve(&self, path: &ImagePath) -> Result<ToolSet, UnknownName> {
        self.generation.resolve(path)
    }

    /// Composes the image of `set`: byte for byte what the registry serves.
    ///
    /// # Errors
    /// [`ComposeError`] where no platform can have it.
    pub fn compose(&self, set: &ToolSet) -> Result<Image, ComposeError> {
        self.generation.compose(set)
    }
}

/// The digest of the image of every tool that all platforms have: what tells programs apart that compose differently.
/// None without a base layer.
fn composed(generation: &Generation) -> Option<Digest> {
    let platforms = generation.base();
    let everywhere = |tool: &Name| platforms.keys().all(|arch| generation.tools()[tool].contains_key(arch));
    let image = generation.compose(&generation.names().all(everywhere)).ok()?;
    Some(image.form(Compression::Gzip).index.digest.clone())
}

fn seal(mut members: serde_json::Map<String, Value>) -> String {
    let checksum = checksum(&members);
    members.insert(CHECKSUM.to_owned(), checksum.into());
    canonical::to_string(&members)
}

/// What the checksum is over, where it is right. Order and white space don't count: YAML may have been between.
fn unseal(mut members: serde_json::Map<String, Value>) -> Result<serde_json::Map<String, Value>, PublishedError> {
    let expected = members.remove(CHECKSUM).unwrap_or_default();
    let found = checksum(&members);
    if expected.as_str() == Some(&found) {
        return Ok(members);
    }
    let expected = expected.as_str().map_or_else(|| expected.to_string(), str::to_owned);
    Err(PublishedError::Changed { found, expected })
}

fn checksum(members: &serde_json::Map<String, Value>) -> String {
    sha256_digest(&canonical::sha256_hex(&canonical::to_vec(members))).to_string()
}

#[cfg(test)]
mod tests;
