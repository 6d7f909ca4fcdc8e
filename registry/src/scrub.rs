//! The scrub: reads every layer again, slowly and for ever, so that damage is found before a client finds it.
//!
//! It finds what no look at a file's size and times can show: a disk that forgets. It reads through the page cache,
//! because what is in there is what is served.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kitbag_toolsets::generation::BlobRef;
use tokio::time::sleep;

use crate::body::{Damage, Reading};
use crate::follow::Settings;
use crate::handlers::Registry;
use crate::root::find;

/// How many bytes are read at a time.
const STEP: usize = 256 << 10;
/// How often what is damaged is looked at again, and how many bytes of it are read in a second.
const REVISIT: Duration = Duration::from_secs(2);
const REVISIT_RATE: u64 = 64 << 20;
/// How many layers are read until it is asked again which ones there are.
const BATCH: usize = 64;

/// Reads all layers, pauses, and begins again.
pub(crate) async fn scrub(registry: &Arc<Registry>, settings: Settings) {
    if settings.scrub_rate == 0 {
        return;
    }
    // What is found first can wait; a client that waited for us to start can't.
    sleep(settings.poll).await;
    loop {
        pass(registry, settings.scrub_rate).await;
        sleep(settings.scrub_pause).await;
    }
}

/// Reads what is damaged again when its file has become another one, so that a repaired store is well again soon.
pub(crate) async fn revisit(registry: &Arc<Registry>) {
    loop {
        sleep(REVISIT).await;
        for blob in registry.blobs().changed_since_damaged(&registry.served().held) {
            if let Err(error) = reread(registry, &blob, REVISIT_RATE).await {
                tracing::debug!(digest = %blob.digest, "a damaged blob cannot be read for now: {error}");
            }
        }
    }
}

/// Reads every layer once. Which ones come next is asked again and again, so that changes of the store are no matter.
pub(crate) async fn pass(registry: &Arc<Registry>, rate: u64) {
    let mut last = None;
    loop {
        let batch = registry.served().held.layers_after(last.as_ref(), BATCH);
        let Some(end) = batch.last() else { return };
        for blob in &batch {
            if let Err(error) = reread(registry, blob, rate).await {
                tracing::warn!(digest = %blob.digest, "a blob cannot be read for now: {error}");
                // Whatever keeps one from being read keeps the next from it too.
                sleep(Duration::from_secs(1)).await;
            }
        }
        last = Some(end.digest.clone());
    }
}

async fn reread(registry: &Arc<Registry>, blob: &BlobRef, rate: u64) -> io::Result<()> {
    let served = registry.served();
    let (root, stamp) = match find(served.held.roots(), &blob.digest) {
        Ok((root, stamp)) => (Arc::clone(root), stamp),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Perhaps it has left the store since that was looked at.
            registry.look().await;
            registry.blobs().missing(&registry.served().held, &blob.digest);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    // A pass over much takes hours: what has left the store meanwhile must not be kept for it.
    drop(served);
    let mut reading = Reading::new(&root, blob, stamp)?;
    let mut buffer = vec![0; STEP.min(usize::try_from(blob.size).unwrap_or(STEP)).max(1)];
    loop {
        let metrics = Arc::clone(registry.metrics());
        let step = move || {
            let count = reading.step(&mut buffer, &metrics);
            (reading, buffer, count)
        };
        let count;
        (reading, buffer, count) = tokio::task::spawn_blocking(step).await?;
        match count? {
            0 => break,
            count => sleep(pause(count, rate)).await,
        }
    }
    match reading.verdict()? {
        // Another file has taken its place: the next pass reads that.
        Err(Damage::Changing) => {}
        verdict => registry.blobs().reread(&blob.digest, stamp, verdict),
    }
    Ok(())
}

/// The time that reading so many bytes may take.
fn pause(bytes: usize, rate: u64) -> Duration {
    Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / rate.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_bytes_in_a_second() {
        assert_eq!(pause(4 << 20, 4 << 20), Duration::from_secs(1));
        assert_eq!(pause(STEP, 4 << 20), Duration::from_micros(62_500));
        assert_eq!(pause(usize::MAX, 1), Duration::from_nanos(u64::MAX));
    }
}
