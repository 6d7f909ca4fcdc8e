//! Responses: the one place where documents, blobs, lists and errors get their status and headers.
//!
//! Pure. A response to `HEAD` is made like one to `GET`; `exchange` takes its body away, so that no header can differ.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LINK, RETRY_AFTER, VARY,
    WARNING, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use kitbag_toolsets::Name;
use kitbag_toolsets::compose::ComposeError;
use kitbag_toolsets::path::PathError;
use serde_json::{Value, json};

use crate::body::BlobError;
use crate::conditional::{self, Part};
use crate::error::RequestError;
use crate::negotiate::INDEX;
use crate::route::{Route, RouteError};
use crate::throttle::RetryAfter;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What a digest names never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// What a tag or a list names changes with the next generation: half a minute is what a cache in front may lag behind.
const SHORT: HeaderValue = HeaderValue::from_static("public, max-age=30");
/// When to ask again where what is wrong passes soon.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");
const NO_REFERRERS: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Bytes that a digest names, with the headers that go with them: made once, sent often.
#[derive(Clone, Debug)]
pub struct Content {
    /// The bytes.
    pub bytes: Bytes,
    media_type: HeaderValue,
    length: HeaderValue,
    digest: HeaderValue,
    etag: HeaderValue,
}

impl Content {
    /// `bytes`, whose digest is known to be `digest`.
    ///
    /// # Panics
    /// When the media type or the digest cannot stand in a header, which the grammar of neither allows.
    #[must_use]
    pub fn new(bytes: Bytes, media_type: &str, digest: &str) -> Self {
        let header = |text: &str| HeaderValue::from_str(text).expect("it has only visible characters");
        Self {
            media_type: header(media_type),
            length: HeaderValue::from(bytes.len()),
            digest: header(digest),
            etag: header(&format!("\"{digest}\"")),
            bytes,
        }
    }

    /// The digest, as text.
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        self.digest.as_bytes()
    }
}

/// An image path's manifest or index. `by_tag` where it was asked for by tag, not by digest.
#[must_use]
pub fn manifest(content: &Content, request: &HeaderMap, by_tag: bool) -> Response<Bytes> {
    let mut response =
        if conditional::has_already(request, content.etag.as_bytes()) { unmodified(content) } else { whole(content) };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, if by_tag { SHORT } else { IMMUTABLE });
    if by_tag {
        headers.insert(VARY, HeaderValue::from_static("accept"));
    }
    response
}

/// A blob, or the part of it that is wanted. `ranges` is false for `HEAD`, for which ranges have no meaning.
///
/// # Errors
/// [`RequestError::Range`] where the wanted part is empty.
pub fn blob(content: &Content, request: &HeaderMap, ranges: bool) -> Result<Response<Bytes>, RequestError> {
    let etag = content.etag.as_bytes();
    let size = content.bytes.len() as u64;
    let part = if ranges { conditional::part(request, etag, size) } else { Part::Whole };
    let mut response = match part {
        _ if conditional::has_already(request, etag) => unmodified(content),
        Part::Whole => whole(content),
        Part::Range { first, last } => partial(content, first, last),
        Part::Unsatisfiable => return Err(RequestError::Range { size }),
    };
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    Ok(response)
}

/// `/v2/`.
#[must_use]
pub fn base() -> Response<Bytes> {
    let mut response = short(Bytes::from_static(b"{}"), JSON);
    // Older clients of Docker look for it.
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// A list, and the route of its next page.
#[must_use]
pub fn list(body: &Value, next: Option<&Route>) -> Response<Bytes> {
    let mut response = short(Bytes::from(body.to_string()), JSON);
    if let Some(next) = next {
        let link = HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).expect("routes print as ASCII");
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// No referrers: nothing refers to what this registry composes.
#[must_use]
pub fn referrers(filtered: bool) -> Response<Bytes> {
    let mut response = short(Bytes::from_static(NO_REFERRERS), HeaderValue::from_static(INDEX));
    if filtered {
        response.headers_mut().insert(FILTERS, HeaderValue::from_static("artifactType"));
    }
    response
}

/// An error as the distribution specification wants it ("Error Codes").
///
/// The text stands in a `Warning` header too: clients that throw the body away, like containerd, show that.
#[must_use]
pub fn error(error: &RequestError) -> Response<Bytes> {
    let (status, code) = status_and_code(error);
    let message = error.to_string();
    let mut entry = json!({ "code": code, "message": message });
    if let Some(detail) = detail(error) {
        entry["detail"] = detail;
    }
    let mut response = response(status, Bytes::from(json!({ "errors": [entry] }).to_string()), JSON);
    let headers = response.headers_mut();
    headers.insert(WARNING, warning(&message));
    // What is wrong now may be right in the next generation.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match error {
        RequestError::Route(RouteError::Method(_)) => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        RequestError::Unauthorized(_) => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"kitbag\""));
            headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        }
        RequestError::TooMany(RetryAfter(seconds)) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
        }
        RequestError::Range { size } => {
            let range = HeaderValue::try_from(format!("bytes */{size}")).expect("digits");
            headers.insert(CONTENT_RANGE, range);
        }
        RequestError::TooManyConnections | RequestError::Blob(BlobError::Unreadable { .. }) => {
            headers.insert(RETRY_AFTER, RETRY_SECONDS);
        }
        _ => {}
    }
    response
}

/// Keeps the response from caches that more than one client uses: where not everybody may pull, not everybody may be
/// given what a cache has. (RFC 9111, section 3.5: `public` would let it go to anyone.)
pub fn make_private(response: &mut Response<Bytes>) {
    if let Some(value) = response.headers_mut().get_mut(CACHE_CONTROL) {
        if *value == IMMUTABLE {
            *value = HeaderValue::from_static("private, max-age=31536000, immutable");
        } else if *value == SHORT {
            *value = HeaderValue::from_static("private, max-age=30");
        }
    }
}

fn status_and_code(error: &RequestError) -> (StatusCode, &'static str) {
    match error {
        RequestError::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
        RequestError::TooMany(_) | RequestError::TooManyConnections => {
            (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS")
        }
        RequestError::Route(error) => match error {
            RouteError::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            RouteError::Endpoint(_) => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
            RouteError::Name(_) => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            RouteError::Digest(_) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            // What is no tag names no manifest. (The specification's own code for it is gone since 1.0.)
            RouteError::Tag(_) => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            // Not in the specification; docker-registry's code.
            RouteError::PageSize(_) => (StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID"),
        },
        RequestError::UnknownName(_) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
        RequestError::UnknownTag { .. }
        | RequestError::UnknownManifest { .. }
        | RequestError::Compose(ComposeError::NoPlatform(_))
        | RequestError::DefaultPlatform(_)
        | RequestError::NotAcceptable => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        RequestError::UnknownBlob { .. } => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
        // Not in the specification; docker-registry's codes.
        RequestError::Range { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID"),
        // It passes: files are short, a disk is away.
        RequestError::Blob(BlobError::Unreadable { .. }) => (StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN"),
        // It stays until somebody repairs the store. Not 404: the blob exists, and another replica may have it whole.
        RequestError::Compose(ComposeError::NoBase) | RequestError::Blob(BlobError::Damaged { .. }) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN")
        }
    }
}

/// What a program can make use of.
fn detail(error: &RequestError) -> Option<Value> {
    match error {
        RequestError::UnknownName(unknown) => {
            let near: Vec<&Name> = unknown.near.iter().map(|near| &near.name).collect();
            Some(json!({ "component": unknown.name, "near": near }))
        }
        RequestError::Route(RouteError::Name(PathError::Component { position, source })) => {
            Some(json!({ "component": source.text, "position": position }))
        }
        RequestError::UnknownTag { tag, .. } => Some(json!({ "tag": tag.as_str() })),
        RequestError::UnknownManifest { digest, .. } | RequestError::UnknownBlob { digest, .. } => {
            Some(json!({ "digest": digest }))
        }
        RequestError::Compose(ComposeError::NoPlatform(platforms)) => {
            let lacks = |(arch, tools): &(_, _)| json!({ "platform": format!("linux/{arch}"), "lacks": json!(tools) });
            Some(platforms.iter().map(lacks).collect())
        }
        RequestError::DefaultPlatform(tools) => Some(json!([{ "platform": "linux/amd64", "lacks": tools }])),
        RequestError::Blob(error) => Some(json!({ "digest": error.digest() })),
        _ => None,
    }
}

/// `299 - "text"`, with what a quoted string cannot hold replaced.
fn warning(text: &str) -> HeaderValue {
    let safe = |c: char| match c {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => c,
        _ => '?',
    };
    let text: String = text.chars().map(safe).collect();
    HeaderValue::try_from(format!("299 - \"{text}\"")).expect("visible ASCII")
}

fn whole(content: &Content) -> Response<Bytes> {
    let mut response = Response::new(content.bytes.clone());
    let headers = response.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, content.media_type.clone());
    headers.insert(CONTENT_LENGTH, content.length.clone());
    validators(headers, content);
    response
}

fn partial(content: &Content, first: u64, last: u64) -> Response<Bytes> {
    let size = content.bytes.len();
    // Positions lie inside the bytes, which are in memory.
    let bytes = content.bytes.slice(first as usize..=last as usize);
    let mut response = response(StatusCode::PARTIAL_CONTENT, bytes, content.media_type.clone());
    let range = HeaderValue::try_from(format!("bytes {first}-{last}/{size}")).expect("digits");
    response.headers_mut().insert(CONTENT_RANGE, range);
    validators(response.headers_mut(), content);
    response
}

fn unmodified(content: &Content) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    validators(response.headers_mut(), content);
    response
}

fn validators(headers: &mut HeaderMap, content: &Content) {
    headers.insert(DIGEST, content.digest.clone());
    headers.insert(ETAG, content.etag.clone());
}

fn short(body: Bytes, media_type: HeaderValue) -> Response<Bytes> {
    let mut response = response(StatusCode::OK, body, media_type);
    response.headers_mut().insert(CACHE_CONTROL, SHORT);
    response
}

fn response(status: StatusCode, body: Bytes, media_type: HeaderValue) -> Response<Bytes> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CONTENT_LENGTH, length);
    response
}

#[cfg(test)]
mod tests;
