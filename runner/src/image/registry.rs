//! The name of a registry: its grammar, and whether it is this machine's own.

use std::fmt;
use std::str::FromStr;

use kitbag_toolsets::ImagePath;
use kitbag_toolsets::loopback::is_loopback;
use oci_client::Reference;

/// The registry of those who name none, in a cluster that names none: on each node's loopback and on this machine's.
pub const DEFAULT: &str = "127.0.0.1:5005";

/// A registry, as nodes and this machine call it: `HOST[:PORT]`, with a path before the image's own where it is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    host: String,
    prefix: String,
}

impl Registry {
    /// What listens at this port of each node's loopback.
    #[must_use]
    pub fn on_loopback(port: u16) -> Self {
        Self { host: format!("127.0.0.1:{port}"), prefix: String::new() }
    }

    /// Whether it is on this machine, where no network lies between.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// The reference of an image in it, by digest.
    pub(super) fn pinned(&self, path: &ImagePath, digest: impl fmt::Display) -> String {
        format!("{}/{}{path}@{digest}", self.host, self.prefix)
    }

    /// The reference of an image in it.
    pub(super) fn reference(&self, path: &ImagePath, tag: &str) -> Reference {
        Reference::with_tag(self.host.clone(), format!("{}{path}", self.prefix), tag.to_owned())
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self { host: DEFAULT.to_owned(), prefix: String::new() }
    }
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
