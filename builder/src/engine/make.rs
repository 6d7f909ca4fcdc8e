//! Fetching, building, packing: until every layer that is missing is in the cache of layers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use kitbag_toolsets::recipe::{Kind, Source};

use super::run_dir::RunDir;
use super::{Engine, EngineError, Event, Task, UnitError, schedule};
use crate::assemble::{self, Ingredient};
use crate::build::{Ingredients, Workshop};
use crate::cargo::Rust;
use crate::layer::Layer;
use crate::plan::Unit;
use crate::process::Isolation;
use crate::results::Files;
use crate::sources::Fetcher;
use crate::toolchain::{Zig, zig_source};

impl Engine<'_> {
    /// Does it.
    pub(super) fn make(&self, todo: &BTreeMap<usize, Task>) -> Result<(), EngineError> {
        let building: Vec<usize> = todo.iter().filter(|(_, task)| task.build).map(|(&index, _)| index).collect();
        let zig = Zig::below(&self.settings.directories.toolchain);
        let archives = self.fetch(&building, &zig, todo.len())?;
        let needs_rust = building.iter().any(|&index| self.unit(index).recipe.kind == Kind::Cargo);
        let rust = needs_rust.then(Rust::find).transpose().map_err(EngineError::Cargo)?;
        let run_dir = RunDir::create(&self.settings.directories.work).map_err(EngineError::Fs)?;
        let isolation = if building.is_empty() { Isolation::None } else { self.isolation()? };
        let workshop = Workshop {
            dir: run_dir.path(),
            logs: &self.settings.directories.logs,
            zig: &zig,
            rust: rust.as_ref(),
            cargo_home: &self.settings.directories.cargo_home,
            online: self.settings.remote.is_some(),
            isolation,
            jobs: self.settings.jobs,
            emulator: self.settings.emulator.as_deref(),
            interrupt: self.interrupt,
        };
        let unchecked = Mutex::new(Vec::new());
        let failures = schedule::run(self, todo, |index, task| {
            let result = self.unit_work(index, task, &workshop, &archives, &unchecked);
            if result.is_err() && !self.interrupt.is_triggered() {
                self.observer.observe(Event::Failed { unit: &self.unit(index).label() });
            }
            result
        });
        if self.interrupt.is_triggered() {
            return Err(EngineError::Interrupted);
        }
        let mut unchecked = unchecked.into_inner().unwrap_or_default();
        unchecked.sort();
        if !unchecked.is_empty() {
            let names = unchecked.join(", ");
            self.observer
                .observe(Event::Note(&format!("not run, for want of `qemu-aarch64-static`: the checks of {names}")));
        }
        if failures.failed.is_empty() { Ok(()) } else { Err(EngineError::Failed(failures)) }
    }

    /// Every archive that the builds need, by hash; and the compiler.
    fn fetch(&self, building: &[usize], zig: &Zig, units: usize) -> Result<BTreeMap<String, PathBuf>, EngineError> {
        let mut sources: BTreeMap<&str, &Source> = BTreeMap::new();
        for source in building.iter().flat_map(|&index| &self.plan.units[index].recipe.sources) {
            sources.insert(&source.sha256, source);
        }
        let compiler = zig_source();
        if !building.is_empty() && !zig.is_installed() {
            sources.insert(&compiler.sha256, &compiler);
        }
        self.observer.observe(Event::Planned { sources: sources.len(), units });
        let refused = |message: String| self.observer.observe(Event::Note(&message));
        let fetcher = Fetcher {
            directories: self.settings.sources.clone(),
            cache: self.settings.directories.downloads.clone(),
            remote: self.settings.remote,
            refused: &refused,
            interrupt: self.interrupt,
        };
        let (mut found, mut errors) = (BTreeMap::new(), Vec::new());
        for (hash, source) in sources {
            if self.interrupt.is_triggered() {
                return Err(EngineError::Interrupted);
            }
            match fetcher.fetch(source) {
                Ok(archive) => {
                    self.observer.observe(Event::Fetched { file: &source.file, downloaded: archive.downloaded });
                    found.insert(hash.to_owned(), archive.path);
                }
                Err(error) => errors.push(error),
            }
        }
        if self.interrupt.is_triggered() {
            return Err(EngineError::Interrupted);
        }
        if !errors.is_empty() {
            return Err(EngineError::Sources(errors));
        }
        if let Some(archive) = found.get(&compiler.sha256) {
            self.observer.observe(Event::Note("unpacking the compiler"));
            zig.install(archive).map_err(EngineError::Toolchain)?;
        }
        Ok(found)
    }

    fn isolation(&self) -> Result<Isolation, EngineError> {
        let isolation =
            Isolation::probe(self.interrupt, self.settings.is_root).map_err(|_| EngineError::Interrupted)?;
        if let Some(lacks) = isolation.lacks() {
            self.observer.observe(Event::Note(lacks));
        }
        Ok(isolation)
    }

    /// Builds one unit, or packs its layer, or both.
    fn unit_work(
        &self,
        index: usize,
        task: Task,
        workshop: &Workshop<'_>,
        archives: &BTreeMap<String, PathBuf>,
        unchecked: &Mutex<Vec<String>>,
    ) -> Result<(), UnitError> {
        let unit = self.unit(index);
        let label = unit.label();
        let start = Instant::now();
        if task.build {
            self.observer.observe(Event::Started { unit: &label, steps: unit.recipe.steps.len() });
            let sources: Vec<PathBuf> =
                unit.recipe.sources.iter().filter_map(|source| archives.get(&source.sha256).cloned()).collect();
            let krate = (unit.recipe.kind == Kind::Cargo && unit.recipe.sources.is_empty()).then_some(&self.init);
            let (libraries, generators) = (self.load(&unit.libraries)?, self.load(&unit.generators)?);
            let from = Ingredients { sources: &sources, libraries: &libraries, generators: &generators, krate };
            let tell = |step| self.observer.observe(Event::Step { unit: &label, step });
            let built = workshop.build(unit, &from, &tell).map_err(UnitError::Build)?;
            self.builds.save(&label, &unit.input_hash, &built.files).map_err(UnitError::Fs)?;
            if let (false, Ok(mut unchecked)) = (built.checked, unchecked.lock()) {
                unchecked.push(label.clone());
            }
        }
        let layer = if task.pack { Some(self.pack(unit)?) } else { None };
        let sizes = layer.map(|layer| (layer.gzip.bytes.len(), layer.zstd.bytes.len()));
        self.observer.observe(Event::Finished { unit: &label, elapsed: start.elapsed(), layer: sizes });
        Ok(())
    }

    /// Packs the layer of a unit whose files, and those of what is in it, are in the build cache.
    fn pack(&self, unit: &Unit<'_>) -> Result<Layer, UnitError> {
        let own = self.load_unit(unit)?;
        let (libraries, parts) = (self.load(&unit.libraries)?, self.load(&unit.includes)?);
        fn ingredients<'b>(engine: &'b Engine<'_>, places: &[usize], files: &'b [Files]) -> Vec<Ingredient<'b>> {
            let recipes = places.iter().map(|&place| engine.plan.units[place].recipe);
            recipes.zip(files).map(|(recipe, files)| Ingredient { recipe, files }).collect()
        }
        let tree = assemble::tree(
            Ingredient { recipe: unit.recipe, files: &own },
            &ingredients(self, &unit.libraries, &libraries),
            &ingredients(self, &unit.includes, &parts),
        );
        let layer = tree.map_err(UnitError::Layer)?.pack(unit.recipe.source_date);
        let hash = unit.layer_hash.as_deref().unwrap_or_default();
        self.layers.save(&unit.label(), hash, &layer).map_err(UnitError::Fs)?;
        Ok(layer)
    }

    fn load(&self, places: &[usize]) -> Result<Vec<Files>, UnitError> {
        places.iter().map(|&place| self.load_unit(self.unit(place))).collect()
    }

    fn load_unit(&self, unit: &Unit<'_>) -> Result<Files, UnitError> {
        let damaged = || UnitError::DamagedCache(self.builds.path(&unit.label(), &unit.input_hash));
        self.builds.load(&unit.label(), &unit.input_hash).ok_or_else(damaged)
    }
}
