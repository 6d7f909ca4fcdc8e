//! `show`: a recipe in words.

use std::fmt::Write as _;
use std::process::ExitCode;

use kitbag_builder::store::{Store, StoreError};
use kitbag_toolsets::{Catalog, Generation, Name, Recipe};

use crate::cli::Show;
use crate::output::{CommandError, Kind, size};

pub(crate) fn run(options: &Show, catalog: &Catalog) -> Result<ExitCode, CommandError> {
    let Some(recipe) = catalog.recipe(&options.name) else {
        let error = CommandError::new(Kind::Usage, format!("there is no recipe `{}`", options.name));
        return Err(error.hint("`kitbag-builder list` shows the tools"));
    };
    let store = match Store::open(&options.store.dir()) {
        Ok(store) => Some(store),
        Err(StoreError::Missing(_) | StoreError::NoGeneration(_)) => None,
        Err(error) => return Err(error.into()),
    };
    print!("{}", text(recipe, store.as_ref().map(|store| &*store.generations()[0])));
    Ok(ExitCode::SUCCESS)
}

fn text(recipe: &Recipe, generation: Option<&Generation>) -> String {
    let mut text = format!("{} {}: {}\n", recipe.name, recipe.version, recipe.summary);
    let mut line = |key: &str, value: &str| {
        if !value.is_empty() {
            // Writing into a string does not fail.
            let _ = writeln!(text, "{key:<12} {value}");
        }
    };
    let names = |names: &[Name]| names.iter().map(Name::as_str).collect::<Vec<_>>().join(" ");
    line("role", &format!("{:?}", recipe.role).to_lowercase());
    line("licence", &recipe.license);
    line("homepage", &recipe.homepage);
    line("commands", &recipe.commands.join(" "));
    line("uses", &names(&recipe.uses));
    line("build tools", &names(&recipe.build_tools));
    line("includes", &names(&recipe.includes));
    line("needs", &recipe.needs.required.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    line("can use", &recipe.needs.optional.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    for source in &recipe.sources {
        line("source", &source.file);
        line("", &format!("sha256 {}", source.sha256));
        source.urls.iter().for_each(|url| line("", url));
        source.debian.iter().for_each(|path| line("", &format!("Debian: {path}")));
        source.pypi.iter().for_each(|pin| line("", &format!("wheel: {pin}")));
    }
    for step in &recipe.steps {
        let step = step.trim();
        let more = step.lines().count() - 1;
        let first = step.lines().next().unwrap_or_default();
        line("step", &if more == 0 { first.to_owned() } else { format!("{first} … and {more} more lines") });
    }
    for record in generation.into_iter().flat_map(Generation::records).filter(|record| record.name == recipe.name) {
        let (gzip, zstd) = (size(record.gzip.size), size(record.zstd.size));
        line("layer", &format!("{} {gzip} gzip, {zstd} zstd, {}", record.architecture, record.diff_id));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_told_in_words() {
        let catalog = Catalog::builtin().unwrap();
        insta::assert_snapshot!(text(catalog.recipe("tcpdump").unwrap(), None), @"
        tcpdump 4.99.6: capture and print packets
        role         tool
        licence      BSD-3-Clause
        homepage     https://www.tcpdump.org/
        commands     tcpdump
        uses         libpcap
        needs        raw-socket
        source       tcpdump_4.99.6.orig.tar.xz
                     sha256 40a8cefd45f0d2a06827e6658efb830d484868c449ad80f7efb33516af44f3da
                     https://www.tcpdump.org/release/tcpdump-4.99.6.tar.xz
                     Debian: pool/main/t/tcpdump/tcpdump_4.99.6.orig.tar.xz
        step         $CONFIGURE --without-crypto --without-smi --without-cap-ng
        step         make -j$JOBS tcpdump
        ");
    }
}
