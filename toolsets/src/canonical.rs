//! Canonical JSON: one value, one sequence of bytes, so that a digest is a function of the content alone.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// `value` as JSON without white space, the keys of every object sorted by their bytes.
///
/// # Panics
/// When `value` cannot be JSON at all (a map with keys that are not strings): a fault of the caller's type, not of its
/// content.
#[must_use]
pub fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let value = serde_json::to_value(value).expect("the type can be written as JSON");
    let mut out = Vec::with_capacity(1024);
    write(&value, &mut out);
    out
}

/// [`to_vec`], as text.
#[must_use]
pub fn to_string(value: &impl Serialize) -> String {
    String::from_utf8(to_vec(value)).expect("JSON is UTF-8")
}

/// SHA-256 of `bytes`, as small hexadecimal digits without the algorithm.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// `bytes` as small hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Sorts by itself: whether `serde_json`'s maps keep their order depends on features that any other crate may turn on.
fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, member)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                scalar(key, out);
                out.push(b':');
                write(member, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        other => scalar(other, out),
    }
}

fn scalar(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing into memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value: Value = serde_json::from_str(r#"{"b":[{"z":1,"a":null}],"a":{"y":"\u00e9\n","x":true}}"#).unwrap();
        assert_eq!(to_string(&value), r#"{"a":{"x":true,"y":"é\n"},"b":[{"a":null,"z":1}]}"#);
    }

    #[test]
    fn the_hash_is_the_standard_one() {
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(map in proptest::collection::btree_map("\\PC{0,6}", "\\PC{0,6}", 0..6)) {
            let back: std::collections::BTreeMap<String, String> = serde_json::from_slice(&to_vec(&map)).unwrap();
            prop_assert_eq!(back, map);
        }
    }
}
