//! From the files of a build to the layer of a tool: with its licences, those of the libraries in it, and its metadata.
//! Pure.

use kitbag_toolsets::recipe::{Recipe, Source};
use kitbag_toolsets::{Arch, canonical};
use serde_json::json;

use crate::layer::{Entry, LayerError, Tree};
use crate::results::Files;
use crate::sbom::{Archive, Bill, Component};
use crate::toolchain::zig_source;

/// A recipe and what its build has made.
#[derive(Clone, Copy, Debug)]
pub struct Ingredient<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Its files.
    pub files: &'a Files,
}

/// The tree of the layer of `tool`, which `libraries` are linked into and `parts` are shipped with.
///
/// # Errors
/// [`LayerError`] where two things want the same path.
pub fn tree(tool: Ingredient<'_>, libraries: &[Ingredient<'_>], parts: &[Ingredient<'_>]) -> Result<Tree, LayerError> {
    let name = tool.recipe.name.as_str();
    let mut tree = Tree::new();
    for ingredient in parts.iter().chain([&tool]) {
        for (path, entry) in &ingredient.files.entries {
            let path = format!("/{path}");
            match entry {
                Entry::File { content, mode } => tree.file(&path, *mode, content.clone())?,
                Entry::Symlink { target } => tree.symlink(&path, target)?,
                Entry::Directory { mode } => tree.directory(&path, *mode)?,
            }
        }
    }
    let own = std::iter::once((format!("/usr/share/licenses/{name}"), tool));
    let others = libraries.iter().chain(parts);
    let others = others.map(|other| (format!("/usr/share/licenses/{name}/{}", other.recipe.name), *other));
    for (dir, ingredient) in own.chain(others) {
        for (file, text) in &ingredient.files.licenses {
            tree.file(&format!("{dir}/{file}"), 0o644, text.clone())?;
        }
    }
    tree.file(&format!("/usr/share/kitbag/tools/{name}.json"), 0o644, metadata(tool.recipe))?;
    Ok(tree)
}

/// What a program in the image can know of a tool.
fn metadata(recipe: &Recipe) -> Vec<u8> {
    canonical::to_vec(&json!({
        "name": recipe.name,
        "version": recipe.version,
        "commands": recipe.commands,
        "needs": recipe.needs,
        "license": recipe.license,
    }))
}

/// What went into a tool.
#[must_use]
pub fn bill(recipe: &Recipe, arch: Arch, input_hash: &str, linked: &[&Recipe], generators: &[&Recipe]) -> Bill {
    let component = |recipe: &Recipe| Component {
        name: recipe.name.to_string(),
        version: recipe.version.clone(),
        license: recipe.license.clone(),
        homepage: recipe.homepage.clone(),
        sources: recipe.sources.iter().map(archive).collect(),
    };
    let zig = zig_source();
    let compiler = Component {
        name: "zig".to_owned(),
        version: zig.pypi.as_deref().and_then(|pin| pin.split("==").nth(1)).unwrap_or_default().to_owned(),
        license: "MIT".to_owned(),
        homepage: "https://ziglang.org/".to_owned(),
        sources: vec![archive(&zig)],
    };
    Bill {
        tool: component(recipe),
        architecture: arch,
        source_date: recipe.source_date,
        input_hash: input_hash.to_owned(),
        libraries: linked.iter().map(|recipe| component(recipe)).collect(),
        build_tools: generators.iter().map(|recipe| component(recipe)).chain([compiler]).collect(),
    }
}

fn archive(source: &Source) -> Archive {
    Archive { file: source.file.clone(), sha256: source.sha256.clone(), url: source.urls.first().cloned() }
}

#[cfg(test)]
mod tests {
    use kitbag_toolsets::Catalog;

    use super::*;

    fn files(paths: &[&str], license: &str) -> Files {
        let file = |path: &&str| ((*path).to_owned(), Entry::File { content: vec![1], mode: 0o755 });
        Files { entries: paths.iter().map(file).collect(), licenses: [(license.to_owned(), b"free".to_vec())].into() }
    }

    #[test]
    fn a_layer_has_the_tool_its_metadata_and_every_licence() {
        let catalog = Catalog::builtin().unwrap();
        let (tool, library) = (catalog.recipe("tcpdump").unwrap(), catalog.recipe("libpcap").unwrap());
        let (own, other) = (files(&["usr/bin/tcpdump"], "LICENSE"), files(&["lib/libpcap.a"], "LICENSE"));
        let tree =
            tree(Ingredient { recipe: tool, files: &own }, &[Ingredient { recipe: library, files: &other }], &[])
                .unwrap();
        let paths: Vec<&str> = tree.entries().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            [
                "/usr/bin/tcpdump",
                "/usr/share/kitbag/tools/tcpdump.json",
                "/usr/share/licenses/tcpdump/LICENSE",
                "/usr/share/licenses/tcpdump/libpcap/LICENSE",
            ]
        );
        insta::assert_snapshot!(String::from_utf8(metadata(tool)).unwrap(), @r#"{"commands":["tcpdump"],"license":"BSD-3-Clause","name":"tcpdump","needs":{"required":["raw-socket"]},"version":"4.99.6"}"#);
    }

    #[test]
    fn a_part_joins_the_layer_and_cannot_take_a_path_of_it() {
        let catalog = Catalog::builtin().unwrap();
        let (base, part) = (catalog.recipe("base").unwrap(), catalog.recipe("kitbag-init").unwrap());
        let (own, other) = (files(&["etc/passwd"], "L"), files(&["usr/bin/kitbag-init"], "M"));
        let whole = |part_files: &Files| {
            let parts = [Ingredient { recipe: part, files: part_files }];
            tree(Ingredient { recipe: base, files: &own }, &[], &parts)
        };
        assert!(whole(&other).unwrap().entries().any(|(path, _)| path == "/usr/bin/kitbag-init"));
        assert!(matches!(whole(&files(&["etc/passwd"], "M")), Err(LayerError::Twice { .. })));
    }

    #[test]
    fn a_bill_names_what_is_linked_and_what_ran() {
        let catalog = Catalog::builtin().unwrap();
        let recipe = |name: &str| catalog.recipe(name).unwrap();
        let bill = bill(recipe("tcpdump"), Arch::Amd64, "00", &[recipe("libpcap")], &[recipe("flex")]);
        let names = |components: &[Component]| components.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&bill.libraries), ["libpcap"]);
        assert_eq!(names(&bill.build_tools), ["flex", "zig"]);
        assert_eq!(bill.build_tools[1].version, "0.17.0");
    }
}
