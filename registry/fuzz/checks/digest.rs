//! Digests and tags, where they stand in a path: taken when the specification's grammar takes them, and never changed.

use http::Method;
use kitbag_registry::route::{self, Reference, Route, RouteError};

/// Panics where that does not hold.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains(['/', '?']) {
        return;
    }
    let parse = |endpoint: &str| route::parse(&Method::GET, &format!("/v2/a/{endpoint}/{text}"), None);
    let valid = is_digest(text);
    match parse("blobs") {
        Ok(Route::Blob { digest, .. }) => assert!(valid && digest.to_string() == text, "{text:?}"),
        Err(RouteError::Digest(_)) => assert!(!valid, "{text:?}"),
        other => panic!("{text:?}: {other:?}"),
    }
    match parse("manifests") {
        Ok(Route::Manifest { reference: Reference::Digest(digest), .. }) => {
            assert!(valid && digest.to_string() == text, "{text:?}");
        }
        Ok(Route::Manifest { reference: Reference::Tag(tag), .. }) => {
            assert!(!text.contains(':') && text.len() <= 128 && tag.as_str() == text, "{text:?}");
        }
        Err(RouteError::Digest(_)) => assert!(!valid && text.contains(':'), "{text:?}"),
        Err(RouteError::Tag(_)) => assert!(!valid && !text.contains(':'), "{text:?}"),
        other => panic!("{text:?}: {other:?}"),
    }
    assert_eq!(parse("referrers").is_ok(), valid, "{text:?}");
}

/// The grammar by hand (image specification, "Digests"): the known algorithms have their length and small digits. None
/// has more than 255 bytes, which is our own limit.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':').filter(|_| text.len() <= 255) else { return false };
    let small_hex =
        |length| encoded.len() == length && encoded.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match algorithm {
        "sha256" => small_hex(64),
        "sha384" => small_hex(96),
        "sha512" => small_hex(128),
        _ => {
            let word =
                |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let encoding = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-');
            algorithm.split(['+', '.', '_', '-']).all(word) && !encoded.is_empty() && encoded.bytes().all(encoding)
        }
    }
}
