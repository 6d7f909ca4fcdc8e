use std::io::Read as _;

use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};

use super::*;
use crate::elf::tests::program;
use crate::publish::tests::store;

fn programs() -> BTreeMap<Arch, Vec<u8>> {
    Arch::ALL.into_iter().map(|arch| (arch, program(arch))).collect()
}

fn content(store: &Store, all_layers: bool, compression: Compression) -> Content {
    image(Parts { store, programs: &programs(), all_layers, compression }).unwrap()
}

/// The files of a layer.
fn unpacked(layer: &Layer) -> BTreeMap<String, Vec<u8>> {
    let tar = zstd::decode_all(&*layer.zstd.read().unwrap()).unwrap();
    let mut archive = tar::Archive::new(&*tar);
    let read = |mut entry: tar::Entry<'_, &[u8]>| {
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (format!("/{}", entry.path().unwrap().display()), content)
    };
    let files = archive.entries().unwrap().map(|entry| read(entry.unwrap()));
    files.filter(|(path, _)| !path.ends_with('/')).collect()
}

#[test]
fn the_same_parts_give_the_same_image() {
    let (_dir, store) = store();
    let digests: Vec<String> = [(false, Compression::Gzip), (false, Compression::Zstd), (true, Compression::Gzip)]
        .into_iter()
        .map(|(all, compression)| {
            let (one, two) = (content(&store, all, compression), content(&store, all, compression));
            assert_eq!(one.root, two.root);
            format!("{all} {compression:?} {}", one.root.digest)
        })
        .collect();
    insta::assert_snapshot!(digests.join("\n"), @"
        false Gzip sha256:b7e27c14884896b8c0d83c9b9695f9105a6e0b7760d79bd5938469b53cebcfa5
        false Zstd sha256:e2d7a77b7ea0a5b10d6acd02323b5b763b17e6279af2cbc93133a28534dbbc24
        true Gzip sha256:d59cd0ce1149dd2ff5ca84abfa55f3728e3320b41617bd62d0d0b297133ae8e9
        ");
}

#[test]
fn clients_understand_the_documents() {
    let (_dir, store) = store();
    let content = content(&store, false, Compression::Gzip);
    let index = ImageIndex::from_reader(&*content.root.bytes).unwrap();
    for (descriptor, platform) in index.manifests().iter().zip(&content.platforms) {
        assert_eq!(descriptor.digest(), &platform.manifest.digest);
        assert_eq!(descriptor.platform().as_ref().unwrap().architecture().to_string(), platform.arch.as_str());
        let manifest = ImageManifest::from_reader(&*platform.manifest.bytes).unwrap();
        assert_eq!(manifest.config().digest(), &platform.config.digest);
        let config = ImageConfiguration::from_reader(&*platform.config.bytes).unwrap();
        let diff_ids: Vec<&str> = platform.layers.iter().map(|layer| layer.diff_id.as_ref()).collect();
        assert_eq!(config.rootfs().diff_ids(), &diff_ids);
        assert_eq!(config.history().as_ref().unwrap().len(), platform.layers.len());
        for (descriptor, layer) in manifest.layers().iter().zip(&platform.layers) {
            assert_eq!((descriptor.digest(), descriptor.size()), (&layer.gzip.digest, layer.gzip.size));
        }
    }
    let config: Value = serde_json::from_slice(&content.platforms[0].config.bytes).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&config["config"]).unwrap(), @r#"
        {
          "Entrypoint": [
            "/usr/bin/kitbag-registry",
            "serve"
          ],
          "Env": [
            "PATH=/usr/sbin:/usr/bin",
            "KITBAG_STORE=/usr/share/kitbag/store"
          ],
          "Labels": {
            "dev.kitbag.generation": "2ee85ba14a3b",
            "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
            "org.opencontainers.image.description": "a registry that composes images of debugging tools from their path",
            "org.opencontainers.image.licenses": "(Apache-2.0 OR MIT) AND MIT",
            "org.opencontainers.image.title": "kitbag-registry",
            "org.opencontainers.image.version": "0.1.0"
          },
          "User": "50505:50505",
          "WorkingDir": "/"
        }
        "#);
}

#[test]
fn the_layers_are_the_base_the_program_and_a_store_that_can_be_served() {
    let (_dir, store) = store();
    for (all_layers, compression) in [(false, Compression::Zstd), (true, Compression::Gzip)] {
        for platform in content(&store, all_layers, compression).platforms {
            let [base, program_layer, rest] = &platform.layers[..] else { panic!("three layers") };
            assert_eq!(base.diff_id, store.generations()[0].base()[&platform.arch].diff_id);
            assert_eq!(unpacked(program_layer), BTreeMap::from([(PROGRAM.to_owned(), program(platform.arch))]));
            let only = (!all_layers).then_some(platform.arch);
            let expected = part::files(&store, GENERATIONS, only).unwrap();
            let expected: BTreeMap<_, _> =
                expected.into_iter().map(|(path, bytes)| (format!("{STORE}/{path}"), bytes)).collect();
            assert!(unpacked(rest) == expected);
        }
    }
}

#[test]
fn what_does_not_run_in_the_image_is_refused() {
    let (_dir, store) = store();
    let refused = |arch, bytes: &[u8]| {
        let programs = BTreeMap::from([(arch, bytes.to_vec())]);
        let parts = Parts { store: &store, programs: &programs, all_layers: false, compression: Compression::Gzip };
        image(parts).unwrap_err().to_string()
    };
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let here: Arch = if cfg!(target_arch = "aarch64") { Arch::Arm64 } else { Arch::Amd64 };
    assert!(refused(here, &own).contains("it is dynamic"));
    let others = [refused(Arch::Arm64, &program(Arch::Amd64)), refused(Arch::Amd64, b"#!/bin/sh\n")];
    insta::assert_snapshot!(others.join("\n"), @"
    the program for linux/arm64 cannot be used: it is for amd64, not for arm64
    what was named as the program for linux/amd64 is no ELF file
    ");
}
