//! What a client wants of bytes that it may have already: conditions and ranges (RFC 9110, sections 13 and 14).
//!
//! Pure. Validators are digests in quotes, always strong.

use http::HeaderMap;
use http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};

/// The part of a representation that a request is about. Positions are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// From the first to the last position, which is included.
    Range {
        /// Position of the first byte.
        first: u64,
        /// Position of the last byte.
        last: u64,
    },
    /// A range with no byte in it.
    Unsatisfiable,
}

/// Whether `If-None-Match` says that the client has the bytes with this validator.
#[must_use]
pub fn has_already(headers: &HeaderMap, etag: &[u8]) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).any(|tag| {
        let tag = tag.trim_ascii();
        // Compared weakly: a proxy may have weakened the validator.
        tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag
    })
}

/// The part that `Range` and `If-Range` ask for, of something with `size` bytes and this validator.
///
/// Units other than bytes, what is not in the grammar and several ranges at once are as if nothing had been asked for,
/// which the RFC allows. A range that ends before it begins is unsatisfiable, not ignored: so do the registries that
/// clients were tested with.
#[must_use]
pub fn part(headers: &HeaderMap, etag: &[u8], size: u64) -> Part {
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Part::Whole };
    // A date is never the validator: nothing here has one.
    if headers.get(IF_RANGE).is_some_and(|validator| validator.as_bytes().trim_ascii() != etag) {
        return Part::Whole;
    }
    range.to_str().ok().and_then(|text| range_of(text, size)).unwrap_or(Part::Whole)
}

fn range_of(text: &str, size: u64) -> Option<Part> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let (first, last) = match (first, last) {
        ("", suffix) => (size.saturating_sub(position(suffix)?), size.checked_sub(1)),
        (first, "") => (position(first)?, size.checked_sub(1)),
        (first, last) => (position(first)?, Some(position(last)?).min(size.checked_sub(1))),
    };
    Some(match last {
        Some(last) if first <= last => Part::Range { first, last },
        _ => Part::Unsatisfiable,
    })
}

/// Digits only: `u64`'s own parser would take a sign. What is too large for a position is past every end.
fn position(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    const ETAG: &[u8] = b"\"sha256:aa\"";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn range(value: &str) -> Part {
        part(&headers(&[(RANGE, value)]), ETAG, 1000)
    }

    #[test]
    fn one_range_is_served_as_such() {
        for (value, first, last) in [
            ("bytes=0-0", 0, 0),
            ("bytes=0-999", 0, 999),
            ("bytes=10-19", 10, 19),
            ("bytes=500-", 500, 999),
            ("bytes=999-", 999, 999),
            ("bytes=990-5000", 990, 999),
            ("bytes=0-99999999999999999999999", 0, 999),
            ("bytes=-500", 500, 999),
            ("bytes=-5000", 0, 999),
            ("Bytes= 1-2 ", 1, 2),
        ] {
            assert_eq!(range(value), Part::Range { first, last }, "{value}");
        }
    }

    #[test]
    fn a_range_without_bytes_is_unsatisfiable() {
        for value in ["bytes=500-0", "bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(range(value), Part::Unsatisfiable, "{value}");
        }
        assert_eq!(part(&headers(&[(RANGE, "bytes=0-")]), ETAG, 0), Part::Unsatisfiable);
        assert_eq!(part(&headers(&[(RANGE, "bytes=-1")]), ETAG, 0), Part::Unsatisfiable);
    }

    #[test]
    fn what_is_no_range_asks_for_everything() {
        for value in ["bytes=0-1,5-6", "items=0-1", "bytes=", "bytes=-", "bytes=a-b", "bytes=+1-2", "bytes=1--2", "0-1"]
        {
            assert_eq!(range(value), Part::Whole, "{value}");
        }
        assert_eq!(part(&HeaderMap::new(), ETAG, 1000), Part::Whole);
        assert_eq!(part(&headers(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=2-3")]), ETAG, 1000), Part::Whole);
    }

    #[test]
    fn a_range_of_other_bytes_asks_for_everything() {
        let with = |validator| part(&headers(&[(RANGE, "bytes=1-2"), (IF_RANGE, validator)]), ETAG, 1000);
        assert_eq!(with("\"sha256:aa\""), Part::Range { first: 1, last: 2 });
        for other in ["\"sha256:bb\"", "W/\"sha256:aa\"", "Sat, 29 Oct 1994 19:43:31 GMT", ""] {
            assert_eq!(with(other), Part::Whole, "{other}");
        }
    }

    #[test]
    fn a_client_that_has_the_bytes_says_so() {
        let has = |values: &[&str]| {
            has_already(&headers(&values.iter().map(|&value| (IF_NONE_MATCH, value)).collect::<Vec<_>>()), ETAG)
        };
        for values in
            [&["\"sha256:aa\""][..], &["W/\"sha256:aa\""], &["*"], &["\"x\" , \"sha256:aa\""], &["\"x\"", "*"]]
        {
            assert!(has(values), "{values:?}");
        }
        for values in [&[][..], &["\"sha256:bb\""], &["sha256:aa"], &[""], &["\"\""]] {
            assert!(!has(values), "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn a_range_lies_inside(value in "bytes=[0-9]{0,4}-[0-9]{0,4}", size in 0_u64..2000) {
            if let Part::Range { first, last } = part(&headers(&[(RANGE, &value)]), ETAG, size) {
                prop_assert!(first <= last && last < size);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), size: u64) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers = HeaderMap::from_iter([(RANGE, value.clone()), (IF_NONE_MATCH, value)]);
                let _ = (part(&headers, ETAG, size), has_already(&headers, ETAG));
            }
        }
    }
}
