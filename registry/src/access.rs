//! What is written down of each exchange: a line of the access log, and counts.
//!
//! A line of the log tells of the request as it was understood. Nothing in it can be longer, or look like another field,
//! because a client wishes so.

use std::hash::BuildHasher as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::header::{HeaderName, HeaderValue, USER_AGENT};
use http::response::Parts;
use http::{HeaderMap, Request};
use tracing::Level;

use crate::exchange::Client;
use crate::metrics::{Kind, Metrics};
use crate::route::{Reference, Route};

/// Target of the access log, for filters.
pub const ACCESS: &str = "kitbag_registry::access";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Bytes of a request id that is taken over from the client.
const LONGEST_ID: usize = 64;
/// Bytes of other texts of the client.
const LONGEST_TEXT: usize = 160;

/// An exchange that has begun.
#[derive(Debug)]
pub(crate) struct Record {
    begin: Instant,
}

/// What is known of the request.
#[derive(Debug)]
pub(crate) struct Asked<'a, B> {
    pub(crate) client: Client,
    pub(crate) request: &'a Request<B>,
    /// None where it means nothing here.
    pub(crate) route: Option<&'a Route>,
}

impl Record {
    pub(crate) fn begin() -> Self {
        Self { begin: Instant::now() }
    }

    /// The response is made: `bytes` of body will be sent. Gives it the request's id where somebody may want to know it:
    /// the client has sent one, or has to complain about us.
    pub(crate) fn end<B>(&self, metrics: &Metrics, asked: &Asked<'_, B>, response: &mut Parts, bytes: usize) {
        let kind = asked.route.map_or(Kind::None, Kind::of);
        let spent = self.begin.elapsed();
        metrics.request(kind, response.status, bytes, spent);
        let theirs = their_id(asked.request.headers());
        let failed = response.status.is_server_error();
        let ours = (theirs.is_none() && (failed || tracing::enabled!(target: ACCESS, Level::INFO))).then(Id::new);
        let id = theirs.map(|(_, text)| text).or(ours.as_ref().map(Id::as_str)).unwrap_or_default();
        let micros = u64::try_from(spent.as_micros()).unwrap_or(u64::MAX);
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: ACCESS,
                    $level,
                    request_id = id,
                    client = display(asked.client),
                    method = cut(asked.request.method().as_str()),
                    route = kind.as_str(),
                    repository = repository(asked.route).map(display),
                    tag = tag(asked.route),
                    digest = digest(response, asked.route),
                    path = asked.route.is_none().then(|| cut(asked.request.uri().path())),
                    status = u64::from(response.status.as_u16()),
                    bytes = bytes as u64,
                    us = micros,
                    user_agent = text(asked.request.headers(), &USER_AGENT),
                )
            };
        }
        if failed {
            line!(Level::ERROR);
        } else {
            line!(Level::INFO);
        }
        let echo = match theirs {
            Some((value, _)) => Some(value.clone()),
            None if failed => HeaderValue::from_str(id).ok(),
            None => None,
        };
        if let Some(id) = echo {
            response.headers.insert(REQUEST_ID, id);
        }
    }
}

fn repository(route: Option<&Route>) -> Option<&kitbag_toolsets::ImagePath> {
    match route? {
        Route::Manifest { path, .. }
        | Route::Blob { path, .. }
        | Route::Tags { path, .. }
        | Route::Referrers { path, .. } => Some(path),
        Route::Base | Route::Catalog { .. } => None,
    }
}

/// That of what is answered, or else the one that was asked for.
fn digest<'a>(response: &'a Parts, route: Option<&'a Route>) -> Option<&'a str> {
    match (response.headers.get(DIGEST), route) {
        (Some(digest), _) => digest.to_str().ok(),
        (None, Some(Route::Blob { digest, .. } | Route::Manifest { reference: Reference::Digest(digest), .. })) => {
            Some(digest.as_ref())
        }
        _ => None,
    }
}

fn tag(route: Option<&Route>) -> Option<&str> {
    match route? {
        Route::Manifest { reference: Reference::Tag(tag), .. } => Some(tag.as_str()),
        _ => None,
    }
}

/// The request's id, where the client (or a proxy in front) has given it a decent one.
fn their_id(headers: &HeaderMap) -> Option<(&HeaderValue, &str)> {
    let value = headers.get(REQUEST_ID)?;
    let decent = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    let text = value.to_str().ok()?;
    ((1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(decent)).then_some((value, text))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(cut)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_TEXT)]
}

/// An id that no other request of this process has, and hardly one of another.
#[derive(Debug)]
struct Id {
    text: [u8; Self::LENGTH],
}

impl Id {
    const LENGTH: usize = 20;
    const PREFIX: usize = 8;

    fn new() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(|| std::hash::RandomState::new().hash_one(std::process::id()));
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut text = [b'-'; Self::LENGTH];
        hexadecimal(*PROCESS, &mut text[..Self::PREFIX]);
        hexadecimal(NEXT.fetch_add(1, Ordering::Relaxed), &mut text[Self::PREFIX + 1..]);
        Self { text }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

fn hexadecimal(mut number: u64, to: &mut [u8]) {
    for digit in to.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn an_id_is_taken_over_where_it_is_a_decent_one() {
        let taken = |value: &str| their_id(&headers(value)).map(|(_, text)| text.to_owned());
        let uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        assert_eq!(taken(uuid).as_deref(), Some(uuid));
        for refused in ["", "a b", "a\"b", "a=b", &"x".repeat(LONGEST_ID + 1)] {
            assert_eq!(taken(refused), None, "{refused}");
        }
    }

    #[test]
    fn ids_differ() {
        let (one, two) = (Id::new(), Id::new());
        assert_ne!(one.as_str(), two.as_str());
        assert_eq!(one.as_str()[..=Id::PREFIX], two.as_str()[..=Id::PREFIX]);
        assert!(their_id(&headers(one.as_str())).is_some());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "\u{e4}".repeat(LONGEST_TEXT);
        assert_eq!(cut(&long).len(), LONGEST_TEXT);
        assert_eq!(cut(&format!("x{long}")).len(), LONGEST_TEXT - 1);
        assert_eq!(cut("x"), "x");
    }
}
