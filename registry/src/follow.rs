//! Following a store: what its directory holds now becomes what is served, if it is whole.
//!
//! The directory is looked at twice a second. That costs two calls of `stat`, and sees what inotify does not: a store
//! on a network file system, one that another is mounted over, one that takes another's place by a symbolic link.
//!
//! What is new is read as a whole before it is served. What is broken is refused: the store before it is still served,
//! and the new one is looked at again, because a copy that is not finished yet is broken too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use kitbag_builder::fs::FsError;
use kitbag_builder::store::{Store, StoreError};
use tokio::time::sleep;

use crate::error::Error;
use crate::handlers::Registry;
use crate::held::Held;
use crate::metrics::Metrics;
use crate::root::{Identity, Root, Stamp};
use crate::scrub;

/// How often the store is read again when another one takes its place while it is read.
const ATTEMPTS: usize = 3;
/// After what time a refused store that looks the same is read again, at first and at most: the time doubles.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How a store is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time between two looks at the store.
    pub poll: Duration,
    /// Bytes that the scrub reads in a second; 0 for no scrub.
    pub scrub_rate: u64,
    /// Pause of the scrub after it has read everything.
    pub scrub_pause: Duration,
}

impl Default for Settings {
    /// Twice a second; 4 MiB/s, which no disk notices; an hour.
    fn default() -> Self {
        Self { poll: Duration::from_millis(500), scrub_rate: 4 << 20, scrub_pause: Duration::from_secs(3600) }
    }
}

/// Follows the registry's store, and rereads it in the background, for ever. The scrub begins after the first pause.
pub async fn follow(registry: Arc<Registry>, settings: Settings) {
    let looking = async {
        loop {
            sleep(settings.poll).await;
            registry.look().await;
        }
    };
    tokio::join!(looking, scrub::scrub(&registry, settings), scrub::revisit(&registry));
}

/// A store's directory, and what of it is served.
#[derive(Debug)]
pub(crate) struct Followed {
    dir: PathBuf,
    served: ArcSwap<Served>,
    /// Held while the store is read, so that it is read once for all who want to know.
    state: Mutex<State>,
    refusal: Mutex<Option<String>>,
    metrics: Arc<Metrics>,
}

/// What is served, and since when.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) held: Held,
    pub(crate) since: SystemTime,
}

/// What was seen at the last look.
#[derive(Debug)]
struct State {
    sight: Sight,
    store: Store,
    retry: Option<Retry>,
}

/// When a refused store is read again.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
}

/// What a look at a store's directory sees: another store, or another index, is another sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    directory: Option<Identity>,
    index: Option<Stamp>,
}

impl Followed {
    /// Opens the store at `dir`.
    pub(crate) fn open(dir: &Path, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let (sight, read) = read(dir, None);
        let (store, root) = read.map_err(Error::Store)?;
        let held = Held::new(store.generations().to_vec(), Arc::new(root), &metrics);
        let served = Served::new(held, &metrics);
        Ok(Self {
            dir: dir.to_owned(),
            served: ArcSwap::from_pointee(served),
            state: Mutex::new(State { sight, store, retry: None }),
            refusal: Mutex::default(),
            metrics,
        })
    }

    pub(crate) fn served(&self) -> Arc<Served> {
        self.served.load_full()
    }

    /// Why what is at the store's place is not what is served.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks whether the store has changed, and serves what it has then. Gives what is served, if that has changed.
    pub(crate) fn look(&self, now: Instant) -> Option<Arc<Served>> {
        // What a look that panicked has left is as true as before.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sight = Sight::of(&self.dir);
        let is_new = sight != state.sight;
        if is_new || state.retry.is_some_and(|retry| retry.at <= now) {
            let served = self.served();
            let root = &served.held.roots()[0];
            let (sight, read) = read(&self.dir, Some((&state.store, root)));
            state.sight = sight;
            match read {
                Ok((store, root)) => {
                    state.store = store;
                    state.retry = None;
                    self.accept();
                    // The same directory is kept open once.
                    let before = &served.held.roots()[0];
                    let root = if root.identity() == before.identity() { Arc::clone(before) } else { Arc::new(root) };
                    return self.serve(&state.store, &root, now);
                }
                Err(error) => {
                    let before = state.retry.filter(|_| !is_new);
                    state.retry = Some(Retry::after(before, now));
                    self.refuse(&error, is_new);
                }
            }
        }
        let served = self.served();
        self.serve(&state.store, &served.held.roots()[0], now)
    }

    fn serve(&self, store: &Store, root: &Arc<Root>, now: Instant) -> Option<Arc<Served>> {
        let before = self.served();
        let held = before.held.after(store.generations(), root, now, &self.metrics)?;
        let newest = |held: &Held| held.listed()[0].id().clone();
        let served = if newest(&held) == newest(&before.held) {
            Served { held, since: before.since }
        } else {
            tracing::info!(generation = %newest(&held), tools = held.listed()[0].tools().len(), "a new generation");
            Served::new(held, &self.metrics)
        };
        self.metrics.serve(served.held.images.generations().iter().map(|generation| generation.id()));
        let served = Arc::new(served);
        self.served.store(Arc::clone(&served));
        Some(served)
    }

    fn accept(&self) {
        if self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::info!(store = %self.dir.display(), "the store is whole again");
        }
    }

    /// Says once for each change what is wrong with it.
    fn refuse(&self, error: &StoreError, is_new: bool) {
        let text = error.to_string();
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if is_new || refusal.as_ref() != Some(&text) {
            self.metrics.store_refusals.inc();
            tracing::error!("the store has changed and is refused, the one before it is still served: {text}");
        }
        *refusal = Some(text);
    }
}

impl Served {
    fn new(held: Held, metrics: &Metrics) -> Self {
        let since = SystemTime::now();
        let seconds = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        metrics.generation_since.set(i64::try_from(seconds).unwrap_or(i64::MAX));
        metrics.serve(held.images.generations().iter().map(|generation| generation.id()));
        Self { held, since }
    }
}

impl Retry {
    fn after(before: Option<Self>, now: Instant) -> Self {
        let pause = before.map_or(RETRY.0, |before| (before.pause * 2).min(RETRY.1));
        Self { at: now + pause, pause }
    }
}

impl Sight {
    fn of(dir: &Path) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let identity = |directory: fs::Metadata| (directory.dev(), directory.ino());
        let index = fs::metadata(dir.join("index.json"));
        Self { directory: fs::metadata(dir).ok().map(identity), index: index.ok().as_ref().map(Stamp::of) }
    }
}

/// Reads the store at `dir`, of which `known` may be an earlier state. What is read is all of one directory, and at
/// least as new as the sight.
fn read(dir: &Path, known: Option<(&Store, &Root)>) -> (Sight, Result<(Store, Root), StoreError>) {
    let mut attempt = 1;
    loop {
        let sight = Sight::of(dir);
        let result = read_once(dir, known);
        let after = Sight::of(dir);
        let sound = match &result {
            Ok((_, root)) => sight.directory == Some(root.identity()) && after.directory == sight.directory,
            // What is there has been replaced: the builder drops an old generation, and gc its blobs.
            Err(_) => after == sight,
        };
        if sound || attempt == ATTEMPTS {
            return (sight, result);
        }
        attempt += 1;
    }
}

fn read_once(dir: &Path, known: Option<(&Store, &Root)>) -> Result<(Store, Root), StoreError> {
    let open = |source: io::Error| StoreError::Fs(FsError { action: "open", path: dir.to_owned(), source });
    let root = match Root::open(dir) {
        Ok(root) => root,
        // The store's own reason is the better one, if it has any.
        Err(error) => return Err(Store::open(dir).err().unwrap_or_else(|| open(error))),
    };
    let store = match known {
        Some((store, before)) if before.identity() == root.identity() => store.reopen()?,
        _ => Store::open(dir)?,
    };
    Ok((store, root))
}

#[cfg(test)]
mod tests;
