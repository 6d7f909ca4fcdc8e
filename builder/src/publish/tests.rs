use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use kitbag_toolsets::{Compression, Generation, Name, Needs};
use oci_spec::distribution::Reference;
use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest, OciLayout};
use tempfile::TempDir;

use super::*;
use crate::fs;
use crate::layer::Tree;
use crate::store::{Store, StoreWriter, ToolParts};

/// A store of a base layer and two tools, for both platforms.
pub(crate) fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = StoreWriter::open_or_create(dir.path()).unwrap();
    let mut tools = Vec::new();
    for (rank, tool) in ["base", "strace", "tcpdump"].into_iter().enumerate() {
        for architecture in Arch::ALL {
            let mut tree = Tree::new();
            let program = format!("{tool} for {architecture}");
            tree.file(&format!("/usr/bin/{tool}"), 0o755, program.clone().into()).unwrap();
            let layer = writer.put_layer(&tree.pack(1_700_000_000)).unwrap();
            let parts = ToolParts {
                name: Name::parse(tool).unwrap(),
                base: tool == "base",
                version: "1.0".to_owned(),
                architecture,
                rank: u32::try_from(rank).unwrap(),
                summary: "a tool".to_owned(),
                license: "MIT".to_owned(),
                homepage: "https://tool.example/".to_owned(),
                commands: vec![tool.to_owned()],
                needs: Needs::default(),
                source_date: 1_700_000_000,
                input_hash: kitbag_toolsets::canonical::sha256_hex(program.as_bytes()),
            };
            tools.push(writer.put_tool(&parts, &layer, b"{}").unwrap());
        }
    }
    writer.commit(tools, &BTreeMap::new()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

pub(crate) fn image(store: &Store, path: &str) -> kitbag_toolsets::Image {
    let generation: &Generation = &store.generations()[0];
    generation.compose(&generation.resolve(&path.parse().unwrap()).unwrap()).unwrap()
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// The files of a tar, in their order.
fn entries(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
    let read = |mut entry: tar::Entry<'_, std::fs::File>| {
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    };
    archive.entries().unwrap().map(|entry| read(entry.unwrap())).collect()
}

fn index(dir: &Path) -> ImageIndex {
    ImageIndex::from_file(dir.join("index.json")).unwrap()
}

#[test]
fn a_layout_has_what_a_registry_would_serve_and_nothing_else() {
    let (_store, store) = store();
    let image = image(&store, "tcpdump/strace");
    for compression in Compression::ALL {
        let dir = tempfile::tempdir().unwrap();
        write_layout(&Content::of(&image, compression, &store), &reference("localhost/a:1"), dir.path()).unwrap();
        OciLayout::from_file(dir.path().join("oci-layout")).unwrap();
        let index = index(dir.path());
        let [root] = &index.manifests()[..] else { panic!("one image") };
        assert_eq!(root.digest(), &image.form(compression).index.digest);
        // From here on by the documents alone, as a client goes.
        let mut reached = vec![root.digest().clone()];
        let blob = |digest: &Digest| {
            let bytes = fs::read(&dir.path().join("blobs/sha256").join(digest.digest())).unwrap();
            assert_eq!(kitbag_toolsets::canonical::sha256_hex(&bytes), digest.digest());
            bytes
        };
        for manifest in ImageIndex::from_reader(&*blob(root.digest())).unwrap().manifests() {
            let read = ImageManifest::from_reader(&*blob(manifest.digest())).unwrap();
            let config = ImageConfiguration::from_reader(&*blob(read.config().digest())).unwrap();
            assert_eq!(config.rootfs().diff_ids().len(), read.layers().len());
            for layer in read.layers() {
                assert_eq!(layer.media_type().as_ref(), compression.media_type());
                assert_eq!(blob(layer.digest()), fs::read(&store.blob_path(layer.digest())).unwrap());
                reached.push(layer.digest().clone());
            }
            reached.extend([manifest.digest().clone(), read.config().digest().clone()]);
        }
        let mut names: Vec<&str> = reached.iter().map(Digest::digest).collect();
        names.sort_unstable();
        assert_eq!(fs::list(&dir.path().join("blobs/sha256")).unwrap(), names);
        assert_eq!(fs::list(dir.path()).unwrap(), ["blobs", "index.json", "oci-layout"]);
    }
}

#[test]
fn a_layout_holds_several_images_and_each_name_once() {
    let (_store, store) = store();
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, name: &str| {
        let content = Content::of(&image(&store, path), Compression::Gzip, &store);
        write_layout(&content, &reference(name), dir.path()).unwrap();
    };
    write("strace", "localhost/a:1");
    write("tcpdump", "localhost/b:1");
    write("strace/tcpdump", "localhost/a:1");
    let digest = |path: &str| image(&store, path).form(Compression::Gzip).index.digest.clone();
    let manifests = index(dir.path()).manifests().clone();
    let digests: Vec<_> = manifests.iter().map(|descriptor| descriptor.digest().clone()).collect();
    assert_eq!(digests, [digest("tcpdump"), digest("strace/tcpdump")]);
    let annotations = manifests[1].annotations().clone().unwrap();
    for key in ["org.opencontainers.image.ref.name", "io.containerd.image.name"] {
        assert_eq!(annotations[key], "localhost/a:1");
    }
}

#[test]
fn neither_a_store_nor_a_directory_of_other_things_becomes_a_layout() {
    let (dir, store) = store();
    let content = Content::of(&image(&store, "strace"), Compression::Gzip, &store);
    let before = fs::read(&dir.path().join("index.json")).unwrap();
    let refused = write_layout(&content, &reference("localhost/a:1"), dir.path()).unwrap_err();
    assert!(matches!(refused, PublishError::IsStore(_)), "{refused}");
    assert_eq!(fs::read(&dir.path().join("index.json")).unwrap(), before);
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("letter.txt"), "dear").unwrap();
    let refused = write_layout(&content, &reference("localhost/a:1"), other.path()).unwrap_err();
    assert!(matches!(refused, PublishError::Store(StoreError::NotALayout(_))), "{refused}");
    assert_eq!(fs::list(other.path()).unwrap(), ["letter.txt"]);
}

#[test]
fn an_archive_is_the_layout_as_a_sorted_tar() {
    let (_store, store) = store();
    let content = Content::of(&image(&store, "strace"), Compression::Zstd, &store);
    let dir = tempfile::tempdir().unwrap();
    let (layout, one, two) = (dir.path().join("layout"), dir.path().join("one"), dir.path().join("two"));
    write_layout(&content, &reference("localhost/a:1"), &layout).unwrap();
    write_archive(&content, &reference("localhost/a:1"), &one).unwrap();
    write_archive(&content, &reference("localhost/a:1"), &two).unwrap();
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
    let entries = entries(&one);
    assert!(entries.is_sorted_by_key(|(name, _)| name.clone()));
    let (directories, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(name, _)| name.ends_with('/'));
    assert_eq!(directories.len(), 2);
    for (name, bytes) in files {
        assert_eq!(bytes, fs::read(&layout.join(&name)).unwrap(), "{name}");
    }
}

#[test]
fn a_docker_archive_has_the_registrys_config_and_layers_of_its_diff_ids() {
    let (_store, store) = store();
    let image = image(&store, "strace");
    let content = Content::of(&image, Compression::Gzip, &store);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("image.tar");
    let several = write_docker_archive(&content, &reference("localhost/a:1"), &file).unwrap_err();
    insta::assert_snapshot!(several, @"a docker-archive holds one platform, and the image has linux/amd64 and linux/arm64: name one with --platform");
    write_docker_archive(&content.only(Arch::Arm64).unwrap(), &reference("localhost/a:1"), &file).unwrap();
    let entries: BTreeMap<_, _> = entries(&file).into_iter().collect();
    let platform = &image.platforms()[1];
    let manifest: serde_json::Value = serde_json::from_slice(&entries["manifest.json"]).unwrap();
    let names: Vec<String> = platform.layers.iter().map(|layer| format!("{}.tar", layer.diff_id.digest())).collect();
    assert_eq!(manifest[0]["Layers"], serde_json::json!(names));
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["localhost/a:1"]));
    assert_eq!(entries[manifest[0]["Config"].as_str().unwrap()], platform.config.bytes);
    for name in names {
        assert_eq!(format!("{}.tar", kitbag_toolsets::canonical::sha256_hex(&entries[&name])), name);
    }
    assert_eq!(entries.len(), 2 + platform.layers.len());
}

#[test]
fn one_platform_is_named_by_its_manifest() {
    let (_store, store) = store();
    let image = image(&store, "strace");
    let content = Content::of(&image, Compression::Gzip, &store).only(Arch::Amd64).unwrap();
    assert_eq!(content.root.digest, image.form(Compression::Gzip).manifests[0].digest);
    assert_eq!(content.all().len(), 4, "the manifest, the config and two layers");
    let missing = content.only(Arch::Arm64).unwrap_err();
    insta::assert_snapshot!(missing, @"there is no such image for linux/arm64: it exists for linux/amd64");
}

#[test]
fn a_damaged_blob_is_not_carried_on() {
    let (_store, store) = store();
    let image = image(&store, "strace");
    let content = Content::of(&image, Compression::Gzip, &store);
    let path = store.blob_path(&image.platforms()[0].layers[1].gzip.digest);
    std::fs::write(&path, "something else").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("a.tar");
    for failed in [
        write_layout(&content, &reference("localhost/a:1"), &dir.path().join("layout")),
        write_archive(&content, &reference("localhost/a:1"), &archive),
    ] {
        assert!(matches!(failed, Err(PublishError::Store(StoreError::Damaged(damaged))) if damaged == path));
    }
    assert!(index(&dir.path().join("layout")).manifests().is_empty());
    assert!(!archive.exists());
}
