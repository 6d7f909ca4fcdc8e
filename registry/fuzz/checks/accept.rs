//! `Accept`, a header per line: neither order nor repetition matters, and who adds the index's type gets the index.

use http::HeaderMap;
use http::header::{ACCEPT, HeaderValue};
use kitbag_registry::negotiate::{Form, form};

/// Panics where that does not hold.
pub(crate) fn check(data: &[u8]) {
    let lines = data.split(|&byte| byte == b'\n').map(HeaderValue::from_bytes);
    let Ok(mut values) = lines.collect::<Result<Vec<_>, _>>() else { return };
    let of = |values: &[HeaderValue]| form(&values.iter().map(|value| (ACCEPT, value.clone())).collect::<HeaderMap>());
    let straight = of(&values);
    values.reverse();
    assert_eq!(of(&values), straight);
    values.extend_from_within(..);
    assert_eq!(of(&values), straight);
    values.push(HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
    assert_eq!(of(&values), Some(Form::Index));
}
