use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::*;
use crate::handlers::Registry;
use crate::{scrub, testing};

/// Blobs of a store that does not change.
struct Fixed {
    dir: tempfile::TempDir,
    held: Held,
    blobs: Blobs,
}

impl Fixed {
    async fn open(&self, blob: &BlobRef) -> Result<Content, BlobError> {
        self.blobs.open(&self.held, blob).await
    }

    fn path(&self, blob: &BlobRef) -> PathBuf {
        self.dir.path().join("blobs/sha256").join(blob.digest.digest())
    }
}

fn blobs() -> (Fixed, BlobRef) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = testing::make(dir.path());
    let blob = store.generations()[0].base().values().next().unwrap().gzip.clone();
    let root = Arc::new(Root::open(dir.path()).unwrap());
    let held = Held::new(store.generations().to_vec(), root, &Arc::default());
    (Fixed { dir, held, blobs: Blobs::new(Arc::default()) }, blob)
}

/// Changes a file as no builder does: in place. The time is set by hand, because the clock of file systems is coarse.
fn tamper(path: &Path, later: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000 + later);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn damage(result: Result<Content, BlobError>) -> Damage {
    match result.unwrap_err() {
        BlobError::Damaged { damage, .. } => damage,
        error @ BlobError::Unreadable { .. } => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_sound_blob_is_served_from_one_map() {
    let (blobs, blob) = blobs();
    let first = blobs.open(&blob).await.unwrap();
    assert_eq!(first.bytes, fs::read(blobs.path(&blob)).unwrap());
    assert_eq!(first.digest(), blob.digest.as_ref().as_bytes());
    assert_eq!(blobs.open(&blob).await.unwrap().bytes.as_ptr(), first.bytes.as_ptr());
}

#[tokio::test]
async fn a_flipped_byte_is_damage_before_and_after_the_first_check() {
    for served_before in [false, true] {
        let (blobs, blob) = blobs();
        let path = blobs.path(&blob);
        if served_before {
            blobs.open(&blob).await.unwrap();
        }
        tamper(&path, 0, |bytes| bytes[1000] ^= 1);
        for _ in 0..2 {
            assert!(matches!(damage(blobs.open(&blob).await), Damage::Content { .. }));
        }
        tamper(&path, 1, |bytes| bytes[1000] ^= 1);
        blobs.open(&blob).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_of_another_size_or_none_is_damage() {
    let (blobs, blob) = blobs();
    let path = blobs.path(&blob);
    let whole = fs::read(&path).unwrap();
    for size in [0, whole.len() - 1, whole.len() + 1] {
        tamper(&path, size as u64, |bytes| bytes.resize(size, 0));
        let expected = Damage::Size { found: size as u64, expected: whole.len() as u64 };
        assert_eq!(damage(blobs.open(&blob).await), expected);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(damage(blobs.open(&blob).await), Damage::Missing);
    fs::write(&path, whole).unwrap();
    blobs.open(&blob).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_written_to_is_damage() {
    let (blobs, blob) = blobs();
    let root = &blobs.held.roots()[0];
    let mut reading = Reading::new(root, &blob, root.stamp(&blob.digest).unwrap()).unwrap();
    tamper(&blobs.path(&blob), 0, |_| {});
    while reading.step(&mut [0; BUFFER], &Metrics::default()).unwrap() > 0 {}
    assert_eq!(reading.verdict().unwrap(), Err(Damage::Changing));
}

#[tokio::test]
async fn what_was_mapped_of_a_file_that_has_gone_is_served() {
    let (blobs, blob) = blobs();
    let before = blobs.open(&blob).await.unwrap();
    fs::remove_file(blobs.path(&blob)).unwrap();
    assert_eq!(blobs.open(&blob).await.unwrap().bytes, before.bytes);
    // What takes its place is looked at all the same.
    fs::write(blobs.path(&blob), vec![0; before.bytes.len()]).unwrap();
    assert!(matches!(damage(blobs.open(&blob).await), Damage::Content { .. }));
}

#[tokio::test]
async fn what_is_damaged_is_known_until_it_is_repaired() {
    let (blobs, blob) = blobs();
    let count = || blobs.blobs.metrics.blobs_damaged.get();
    blobs.open(&blob).await.unwrap();
    assert_eq!((blobs.blobs.damaged(), count()), (vec![], 0));
    tamper(&blobs.path(&blob), 0, |bytes| bytes[0] ^= 1);
    damage(blobs.open(&blob).await);
    assert_eq!((blobs.blobs.damaged(), count()), (vec![blob.digest.clone()], 1));
    tamper(&blobs.path(&blob), 1, |bytes| bytes[0] ^= 1);
    blobs.open(&blob).await.unwrap();
    assert_eq!((blobs.blobs.damaged(), count()), (vec![], 0));

    blobs.blobs.missing(&blobs.held, &blob.digest);
    assert_eq!((blobs.blobs.damaged(), count()), (vec![blob.digest.clone()], 1));
    blobs.open(&blob).await.unwrap();
    assert_eq!((blobs.blobs.damaged(), count()), (vec![], 0));
}

#[tokio::test]
async fn what_nothing_holds_is_forgotten() {
    let (blobs, blob) = blobs();
    let (other, _) = self::blobs();
    let of_old = other.held.listed()[1].tools()["strace"].values().next().unwrap().gzip.clone();
    for blob in [&blob, &of_old] {
        blobs.open(blob).await.unwrap();
    }
    let newest =
        Held::new(vec![Arc::clone(&blobs.held.listed()[0])], Arc::clone(&blobs.held.roots()[0]), &Arc::default());
    blobs.blobs.retain(&newest);
    assert_eq!(blobs.blobs.files().keys().collect::<Vec<_>>(), [&blob.digest]);
}

#[tokio::test]
async fn the_scrub_finds_what_no_look_at_the_file_shows() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let registry = Arc::new(Registry::open(dir.path(), Arc::default()).unwrap());
    let blob = registry.latest().base().values().next().unwrap().gzip.clone();
    let path = dir.path().join("blobs/sha256").join(blob.digest.digest());
    let open = async || registry.blobs().open(&registry.served().held, &blob).await;
    let content = open().await.unwrap();
    tamper(&path, 0, |bytes| bytes[1000] ^= 1);
    // As if the file had been like this when it was checked.
    let stamp = Stamp::of(&path.metadata().unwrap());
    let verdict = OnceCell::new_with(Some(Ok(content)));
    let known = Known { checked: Some(Arc::new(Checked { stamp, verdict })), missing: false };
    registry.blobs().files().insert(blob.digest.clone(), known);
    open().await.unwrap();

    scrub::pass(&registry, u64::MAX).await;
    assert!(matches!(damage(open().await), Damage::Content { .. }));
    assert_eq!(registry.health().damaged, std::slice::from_ref(&blob.digest));
    let layers: HashSet<_> = registry.served().held.layers().cloned().collect();
    let bytes: u64 = layers.iter().map(|layer| layer.size).sum();
    assert_eq!(registry.metrics().bytes_checked.get(), bytes + blob.size, "each layer once, and this one before");

    tamper(&path, 1, |bytes| bytes[1000] ^= 1);
    scrub::pass(&registry, u64::MAX).await;
    assert_eq!(registry.health().damaged, []);
    open().await.unwrap();
    fs::remove_file(&path).unwrap();
    scrub::pass(&registry, u64::MAX).await;
    assert_eq!(registry.health().damaged, std::slice::from_ref(&blob.digest));
    open().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_now_is_tried_again() {
    let (blobs, blob) = blobs();
    let path = blobs.path(&blob);
    let whole = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    // A directory has a size of its own; this one passes for a file of it.
    let size = path.metadata().unwrap().len();
    let error = blobs.open(&BlobRef { size, ..blob.clone() }).await.unwrap_err();
    assert!(matches!(error, BlobError::Unreadable { .. }), "{error}");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, whole).unwrap();
    blobs.open(&blob).await.unwrap();
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_check() {
    let (blobs, blob) = blobs();
    let blobs = Arc::new(blobs);
    let asking: Vec<_> = (0..32)
        .map(|_| {
            let (blobs, blob) = (Arc::clone(&blobs), blob.clone());
            tokio::spawn(async move { blobs.open(&blob).await.unwrap().bytes.as_ptr() as usize })
        })
        .collect();
    let mut maps = Vec::new();
    for task in asking {
        maps.push(task.await.unwrap());
    }
    maps.dedup();
    assert_eq!(maps.len(), 1, "each check makes a map of its own");
}
