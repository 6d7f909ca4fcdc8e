//! From names to an image by digest, and what its tools need, before the pod is touched: composed from the catalog that
//! the cluster publishes; else asked of the registry, or where this machine does not reach it, of the catalog that is
//! compiled in.

mod ask;
mod error;
mod published;
mod registry;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kitbag_toolsets::compose::{LATEST, NEEDS_ANNOTATION, TOOLS_ANNOTATION};
use kitbag_toolsets::{Catalog, GenerationId, ImagePath, Name, Needs};
use kube::Client;
use oci_client::Reference;
use serde_json::Value;

use crate::discovery::discover;
use crate::error::Error;
use crate::tools;

pub use error::ImageError;
pub use registry::{DEFAULT, Registry, RegistryError};

/// How long the registry may take for its whole answer. Nodes may reach it where this machine does not, so that there is
/// another way, and somebody is waiting.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the image should be.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// One that a registry of ours composes.
    Composed {
        /// The registry; nothing for the cluster's own.
        registry: Option<&'a Registry>,
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
    /// The catalog of this generation, which the cluster publishes.
    ByCluster(GenerationId),
    /// The catalog that is compiled in, because the registry could not be asked.
    ByCatalog(String),
}

/// Finds the image: its digest and what its tools need. The cluster is asked only where no registry is named.
///
/// # Errors
/// [`ImageError`] where cluster, registry or, in its place, the catalog says that there is none; an error of
/// [discovery](crate::discovery) where the cluster says what makes no sense.
pub async fn resolve(client: &Client, wanted: Wanted<'_>, catalog: &Catalog) -> Result<Image, Error> {
    let Wanted::Composed { registry: None, path, tag, plain_http } = wanted else {
        return Ok(asked(wanted, "", catalog).await?);
    };
    match discover(client).await {
        Ok(discovered) => Ok(published::resolve(&discovered, path, tag)?),
        Err(error) if error.is_nothing() => {
            let default = Registry::default();
            let wanted = Wanted::Composed { registry: Some(&default), path, tag, plain_http };
            Ok(asked(wanted, &format!("{error}; "), catalog).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// What the registry says of the image, or where it can't be asked, the catalog: for the reason which comes after
/// `before`.
async fn asked(wanted: Wanted<'_>, before: &str, catalog: &Catalog) -> Result<Image, ImageError> {
    let (reference, plain_http) = match wanted {
        Wanted::Composed { registry, path, tag, plain_http } => {
            (registry.cloned().unwrap_or_default().reference(path, tag.unwrap_or(LATEST)), plain_http)
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
            by_catalog(&reference, &format!("{before}{error}"), wanted, catalog)
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
        Wanted::Composed { registry, path, .. } => {
            (registry.cloned().unwrap_or_default().to_string(), Some(path), false)
        }
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
            Self::ByCluster(generation) => write!(f, "by the cluster's catalog (generation `{generation}`)"),
            Self::ByCatalog(reason) => write!(f, "by the catalog of this program ({reason})"),
        }
    }
}

#[cfg(test)]
mod tests;
