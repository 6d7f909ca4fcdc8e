use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, SystemTime};

use kitbag_toolsets::Compression;
use tempfile::TempDir;

use super::*;
use crate::publish::tests::{image, store};
use crate::store::gc::{self, Policy};
use crate::store::{StoreWriter, ToolParts, verify};

fn written(files: &BTreeMap<String, Vec<u8>>) -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write_atomic(&path, bytes).unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

/// A newer generation with another strace.
fn renew(dir: &Path) {
    let mut writer = StoreWriter::open_or_create(dir).unwrap();
    let mut tree = crate::layer::Tree::new();
    tree.file("/usr/bin/strace", 0o755, b"a newer one".to_vec()).unwrap();
    let layer = writer.put_layer(&tree.pack(1_700_000_000)).unwrap();
    let catalog = kitbag_toolsets::Catalog::builtin().unwrap();
    let parts = ToolParts::of(catalog.recipe("strace").unwrap(), Arch::Amd64, &"b".repeat(64));
    let tool = writer.put_tool(&parts, &layer, b"{}").unwrap();
    writer.commit(vec![tool], &BTreeMap::new()).unwrap();
}

#[test]
fn a_part_names_the_same_images_and_has_one_platforms_layers() {
    let (_dir, whole) = store();
    for arch in Arch::ALL {
        let (dir, part) = written(&files(&whole, 1, Some(arch)).unwrap());
        for compression in Compression::ALL {
            let (ours, theirs) = (image(&part, "strace/tcpdump"), image(&whole, "strace/tcpdump"));
            assert_eq!(ours.form(compression), theirs.form(compression));
            for platform in ours.platforms() {
                for layer in &platform.layers {
                    let there = part.blob_path(&layer.blob(compression).digest).exists();
                    assert_eq!(there, platform.arch == arch);
                }
            }
        }
        let verification = verify(dir.path()).unwrap();
        assert!(verification.faults.is_empty() && verification.leftovers.is_empty(), "{verification:?}");
        let layers = part.generations()[0].layers().count();
        assert_eq!(layers * 2, whole.generations()[0].layers().count());
    }
}

#[test]
fn a_layer_that_should_be_in_a_part_is_missed() {
    let (_dir, whole) = store();
    let mut files = files(&whole, 1, Some(Arch::Arm64)).unwrap();
    let layers = image(&whole, "strace").platforms()[1].layers.clone();
    files.remove(&path(&layers[1].gzip.digest)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in &files {
        fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        fs::write_atomic(&dir.path().join(path), bytes).unwrap();
    }
    assert!(matches!(Store::open(dir.path()), Err(StoreError::HalfWritten { .. })));
    assert_eq!(verify(dir.path()).unwrap().faults.len(), 1);
}

#[test]
fn only_the_newest_generations_come_along() {
    let (dir, _) = store();
    renew(dir.path());
    let whole = Store::open(dir.path()).unwrap();
    let ids = |store: &Store| -> Vec<_> { store.generations().iter().map(|kept| kept.id().clone()).collect() };
    for kept in [1, 2, 3] {
        let (_dir, part) = written(&files(&whole, kept, None).unwrap());
        assert_eq!(ids(&part)[..], ids(&whole)[..kept.min(2)]);
        assert!(verify(part.dir()).unwrap().leftovers.is_empty());
    }
}

#[test]
fn nobody_writes_to_a_part() {
    let (_dir, whole) = store();
    let (dir, _) = written(&files(&whole, 1, Some(Arch::Amd64)).unwrap());
    let told = StoreWriter::open_or_create(dir.path()).unwrap_err().to_string();
    insta::assert_snapshot!(told.replace(dir.path().to_str().unwrap(), "/store"), @"the store at `/store` has layers for linux/amd64 only: it can be served, not written to; name another one");
    let policy = Policy { keep: NonZeroUsize::MIN, grace: Duration::ZERO };
    assert!(matches!(gc::collect(dir.path(), policy, SystemTime::now()), Err(StoreError::Part { .. })));
    // Of a part there is no part: what it lacks would be missing.
    let part = Store::open(dir.path()).unwrap();
    assert!(matches!(files(&part, 1, None), Err(StoreError::Part { .. } | StoreError::HalfWritten { .. })));
}

#[test]
fn a_platform_that_nobody_knows_is_not_guessed() {
    let (_dir, whole) = store();
    let mut files = files(&whole, 1, Some(Arch::Amd64)).unwrap();
    let index = String::from_utf8(files[INDEX].clone()).unwrap();
    files.insert(
        INDEX.to_owned(),
        index.replace("\"dev.kitbag.platform\":\"amd64\"", "\"dev.kitbag.platform\":\"vax\"").into(),
    );
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in &files {
        fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        fs::write_atomic(&dir.path().join(path), bytes).unwrap();
    }
    let told = Store::open(dir.path()).unwrap_err().to_string();
    assert!(told.contains("unknown architecture `vax`"), "{told}");
    assert!(verify(dir.path()).is_err());
}
