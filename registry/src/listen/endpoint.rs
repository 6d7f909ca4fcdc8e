//! What to listen on, as a person writes it.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Bytes of a Unix socket's path, after which the kernel wants a zero (`sun_path` of `sockaddr_un` has 108).
const MAX_UNIX_PATH: usize = 107;

/// Something to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `127.0.0.1:5005`, `[::1]:5005`: HTTP by TCP.
    Tcp(SocketAddr),
    /// `tls:0.0.0.0:5443`: HTTPS.
    Tls(SocketAddr),
    /// `unix:/run/kitbag/registry.sock`: HTTP by a Unix socket; with `@` instead of `/` one that has no file.
    Unix(PathBuf),
    /// `systemd`: HTTP by the sockets that were opened before the program was started (`LISTEN_FDS`).
    Systemd,
}

/// Why a text names no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It has none of the forms.
    #[error(
        "`{0}` is nothing to listen on: write `127.0.0.1:5005`, `[::1]:5005`, `tls:0.0.0.0:5443`, \
         `unix:/run/kitbag/registry.sock` or `systemd`"
    )]
    Form(String),
    /// The path of the Unix socket cannot be one.
    #[error("`{0}` cannot be the path of a Unix socket: begin it with `/` or `@`, with at most {MAX_UNIX_PATH} bytes")]
    UnixPath(String),
}

impl Endpoint {
    /// The address and port, if it has them.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Tls(address) => Some(*address),
            Self::Unix(_) | Self::Systemd => None,
        }
    }

    /// Whether it is a Unix socket in no file system, whose name one instance can have at a time.
    #[must_use]
    pub fn is_abstract(&self) -> bool {
        matches!(self, Self::Unix(path) if abstract_name(path).is_some())
    }

    /// Whether clients speak TLS on it.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let form = || EndpointError::Form(text.to_owned());
        if text == "systemd" {
            Ok(Self::Systemd)
        } else if let Some(path) = text.strip_prefix("unix:") {
            unix_path(path).map(Self::Unix)
        } else if let Some(address) = text.strip_prefix("tls:") {
            address.parse().map(Self::Tls).map_err(|_| form())
        } else {
            text.parse().map(Self::Tcp).map_err(|_| form())
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Tls(address) => write!(formatter, "tls:{address}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Systemd => formatter.write_str("systemd"),
        }
    }
}

/// A path that a Unix socket can have: absolute, or `@` and a name that is in no file system.
///
/// # Errors
/// [`EndpointError::UnixPath`].
pub fn unix_path(text: &str) -> Result<PathBuf, EndpointError> {
    let begins = text.starts_with(['/', '@']) && text.len() > 1;
    if begins && text.len() <= MAX_UNIX_PATH && !text.contains('\0') {
        Ok(PathBuf::from(text))
    } else {
        Err(EndpointError::UnixPath(text.to_owned()))
    }
}

/// The name of a Unix socket that is in no file system.
pub(crate) fn abstract_name(path: &Path) -> Option<&[u8]> {
    path.as_os_str().as_encoded_bytes().strip_prefix(b"@")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Endpoint, String> {
        text.parse().map_err(|error: EndpointError| error.to_string())
    }

    #[test]
    fn each_kind_has_its_form() {
        assert_eq!(parse("127.0.0.1:5005"), Ok(Endpoint::Tcp(([127, 0, 0, 1], 5005).into())));
        assert_eq!(parse("[::]:80"), Ok(Endpoint::Tcp(([0; 8], 80).into())));
        assert_eq!(parse("tls:0.0.0.0:443"), Ok(Endpoint::Tls(([0; 4], 443).into())));
        assert_eq!(parse("unix:/a b"), Ok(Endpoint::Unix("/a b".into())));
        assert_eq!(parse("unix:@a"), Ok(Endpoint::Unix("@a".into())));
        assert_eq!(parse("systemd"), Ok(Endpoint::Systemd));
    }

    #[test]
    fn what_is_none_says_how_to_write_one() {
        insta::assert_snapshot!(parse("localhost:5005").unwrap_err(), @"`localhost:5005` is nothing to listen on: write `127.0.0.1:5005`, `[::1]:5005`, `tls:0.0.0.0:5443`, `unix:/run/kitbag/registry.sock` or `systemd`");
        insta::assert_snapshot!(parse("unix:run.sock").unwrap_err(), @"`run.sock` cannot be the path of a Unix socket: begin it with `/` or `@`, with at most 107 bytes");
        for text in ["", "5005", "127.0.0.1", "::1:5005", "tls:", "tls:unix:/a", "unix:", "unix:/", "unix:@", "Systemd"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("unix:/{}", "a".repeat(106))).is_ok());
        assert!(parse(&format!("unix:/{}", "a".repeat(107))).is_err());
        assert!(parse("unix:/a\0b").is_err());
    }

    fn any_endpoint() -> impl Strategy<Value = Endpoint> {
        let address = any::<SocketAddr>().prop_map(|mut address| {
            if let SocketAddr::V6(address) = &mut address {
                // It is no part of what is written.
                address.set_flowinfo(0);
            }
            address
        });
        prop_oneof![
            address.clone().prop_map(Endpoint::Tcp),
            address.prop_map(Endpoint::Tls),
            "[/@][^\0]{1,20}".prop_map(|path| Endpoint::Unix(path.into())),
            Just(Endpoint::Systemd),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed(endpoint in any_endpoint()) {
            prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        }

        #[test]
        fn what_is_parsed_is_printed(text in "(tls:|unix:|)[^\0]{0,30}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }
    }
}
