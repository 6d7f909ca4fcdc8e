use std::fs;
use std::time::{Duration, SystemTime};

use super::*;
use crate::testing;

fn blobs() -> (tempfile::TempDir, Blobs, BlobRef) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = testing::make(dir.path());
    let blob = store.generations()[0].base().values().next().unwrap().gzip.clone();
    (dir, Blobs::new(store), blob)
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
    let (_dir, blobs, blob) = blobs();
    let first = blobs.open(&blob).await.unwrap();
    assert_eq!(first.bytes, fs::read(blobs.store.blob_path(&blob.digest)).unwrap());
    assert_eq!(first.digest(), blob.digest.as_ref().as_bytes());
    assert_eq!(blobs.open(&blob).await.unwrap().bytes.as_ptr(), first.bytes.as_ptr());
}

#[tokio::test]
async fn a_flipped_byte_is_damage_before_and_after_the_first_check() {
    for served_before in [false, true] {
        let (_dir, blobs, blob) = blobs();
        let path = blobs.store.blob_path(&blob.digest);
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
    let (_dir, blobs, blob) = blobs();
    let path = blobs.store.blob_path(&blob.digest);
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
    let (_dir, blobs, blob) = blobs();
    let path = blobs.store.blob_path(&blob.digest);
    let before = Stamp::of(&path.metadata().unwrap());
    tamper(&path, 0, |_| {});
    let verdict = verdict(&mut File::open(&path).unwrap(), &blob, before).unwrap();
    assert_eq!(verdict, Err(Damage::Changing));
}

#[tokio::test]
async fn what_cannot_be_read_now_is_tried_again() {
    let (_dir, blobs, blob) = blobs();
    let path = blobs.store.blob_path(&blob.digest);
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
    let (_dir, blobs, blob) = blobs();
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
