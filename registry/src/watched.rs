//! What files say: read as a whole, read again when they change, and kept as it was when they cannot be used.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::sleep;

use crate::root::Stamp;

/// A value that was read from files.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    files: Vec<PathBuf>,
    value: ArcSwap<T>,
    /// The files, as they were before the value was read. Nothing for one that was not there.
    stamps: Mutex<Vec<Option<Stamp>>>,
}

/// A value that can take the place of the one before.
#[derive(Debug)]
pub(crate) struct Fresh<T> {
    value: T,
    stamps: Vec<Option<Stamp>>,
}

impl<T> Watched<T> {
    /// The value that `read` makes of these files.
    pub(crate) fn new<E>(files: Vec<PathBuf>, read: impl FnOnce() -> Result<T, E>) -> Result<Self, E> {
        let stamps = stamps(&files);
        Ok(Self { files, value: ArcSwap::from_pointee(read()?), stamps: Mutex::new(stamps) })
    }

    pub(crate) fn get(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// Reads the files, and leaves the value as it is.
    pub(crate) fn read<E>(&self, read: impl FnOnce() -> Result<T, E>) -> Result<Fresh<T>, E> {
        let stamps = stamps(&self.files);
        Ok(Fresh { value: read()?, stamps })
    }

    /// Goes over to what was read.
    pub(crate) fn replace(&self, fresh: Fresh<T>) {
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) = fresh.stamps;
        self.value.store(Arc::new(fresh.value));
    }

    /// Reads the files again whenever they have changed, for ever. They are small, so this may block. `what` tells the
    /// log what is read.
    pub(crate) async fn follow<E: fmt::Display>(&self, every: Duration, what: &str, read: impl Fn() -> Result<T, E>) {
        let mut refused = None;
        loop {
            sleep(every).await;
            self.look(what, &read, &mut refused);
        }
    }

    /// `refused` is why the files could not be used the last time: that is logged once.
    fn look<E: fmt::Display>(&self, what: &str, read: impl Fn() -> Result<T, E>, refused: &mut Option<String>) {
        if *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) == stamps(&self.files) {
            *refused = None;
            return;
        }
        match self.read(read) {
            Ok(fresh) => {
                self.replace(fresh);
                *refused = None;
                tracing::info!("{what}: read again");
            }
            Err(error) => {
                let text = error.to_string();
                if refused.as_ref() != Some(&text) {
                    tracing::error!("{what}: what was read before still holds: {text}");
                }
                *refused = Some(text);
            }
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| file.metadata().ok().as_ref().map(Stamp::of)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_changes_is_read_again_and_what_is_broken_is_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("number");
        let read =
            || fs::read_to_string(&file).map_err(|error| error.to_string())?.parse::<u8>().map_err(|e| e.to_string());
        fs::write(&file, "1").unwrap();
        let watched = Watched::new(vec![file.clone()], read).unwrap();
        let mut refused = None;
        for (text, value, is_refused) in [
            (Some("1"), 1, false),
            (Some("2"), 2, false),
            (Some("many"), 2, true),
            (None, 2, true),
            (Some("3"), 3, false),
        ] {
            match text {
                Some(text) => fs::write(&file, text).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            watched.look("the number", read, &mut refused);
            assert_eq!((*watched.get(), refused.is_some()), (value, is_refused), "{text:?}");
        }
    }

    #[test]
    fn what_was_read_is_not_taken_over_by_itself() {
        let watched = Watched::new(Vec::new(), || Ok::<_, String>(1)).unwrap();
        let fresh = watched.read(|| Ok::<_, String>(2)).unwrap();
        assert_eq!(*watched.get(), 1);
        watched.replace(fresh);
        assert_eq!(*watched.get(), 2);
    }
}
