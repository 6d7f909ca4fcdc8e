//! Into a registry: what it does not have yet is uploaded, then the manifests by digest, then the index by its tag, so that
//! nobody who pulls meanwhile finds half an image.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kitbag_toolsets::Document;
use kitbag_toolsets::loopback::is_loopback;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciEnvelope};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};

use super::content::Blob;
use super::{Content, PublishError};

/// How often something is tried that the registry may take the next time.
const ATTEMPTS: u32 = 4;
/// Uploads at a time.
const UPLOADS: usize = 4;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a registry may say nothing. Some store a blob elsewhere before they answer.
const SILENCE: Duration = Duration::from_secs(120);
/// Characters of an answer that are shown.
const SHOWN: usize = 200;

/// How to push.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether to speak plain HTTP with a registry that is not this machine.
    pub plain_http: bool,
    /// The pause before something is tried again; doubled each time.
    pub pause: Duration,
}

/// What pushing took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Blobs that were uploaded.
    pub uploaded: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were there.
    pub present: usize,
}

/// Why an image could not be pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// What should be pushed cannot be read.
    #[error(transparent)]
    Content(PublishError),
    /// Nobody answers.
    #[error("the registry at `{registry}` does not answer: {reason}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// The cause.
        reason: String,
    },
    /// The credentials are wrong, not enough, or missing.
    #[error("the registry at `{registry}` does not let {who} push to `{repository}`: {reason}")]
    Refused {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
        /// The user.
        who: String,
        /// What it says.
        reason: String,
    },
    /// Anything else that it does not take.
    #[error("the registry at `{registry}` does not take {what}: {reason}")]
    Answer {
        /// The registry.
        registry: String,
        /// What was sent.
        what: String,
        /// What it says.
        reason: String,
    },
}

/// Pushes the image to the reference's repository, under its tag.
///
/// # Errors
/// [`PushError`]. What was uploaded before stays in the registry, without a name.
pub async fn push(
    content: &Content,
    to: &Reference,
    auth: &RegistryAuth,
    options: Options,
) -> Result<Pushed, PushError> {
    let target = Target { client: client(to, options.plain_http), to, auth, pause: options.pause };
    let login = target.client.auth(to, auth, RegistryOperation::Push).await;
    login.map_err(|error| target.explain(error, "who asks".to_owned()))?;
    let uploads = content.blobs().into_iter().map(async |blob| target.blob(&blob).await);
    let count = async |mut pushed: Pushed, uploaded: Option<u64>| {
        match uploaded {
            Some(bytes) => (pushed.uploaded, pushed.bytes) = (pushed.uploaded + 1, pushed.bytes + bytes),
            None => pushed.present += 1,
        }
        Ok(pushed)
    };
    let pushed = stream::iter(uploads).buffer_unordered(UPLOADS).try_fold(Pushed::default(), count).await?;
    let manifests = content.platforms.iter().map(|platform| &platform.manifest);
    for manifest in manifests.filter(|manifest| manifest.digest != content.root.digest) {
        target.manifest(manifest, manifest.digest.as_ref()).await?;
    }
    target.manifest(&content.root, to.tag().unwrap_or("latest")).await?;
    Ok(pushed)
}

fn client(to: &Reference, plain_http: bool) -> Client {
    let host = to.resolve_registry();
    let loopback = is_loopback(host);
    Client::new(ClientConfig {
        protocol: if plain_http || loopback { ClientProtocol::Http } else { ClientProtocol::Https },
        // One request for each blob. In pieces, each would need an answer, and some registries don't know how.
        use_monolithic_push: true,
        connect_timeout: Some(CONNECT),
        read_timeout: Some(SILENCE),
        user_agent: concat!("kitbag-builder/", env!("CARGO_PKG_VERSION")),
        // The environment's proxies know nothing of this machine's loopback. Naming one, and an exception from it, is how
        // this client is told to ask none.
        http_proxy: loopback.then(|| format!("http://{host}")),
        no_proxy: loopback.then(|| "127.0.0.0/8,::1,localhost".to_owned()),
        ..ClientConfig::default()
    })
}

/// A repository, and who we are to it.
struct Target<'a> {
    client: Client,
    to: &'a Reference,
    auth: &'a RegistryAuth,
    pause: Duration,
}

impl Target<'_> {
    /// Uploads the blob if it is not there; its size if it was not.
    async fn blob(&self, blob: &Blob) -> Result<Option<u64>, PushError> {
        let digest = blob.digest.to_string();
        let explain = |error| self.explain(error, format!("blob `{digest}`"));
        // Where it may not be asked for, it may still be sent.
        if let Ok(true) = self.again(async || self.client.blob_exists(self.to, &digest).await).await {
            return Ok(None);
        }
        let bytes = blob.read().map_err(PushError::Content)?;
        let upload = async || self.client.push_blob(self.to, bytes.clone(), &digest).await;
        match self.again(upload).await {
            // Without a location it is there all the same.
            Ok(_) | Err(OciDistributionError::RegistryNoLocationError) => Ok(Some(blob.size)),
            Err(error) => Err(explain(error)),
        }
    }

    /// `name` is a tag or a digest. As a tag in both cases: with a digest, the client wants a location from registries
    /// that send none (ECR), and panics.
    async fn manifest(&self, document: &Document, name: &str) -> Result<(), PushError> {
        let to = Reference::with_tag(self.to.registry().to_owned(), self.to.repository().to_owned(), name.to_owned());
        let what = || format!("manifest `{}`", document.digest);
        let content_type = document.media_type.as_ref().parse();
        let content_type: http::HeaderValue = content_type.map_err(|_| PushError::Answer {
            registry: self.to.registry().to_owned(),
            what: what(),
            reason: format!("`{}` cannot be sent as a media type", document.media_type),
        })?;
        let put = async || self.client.push_manifest_raw(&to, document.bytes.clone(), content_type.clone()).await;
        self.again(put).await.map(|_| ()).map_err(|error| self.explain(error, what()))
    }

    /// Tries until it works, or fails for good.
    async fn again<T>(
        &self,
        attempt: impl AsyncFn() -> Result<T, OciDistributionError>,
    ) -> Result<T, OciDistributionError> {
        let mut pause = self.pause;
        for _ in 1..ATTEMPTS {
            match attempt().await {
                Err(error) if may_pass(&error) => tokio::time::sleep(pause).await,
                result => return result,
            }
            pause *= 2;
        }
        attempt().await
    }

    fn explain(&self, error: OciDistributionError, what: String) -> PushError {
        let registry = self.to.registry().to_owned();
        let refused = |reason: String| PushError::Refused {
            registry: registry.clone(),
            repository: self.to.repository().to_owned(),
            who: match self.auth {
                RegistryAuth::Basic(user, _) => format!("`{user}`"),
                RegistryAuth::Anonymous | RegistryAuth::Bearer(_) => "anybody".to_owned(),
            },
            reason,
        };
        match error {
            OciDistributionError::AuthenticationFailure(body) => refused(said(&body)),
            OciDistributionError::UnauthorizedError { .. } => refused("it wants other credentials".to_owned()),
            OciDistributionError::ServerError { code: code @ (401 | 403), message, .. } => {
                refused(format!("status {code} {}", said(&message)).trim_end().to_owned())
            }
            OciDistributionError::ServerError { code, message, .. } => PushError::Answer {
                registry,
                what,
                reason: format!("status {code} {}", said(&message)).trim_end().to_owned(),
            },
            OciDistributionError::RequestError(error) if error.status().is_none() => {
                PushError::Unreachable { registry, reason: root_cause(&error) }
            }
            error => PushError::Answer { registry, what, reason: said(&error.to_string()) },
        }
    }
}

/// Whether the next attempt may succeed: the network, or a registry that has too much to do.
fn may_pass(error: &OciDistributionError) -> bool {
    let passing = |code: u16| code == 429 || code >= 500;
    match error {
        OciDistributionError::ServerError { code, .. } => passing(*code),
        OciDistributionError::RequestError(error) => error.status().is_none_or(|status| passing(status.as_u16())),
        _ => false,
    }
}

/// What an answer says to people: the first message of an error as OCI has it, else its first line.
fn said(body: &str) -> String {
    let envelope = serde_json::from_str::<OciEnvelope>(body).ok();
    let message = envelope.and_then(|envelope| envelope.errors.into_iter().next()).map(|error| error.message);
    let text = message.filter(|message| !message.is_empty());
    let line = text.as_deref().unwrap_or(body).trim().lines().next().unwrap_or_default();
    line.chars().filter(|character| !character.is_control()).take(SHOWN).collect()
}

/// The last of an error's sources: the others repeat the address, which may hold more than people should see.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
