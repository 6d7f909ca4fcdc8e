//! What a cluster says of its own kitbag: the ConfigMap that `kubectl kitbag install` leaves where every user may read
//! it. It names the registry that nodes pull from, and has all that composing its images takes; so nobody but the API
//! server is asked what an image is. That is one request.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kitbag_toolsets::{GenerationId, Published, PublishedError};
use kube::{Api, Client};

use crate::error::{Error, Kind};
use crate::image::Registry;
use crate::refusal::{Asked, explain};

/// The ConfigMap's namespace.
pub const NAMESPACE: &str = "kube-public";
/// The ConfigMap's name.
pub const NAME: &str = "kitbag";
/// The key of the registry, as nodes call it.
pub const REGISTRY: &str = "registry";
/// The key of the generation's id.
pub const GENERATION: &str = "generation";
/// The key of the [`Published`] catalog.
pub const CATALOG: &str = "catalog.json";

/// What a cluster has.
#[derive(Clone, Debug)]
pub struct Discovered {
    /// The registry, as nodes call it.
    pub registry: Registry,
    /// The generation that it serves as its newest.
    pub generation: GenerationId,
    /// What is in it.
    pub published: Published,
}

/// Why it is not known what a cluster has.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// There is no ConfigMap.
    #[error("kitbag is not installed in this cluster: there is no ConfigMap `{NAMESPACE}/{NAME}`")]
    Absent,
    /// The user may not read it.
    #[error("this user may not read what the cluster says of its kitbag, the ConfigMap `{NAMESPACE}/{NAME}`")]
    Forbidden,
    /// It has not what it should have.
    #[error("`{key}` in the ConfigMap `{NAMESPACE}/{NAME}` is not as kitbag writes it: {reason}")]
    Nonsense {
        /// The key of its data.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Another version of kitbag has written it.
    #[error("the cluster's kitbag is of another version than this program: {reason}")]
    Skew {
        /// The registry, as nodes call it.
        registry: Registry,
        /// How it shows.
        reason: String,
    },
    /// The API server does not say.
    #[error(transparent)]
    Unanswered(Box<Error>),
}

/// Asks the cluster.
///
/// # Errors
/// [`DiscoveryError`] where there is nothing, or nothing that can be used.
pub async fn discover(client: &Client) -> Result<Discovered, DiscoveryError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    match maps.get(NAME).await {
        Ok(map) => read(&map.data.unwrap_or_default()),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(DiscoveryError::Absent),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(DiscoveryError::Forbidden),
        Err(error) => {
            let asked = Asked { namespace: NAMESPACE, verb: "get", resource: "configmaps", container: "", reasons: "" };
            Err(DiscoveryError::Unanswered(Box::new(explain(&error, asked))))
        }
    }
}

/// Reads the ConfigMap's data.
///
/// # Errors
/// [`DiscoveryError::Nonsense`] and [`DiscoveryError::Skew`].
pub fn read(data: &BTreeMap<String, String>) -> Result<Discovered, DiscoveryError> {
    let nonsense = |key, reason: String| DiscoveryError::Nonsense { key, reason };
    let get = |key| data.get(key).map(|text| text.trim()).ok_or_else(|| nonsense(key, "it is missing".to_owned()));
    let registry = get(REGISTRY)?;
    let registry: Registry =
        registry.parse().map_err(|error| nonsense(REGISTRY, format!("`{}`: {error}", registry.escape_default())))?;
    let published = match Published::parse(get(CATALOG)?) {
        Ok(published) => published,
        Err(
            error @ (PublishedError::Version { .. } | PublishedError::Content(_) | PublishedError::Composition { .. }),
        ) => {
            return Err(DiscoveryError::Skew { registry, reason: format!("`{CATALOG}`: {error}") });
        }
        Err(error) => return Err(nonsense(CATALOG, error.to_string())),
    };
    let (named, generation) = (get(GENERATION)?, published.id().clone());
    if named != generation.as_str() {
        let reason = format!("it is `{}`, and `{CATALOG}` is of `{generation}`", named.escape_default());
        return Err(nonsense(GENERATION, reason));
    }
    Ok(Discovered { registry, generation, published })
}

impl DiscoveryError {
    /// Whether the cluster has nothing for this user, so that another registry may be meant.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        matches!(self, Self::Absent | Self::Forbidden)
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Absent | Self::Nonsense { .. } | Self::Skew { .. } => Kind::Registry,
            Self::Forbidden => Kind::Forbidden,
            Self::Unanswered(error) => error.kind(),
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Absent => Some("a platform team installs it: `kubectl kitbag install`".to_owned()),
            Self::Forbidden => Some(
                "`kubectl kitbag install`, by the platform team, lets every user read it (Role `kitbag` in `kube-public`)"
                    .to_owned(),
            ),
            Self::Nonsense { .. } => Some(
                "tell the platform team: `kubectl kitbag install` writes it anew; --registry or $KITBAG_REGISTRY does without it"
                    .to_owned(),
            ),
            Self::Skew { registry, .. } => Some(format!(
                "get the kubectl-kitbag of the cluster's version, or ask the platform team for `kubectl kitbag install` by this one; --registry {registry} does without the catalog"
            )),
            Self::Unanswered(error) => error.hint(),
        }
    }
}
