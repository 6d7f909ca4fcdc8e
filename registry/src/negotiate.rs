//! Content negotiation: which form of an image a client can read (RFC 9110, section 12.5.1).
//!
//! Only for tags. A digest names its bytes, and those are served whatever the client says that it accepts.
//!
//! The rules:
//! - Who says nothing, accepts everything, or accepts indexes gets the index. Preferences (`q`) don't matter but for
//!   `q=0`: a client that can read an index never fares better without.
//! - Who accepts only image manifests gets the one of linux/amd64 with gzip layers. That is what docker-registry
//!   (distribution/distribution) does for clients that know no manifest lists, so it is what they expect.
//! - Who accepts neither, like a client that knows only Docker's own types, gets 404 `MANIFEST_UNKNOWN` with the reason.
//!   docker-registry does the same; clients show its text, where many have no words for 406.

use http::HeaderMap;
use http::header::ACCEPT;

/// Media type of an image index.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What to serve for a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The index of all platforms.
    Index,
    /// The manifest of one platform.
    Manifest,
}

/// The form for a client with these headers; `None` if it can read neither.
#[must_use]
pub fn form(headers: &HeaderMap) -> Option<Form> {
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return Some(Form::Index);
    }
    let (mut said, mut index, mut manifest) = (false, Match::default(), Match::default());
    for range in values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        said |= !kind.is_empty();
        let accepted = !parts.any(refuses);
        index.consider(kind, INDEX, accepted);
        manifest.consider(kind, MANIFEST, accepted);
    }
    match (index.accepted || !said, manifest.accepted) {
        (true, _) => Some(Form::Index),
        (false, true) => Some(Form::Manifest),
        (false, false) => None,
    }
}

/// What the ranges so far say of a media type: the most specific one counts.
#[derive(Default)]
struct Match {
    specificity: u8,
    accepted: bool,
}

impl Match {
    fn consider(&mut self, range: &str, kind: &str, accepted: bool) {
        let specificity = match range {
            _ if range.eq_ignore_ascii_case(kind) => 3,
            _ if range.eq_ignore_ascii_case("application/*") => 2,
            "*/*" => 1,
            _ => return,
        };
        if specificity > self.specificity {
            *self = Self { specificity, accepted };
        } else if specificity == self.specificity {
            self.accepted |= accepted;
        }
    }
}

/// Whether a parameter is `q=0`.
fn refuses(parameter: &str) -> bool {
    parameter
        .split_once('=')
        .is_some_and(|(key, value)| key.eq_ignore_ascii_case("q") && value.parse::<f32>().is_ok_and(|q| q == 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn of(values: &[&str]) -> Option<Form> {
        form(&values.iter().map(|value| (ACCEPT, HeaderValue::from_str(value).unwrap())).collect())
    }

    #[test]
    fn the_most_specific_range_counts() {
        assert_eq!(of(&[&format!("*/*, {INDEX};q=0")]), Some(Form::Manifest));
        assert_eq!(of(&[&format!("{INDEX};q=0"), "application/*"]), Some(Form::Manifest));
        assert_eq!(of(&[&format!("application/*;q=0, */*, {INDEX}")]), Some(Form::Index));
        assert_eq!(of(&["application/*;q=0, */*"]), None);
    }

    #[test]
    fn an_index_for_all_who_can_read_one() {
        const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
        for accept in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/*"],
            &[INDEX],
            &[DOCKER, MANIFEST, INDEX],
            &["application/vnd.docker.distribution.manifest.v2+json, */*"],
            &["text/html;q=0.1 , APPLICATION/vnd.oci.image.index.v1+json;q=0.2", MANIFEST],
        ] {
            assert_eq!(of(accept), Some(Form::Index), "{accept:?}");
        }
    }

    #[test]
    fn a_manifest_for_who_reads_nothing_else() {
        for accept in [
            &[MANIFEST][..],
            &["application/vnd.docker.distribution.manifest.v2+json", MANIFEST],
            &["application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json;q=0"],
            &["application/vnd.oci.image.manifest.v1+json; q=0.5, */*;Q=0.000"],
        ] {
            assert_eq!(of(accept), Some(Form::Manifest), "{accept:?}");
        }
    }

    #[test]
    fn nothing_for_who_reads_neither() {
        for accept in [
            &["application/vnd.docker.distribution.manifest.v2+json"][..],
            &["application/vnd.docker.distribution.manifest.list.v2+json, text/html"],
            &["*/*;q=0"],
            &["application/json"],
        ] {
            assert_eq!(of(accept), None, "{accept:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = form(&HeaderMap::from_iter([(ACCEPT, value)]));
            }
        }
    }
}
