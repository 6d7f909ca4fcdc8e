//! What a client wrote, read back and compared.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

/// Blobs by digest.
pub(crate) type Content = BTreeMap<String, Vec<u8>>;

/// The blobs of an OCI image layout.
pub(crate) fn blobs(layout: &Path) -> Content {
    let blob = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (format!("sha256:{name}"), fs::read(entry.path()).unwrap())
    };
    fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| blob(entry.unwrap())).collect()
}

/// The first digest that the layout's index names: that of what was asked for.
pub(crate) fn root(layout: &Path) -> String {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

/// Panics, with what is missing, too much or different, unless both are the same.
#[track_caller]
pub(crate) fn assert_same(pulled: &Content, expected: &Content) {
    let names = |content: &Content| content.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(pulled), names(expected));
    for (digest, bytes) in expected {
        assert!(pulled[digest] == *bytes, "{digest} differs");
    }
}
