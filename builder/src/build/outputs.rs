//! The files that a recipe names, taken from the work directory, and the gate that they must pass.

use std::collections::BTreeMap;
use std::path::Path;

use kitbag_toolsets::Arch;
use kitbag_toolsets::recipe::{Kind, OutputKind, Recipe};

use super::{BuildError, Room};
use crate::cargo::target;
use crate::fs;
use crate::layer::Entry;
use crate::plan::Unit;
use crate::results::Files;

/// The outputs of the recipe, by their path in the image without the leading `/`.
pub(super) fn collect(unit: &Unit<'_>, room: &Room) -> Result<Files, BuildError> {
    // Cargo names its own directory for what it makes.
    let dir = match unit.recipe.kind {
        Kind::C => room.work.clone(),
        Kind::Cargo => room.work.join("target").join(target(unit.machine.arch())).join("release"),
    };
    let mut entries = BTreeMap::new();
    for output in &unit.recipe.outputs {
        let to = output.to.trim_start_matches('/').to_owned();
        match &output.kind {
            OutputKind::File { from, mode } => {
                let content = read(&dir, from, "output", room)?;
                entries.insert(to, Entry::File { content, mode: *mode });
            }
            OutputKind::Link { target } => drop(entries.insert(to, Entry::Symlink { target: target.clone() })),
            OutputKind::Directory { mode } => drop(entries.insert(to, Entry::Directory { mode: *mode })),
            OutputKind::Links { from, target } => {
                let list = read(&dir, from, "list of links", room)?;
                for line in String::from_utf8_lossy(&list).lines().filter(|line| !line.is_empty()) {
                    let to = line.trim_start_matches('/').to_owned();
                    entries.entry(to).or_insert_with(|| Entry::Symlink { target: target.clone() });
                }
            }
        }
    }
    Ok(Files { entries, licenses: BTreeMap::new() })
}

/// The licence texts, by file name.
pub(super) fn licenses(recipe: &Recipe, room: &Room) -> Result<BTreeMap<String, Vec<u8>>, BuildError> {
    let license = |path: &String| {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        Ok((name, read(&room.work, path, "licence", room)?))
    };
    recipe.license_files.iter().map(license).collect()
}

/// Refuses what must not be in a layer.
pub(super) fn gate(files: &Files, arch: Arch, forbidden: &[&str]) -> Result<(), BuildError> {
    for (path, entry) in &files.entries {
        let Entry::File { content, .. } = entry else { continue };
        crate::elf::check(content, arch, forbidden)
            .map_err(|fault| BuildError::Gate { path: format!("/{path}"), fault })?;
    }
    Ok(())
}

fn read(dir: &Path, path: &str, what: &'static str, room: &Room) -> Result<Vec<u8>, BuildError> {
    fs::read(&dir.join(path)).map_err(|error| {
        if error.is_not_found() {
            BuildError::Missing { what, path: path.to_owned(), log: room.log.clone() }
        } else {
            BuildError::Fs(error)
        }
    })
}
