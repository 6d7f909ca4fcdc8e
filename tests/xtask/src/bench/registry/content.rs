//! What is served, and the same for the peers: as plain files, and in docker-registry's layout of its storage.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kitbag_builder::store::Store;
use kitbag_toolsets::{Arch, Compression, Document, Name, generation::BlobRef};

use super::{BLOBS, image};
use crate::Result;

/// The tools of the image whose manifest is asked for.
pub(super) const IMAGE: [usize; 3] = [1, 2, 3];

/// The resources that are asked for.
pub(super) struct Content {
    index: Document,
    blobs: Vec<(&'static str, BlobRef, PathBuf)>,
}

impl Content {
    /// Of a store with the tools that are asked for.
    pub(super) fn of(dir: &Path) -> Result<Self> {
        let store = Store::open(dir)?;
        let generation = store.generations().first().ok_or("the store has no generation")?;
        let composed = generation.compose(&generation.resolve(&image(IMAGE).parse()?)?)?;
        let index = composed.form(Compression::Gzip).index.clone();
        let layer = |tool| {
            let record = generation.tools().get(&Name::parse(tool)?).and_then(|platforms| platforms.get(&Arch::Amd64));
            let blob = record.ok_or("the store lacks a tool")?.gzip.clone();
            let path = store.blob_path(&blob.digest);
            Ok((tool, blob, path))
        };
        Ok(Self { index, blobs: BLOBS.iter().map(|&(tool, ..)| layer(tool)).collect::<Result<_>>()? })
    }

    /// The path of the index, by tag.
    pub(super) fn by_tag(&self) -> String {
        format!("/v2/{}/manifests/latest", image(IMAGE))
    }

    /// The path of the same, by digest.
    pub(super) fn by_digest(&self) -> String {
        format!("/v2/{}/manifests/{}", image(IMAGE), self.index.digest)
    }

    /// The path of a tool's layer.
    pub(super) fn blob(&self, tool: &str) -> Result<String> {
        let (name, blob, _) = self.blobs.iter().find(|(name, ..)| *name == tool).ok_or("there is no such blob")?;
        Ok(format!("/v2/{name}/blobs/{}", blob.digest))
    }

    /// Puts all of it below `root`, under the paths by which it is asked for. Blobs are the store's own files.
    pub(super) fn as_files(&self, root: &Path) -> Result {
        for path in [self.by_tag(), self.by_digest()] {
            write(&root.join(&path[1..]), &self.index.bytes)?;
        }
        for (tool, _, file) in &self.blobs {
            link(file, &root.join(&self.blob(tool)?[1..]))?;
        }
        Ok(())
    }

    /// Puts all of it where docker-registry looks for it below its root directory.
    pub(super) fn as_docker_storage(&self, root: &Path) -> Result {
        let root = root.join("docker/registry/v2");
        let data = |hex: &str| root.join("blobs/sha256").join(&hex[..2]).join(hex).join("data");
        let digest = &self.index.digest;
        write(&data(digest.digest()), &self.index.bytes)?;
        let manifests = root.join("repositories").join(image(IMAGE)).join("_manifests");
        for place in ["tags/latest/current".to_owned(), format!("revisions/sha256/{}", digest.digest())] {
            write(&manifests.join(place).join("link"), digest.as_ref().as_bytes())?;
        }
        for (tool, blob, file) in &self.blobs {
            let hex = blob.digest.digest();
            link(file, &data(hex))?;
            let layers = root.join("repositories").join(tool).join("_layers/sha256");
            write(&layers.join(hex).join("link"), blob.digest.as_ref().as_bytes())?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    Ok(fs::write(path, bytes)?)
}

/// The same file under a second name, so that the peers read what lies in memory for us too.
fn link(file: &Path, name: &Path) -> Result {
    fs::create_dir_all(name.parent().unwrap_or(Path::new("/")))?;
    Ok(fs::hard_link(file, name)?)
}
