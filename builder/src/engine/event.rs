//! What a build tells while it runs.

use std::time::Duration;

/// What happens, for whoever shows it.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Something that people should know.
    Note(&'a str),
    /// So many things will be done, then nothing more.
    Planned {
        /// Archives to look for.
        sources: usize,
        /// Recipes to build or pack.
        units: usize,
    },
    /// An archive is there.
    Fetched {
        /// Its name.
        file: &'a str,
        /// Whether it came from the network just now.
        downloaded: bool,
    },
    /// A build begins.
    Started {
        /// Recipe, version, machine.
        unit: &'a str,
        /// Number of its steps.
        steps: usize,
    },
    /// A step of it begins.
    Step {
        /// Recipe, version, machine.
        unit: &'a str,
        /// The step's number, counted from 1.
        step: usize,
    },
    /// A build, or just the packing of its layer, is done.
    Finished {
        /// Recipe, version, machine.
        unit: &'a str,
        /// How long it took.
        elapsed: Duration,
        /// Size of its layer as gzip and as zstd in bytes, where it has one.
        layer: Option<(usize, usize)>,
    },
    /// A build has failed; why stands in the error at the end.
    Failed {
        /// Recipe, version, machine.
        unit: &'a str,
    },
}

/// Told of what happens, from several threads.
pub trait Observer: Sync {
    /// It happens.
    fn observe(&self, event: Event<'_>);
}
