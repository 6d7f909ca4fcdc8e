//! What is to be built, in which order, and the hash of everything that goes into each of it. Pure: nothing is looked up,
//! nothing is built here.

use std::collections::{BTreeMap, BTreeSet};

use kitbag_toolsets::recipe::{Kind, Recipe, Role};
use kitbag_toolsets::{Arch, Catalog, Name, canonical};
use serde_json::json;

use crate::environment::{Machine, Places, environment};
use crate::toolchain::{ZIG_SHA256, wrappers};

/// Raised whenever this crate makes other files of the same recipe: by another way to unpack, to collect, to run cargo.
const BUILD_SCHEMA: u32 = 1;
/// Raised whenever this crate packs another layer of the same files.
const LAYER_SCHEMA: u32 = 1;

/// What goes into builds besides recipes and the C compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// The Rust compiler, for recipes of kind `cargo`.
    pub rust: String,
    /// Hash of the sources of each recipe of kind `cargo` that has no archive, by its name.
    pub crates: BTreeMap<String, String>,
}

/// Everything that must be there for what was asked.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Each after all that it depends on.
    pub units: Vec<Unit<'a>>,
}

/// One recipe for one machine.
#[derive(Clone, Debug)]
pub struct Unit<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// What it is built for.
    pub machine: Machine,
    /// Hash of everything that goes into the build, 64 hexadecimal digits.
    pub input_hash: String,
    /// The libraries in its prefix: those that it uses, and those that they use. Places in [`Plan::units`].
    pub libraries: Vec<usize>,
    /// The generators on its `PATH`, and those that they run.
    pub generators: Vec<usize>,
    /// The parts in its layer.
    pub includes: Vec<usize>,
    /// For a tool and the base: hash of everything that goes into the layer and what is said about it.
    pub layer_hash: Option<String>,
}

impl Unit<'_> {
    /// How messages, logs and cached files call it: `strace-6.1-amd64`.
    #[must_use]
    pub fn label(&self) -> String {
        let name = &self.recipe.name;
        let versioned = name.with_version(&self.recipe.version).unwrap_or_else(|| name.clone());
        format!("{versioned}-{}", self.machine.as_str())
    }

    /// All that must be built before.
    pub fn dependencies(&self) -> impl Iterator<Item = usize> {
        self.libraries.iter().chain(&self.generators).chain(&self.includes).copied()
    }
}

impl<'a> Plan<'a> {
    /// What must be there for `wanted`, for each of `archs`.
    #[must_use]
    pub fn new<'n>(
        catalog: &'a Catalog,
        wanted: impl IntoIterator<Item = &'n Name>,
        archs: &[Arch],
        inputs: &Inputs,
    ) -> Self {
        let mut planner = Planner { inputs, units: Vec::new(), places: BTreeMap::new() };
        let names = wanted.into_iter().filter_map(|name| Some(catalog.recipes().get_key_value(name)?.0));
        let order = catalog.build_order(names);
        let targets = archs.iter().map(|&arch| Machine::Target(arch));
        for machine in std::iter::once(Machine::Build).chain(targets) {
            for recipe in order.iter().filter(|recipe| (recipe.role == Role::Generator) == (machine == Machine::Build))
            {
                planner.add(catalog, recipe, machine);
            }
        }
        Self { units: planner.units }
    }

    /// How many builds must follow one another after each unit: what has many behind it goes first.
    #[must_use]
    pub fn heights(&self) -> Vec<usize> {
        let mut heights = vec![0; self.units.len()];
        for index in (0..self.units.len()).rev() {
            for dependency in self.units[index].dependencies() {
                heights[dependency] = heights[dependency].max(heights[index] + 1);
            }
        }
        heights
    }
}

struct Planner<'a, 'i> {
    inputs: &'i Inputs,
    units: Vec<Unit<'a>>,
    places: BTreeMap<(&'a Name, Machine), usize>,
}

impl<'a> Planner<'a, '_> {
    /// The place of a recipe, which is added after its dependencies.
    fn add(&mut self, catalog: &'a Catalog, recipe: &'a Recipe, machine: Machine) -> usize {
        if let Some(&place) = self.places.get(&(&recipe.name, machine)) {
            return place;
        }
        let mut places = |names: &'a [Name], machine: Machine| -> Vec<usize> {
            names
                .iter()
                .filter_map(|name| catalog.recipe(name.as_str()))
                .map(|r| self.add(catalog, r, machine))
                .collect()
        };
        let uses = places(&recipe.uses, machine);
        let tools = places(&recipe.build_tools, Machine::Build);
        let includes = places(&recipe.includes, machine);
        let libraries = self.closure(&uses, |unit| &unit.libraries);
        let generators = self.closure(&tools, |unit| &unit.generators);
        let input_hash = self.input_hash(recipe, machine, libraries.iter().chain(&generators));
        let layer_hash =
            matches!(recipe.role, Role::Tool | Role::Base).then(|| self.layer_hash(recipe, &input_hash, &includes));
        let unit = Unit { recipe, machine, input_hash, libraries, generators, includes, layer_hash };
        self.units.push(unit);
        self.places.insert((&recipe.name, machine), self.units.len() - 1);
        self.units.len() - 1
    }

    /// `direct`, each after what it brings along itself.
    fn closure<'s>(&'s self, direct: &[usize], more: impl Fn(&'s Unit<'a>) -> &'s Vec<usize>) -> Vec<usize> {
        let mut seen = BTreeSet::new();
        let all = direct.iter().flat_map(|&place| more(&self.units[place]).iter().copied().chain([place]));
        all.filter(|place| seen.insert(*place)).collect()
    }

    fn input_hash<'s>(
        &self,
        recipe: &Recipe,
        machine: Machine,
        dependencies: impl Iterator<Item = &'s usize>,
    ) -> String {
        let compiler = match recipe.kind {
            Kind::C => json!({ "zig": ZIG_SHA256 }),
            Kind::Cargo => json!({
                "zig": ZIG_SHA256, "rust": self.inputs.rust, "crate": self.inputs.crates.get(recipe.name.as_str()),
            }),
        };
        // The shape of the environment, with names in place of this machine's directories.
        const PLACES: Places<'_> = Places {
            work: "WORK",
            prefix: "PREFIX",
            sources: "SOURCES",
            temporary: "TEMPORARY",
            compiler_cache: "COMPILER_CACHE",
            local_cache: "LOCAL_CACHE",
            path: "PATH",
        };
        let dependencies: BTreeMap<&Name, &str> = dependencies
            .map(|&place| &self.units[place])
            .map(|unit| (&unit.recipe.name, unit.input_hash.as_str()))
            .collect();
        canonical::sha256_hex(&canonical::to_vec(&json!({
            "schema": BUILD_SCHEMA,
            "recipe": String::from_utf8_lossy(&recipe.build_inputs()),
            "machine": machine.as_str(),
            "compiler": compiler,
            "wrappers": wrappers(machine.triple(), Machine::Build.triple()),
            "environment": environment(recipe, machine, "JOBS", &PLACES),
            "dependencies": dependencies,
        })))
    }

    fn layer_hash(&self, recipe: &Recipe, input_hash: &str, includes: &[usize]) -> String {
        let includes: Vec<&str> = includes.iter().map(|&place| self.units[place].input_hash.as_str()).collect();
        canonical::sha256_hex(&canonical::to_vec(&json!({
            "schema": LAYER_SCHEMA, "recipe": recipe, "files": input_hash, "includes": includes,
        })))
    }
}

#[cfg(test)]
mod tests {
    use kitbag_toolsets::catalog::File;

    use super::*;

    const CATALOG: &[(&str, &str)] = &[
        ("gen", "role = 'generator'"),
        ("scanner", "role = 'generator'\nbuild-tools = ['gen']"),
        ("lib", "role = 'library'\nbuild-tools = ['scanner']"),
        ("upper", "role = 'library'\nuses = ['lib']"),
        ("part", "role = 'part'\n[[output]]\nfrom = 'x'\nto = '/x'"),
        ("base", "role = 'base'\nincludes = ['part']\n[[output]]\nfrom = 'x'\nto = '/y'"),
        (
            "tool",
            "role = 'tool'\nuses = ['upper']\nrank = 1\nlicense-files = ['L']\ncommands = ['x']\n[[output]]\nfrom = 'x'\nto = '/x'\n[[check]]\nrun = ['x']",
        ),
        (
            "other",
            "role = 'tool'\nrank = 2\nlicense-files = ['L']\ncommands = ['z']\n[[output]]\nfrom = 'z'\nto = '/z'\n[[check]]\nrun = ['z']",
        ),
    ];

    fn catalog(changed: &str, from: &str, to: &str) -> Catalog {
        let texts: Vec<(String, String)> = CATALOG
            .iter()
            .map(|(name, more)| {
                let text = format!(
                    "name = '{name}'\nversion = '1'\nkind = 'c'\nsummary = 'a {name}'\nlicense = 'MIT'\nhomepage = ''\n\
                     source-date = '2025-01-01T00:00:00Z'\nsteps = ['make']\n{more}\n"
                );
                let text = if *name == changed { text.replace(from, to) } else { text };
                (format!("catalog/{name}.toml"), text)
            })
            .collect();
        Catalog::parse(texts.iter().map(|(path, text)| File { path, text }), []).unwrap()
    }

    fn inputs() -> Inputs {
        Inputs { rust: "1".to_owned(), crates: BTreeMap::new() }
    }

    /// (label, input hash, layer hash) of everything.
    fn hashes(catalog: &Catalog) -> BTreeMap<String, (String, Option<String>)> {
        let plan = Plan::new(catalog, catalog.recipes().keys(), &Arch::ALL, &inputs());
        plan.units.iter().map(|unit| (unit.label(), (unit.input_hash.clone(), unit.layer_hash.clone()))).collect()
    }

    fn changed(recipe: &str, from: &str, to: &str) -> Vec<String> {
        let (before, after) = (hashes(&catalog("", "", "")), hashes(&catalog(recipe, from, to)));
        before.iter().filter(|(label, hash)| after[*label].0 != hash.0).map(|(label, _)| label.clone()).collect()
    }

    fn relayered(recipe: &str, from: &str, to: &str) -> Vec<String> {
        let (before, after) = (hashes(&catalog("", "", "")), hashes(&catalog(recipe, from, to)));
        before.iter().filter(|(label, hash)| after[*label].1 != hash.1).map(|(label, _)| label.clone()).collect()
    }

    #[test]
    fn everything_comes_after_what_it_depends_on_and_generators_once() {
        let catalog = catalog("", "", "");
        let plan = Plan::new(&catalog, [&Name::parse("tool").unwrap()], &Arch::ALL, &inputs());
        let labels: Vec<String> = plan.units.iter().map(Unit::label).collect();
        assert_eq!(
            labels,
            [
                "gen-1-build",
                "scanner-1-build",
                "lib-1-amd64",
                "upper-1-amd64",
                "tool-1-amd64",
                "lib-1-arm64",
                "upper-1-arm64",
                "tool-1-arm64"
            ]
        );
        assert_eq!(plan.units[4].libraries, [2, 3], "what a library uses is linked too");
        assert_eq!(plan.units[2].generators, [0, 1], "what a generator runs is on the path too");
        assert_eq!(plan.heights(), [4, 3, 2, 1, 0, 2, 1, 0]);
    }

    #[test]
    fn a_change_rebuilds_what_uses_it_and_nothing_else() {
        assert_eq!(
            changed("lib", "make", "make all"),
            ["lib-1-amd64", "lib-1-arm64", "tool-1-amd64", "tool-1-arm64", "upper-1-amd64", "upper-1-arm64"]
        );
        assert_eq!(changed("tool", "make", "make all"), ["tool-1-amd64", "tool-1-arm64"]);
        assert_eq!(changed("gen", "make", "make all").len(), 8);
        assert_eq!(changed("part", "make", "make all"), ["part-1-amd64", "part-1-arm64"]);
    }

    #[test]
    fn a_description_is_packed_anew_and_not_built() {
        assert!(changed("tool", "a tool", "one tool").is_empty());
        assert_eq!(relayered("tool", "a tool", "one tool"), ["tool-1-amd64", "tool-1-arm64"]);
        assert_eq!(relayered("part", "make", "make all"), ["base-1-amd64", "base-1-arm64"]);
    }

    #[test]
    fn the_machines_directories_do_not_count_but_its_compilers_do() {
        let catalog = catalog("", "", "");
        let with = |rust: &str, recipe: &str| {
            let inputs = Inputs { rust: rust.to_owned(), crates: BTreeMap::new() };
            let plan = Plan::new(&catalog, [&Name::parse(recipe).unwrap()], &[Arch::Amd64], &inputs);
            plan.units.last().unwrap().input_hash.clone()
        };
        assert_eq!(with("1", "tool"), with("2", "tool"), "a C program does not depend on Rust");
        assert_ne!(with("1", "tool"), with("1", "other"));
    }
}
