//! `If-None-Match`, a header per line: 304 only for who names the digest or says `*`, and then without a body.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use kitbag_registry::respond::{Content, manifest};

const DIGEST: &str = "sha256:ab";

/// Panics where that does not hold.
pub(crate) fn check(data: &[u8]) {
    let lines = data.split(|&byte| byte == b'\n').map(HeaderValue::from_bytes);
    let Ok(values) = lines.collect::<Result<Vec<_>, _>>() else { return };
    let content = Content::new(Bytes::from_static(b"{}"), "application/json", DIGEST);
    let with = |values: &[HeaderValue]| {
        let headers: HeaderMap = values.iter().map(|value| (IF_NONE_MATCH, value.clone())).collect();
        manifest(&content, &headers, true)
    };
    let response = with(&values);
    match response.status() {
        StatusCode::OK => assert_eq!(response.body(), "{}"),
        StatusCode::NOT_MODIFIED => {
            assert!(response.body().is_empty() && !response.headers().contains_key(CONTENT_LENGTH));
            let text = String::from_utf8_lossy(data);
            assert!(text.contains('*') || text.contains("\"sha256:ab\""), "{text:?}");
        }
        other => panic!("{other}"),
    }
    assert_eq!(response.headers()[ETAG], "\"sha256:ab\"");
    let mut values = values;
    values.push(HeaderValue::from_static("\"other\" , W/\"sha256:ab\""));
    assert_eq!(with(&values).status(), StatusCode::NOT_MODIFIED);
}
