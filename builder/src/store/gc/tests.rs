use std::fs::File;
use std::path::Path;

use oci_spec::image::{ImageIndex, MediaType};
use tempfile::TempDir;

use super::super::tests::{Run, flip};
use super::super::{Store, StoreWriter, verify};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn policy(keep: usize, grace: Duration) -> Policy {
    Policy { keep: keep.try_into().unwrap(), grace }
}

/// A store of three generations. The second and the third have a `strace` of their own; `base` is one for all.
fn three() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    Run::new(&["base", "strace"], "a").write(dir.path()).unwrap();
    Run::new(&["strace"], "b").write(dir.path()).unwrap();
    Run::new(&["strace"], "c").write(dir.path()).unwrap();
    dir
}

fn copy(store: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir_all(&copy.path().join("blobs/sha256")).unwrap();
    for (path, _) in state(store) {
        std::fs::copy(&path, copy.path().join(path.strip_prefix(store).unwrap())).unwrap();
    }
    copy
}

fn ids(dir: &Path) -> Vec<String> {
    Store::open(dir).unwrap().generations().iter().map(|generation| generation.id().to_string()).collect()
}

/// Names and modification times of everything in the store.
fn state(dir: &Path) -> Vec<(PathBuf, SystemTime)> {
    let list = |dir: &Path| fs::list(dir).unwrap().into_iter().map(|name| dir.join(name)).collect::<Vec<_>>();
    let files = [list(dir), list(&dir.join("blobs/sha256"))].concat();
    files
        .into_iter()
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::size_and_time(&path).unwrap().1))
        .collect()
}

fn assert_sound(dir: &Path) {
    let faults = verify(dir).unwrap().faults;
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn without_grace_nothing_is_left_but_what_is_kept() {
    for keep in 1..=4 {
        let dir = three();
        let before = ids(dir.path());
        let collection = collect(dir.path(), policy(keep, Duration::ZERO), SystemTime::now()).unwrap();
        assert_eq!(ids(dir.path()), before[..keep.min(3)]);
        assert_eq!((collection.kept, collection.dropped.len()), (keep.min(3), 3 - keep.min(3)));
        // The index, a config, a manifest and two layers of each; their SBOM is one for all.
        assert_eq!((collection.removed.blobs, collection.waiting.blobs), (5 * collection.dropped.len(), 0));
        let found = verify(dir.path()).unwrap();
        assert!(found.faults.is_empty() && found.leftovers.is_empty(), "{found:?}");
    }
}

#[test]
fn what_a_dropped_generation_had_waits_for_the_grace_period_from_then_on() {
    let dir = three();
    let long_ago = SystemTime::now() - 100 * HOUR;
    state(dir.path()).iter().for_each(|(path, _)| File::open(path).unwrap().set_modified(long_ago).unwrap());
    let dropped_at = SystemTime::now();
    let first = collect(dir.path(), policy(2, HOUR), dropped_at).unwrap();
    assert_eq!((first.dropped.len(), first.removed.blobs, first.waiting.blobs), (1, 0, 5));

    // The next generation to be dropped begins its own period, and does not lengthen that of the first.
    let later = dropped_at + HOUR / 2;
    let second = collect(dir.path(), policy(1, HOUR), later).unwrap();
    assert_eq!((second.dropped.len(), second.removed.blobs, second.waiting.blobs), (1, 0, 10));
    let third = collect(dir.path(), policy(1, HOUR), dropped_at + HOUR).unwrap();
    assert_eq!((third.dropped.len(), third.removed, third.waiting.blobs), (0, first.waiting, 5));
    let fourth = collect(dir.path(), policy(1, HOUR), later + HOUR).unwrap();
    assert_eq!((fourth.removed.blobs, fourth.waiting.blobs), (5, 0));
    assert!(verify(dir.path()).unwrap().leftovers.is_empty());
    assert_sound(dir.path());
}

#[test]
fn what_an_unfinished_writer_left_is_as_old_as_its_file() {
    let dir = three();
    let writer = StoreWriter::open_or_create(dir.path()).unwrap();
    let other = || MediaType::Other("text/plain".to_owned());
    let orphan = writer.put_blob(other(), b"orphan").unwrap();
    let recent = writer.put_blob(other(), b"recent").unwrap();
    drop(writer);
    let path = blob_path(dir.path(), orphan.digest());
    File::open(&path).unwrap().set_modified(SystemTime::now() - 2 * HOUR).unwrap();
    let unfinished = dir.path().join("blobs/sha256/.tmp-1-1");
    let strange = dir.path().join("blobs/sha256/README");
    [&unfinished, &strange].into_iter().for_each(|path| std::fs::write(path, "half").unwrap());

    let collection = collect(dir.path(), policy(3, HOUR), SystemTime::now()).unwrap();
    let counts = (collection.removed, collection.waiting, collection.unfinished);
    assert_eq!(counts, (Amount { blobs: 1, bytes: 6 }, Amount { blobs: 1, bytes: 6 }, 1));
    let there = [path, unfinished, strange, blob_path(dir.path(), recent.digest())].map(|path| path.exists());
    assert_eq!(there, [false, false, true, true]);
    assert_sound(dir.path());
}

#[test]
fn a_plan_changes_nothing() {
    let dir = three();
    std::fs::write(dir.path().join(".tmp-1-1"), "half").unwrap();
    let before = state(dir.path());
    let index = fs::read(&dir.path().join("index.json")).unwrap();
    let collection = plan(dir.path(), policy(1, Duration::ZERO), SystemTime::now()).unwrap();
    assert_eq!((collection.removed.blobs, collection.unfinished), (10, 1));
    assert_eq!(state(dir.path()), before);
    assert_eq!(fs::read(&dir.path().join("index.json")).unwrap(), index);
}

#[test]
fn what_others_have_put_into_the_layout_stays_with_all_that_it_names() {
    let dir = three();
    let writer = StoreWriter::open_or_create(dir.path()).unwrap();
    let put = |media_type: &str, text: &str| writer.put_blob(MediaType::from(media_type), text.as_bytes()).unwrap();
    let layer = put("application/vnd.docker.image.rootfs.diff.tar.gzip", "layer");
    let config = put("application/vnd.docker.container.image.v1+json", "no JSON at all");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] }).to_string();
    let manifest = put("application/vnd.docker.distribution.manifest.v2+json", &manifest);
    // One of its manifests was never copied.
    let absent = format!("sha256:{}", canonical::sha256_hex(b"absent"));
    let absent = json!({ "mediaType": MediaType::ImageManifest, "digest": absent, "size": 1 });
    let list = put(
        MediaType::ImageIndex.as_ref(),
        &json!({ "schemaVersion": 2, "manifests": [manifest, absent] }).to_string(),
    );
    drop(writer);
    let path = dir.path().join("index.json");
    let mut index: ImageIndex = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index.set_manifests([index.manifests().as_slice(), &[list]].concat());
    std::fs::write(&path, serde_json::to_vec(&index).unwrap()).unwrap();

    let collection = collect(dir.path(), policy(1, Duration::ZERO), SystemTime::now()).unwrap();
    assert_eq!(collection.removed.blobs, 10);
    for descriptor in [layer, config, manifest] {
        assert!(blob_path(dir.path(), descriptor.digest()).exists(), "{descriptor:?}");
    }
}

#[test]
fn where_it_is_unknown_what_is_kept_nothing_is_removed() {
    let dir = three();
    let generation = |age: usize| Store::open(dir.path()).unwrap().generations()[age].digest().clone();
    let (kept, dropped) = (blob_path(dir.path(), &generation(0)), blob_path(dir.path(), &generation(2)));
    let collect = |grace| collect(dir.path(), policy(1, grace), SystemTime::now() + 2 * HOUR);
    flip(&kept, 100, 1);
    let before = state(dir.path());
    assert!(matches!(collect(Duration::ZERO).unwrap_err(), StoreError::Damaged(path) if path == kept));
    assert_eq!(state(dir.path()), before);
    flip(&kept, 100, 1);

    // A damaged generation can be dropped. What it had is then not known, so all that is out of reach waits.
    flip(&dropped, 100, 1);
    let collection = collect(HOUR).unwrap();
    assert_eq!((collection.dropped.len(), collection.removed.blobs, collection.waiting.blobs), (2, 0, 10));
    assert_sound(dir.path());
}

#[test]
fn a_builder_that_writes_is_not_disturbed() {
    let dir = three();
    let writer = StoreWriter::open_or_create(dir.path()).unwrap();
    let collect = || collect(dir.path(), policy(1, Duration::ZERO), SystemTime::now());
    assert!(matches!(collect(), Err(StoreError::Locked(_))));
    assert_eq!(ids(dir.path()).len(), 3);
    drop(writer);
    collect().unwrap();
    let nowhere = dir.path().join("nowhere");
    assert!(matches!(super::collect(&nowhere, policy(1, HOUR), SystemTime::now()), Err(StoreError::Missing(_))));
    assert!(!nowhere.exists());
}

#[test]
fn killed_at_any_moment_it_leaves_a_sound_store() {
    let original = three();
    std::fs::write(original.path().join(".tmp-1-1"), "half").unwrap();
    let now = SystemTime::now();
    for grace in [Duration::ZERO, HOUR] {
        for steps in 0.. {
            let dir = copy(original.path());
            let before = ids(dir.path());
            let (result, stopped) = fs::faults::after(steps, || collect(dir.path(), policy(1, grace), now));
            let left = ids(dir.path());
            assert!(left == before || left == before[..1], "step {steps}: {left:?}");
            assert_sound(dir.path());

            collect(dir.path(), policy(1, grace), now).unwrap();
            collect(dir.path(), policy(1, grace), now + 2 * HOUR).unwrap();
            assert_eq!(ids(dir.path()), before[..1]);
            let found = verify(dir.path()).unwrap();
            assert!(found.faults.is_empty() && found.leftovers.is_empty(), "step {steps}: {found:?}");
            if !stopped {
                result.unwrap();
                assert!(steps > 15, "only {steps} steps: is anything removed?");
                break;
            }
        }
    }
}
