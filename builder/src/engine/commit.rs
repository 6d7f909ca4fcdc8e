//! The end of a build: into the store, if it is what it should be.

use std::collections::{BTreeMap, BTreeSet};

use kitbag_toolsets::{Catalog, Name, ToolRecord};

use super::{Engine, EngineError, Failures, InStore, Report, UnitError};
use crate::assemble;
use crate::layer::Layer;
use crate::lock::{Difference, Locked};
use crate::plan::Unit;
use crate::sbom;
use crate::store::{LayerRef, Store, ToolParts};

impl Engine<'_> {
    /// Puts what is new into the store and makes a generation of it.
    pub(super) fn commit(
        &self,
        catalog: &Catalog,
        present: BTreeMap<usize, InStore>,
        missing: Vec<usize>,
        done: usize,
    ) -> Result<Report, EngineError> {
        let mut packed = Vec::new();
        for index in missing {
            let unit = self.unit(index);
            let (label, hash) = (unit.label(), unit.layer_hash.as_deref().unwrap_or_default());
            let layer = self.layers.load(&label, hash).ok_or_else(|| {
                let error = UnitError::DamagedCache(self.layers.path(&label, hash));
                EngineError::Failed(Failures { failed: vec![(label.clone(), error)], skipped: Vec::new() })
            })?;
            packed.push((unit, hash, layer));
        }
        self.compare(&present, &packed)?;
        let mut writer = self.writer()?;
        let mut members: Vec<InStore> = present.into_values().collect();
        for (unit, hash, layer) in &packed {
            let arch = unit.machine.arch();
            let parts = ToolParts::of(unit.recipe, arch, hash);
            let recipes = |places: &[usize]| -> Vec<_> { places.iter().map(|&p| self.plan.units[p].recipe).collect() };
            let linked = [recipes(&unit.libraries), recipes(&unit.includes)].concat();
            let bill = assemble::bill(unit.recipe, arch, hash, &linked, &recipes(&unit.generators));
            let layer: LayerRef = writer.put_layer(layer).map_err(EngineError::Store)?;
            members.push(writer.put_tool(&parts, &layer, &sbom::spdx(&bill)).map_err(EngineError::Store)?);
        }
        let records: Vec<ToolRecord> = members.iter().map(|(record, _)| record.clone()).collect();
        let sets = self.sets(catalog, &records);
        let generation = writer.commit(members, &sets).map_err(EngineError::Store)?;
        Ok(Report { generation, records, done })
    }

    /// The named sets whose tools are all there.
    fn sets(&self, catalog: &Catalog, records: &[ToolRecord]) -> BTreeMap<Name, Vec<Name>> {
        let mut there: BTreeSet<Name> = records.iter().map(|record| record.name.clone()).collect();
        if let Ok(store) = Store::open(&self.settings.directories.store) {
            there.extend(store.generations()[0].tools().keys().cloned());
        }
        let whole = catalog.sets().iter().filter(|(_, set)| set.tools.iter().all(|tool| there.contains(tool)));
        whole.map(|(name, set)| (name.clone(), set.tools.clone())).collect()
    }

    fn compare(
        &self,
        present: &BTreeMap<usize, InStore>,
        packed: &[(&Unit<'_>, &str, Layer)],
    ) -> Result<(), EngineError> {
        let Some(lock) = &self.settings.locked else { return Ok(()) };
        let old = present.values().map(|(record, _)| (record.name.as_str(), record.architecture, Locked::of(record)));
        let new = packed
            .iter()
            .map(|(unit, hash, layer)| (unit.recipe.name.as_str(), unit.machine.arch(), Locked::of_layer(hash, layer)));
        let differences: Vec<Difference> =
            old.chain(new).filter_map(|(tool, arch, locked)| lock.difference(tool, arch, locked)).collect();
        if differences.is_empty() { Ok(()) } else { Err(EngineError::Locked(differences)) }
    }
}
