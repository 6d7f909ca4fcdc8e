//! Small images, made without any tool: one uncompressed layer of given files, as an OCI archive that containerd imports.
//! The same files give the same bytes. How kitbag's own images are made is the builder's affair, not this module's.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An image to be.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its reference: `localhost/shop:1`.
    pub name: String,
    /// What runs in it.
    pub command: Vec<String>,
    /// User number; none is root.
    pub user: Option<u32>,
    /// Its files. Their directories are made.
    pub files: Vec<ImageFile>,
}

/// A file of an image.
#[derive(Clone, Debug)]
pub struct ImageFile {
    /// Absolute path in the image.
    pub path: String,
    /// Permissions.
    pub mode: u32,
    /// Content.
    pub content: Vec<u8>,
}

/// An OCI archive of the images, for this machine's architecture.
pub fn archive(images: &[Image]) -> Vec<u8> {
    archive_for(images, architecture())
}

/// This machine's architecture, in OCI's words.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn archive_for(images: &[Image], architecture: &str) -> Vec<u8> {
    let mut entries = vec![("oci-layout".to_owned(), 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let mut blob = |media_type: &str, content: Vec<u8>| {
        let hash = hex(&content);
        let descriptor = json!({"digest": format!("sha256:{hash}"), "mediaType": media_type, "size": content.len()});
        let path = format!("blobs/sha256/{hash}");
        if !entries.iter().any(|(present, ..)| *present == path) {
            entries.push((path, 0o644, content));
        }
        descriptor
    };
    let mut manifests = Vec::new();
    for image in images {
        let tar = layer(&image.files);
        let config = json!({
            "architecture": architecture,
            "config": {
                "Cmd": image.command,
                "Env": ["PATH=/"],
                "User": image.user.map(|user| user.to_string()).unwrap_or_default(),
            },
            "os": "linux",
            "rootfs": {"diff_ids": [format!("sha256:{}", hex(&tar))], "type": "layers"},
        });
        let layer = blob("application/vnd.oci.image.layer.v1.tar", tar);
        let config = blob("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"config": config, "layers": [layer], "mediaType": media_type, "schemaVersion": 2});
        let mut descriptor = blob(media_type, manifest.to_string().into_bytes());
        descriptor["annotations"] = json!({"io.containerd.image.name": image.name});
        manifests.push(descriptor);
    }
    let index: Value = json!({"manifests": manifests, "schemaVersion": 2});
    entries.push(("index.json".to_owned(), 0o644, index.to_string().into_bytes()));
    tar(&entries)
}

/// The layer's tar: the files and their directories, sorted by path.
fn layer(files: &[ImageFile]) -> Vec<u8> {
    let mut entries = std::collections::BTreeMap::new();
    for file in files {
        let path = file.path.trim_start_matches('/');
        for (end, _) in path.match_indices('/') {
            entries.insert(path[..=end].to_owned(), (0o755, Vec::new()));
        }
        entries.insert(path.to_owned(), (file.mode, file.content.clone()));
    }
    tar(&entries.into_iter().map(|(path, (mode, content))| (path, mode, content)).collect::<Vec<_>>())
}

/// Entries in the order given; a path with a slash at its end is a directory.
fn tar(entries: &[(String, u32, Vec<u8>)]) -> Vec<u8> {
    const IN_MEMORY: &str = "writing to memory can't fail, and paths are short";
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(if path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        header.set_mtime(0);
        builder.append_data(&mut header, path, &content[..]).expect(IN_MEMORY);
    }
    builder.into_inner().expect(IN_MEMORY)
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let file = |path: &str, mode, content: &[u8]| ImageFile { path: path.into(), mode, content: content.into() };
        Image {
            name: "localhost/a:1".into(),
            command: vec!["/a".into()],
            user: Some(1000),
            files: vec![file("/etc/a/b", 0o644, b"text"), file("/a", 0o755, b"program")],
        }
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let archive = archive_for(&[image()], "amd64");
        assert_eq!(hex(&archive), "bc086203a0136f81befa1869d3acdfac78700b0a98643560063f7f9cb3f095e3");
    }

    #[test]
    fn a_layer_holds_every_directory_once_and_is_sorted() {
        let layer = layer(&image().files);
        let mut archive = tar::Archive::new(&layer[..]);
        let paths: Vec<_> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(paths, ["a", "etc/", "etc/a/", "etc/a/b"]);
    }

    #[test]
    fn images_share_their_blobs() {
        let other = Image { name: "localhost/b:1".into(), ..image() };
        let bytes = archive_for(&[image(), other], "amd64");
        let entries = tar::Archive::new(&bytes[..]).entries().unwrap().count();
        assert_eq!(entries, 5, "layout, index, layer, configuration, manifest");
    }
}
