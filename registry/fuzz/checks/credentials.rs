//! The `Authorization` header, and the files of users and of tokens: what is read is what was written, and what is wrong
//! in a file is found in a line that the file has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use kitbag_registry::auth::credentials::{Credentials, credentials};
use kitbag_registry::auth::files::{Secret, Tokens, Users};

/// Panics where that does not hold.
pub(crate) fn check(data: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(data) {
        header(value);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let secret = Secret::new();
        let lines = text.lines().count();
        match Users::parse(text) {
            Ok(users) => assert!(!users.is_empty()),
            Err((line, _)) => assert!(line.is_none_or(|line| (1..=lines).contains(&line))),
        }
        match Tokens::parse(text, &secret) {
            Ok(tokens) => {
                let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
                let first = first.and_then(|line| line.split_ascii_whitespace().next()).expect("it has a token");
                assert!(tokens.have(&secret, first.as_bytes()));
                assert!(!tokens.have(&secret, &first.as_bytes()[1..]) || lines > 1);
            }
            Err((line, _)) => assert!(line.is_none_or(|line| (1..=lines).contains(&line))),
        }
    }
}

fn header(value: HeaderValue) {
    let of = |value: HeaderValue| credentials(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
    let Ok(read) = of(value) else { return };
    let written = match &read {
        Credentials::Basic { user, password } => {
            let plain = [user.as_bytes(), b":", password].concat();
            format!("Basic {}", STANDARD.encode(plain))
        }
        Credentials::Bearer { token } => format!("Bearer {token}"),
    };
    assert!(of(HeaderValue::try_from(written).expect("it was a header")) == Ok(read));
}
