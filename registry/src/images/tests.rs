use kitbag_builder::store::Store;
use kitbag_toolsets::compose::Compression;

use super::*;
use crate::route::{Reference, Route, parse};
use crate::testing;

fn images() -> (tempfile::TempDir, Store, Images, testing::Ids) {
    let dir = tempfile::tempdir().unwrap();
    let (store, ids) = testing::make(dir.path());
    let images = Images::new(store.generations().to_vec(), Arc::default());
    (dir, store, images, ids)
}

fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    match parse(&http::Method::GET, &format!("/v2/a/manifests/{text}"), None) {
        Ok(Route::Manifest { reference: Reference::Tag(tag), .. }) => tag,
        other => panic!("{text}: {other:?}"),
    }
}

fn digest(content: &Content) -> Digest {
    std::str::from_utf8(content.digest()).unwrap().parse().unwrap()
}

/// The image as the generation composes it, without a registry.
fn composed(store: &Store, age: usize, image: &str) -> kitbag_toolsets::Image {
    let generation = &store.generations()[age];
    generation.compose(&generation.resolve(&path(image)).unwrap()).unwrap()
}

#[test]
fn a_tag_names_the_index_of_its_generation() {
    let (_dir, store, images, ids) = images();
    for (tagged, age) in [(LATEST, 0), (ids.new.as_str(), 0), (ids.old.as_str(), 1)] {
        for (end, form) in [("", Compression::Gzip), (ZSTD, Compression::Zstd)] {
            let content = images.index_by_tag(&path("strace/sh"), &tag(&format!("{tagged}{end}"))).unwrap();
            assert_eq!(content.bytes, composed(&store, age, "shell/strace").form(form).index.bytes, "{tagged}{end}");
        }
    }
}

#[test]
fn a_tag_that_is_no_generation_is_unknown() {
    let (_dir, _store, images, _ids) = images();
    let fallback = format!("sha256-{}", "0".repeat(64));
    for text in ["v1", "LATEST", "000000000000", "zstd", "latest-zstd-zstd", &fallback, &format!("{fallback}.sig")] {
        let error = images.index_by_tag(&path("strace"), &tag(text)).unwrap_err();
        assert!(matches!(error, RequestError::UnknownTag { .. }), "{text}: {error}");
    }
}

#[test]
fn every_digest_of_every_generation_is_found_by_who_never_saw_a_tag() {
    let (_dir, store, images, _ids) = images();
    for age in [0, 1] {
        let image = composed(&store, age, "strace/busybox");
        for document in Compression::ALL.into_iter().flat_map(|form| image.form(form).documents()) {
            let found = images.manifest_by_digest(&path("busybox/strace"), &document.digest).unwrap();
            assert_eq!((&found.bytes[..], digest(&found)), (&document.bytes[..], document.digest.clone()));
        }
        for platform in image.platforms() {
            match images.blob(&path("busybox/strace"), &platform.config.digest).unwrap() {
                Blob::Config(config) => assert_eq!(config.bytes, platform.config.bytes),
                Blob::Layer(layer) => panic!("a config is no layer: {layer:?}"),
            }
            for layer in &platform.layers {
                for blob in [layer.blob(Compression::Gzip), layer.blob(Compression::Zstd)] {
                    let found = images.blob(&path("busybox/strace"), &blob.digest).unwrap();
                    assert!(matches!(found, Blob::Layer(found) if found == *blob));
                }
            }
        }
    }
}

#[test]
fn a_digest_of_another_image_is_unknown() {
    let (_dir, store, images, _ids) = images();
    let other = composed(&store, 0, "busybox");
    let error = images.manifest_by_digest(&path("strace"), &other.form(Compression::Gzip).index.digest).unwrap_err();
    assert!(matches!(error, RequestError::UnknownManifest { .. }), "{error}");
    let layer = &other.platforms()[0].layers[1].gzip.digest;
    let error = images.blob(&path("strace"), layer).unwrap_err();
    assert!(matches!(error, RequestError::UnknownBlob { .. }), "{error}");
    // Manifests are no blobs, and configs no manifests.
    let strace = composed(&store, 0, "strace");
    assert!(images.blob(&path("strace"), &strace.form(Compression::Zstd).index.digest).is_err());
    assert!(images.manifest_by_digest(&path("strace"), &strace.platforms()[0].config.digest).is_err());
}

#[test]
fn a_tool_of_one_generation_is_unknown_in_the_other() {
    let (_dir, store, images, ids) = images();
    assert!(images.index_by_tag(&path("nslookup"), &tag(LATEST)).is_ok());
    let error = images.index_by_tag(&path("nslookup"), &tag(ids.old.as_str())).unwrap_err();
    assert!(matches!(error, RequestError::UnknownName(_)), "{error}");
    assert_eq!(images.tags(&path("dig")).unwrap(), sorted([LATEST, ids.new.as_str()]));
    assert_eq!(images.tags(&path("strace")).unwrap(), sorted([LATEST, ids.new.as_str(), ids.old.as_str()]));
    let old = composed(&store, 1, "strace-6.1").form(Compression::Gzip).index.digest.clone();
    assert!(images.manifest_by_digest(&path("strace-6.1"), &old).is_ok());
    assert_eq!(images.tags(&path("strace-6.1")).unwrap(), [ids.old.as_str()]);
}

fn sorted<const N: usize>(mut texts: [&str; N]) -> [&str; N] {
    texts.sort_unstable();
    texts
}

#[test]
fn errors_are_those_of_the_newest_generation() {
    let (_dir, _store, images, _ids) = images();
    let unknown = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    let texts = [
        images.tags(&path("strac")).unwrap_err().to_string(),
        images.manifest_by_digest(&path("strace/dgi"), &unknown).unwrap_err().to_string(),
        images.blob(&path("kubernetes"), &unknown).unwrap_err().to_string(),
        images.index_by_tag(&path("lsof/tcpdump"), &tag(LATEST)).unwrap_err().to_string(),
        images.manifest_by_tag(&path("strace/lsof"), &tag(LATEST)).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(texts.join("\n"), @r"
    unknown tool `strac`: did you mean `strace`?
    unknown tool `dgi`: did you mean `dig`?
    unknown tool `kubernetes`: nothing here has a name like it
    no platform has all of these tools: linux/amd64 lacks `lsof`; linux/arm64 lacks `tcpdump`
    a client that accepts no image index gets linux/amd64, which lacks `lsof`; accept `application/vnd.oci.image.index.v1+json`
    ");
}

#[test]
fn a_client_without_indexes_gets_amd64_and_gzip() {
    let (_dir, store, images, _ids) = images();
    let content = images.manifest_by_tag(&path("strace/tcpdump"), &tag(LATEST)).unwrap();
    assert_eq!(content.bytes, composed(&store, 0, "tcpdump/strace").form(Compression::Gzip).manifests[0].bytes);
}

#[test]
fn one_image_is_composed_once_whatever_it_is_called() {
    let (_dir, _store, images, _ids) = images();
    let image = |text: &str| images.image(&images.generations[0], &path(text)).unwrap();
    let first = image("strace/shell");
    for other in ["sh/strace", "busybox/strace-6.2/strace"] {
        assert!(Arc::ptr_eq(&first, &image(other)), "{other}");
    }
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| image("strace/dig"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(all.iter().all(|image| Arc::ptr_eq(image, &all[0])));
}

#[test]
fn the_cache_stays_within_its_limit() {
    let (_dir, _store, images, ids) = images();
    let names = ["busybox", "strace", "blobs", "tags", "dig"];
    for set in 1_u32..1 << names.len() {
        let chosen = names.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0).map(|(_, name)| *name);
        let path = ImagePath::from_names(chosen).unwrap();
        for tagged in [LATEST, ids.old.as_str()] {
            let _ = images.index_by_tag(&path, &tag(tagged));
        }
    }
    assert!(images.cache.weight() > 100_000, "weights are in bytes: {}", images.cache.weight());
    assert!(images.cache.capacity() <= CACHE_BYTES);
}
