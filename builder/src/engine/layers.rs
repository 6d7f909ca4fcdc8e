//! The cache of packed layers: so that another store does not mean to compress everything again.

use std::io::{self, Read as _};
use std::path::PathBuf;

use kitbag_toolsets::canonical;
use kitbag_toolsets::generation::sha256_digest;
use serde::{Deserialize, Serialize};

use crate::fs::{self, FsError};
use crate::layer::{Blob, Layer};

#[derive(Deserialize, Serialize)]
struct Uncompressed {
    diff_id: oci_spec::image::Digest,
    size: u64,
}

#[derive(Clone, Debug)]
pub(super) struct LayerCache {
    dir: PathBuf,
}

impl LayerCache {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(super) fn path(&self, label: &str, hash: &str) -> PathBuf {
        self.dir.join(format!("{label}-{hash}.tar"))
    }

    pub(super) fn has(&self, label: &str, hash: &str) -> bool {
        self.path(label, hash).exists()
    }

    pub(super) fn load(&self, label: &str, hash: &str) -> Option<Layer> {
        parse(&fs::read(&self.path(label, hash)).ok()?).ok().flatten()
    }

    pub(super) fn save(&self, label: &str, hash: &str, layer: &Layer) -> Result<(), FsError> {
        fs::create_dir_all(&self.dir)?;
        fs::write_atomic(&self.path(label, hash), &to_tar(layer))
    }
}

fn to_tar(layer: &Layer) -> Vec<u8> {
    let uncompressed = Uncompressed { diff_id: layer.diff_id.clone(), size: layer.tar_size };
    let members = [
        ("layer.json", &canonical::to_vec(&uncompressed)),
        ("layer.tar.gz", &layer.gzip.bytes),
        ("layer.tar.zst", &layer.zstd.bytes),
    ];
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes.as_slice()).expect("writing into memory does not fail");
    }
    builder.into_inner().expect("writing into memory does not fail")
}

fn parse(bytes: &[u8]) -> io::Result<Option<Layer>> {
    let (mut uncompressed, mut gzip, mut zstd) = (None, None, None);
    for member in tar::Archive::new(bytes).entries()? {
        let mut member = member?;
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes)?;
        match member.path()?.to_str() {
            Some("layer.json") => uncompressed = serde_json::from_slice::<Uncompressed>(&bytes).ok(),
            Some("layer.tar.gz") => gzip = Some(blob(bytes)),
            Some("layer.tar.zst") => zstd = Some(blob(bytes)),
            _ => {}
        }
    }
    let layer = |Uncompressed { diff_id, size }| Some(Layer { diff_id, tar_size: size, gzip: gzip?, zstd: zstd? });
    Ok(uncompressed.and_then(layer))
}

fn blob(bytes: Vec<u8>) -> Blob {
    Blob { digest: sha256_digest(&canonical::sha256_hex(&bytes)), bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Tree;

    #[test]
    fn a_layer_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let cache = LayerCache::new(dir.path().join("layers"));
        assert_eq!(cache.load("a", "00"), None);
        let mut tree = Tree::new();
        tree.file("/usr/bin/a", 0o755, vec![1; 1000]).unwrap();
        let layer = tree.pack(0);
        cache.save("a", "00", &layer).unwrap();
        assert_eq!(cache.load("a", "00"), Some(layer));
        std::fs::write(cache.path("a", "00"), [0; 512]).unwrap();
        assert_eq!(cache.load("a", "00"), None);
    }
}
