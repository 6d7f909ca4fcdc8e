//! Asking a registry for a manifest, and what its refusals mean.

use std::time::Duration;

use kitbag_toolsets::loopback::is_loopback;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::ImageError;
use crate::error::root_cause;

/// What other tools write where OCI has its own types.
const DOCKER_TYPES: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// How long a connection may take: shorter than the whole, so that the cause is told.
const CONNECT: Duration = Duration::from_secs(2);

/// The bytes of the index or manifest, and its digest.
pub(super) async fn manifest(reference: &Reference, plain_http: bool) -> Result<(Vec<u8>, String), ImageError> {
    let host = reference.resolve_registry();
    let loopback = is_loopback(host);
    let client = Client::new(ClientConfig {
        protocol: if plain_http || loopback { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(CONNECT),
        user_agent: concat!("kubectl-kitbag/", env!("CARGO_PKG_VERSION")),
        // The environment's proxies know nothing of this machine's loopback. Naming one, and an exception from it, is how
        // this client is told to ask none.
        http_proxy: loopback.then(|| format!("http://{host}")),
        no_proxy: loopback.then(|| "127.0.0.0/8,::1,localhost".to_owned()),
        ..ClientConfig::default()
    });
    let types = [OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, DOCKER_TYPES[0], DOCKER_TYPES[1]];
    let answer = client.pull_manifest_raw(reference, &RegistryAuth::Anonymous, &types).await;
    let (bytes, digest) = answer.map_err(|error| explain(error, reference.registry()))?;
    Ok((bytes.to_vec(), digest))
}

pub(super) fn explain(error: OciDistributionError, registry: &str) -> ImageError {
    let registry = registry.to_owned();
    match error {
        OciDistributionError::RegistryError { envelope, .. } => {
            let known = envelope.errors.into_iter().next();
            let Some(error) = known else {
                return ImageError::Answer { registry, reason: "an error without a reason".to_owned() };
            };
            match error.code {
                OciErrorCode::Unauthorized | OciErrorCode::Denied => ImageError::Unauthorized { registry },
                OciErrorCode::NameUnknown
                | OciErrorCode::NameInvalid
                | OciErrorCode::ManifestUnknown
                | OciErrorCode::NotFound => ImageError::Unknown { message: error.message, registry },
                _ => ImageError::Answer { registry, reason: error.message },
            }
        }
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
            ImageError::Unauthorized { registry }
        }
        OciDistributionError::RequestError(error) => ImageError::Unreachable { registry, reason: root_cause(&error) },
        OciDistributionError::ServerError { code, message, .. } => {
            let message = message.lines().next().unwrap_or_default().trim().to_owned();
            ImageError::Answer { registry, reason: format!("status {code} {message}").trim_end().to_owned() }
        }
        error => ImageError::Answer { registry, reason: error.to_string() },
    }
}
