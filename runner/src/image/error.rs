//! Why there is no image, and what a person can do about it.

use kitbag_toolsets::GenerationId;

use super::Registry;
use crate::error::Kind;

/// Why there is no [`Image`](super::Image).
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
    /// The cluster's catalog does not know one of the names, or no platform has all of the tools.
    #[error("{message}")]
    NotInCluster {
        /// The name, near names included; or what each platform lacks.
        message: String,
        /// The catalog's generation.
        generation: GenerationId,
    },
    /// The cluster has another generation than the one that is wanted.
    #[error("the cluster's generation is `{generation}`, not `{tag}`")]
    Generation {
        /// What is wanted.
        tag: String,
        /// What there is.
        generation: GenerationId,
        /// The registry, as nodes call it.
        registry: Registry,
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

impl ImageError {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Unknown { .. } | Self::NotInCluster { .. } | Self::Generation { .. } | Self::NotInCatalog { .. } => {
                Kind::UnknownTool
            }
            Self::Unreachable { .. } | Self::Unauthorized { .. } | Self::Answer { .. } => Kind::Registry,
            Self::Reference { .. } => Kind::Usage,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { registry, .. } => Some(format!("asked was the registry at `{registry}`; the pod was not touched")),
            Self::NotInCluster { generation, .. } => Some(format!(
                "asked was the cluster's catalog, `kubectl kitbag tools` (generation `{generation}`); the pod was not touched"
            )),
            Self::Generation { registry, tag, .. } => Some(format!(
                "leave --tag out, or try whether nodes have it still: --registry {registry} --tag {tag}; the pod was not touched"
            )),
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
