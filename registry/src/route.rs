//! Routes: what a method, a path and a query ask for. The path's grammar is spelled here and nowhere else.
//!
//! Pure, and knows only grammar: whether a tool, a tag or a blob exists is decided later. A path is read from the
//! right, because tools may be called `blobs`, `tags`, `manifests` or `referrers`. Nothing is percent-decoded in it:
//! whatever can be named needs no encoding.

use std::fmt;

use http::Method;
use kitbag_toolsets::ImagePath;
use kitbag_toolsets::path::PathError;
use oci_spec::image::Digest;

/// Longest digest in bytes: its grammar has no end, and an unknown digest is quoted in an answer's headers.
const MAX_DIGEST: usize = 255;

/// What a request asks for (distribution specification 1.1, "Endpoints").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`: whether this is a registry.
    Base,
    /// `/v2/<path>/manifests/<reference>`.
    Manifest {
        /// The image.
        path: ImagePath,
        /// Tag or digest.
        reference: Reference,
    },
    /// `/v2/<path>/blobs/<digest>`.
    Blob {
        /// The image.
        path: ImagePath,
        /// The blob.
        digest: Digest,
    },
    /// `/v2/<path>/tags/list`.
    Tags {
        /// The image.
        path: ImagePath,
        /// The part of the list.
        page: Page,
    },
    /// `/v2/<path>/referrers/<digest>`.
    Referrers {
        /// The image.
        path: ImagePath,
        /// What is referred to.
        digest: Digest,
        /// Only referrers of this type.
        artifact_type: Option<String>,
    },
    /// `/v2/_catalog`, which is not in the specification, but in clients.
    Catalog {
        /// The part of the list.
        page: Page,
    },
}

/// What names a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A tag.
    Tag(Tag),
    /// A digest of any algorithm.
    Digest(Digest),
}

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

/// The part of a list that a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// How many entries at the most (`n`); `None` for all.
    pub limit: Option<usize>,
    /// Only entries that come after this one (`last`).
    pub after: Option<String>,
}

/// Why a request has no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A method that would change something, or none that HTTP knows.
    #[error("`{0}` is not supported: this registry composes its images itself, and can only be read (GET, HEAD)")]
    Method(String),
    /// A path with another beginning or another shape.
    #[error("nothing is served under `{0}`: images are under `/v2/<tool>/<tool>/manifests/latest`")]
    Endpoint(String),
    /// The image path is outside the grammar.
    #[error(transparent)]
    Name(PathError),
    /// Not a digest.
    #[error("`{0}` is not a digest: write `sha256:` and 64 hexadecimal digits (0-9, a-f)")]
    Digest(String),
    /// Not a tag.
    #[error("`{0}` is not a tag: write `latest` or the id of a generation")]
    Tag(String),
    /// Not a number of entries.
    #[error("`n={0}` is not a number of entries: write a whole number, or leave it out")]
    PageSize(String),
}

/// The route of a request.
///
/// # Errors
/// [`RouteError`] names what is wrong with it.
pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Route, RouteError> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(RouteError::Method(quotable(method.as_str())));
    }
    let unknown = || RouteError::Endpoint(quotable(path));
    let rest = match path.strip_prefix("/v2") {
        Some("" | "/") => return Ok(Route::Base),
        Some(rest) => rest.strip_prefix('/').ok_or_else(unknown)?,
        None => return Err(unknown()),
    };
    if rest == "_catalog" {
        return Ok(Route::Catalog { page: page(query)? });
    }
    let mut parts = rest.rsplitn(3, '/');
    let (Some(last), Some(kind), Some(image)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(unknown());
    };
    let image = || image.parse::<ImagePath>().map_err(RouteError::Name);
    match (kind, last) {
        ("manifests", _) => Ok(Route::Manifest { path: image()?, reference: reference(last)? }),
        ("blobs", _) => Ok(Route::Blob { path: image()?, digest: digest(last)? }),
        ("tags", "list") => Ok(Route::Tags { path: image()?, page: page(query)? }),
        ("referrers", _) => Ok(Route::Referrers {
            path: image()?,
            digest: digest(last)?,
            artifact_type: parameter(query, "artifactType"),
        }),
        _ => Err(unknown()),
    }
}

fn reference(text: &str) -> Result<Reference, RouteError> {
    if text.contains(':') { digest(text).map(Reference::Digest) } else { tag(text).map(Reference::Tag) }
}

fn digest(text: &str) -> Result<Digest, RouteError> {
    let digest = (text.len() <= MAX_DIGEST).then(|| text.parse().ok()).flatten();
    digest.ok_or_else(|| RouteError::Digest(quotable(text)))
}

fn tag(text: &str) -> Result<Tag, RouteError> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let valid = text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    if valid { Ok(Tag(text.to_owned())) } else { Err(RouteError::Tag(quotable(text))) }
}

fn page(query: Option<&str>) -> Result<Page, RouteError> {
    let limit = parameter(query, "n")
        .map(|text| text.parse().map_err(|_| RouteError::PageSize(quotable(&text))))
        .transpose()?;
    Ok(Page { limit, after: parameter(query, "last") })
}

/// The first value of a parameter. Unknown parameters are no fault: containerd adds `ns=` when it comes by a mirror.
fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// What came from outside, so that it fits into a message and a header.
fn quotable(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut escaped: String = text.chars().take(LONGEST).flat_map(char::escape_default).collect();
    if text.chars().nth(LONGEST).is_some() {
        escaped.push_str("...");
    }
    escaped
}

impl Tag {
    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As path and query of a URL: what [`parse`] reads.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("/v2/"),
            Self::Manifest { path, reference } => write!(f, "/v2/{path}/manifests/{reference}"),
            Self::Blob { path, digest } => write!(f, "/v2/{path}/blobs/{digest}"),
            Self::Tags { path, page } => write!(f, "/v2/{path}/tags/list{page}"),
            Self::Referrers { path, digest, artifact_type } => {
                write!(f, "/v2/{path}/referrers/{digest}")?;
                match artifact_type {
                    Some(kind) => write!(f, "?artifactType={}", encoded(kind)),
                    None => Ok(()),
                }
            }
            Self::Catalog { page } => write!(f, "/v2/_catalog{page}"),
        }
    }
}

/// As the query of a URL, with its `?`.
impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(limit) = self.limit {
            write!(f, "?n={limit}")?;
        }
        if let Some(after) = &self.after {
            write!(f, "{}last={}", if self.limit.is_some() { '&' } else { '?' }, encoded(after))?;
        }
        Ok(())
    }
}

fn encoded(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
