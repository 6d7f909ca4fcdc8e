//! From names to an image by digest, and what its tools need: asked of the registry before the pod is touched.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use kitbag_toolsets::compose::{NEEDS_ANNOTATION, TOOLS_ANNOTATION};
use kitbag_toolsets::{Catalog, ImagePath, Name, Need, Needs};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde_json::Value;

use crate::error::{Kind, root_cause};
use crate::tools;

/// The tag that is asked for: the newest generation.
const TAG: &str = "latest";

/// A registry, as nodes and this machine call it: `HOST[:PORT]`, with a path before the image's own where it is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    host: String,
    prefix: String,
}

/// An image that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `HOST/PATH@DIGEST`.
    pub reference: String,
    /// Tools and versions, `strace=6.1 tcpdump=4.99.6`.
    pub tools: String,
    /// What each tool needs.
    pub needs: BTreeMap<Name, Needs>,
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
}

impl Image {
    /// All needs of all tools.
    pub fn all_needs(&self) -> impl Iterator<Item = Need> {
        self.needs.values().flat_map(Needs::all)
    }
}

/// Finds the image of `path`: its digest and what its tools need.
///
/// # Errors
/// [`ImageError`].
pub async fn resolve(
    registry: &Registry,
    plain_http: bool,
    path: &ImagePath,
    catalog: &Catalog,
) -> Result<Image, ImageError> {
    let plain = plain_http || registry.is_loopback();
    let client = Client::new(ClientConfig {
        protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(Duration::from_secs(5)),
        read_timeout: Some(Duration::from_secs(30)),
        user_agent: concat!("kubectl-kitbag/", env!("CARGO_PKG_VERSION")),
        // The environment's proxies know nothing of this machine's loopback. Naming one, and an exception from it, is how
        // this client is told to ask none.
        http_proxy: registry.is_loopback().then(|| format!("http://{}", registry.host)),
        no_proxy: registry.is_loopback().then(|| "127.0.0.0/8,::1,localhost".to_owned()),
        ..ClientConfig::default()
    });
    let repository = format!("{}{path}", registry.prefix);
    let reference = Reference::with_tag(registry.host.clone(), repository.clone(), TAG.to_owned());
    let types = [OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE];
    let answer = client.pull_manifest_raw(&reference, &RegistryAuth::Anonymous, &types).await;
    let (bytes, digest) = answer.map_err(|error| explain(error, registry))?;
    let (tools, needs) = describe(&bytes, path, catalog)
        .map_err(|reason| ImageError::Answer { registry: registry.to_string(), reason })?;
    Ok(Image { reference: format!("{}/{repository}@{digest}", registry.host), tools, needs })
}

/// Tools and needs from the annotations of an index or manifest; for an image that lost them on its way through another
/// registry, from the catalog that is compiled in.
fn describe(bytes: &[u8], path: &ImagePath, catalog: &Catalog) -> Result<(String, BTreeMap<Name, Needs>), String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let annotation = |name: &str| document["annotations"][name].as_str();
    if let Some(needs) = annotation(NEEDS_ANNOTATION) {
        let needs = serde_json::from_str(needs).map_err(|error| format!("annotation `{NEEDS_ANNOTATION}`: {error}"))?;
        return Ok((annotation(TOOLS_ANNOTATION).unwrap_or_default().to_owned(), needs));
    }
    let set = tools::resolve(path, catalog).ok_or_else(|| format!("it has no annotation `{NEEDS_ANNOTATION}`"))?;
    let needs =
        set.tools().iter().filter_map(|tool| Some((tool.clone(), catalog.recipe(tool.as_str())?.needs.clone())));
    Ok((set.to_string().replace('/', " "), needs.collect()))
}

fn explain(error: OciDistributionError, registry: &Registry) -> ImageError {
    let registry = registry.to_string();
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

impl ImageError {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Unknown { .. } => Kind::UnknownTool,
            Self::Unreachable { .. } | Self::Unauthorized { .. } | Self::Answer { .. } => Kind::Registry,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { registry, .. } => Some(format!("asked was the registry at `{registry}`; the pod was not touched")),
            Self::Unreachable { .. } => Some(
                "is `kitbag-registry serve` running there? another is named with --registry or $KITBAG_REGISTRY; the pod was not touched"
                    .to_owned(),
            ),
            Self::Unauthorized { .. } | Self::Answer { .. } => {
                Some("is that a kitbag registry? another is named with --registry or $KITBAG_REGISTRY".to_owned())
            }
        }
    }
}

impl Registry {
    /// Whether it is on this machine, where no network lies between.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = match self.host.rsplit_once(':') {
            // The colons of a bare IPv6 address stand in brackets.
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.host,
        };
        is_loopback(host)
    }
}

/// Whether `host`, without a port, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address
        .parse::<IpAddr>()
        .map_or(host == "localhost" || host.ends_with(".localhost"), |address| address.is_loopback())
}

/// Why a text is not a [`Registry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: HOST[:PORT][/PREFIX] is wanted")]
pub struct RegistryError(&'static str);

impl FromStr for Registry {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        if text.contains("://") {
            return Err(RegistryError("the scheme is not part of a registry's name"));
        }
        let (host, prefix) = text.split_once('/').unwrap_or((text, ""));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
        if host.is_empty() || !host.bytes().all(allowed) {
            return Err(RegistryError("that is not a host"));
        }
        let prefix = match prefix.trim_end_matches('/') {
            "" => String::new(),
            prefix if prefix.parse::<ImagePath>().is_ok() => format!("{prefix}/"),
            _ => return Err(RegistryError("that is not a path of image names")),
        };
        Ok(Self { host: host.to_owned(), prefix })
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix.trim_end_matches('/')) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loopback_is_spoken_to_in_the_clear_and_nothing_else() {
        for (text, loopback) in [
            ("127.0.0.1:5005", true),
            ("127.9.9.9", true),
            ("[::1]:5005", true),
            ("[::1]", true),
            ("localhost:5005", true),
            ("kitbag.localhost", true),
            ("128.0.0.1:5005", false),
            ("[2001:db8::1]:5005", false),
            ("registry.example", false),
            ("localhost.example:5005", false),
            ("127.0.0.1.example", false),
        ] {
            assert_eq!(text.parse::<Registry>().unwrap().is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn a_registry_is_a_host_and_perhaps_a_path() {
        let registry: Registry = "ghcr.example/acme/tools/".parse().unwrap();
        assert_eq!((registry.host.as_str(), registry.prefix.as_str()), ("ghcr.example", "acme/tools/"));
        assert_eq!(registry.to_string(), "ghcr.example/acme/tools");
        let errors = ["http://127.0.0.1:5005", "", "/x", "a b", "host/Upper"];
        let errors = errors.map(|text| format!("`{text}`: {}", text.parse::<Registry>().unwrap_err()));
        insta::assert_snapshot!(errors.join("\n"), @r"
        `http://127.0.0.1:5005`: the scheme is not part of a registry's name: HOST[:PORT][/PREFIX] is wanted
        ``: that is not a host: HOST[:PORT][/PREFIX] is wanted
        `/x`: that is not a host: HOST[:PORT][/PREFIX] is wanted
        `a b`: that is not a host: HOST[:PORT][/PREFIX] is wanted
        `host/Upper`: that is not a path of image names: HOST[:PORT][/PREFIX] is wanted
        ");
    }

    #[test]
    fn needs_come_from_the_annotations_else_from_the_catalog() {
        let catalog = Catalog::builtin().unwrap();
        let path: ImagePath = "strace".parse().unwrap();
        let annotated = br#"{"annotations":{"dev.kitbag.tools":"strace=6.1","dev.kitbag.needs":"{\"strace\":{\"optional\":[\"perf\"]}}"}}"#;
        let (tools, needs) = describe(annotated, &path, &catalog).unwrap();
        assert_eq!(tools, "strace=6.1");
        assert_eq!(needs.values().flat_map(Needs::all).collect::<Vec<_>>(), [Need::Perf]);
        let (tools, needs) = describe(b"{}", &path, &catalog).unwrap();
        assert_eq!(tools, "strace");
        assert!(needs.values().flat_map(Needs::all).any(|need| need == Need::TargetAttach));
        let unknown = "no-such-tool".parse().unwrap();
        assert_eq!(describe(b"{}", &unknown, &catalog).unwrap_err(), "it has no annotation `dev.kitbag.needs`");
        assert!(describe(br#"{"annotations":{"dev.kitbag.needs":"[]"}}"#, &path, &catalog).is_err());
    }

    #[test]
    fn the_registrys_words_are_passed_on() {
        let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"unknown tool `strac`: did you mean `strace`?"}]}"#;
        let error =
            OciDistributionError::RegistryError { envelope: serde_json::from_str(body).unwrap(), url: String::new() };
        let error = explain(error, &"127.0.0.1:5005".parse().unwrap());
        assert_eq!(error.to_string(), "unknown tool `strac`: did you mean `strace`?");
        assert_eq!(error.kind(), Kind::UnknownTool);
        let error =
            OciDistributionError::ServerError { code: 502, url: String::new(), message: "Bad Gateway\n".into() };
        let error = explain(error, &"127.0.0.1:5005".parse().unwrap());
        assert_eq!(
            error.to_string(),
            "the registry at `127.0.0.1:5005` answers with something else than an image: status 502 Bad Gateway"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_is_what_is_read(text in "[a-z0-9.-]{1,8}(:[0-9]{1,4})?(/[a-z]{1,4}){0,2}") {
            if let Ok(registry) = text.parse::<Registry>() {
                prop_assert_eq!(registry.to_string(), text);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Registry>().map(|registry| registry.is_loopback());
        }
    }
}
