//! `Range`, and `If-Range` on a second line: the part that is served lies inside the blob, and the headers agree.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use kitbag_registry::RequestError;
use kitbag_registry::respond::{Content, blob};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const BYTES: [u8; 255] = {
    let mut bytes = [0; 255];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = at as u8;
        at += 1;
    }
    bytes
};

/// Panics where that does not hold.
pub(crate) fn check(data: &[u8]) {
    let Some((&size, lines)) = data.split_first() else { return };
    let mut headers = HeaderMap::new();
    for (name, line) in [RANGE, IF_RANGE].into_iter().zip(lines.splitn(2, |&byte| byte == b'\n')) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.insert(name, value);
    }
    let whole = &BYTES[..usize::from(size)];
    let content = Content::new(Bytes::from_static(whole), "application/octet-stream", DIGEST);
    match blob(&content, &headers, true) {
        Ok(response) => {
            let header = |name| response.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap());
            let body = &response.body()[..];
            assert_eq!(header(CONTENT_LENGTH), Some(&*body.len().to_string()));
            match (response.status(), header(CONTENT_RANGE)) {
                (StatusCode::OK, None) => assert_eq!(body, whole),
                (StatusCode::PARTIAL_CONTENT, Some(range)) => {
                    let first = usize::from(*body.first().expect("a part has a byte"));
                    let last = first + body.len() - 1;
                    assert_eq!(body, &whole[first..=last]);
                    assert_eq!(range, format!("bytes {first}-{last}/{size}"));
                }
                other => panic!("{other:?}"),
            }
        }
        Err(RequestError::Range { size: told }) => assert_eq!(told, u64::from(size)),
        Err(other) => panic!("{other}"),
    }
}
