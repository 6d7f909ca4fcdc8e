//! A whole build: what is missing is fetched, built and packed, independent recipes side by side; then, and only if all
//! of it came out, the store gets a new generation.

mod commit;
mod error;
mod event;
mod layers;
mod make;
mod run_dir;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use kitbag_toolsets::{Arch, Catalog, GenerationId, Name, ToolRecord};
use oci_spec::image::Descriptor;

use crate::cargo::{Crate, rust_version};
use crate::lock::Lock;
use crate::plan::{Inputs, Plan, Unit};
use crate::process::Interrupt;
use crate::results::BuildCache;
use crate::sources::Remote;
use crate::store::{StoreError, StoreWriter};
pub use error::{EngineError, Failures, UnitError};
pub use event::{Event, Observer};
use layers::LayerCache;

/// How long to wait for another builder that is writing to the store.
const STORE_PATIENCE: Duration = Duration::from_secs(60);

/// Where things are. All but the store can be deleted at any time when nothing is being built.
#[derive(Clone, Debug)]
pub struct Directories {
    /// The store.
    pub store: PathBuf,
    /// Downloaded archives.
    pub downloads: PathBuf,
    /// Results of builds.
    pub builds: PathBuf,
    /// Packed layers.
    pub layers: PathBuf,
    /// The unpacked compiler.
    pub toolchain: PathBuf,
    /// Logs of builds.
    pub logs: PathBuf,
    /// Where builds happen.
    pub work: PathBuf,
    /// Cargo's own directory.
    pub cargo_home: PathBuf,
}

/// How to build.
pub struct Settings<'a> {
    /// Where things are.
    pub directories: Directories,
    /// Directories in which sources are looked for first.
    pub sources: Vec<PathBuf>,
    /// The network; `None` to do without.
    pub remote: Option<&'a dyn Remote>,
    /// Builds at a time, and processes of each.
    pub jobs: usize,
    /// What must come out.
    pub locked: Option<Lock>,
    /// Whether to build what is in the caches and in the store all the same.
    pub rebuild: bool,
    /// A program that runs programs of another architecture.
    pub emulator: Option<PathBuf>,
    /// Whether we are root.
    pub is_root: bool,
}

/// What a build has come to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The store's newest generation.
    pub generation: GenerationId,
    /// What was asked for, as it is in the store.
    pub records: Vec<ToolRecord>,
    /// How many recipes were built or packed.
    pub done: usize,
}

/// Builds `wanted` and what it needs for `archs`, and puts it into the store.
///
/// # Errors
/// [`EngineError`]; the store's index is then as it was.
pub fn build(
    catalog: &Catalog,
    wanted: &BTreeSet<Name>,
    archs: &[Arch],
    settings: &Settings<'_>,
    observer: &dyn Observer,
    interrupt: &Interrupt,
) -> Result<Report, EngineError> {
    let init = Crate::init().map_err(EngineError::Cargo)?;
    let inputs = Inputs { rust: rust_version(), crates: [(init.name.to_owned(), init.hash())].into() };
    let engine = Engine {
        plan: Plan::new(catalog, wanted, archs, &inputs),
        builds: BuildCache::new(settings.directories.builds.clone()),
        layers: LayerCache::new(settings.directories.layers.clone()),
        init,
        settings,
        observer,
        interrupt,
    };
    let present = engine.present()?;
    let missing: Vec<usize> = engine.layer_units().filter(|index| !present.contains_key(index)).collect();
    let todo = engine.todo(&missing);
    if !todo.is_empty() {
        engine.make(&todo)?;
    }
    engine.commit(catalog, present, missing, todo.len())
}

struct Engine<'a> {
    plan: Plan<'a>,
    builds: BuildCache,
    layers: LayerCache,
    init: Crate,
    settings: &'a Settings<'a>,
    observer: &'a dyn Observer,
    interrupt: &'a Interrupt,
}

type InStore = (ToolRecord, Descriptor);

/// What is to be done for one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Task {
    build: bool,
    pack: bool,
}

impl Engine<'_> {
    fn unit(&self, index: usize) -> &Unit<'_> {
        &self.plan.units[index]
    }

    /// The units that become layers.
    fn layer_units(&self) -> impl Iterator<Item = usize> {
        (0..self.plan.units.len()).filter(|&index| self.plan.units[index].layer_hash.is_some())
    }

    /// What the store has already.
    fn present(&self) -> Result<BTreeMap<usize, InStore>, EngineError> {
        let dir = &self.settings.directories.store;
        if self.settings.rebuild || !dir.join("oci-layout").exists() {
            return Ok(BTreeMap::new());
        }
        let writer = self.writer()?;
        let find = |index| {
            let unit = self.unit(index);
            let hash = unit.layer_hash.as_deref().unwrap_or_default();
            Some((index, writer.find(&unit.recipe.name, unit.machine.arch(), hash)?))
        };
        Ok(self.layer_units().filter_map(find).collect())
    }

    /// What must be done so that every layer of `missing` is in the cache of layers.
    fn todo(&self, missing: &[usize]) -> BTreeMap<usize, Task> {
        let mut todo: BTreeMap<usize, Task> = BTreeMap::new();
        let mut open = Vec::new();
        for &index in missing {
            let unit = self.unit(index);
            if self.settings.rebuild || !self.layers.has(&unit.label(), unit.layer_hash.as_deref().unwrap_or_default())
            {
                todo.entry(index).or_default().pack = true;
                open.push(index);
                // Their licences stand in the layer, and the files of parts.
                open.extend(unit.libraries.iter().chain(&unit.includes));
            }
        }
        while let Some(index) = open.pop() {
            let unit = self.unit(index);
            let is_there = !self.settings.rebuild && self.builds.has(&unit.label(), &unit.input_hash);
            if !is_there && !todo.get(&index).is_some_and(|task| task.build) {
                todo.entry(index).or_default().build = true;
                open.extend(unit.libraries.iter().chain(&unit.generators));
            }
        }
        todo
    }

    /// The store, for writing; waits for another builder that is just writing to it.
    fn writer(&self) -> Result<StoreWriter, EngineError> {
        let start = Instant::now();
        loop {
            match StoreWriter::open_or_create(&self.settings.directories.store) {
                Err(StoreError::Locked(_)) if self.interrupt.is_triggered() => return Err(EngineError::Interrupted),
                Err(StoreError::Locked(_)) if start.elapsed() < STORE_PATIENCE => {
                    thread::sleep(Duration::from_millis(50));
                }
                other => return other.map_err(EngineError::Store),
            }
        }
    }
}

#[cfg(test)]
mod tests;
