//! From names to an image by digest, and what its tools need: asked of the registry before the pod is touched, or where
//! this machine does not reach it, of the catalog that is compiled in.

mod ask;
mod registry;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kitbag_toolsets::compose::{NEEDS_ANNOTATION, TOOLS_ANNOTATION};
use kitbag_toolsets::{Catalog, ImagePath, Name, Needs};
use oci_client::Reference;
use serde_json::Value;

use crate::error::Kind;
use crate::tools;

pub(crate) use registry::is_loopback;
pub use registry::{Registry, RegistryError};

/// The tag that is asked for where none is named: the newest generation.
const TAG: &str = "latest";

/// How long the registry may take for its whole answer. Nodes may reach it where this machine does not, so that there is
/// another way, and somebody is waiting.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the image should be.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// One that a registry of ours composes.
    Composed {
        /// The registry.
        registry: &'a Registry,
        /// Its names of tools.
        path: &'a ImagePath,
        /// The generation; nothing for the newest.
        tag: Option<&'a str>,
        /// Whether the registry speaks plain HTTP.
        plain_http: bool,
    },
    /// One of the user's own.
    Own {
        /// Its reference, as a pod would name it.
        reference: &'a str,
        /// The tools whose needs count; nothing for those that the image's annotations name.
        tools: Option<&'a ImagePath>,
        /// Whether its registry speaks plain HTTP.
        plain_http: bool,
    },
}

/// An image, as far as it could be found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// `HOST/PATH@DIGEST`, or `HOST/PATH:TAG` where the digest is not known.
    pub reference: String,
    /// The digest of its index or manifest.
    pub digest: Option<String>,
    /// Tools and versions, `strace=6.1 tcpdump=4.99.6`; names alone where versions are not known.
    pub tools: String,
    /// What each tool needs.
    pub needs: BTreeMap<Name, Needs>,
    /// Who was asked.
    pub resolved: How,
}

/// Who said what an image is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// The registry.
    #[default]
    ByRegistry,
    /// The catalog that is compiled in, because the registry could not be asked.
    ByCatalog(String),
}

/// Why there is no [`Image`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The registry does not know one of the names.
    #[error("{message}")]
    Unknown {
        /// What the registry says, near names included.
        message: String,
        /// The registry.
        registry: String,
    },
    /// The registry could not be asked, and the catalog does not know one of the names.
    #[error("{message}")]
    NotInCatalog {
        /// The name, near names included.
        message: String,
        /// Why the registry was not asked.
        reason: String,
    },
    /// The registry cannot be reached.
    #[error("the registry at `{registry}` does not answer: {reason}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// The cause.
        reason: String,
    },
    /// The registry wants to know who asks.
    #[error("the registry at `{registry}` refuses anonymous pulls")]
    Unauthorized {
        /// The registry.
        registry: String,
    },
    /// The registry's answer makes no sense.
    #[error("the registry at `{registry}` answers with something else than an image: {reason}")]
    Answer {
        /// The registry.
        registry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No reference of an image.
    #[error("`{text}` is not a reference of an image: {reason}")]
    Reference {
        /// What was named.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Finds the image: its digest and what its tools need.
///
/// # Errors
/// [`ImageError`] where the registry or, in its place, the catalog says that there is none.
pub async fn resolve(wanted: Wanted<'_>, catalog: &Catalog) -> Result<Image, ImageError> {
    let (reference, plain_http) = match wanted {
        Wanted::Composed { registry, path, tag, plain_http } => {
            (registry.reference(path, tag.unwrap_or(TAG)), plain_http)
        }
        Wanted::Own { reference, plain_http, .. } => (parse(reference)?, plain_http),
    };
    let asked = tokio::time::timeout(PATIENCE, ask::manifest(&reference, plain_http)).await;
    let asked = asked.unwrap_or_else(|_| {
        let reason = format!("no answer within {} s", PATIENCE.as_secs());
        Err(ImageError::Unreachable { registry: reference.registry().to_owned(), reason })
    });
    match asked {
        Ok((bytes, digest)) => {
            let (tools, needs) = describe(&bytes, wanted, catalog)?;
            let reference = format!("{}/{}@{digest}", reference.registry(), reference.repository());
            Ok(Image { reference, digest: Some(digest), tools, needs, resolved: How::ByRegistry })
        }
        // The nodes may reach it by another way, or with a secret.
        Err(error @ (ImageError::Unreachable { .. } | ImageError::Unauthorized { .. })) => {
            by_catalog(&reference, &error.to_string(), wanted, catalog)
        }
        Err(error) => Err(error),
    }
}

/// What can be said of an image without its registry.
fn by_catalog(reference: &Reference, reason: &str, wanted: Wanted<'_>, catalog: &Catalog) -> Result<Image, ImageError> {
    let path = match wanted {
        Wanted::Composed { path, .. } => Some(path),
        Wanted::Own { tools, .. } => tools,
    };
    let (tools, needs) = path.map(|path| in_catalog(path, reason, catalog)).transpose()?.unwrap_or_default();
    let digest = reference.digest().map(str::to_owned);
    Ok(Image { reference: reference.whole(), digest, tools, needs, resolved: How::ByCatalog(reason.to_owned()) })
}

type Described = (String, BTreeMap<Name, Needs>);

/// Tools and needs from the annotations of an index or manifest; for an image that lost them on its way through another
/// registry, from the catalog that is compiled in. An image of one's own is what its user says it is.
fn describe(bytes: &[u8], wanted: Wanted<'_>, catalog: &Catalog) -> Result<Described, ImageError> {
    let (registry, path, own) = match wanted {
        Wanted::Composed { registry, path, .. } => (registry.to_string(), Some(path), false),
        Wanted::Own { reference, tools, .. } => (reference.to_owned(), tools, true),
    };
    let answer = |reason: String| ImageError::Answer { registry: registry.clone(), reason };
    let document: Value = serde_json::from_slice(bytes).map_err(|error| answer(error.to_string()))?;
    let annotation = |name: &str| document["annotations"][name].as_str();
    if own && let Some(path) = path {
        return in_catalog(path, "--image: its tools are those that the command line names", catalog);
    }
    if let Some(needs) = annotation(NEEDS_ANNOTATION) {
        let needs = serde_json::from_str(needs);
        let needs = needs.map_err(|error| answer(format!("annotation `{NEEDS_ANNOTATION}`: {error}")))?;
        return Ok((annotation(TOOLS_ANNOTATION).unwrap_or_default().to_owned(), needs));
    }
    match path {
        Some(path) => {
            in_catalog(path, "", catalog).map_err(|_| answer(format!("it has no annotation `{NEEDS_ANNOTATION}`")))
        }
        // Who names neither tools nor needs gets what everybody may do: to see.
        None => Ok(Described::default()),
    }
}

/// Names and needs of tools from the catalog that is compiled in. Versions are the registry's affair.
fn in_catalog(path: &ImagePath, reason: &str, catalog: &Catalog) -> Result<Described, ImageError> {
    let set = catalog.names().resolve(path);
    let set =
        set.map_err(|error| ImageError::NotInCatalog { message: error.to_string(), reason: reason.to_owned() })?;
    Ok((set.to_string().replace('/', " "), tools::needs_of(&set, catalog)))
}

fn parse(text: &str) -> Result<Reference, ImageError> {
    text.parse().map_err(|error: oci_client::ParseError| ImageError::Reference {
        text: text.to_owned(),
        reason: error.to_string(),
    })
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByRegistry => f.write_str("by the registry"),
            Self::ByCatalog(reason) => write!(f, "by the catalog of this program ({reason})"),
        }
    }
}

impl ImageError {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Unknown { .. } | Self::NotInCatalog { .. } => Kind::UnknownTool,
            Self::Unreachable { .. } | Self::Unauthorized { .. } | Self::Answer { .. } => Kind::Registry,
            Self::Reference { .. } => Kind::Usage,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { registry, .. } => Some(format!("asked was the registry at `{registry}`; the pod was not touched")),
            Self::NotInCatalog { reason, .. } => Some(format!(
                "asked was the catalog of this program, `kubectl kitbag tools` ({reason}); the pod was not touched"
            )),
            Self::Unreachable { .. } => Some(
                "is `kitbag-registry serve` running there? another is named with --registry or $KITBAG_REGISTRY; the pod was not touched"
                    .to_owned(),
            ),
            Self::Unauthorized { .. } | Self::Answer { .. } => {
                Some("is that a kitbag registry? another is named with --registry or $KITBAG_REGISTRY".to_owned())
            }
            Self::Reference { .. } => Some("HOST/NAME:TAG or HOST/NAME@DIGEST is wanted".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
