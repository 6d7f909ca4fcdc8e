//! What the `Authorization` header says (RFC 7617 for `Basic`, RFC 6750 for `Bearer`). Pure, and knows nobody.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// What a client shows to be let in.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user's name and password.
    Basic {
        /// The name.
        user: String,
        /// The password: in no encoding that one could know.
        password: Vec<u8>,
    },
    /// A token.
    Bearer {
        /// The token.
        token: String,
    },
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It shows nothing.
    #[error("this registry is not open to everybody: log in with a user and password, or with a token as the password")]
    Nothing,
    /// It shows something that cannot be read.
    #[error("the `Authorization` header is neither `Basic` with a user and password nor `Bearer` with a token")]
    Unreadable,
    /// It shows what is known to nobody here.
    #[error("this user and password, or this token, are not known here: log in again")]
    Unknown,
}

/// What the headers show.
///
/// # Errors
/// [`Refusal`] where they show nothing, or nothing that can be read.
pub fn credentials(headers: &HeaderMap) -> Result<Credentials, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(Refusal::Nothing),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(Refusal::Unreadable),
    };
    let (scheme, rest) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Refusal::Unreadable)?;
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        return Ok(Credentials::Bearer { token: rest.to_owned() });
    }
    if scheme.eq_ignore_ascii_case("basic") {
        return basic(rest).ok_or(Refusal::Unreadable);
    }
    Err(Refusal::Unreadable)
}

fn basic(encoded: &str) -> Option<Credentials> {
    let decoded = STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some(Credentials::Basic { user, password: decoded[colon + 1..].to_vec() })
}

/// Without the secrets: what can be shown is logged one day.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => f.debug_struct("Basic").field("user", user).finish_non_exhaustive(),
            Self::Bearer { .. } => f.debug_struct("Bearer").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn of(values: &[&str]) -> Result<Credentials, Refusal> {
        credentials(&values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect())
    }

    fn basic(user: &str, password: &[u8]) -> Credentials {
        Credentials::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn both_schemes_are_read() {
        let bearer = |token: &str| Credentials::Bearer { token: token.to_owned() };
        for (value, expected) in [
            // The example of RFC 7617.
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", basic("Aladdin", b"open sesame")),
            ("basic  YW5uOmE6Yg== ", basic("ann", b"a:b")),
            ("BASIC Og==", basic("", b"")),
            ("Basic YW5uOv8=", basic("ann", &[0xff])),
            ("Bearer abc.DEF-123~+/==", bearer("abc.DEF-123~+/==")),
            ("bearer x", bearer("x")),
        ] {
            assert_eq!(of(&[value]), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_from_nothing() {
        assert_eq!(of(&[]), Err(Refusal::Nothing));
        for values in [
            &[""][..],
            &["Basic"],
            &["Bearer "],
            &["Basic YW5u"],
            &["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ"],
            &["Basic /zph"],
            &["Basic !"],
            &["Digest username=ann"],
            &["Bearer a", "Bearer a"],
        ] {
            assert_eq!(of(values), Err(Refusal::Unreadable), "{values:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?} {:?}", basic("ann", b"geheim"), Credentials::Bearer { token: "geheim".to_owned() });
        assert_eq!(shown, "Basic { user: \"ann\", .. } Bearer { .. }");
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_is_what_is_read(user in "[^:]{0,12}", password in proptest::collection::vec(any::<u8>(), 0..30)) {
            let plain = [user.as_bytes(), b":", &password].concat();
            prop_assert_eq!(of(&[&format!("Basic {}", STANDARD.encode(plain))]), Ok(basic(&user, &password)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = credentials(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
            }
        }
    }
}
