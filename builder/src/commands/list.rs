//! `list`: the tools of the catalog, and how large they are in the store.

use std::process::ExitCode;

use kitbag_builder::store::{Store, StoreError};
use kitbag_toolsets::{Catalog, Generation};

use crate::cli::Look;
use crate::output::{CommandError, size};

/// Commands that are listed of a tool; busybox has fifty.
const COMMANDS: usize = 8;

pub(crate) fn run(options: &Look, catalog: &Catalog) -> Result<ExitCode, CommandError> {
    let store = match Store::open(&options.store.dir()) {
        Ok(store) => Some(store),
        Err(StoreError::Missing(_) | StoreError::NoGeneration(_)) => None,
        Err(error) => return Err(error.into()),
    };
    print!("{}", table(catalog, store.as_ref().map(|store| &*store.generations()[0])));
    Ok(ExitCode::SUCCESS)
}

/// A line for each tool.
fn table(catalog: &Catalog, generation: Option<&Generation>) -> String {
    let mut lines = format!("{:<12} {:<12} {:<26} {:>10}  COMMANDS\n", "TOOL", "VERSION", "LICENCE", "SIZE");
    for tool in catalog.tools() {
        let built = generation.and_then(|generation| generation.tools().get(&tool.name));
        let built = built.and_then(|archs| archs.values().next());
        let size = built.map_or_else(|| "not built".to_owned(), |record| size(record.zstd.size));
        let mut commands = tool.commands.iter().take(COMMANDS).cloned().collect::<Vec<_>>().join(" ");
        if tool.commands.len() > COMMANDS {
            commands = format!("{commands} and {} more", tool.commands.len() - COMMANDS);
        }
        lines +=
            &format!("{:<12} {:<12} {:<26} {size:>10}  {commands}\n", tool.name.as_str(), tool.version, tool.license);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_says_so() {
        let table = table(&Catalog::builtin().unwrap(), None);
        let line = table.lines().find(|line| line.starts_with("strace")).unwrap();
        insta::assert_snapshot!(line, @"strace       6.1          LGPL-2.1-or-later           not built  strace");
    }
}
