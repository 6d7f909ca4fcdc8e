//! The catalog: all recipes and named sets together, and what must hold between them.

use std::collections::BTreeMap;

use include_dir::{Dir, include_dir};
use serde::Deserialize;
use toml::Spanned;

use crate::names::Name;
use crate::recipe::{Recipe, RecipeError, Role, line_of, parse_toml};
use crate::resolve::NameIndex;

static RECIPES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/catalog");
static SETS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sets");

/// Recipes and sets that fit together.
#[derive(Clone, Debug)]
pub struct Catalog {
    recipes: BTreeMap<Name, Recipe>,
    sets: BTreeMap<Name, ToolSetDefinition>,
}

/// A named set of tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSetDefinition {
    /// One line for people.
    pub summary: String,
    /// Its tools, as written.
    pub tools: Vec<Name>,
}

/// Everything that is wrong with a catalog, a line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct CatalogErrors(pub Vec<RecipeError>);

/// One file of a catalog.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its path, for messages; the last component without `.toml` is the name.
    pub path: &'a str,
    /// Its text.
    pub text: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSet {
    name: Spanned<String>,
    summary: String,
    tools: Vec<Spanned<String>>,
}

impl Catalog {
    /// The catalog that is compiled in.
    ///
    /// # Errors
    /// [`CatalogErrors`] where a compiled-in file is wrong, which the tests of this crate rule out.
    pub fn builtin() -> Result<Self, CatalogErrors> {
        let recipes = texts("toolsets/catalog", &RECIPES);
        let sets = texts("toolsets/sets", &SETS);
        Self::parse(
            recipes.iter().map(|(path, text)| File { path, text }),
            sets.iter().map(|(path, text)| File { path, text }),
        )
    }

    /// Reads recipes and sets, and checks them against each other.
    ///
    /// # Errors
    /// Every mistake that was found: those within files first; where there are none, those between files.
    pub fn parse<'a>(
        recipes: impl IntoIterator<Item = File<'a>>,
        sets: impl IntoIterator<Item = File<'a>>,
    ) -> Result<Self, CatalogErrors> {
        let mut errors = Vec::new();
        let mut catalog = Self { recipes: BTreeMap::new(), sets: BTreeMap::new() };
        let mut places = Places::default();
        for file in recipes {
            match Recipe::parse(file.path, file.text) {
                Ok(recipe) => {
                    places.0.insert(recipe.name.clone(), file);
                    catalog.recipes.insert(recipe.name.clone(), recipe);
                }
                Err(error) => errors.push(error),
            }
        }
        for file in sets {
            match parse_set(file, &catalog.recipes) {
                Ok((name, set)) => drop(catalog.sets.insert(name, set)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            catalog.cross_check(&places, &mut errors);
        }
        if errors.is_empty() { Ok(catalog) } else { Err(CatalogErrors(errors)) }
    }

    /// All recipes, by name.
    #[must_use]
    pub fn recipes(&self) -> &BTreeMap<Name, Recipe> {
        &self.recipes
    }

    /// The recipe of that name.
    #[must_use]
    pub fn recipe(&self, name: &str) -> Option<&Recipe> {
        self.recipes.get(name)
    }

    /// The tools, by name.
    pub fn tools(&self) -> impl Iterator<Item = &Recipe> {
        self.recipes.values().filter(|recipe| recipe.role == Role::Tool)
    }

    /// The recipe of the base layer.
    #[must_use]
    pub fn base(&self) -> Option<&Recipe> {
        self.recipes.values().find(|recipe| recipe.role == Role::Base)
    }

    /// The named sets.
    #[must_use]
    pub fn sets(&self) -> &BTreeMap<Name, ToolSetDefinition> {
        &self.sets
    }

    /// What names mean in this catalog.
    #[must_use]
    pub fn names(&self) -> NameIndex {
        let mut index = NameIndex::new();
        for tool in self.tools() {
            index.add_tool(&tool.name, tool.rank, &tool.version, &tool.commands);
        }
        for (name, set) in &self.sets {
            index.add_set(name, &set.tools);
        }
        index
    }

    /// `wanted` and everything that must be built before it, each after what it depends on.
    #[must_use]
    pub fn build_order<'a>(&'a self, wanted: impl IntoIterator<Item = &'a Name>) -> Vec<&'a Recipe> {
        fn visit<'a>(catalog: &'a Catalog, name: &Name, order: &mut Vec<&'a Recipe>) {
            let Some(recipe) = catalog.recipes.get(name) else { return };
            if order.iter().any(|done| done.name == *name) {
                return;
            }
            recipe.dependencies().for_each(|dependency| visit(catalog, dependency, order));
            order.push(recipe);
        }
        let mut order = Vec::new();
        wanted.into_iter().for_each(|name| visit(self, name, &mut order));
        order
    }

    fn cross_check(&self, places: &Places<'_>, errors: &mut Vec<RecipeError>) {
        self.check_references(places, errors);
        if errors.is_empty() {
            self.check_cycles(places, errors);
        }
        self.check_commands(places, errors);
        let bases: Vec<_> = self.recipes.values().filter(|recipe| recipe.role == Role::Base).collect();
        if let [_, second, ..] = bases.as_slice() {
            errors.push(places.error(&second.name, "role", "only one recipe can be the base layer"));
        }
    }

    fn check_references(&self, places: &Places<'_>, errors: &mut Vec<RecipeError>) {
        for recipe in self.recipes.values() {
            let lists = [
                ("uses", &recipe.uses, Role::Library),
                ("build-tools", &recipe.build_tools, Role::Generator),
                ("includes", &recipe.includes, Role::Part),
            ];
            for (key, names, role) in lists {
                for name in names {
                    let fault = match self.recipes.get(name) {
                        None => format!("`{key}` names `{name}`, which has no recipe"),
                        Some(other) if other.role != role => {
                            format!("`{key}` names `{name}`, which is a {:?}, not a {role:?}", other.role)
                                .to_lowercase()
                        }
                        Some(_) => continue,
                    };
                    errors.push(places.error(&recipe.name, key, fault));
                }
            }
        }
    }

    fn check_cycles(&self, places: &Places<'_>, errors: &mut Vec<RecipeError>) {
        fn visit<'a>(
            catalog: &'a Catalog,
            recipe: &'a Recipe,
            trail: &mut Vec<&'a Name>,
            done: &mut Vec<&'a Name>,
        ) -> bool {
            if done.contains(&&recipe.name) {
                return false;
            }
            trail.push(&recipe.name);
            for dependency in recipe.dependencies() {
                if trail.contains(&dependency) {
                    trail.push(dependency);
                    return true;
                }
                if visit(catalog, &catalog.recipes[dependency], trail, done) {
                    return true;
                }
            }
            trail.pop();
            done.push(&recipe.name);
            false
        }
        let mut done = Vec::new();
        for recipe in self.recipes.values() {
            let mut trail = Vec::new();
            if visit(self, recipe, &mut trail, &mut done) {
                let names: Vec<&str> = trail.iter().map(|name| name.as_str()).collect();
                errors.push(places.error(
                    &recipe.name,
                    "uses",
                    format!("recipes need each other: {}", names.join(" → ")),
                ));
                return;
            }
        }
    }

    fn check_commands(&self, places: &Places<'_>, errors: &mut Vec<RecipeError>) {
        let mut owners: BTreeMap<&str, &Name> = BTreeMap::new();
        for tool in self.tools() {
            for command in &tool.commands {
                if let Some(other) = owners.insert(command, &tool.name).filter(|other| **other != tool.name) {
                    let fault =
                        format!("the command `{command}` is provided by `{other}` too: only one tool may claim it");
                    errors.push(places.error(&tool.name, "commands", fault));
                }
            }
        }
        for name in self.sets.keys().filter(|name| self.recipes.contains_key(*name)) {
            errors.push(places.error(name, "name", format!("`{name}` is a set too: rename one of them")));
        }
    }
}

fn texts(prefix: &str, dir: &'static Dir<'static>) -> Vec<(String, &'static str)> {
    let file = |file: &'static include_dir::File<'static>| {
        Some((format!("{prefix}/{}", file.path().display()), file.contents_utf8()?))
    };
    dir.files().filter_map(file).filter(|(path, _)| path.ends_with(".toml")).collect()
}

fn parse_set(file: File<'_>, recipes: &BTreeMap<Name, Recipe>) -> Result<(Name, ToolSetDefinition), RecipeError> {
    let raw: RawSet = parse_toml(file.path, file.text)?;
    let error = |text: &Spanned<String>, message: String| RecipeError {
        file: file.path.to_owned(),
        line: line_of(file.text, text.span()),
        message,
    };
    let parse = |text: &Spanned<String>| Name::parse(text.get_ref()).map_err(|fault| error(text, fault.to_string()));
    let name = parse(&raw.name)?;
    let mut tools = Vec::new();
    for text in &raw.tools {
        let tool = parse(text)?;
        if recipes.get(&tool).is_none_or(|recipe| recipe.role != Role::Tool) {
            return Err(error(text, format!("`{tool}` is not a tool of the catalog")));
        }
        tools.push(tool);
    }
    if tools.is_empty() {
        return Err(error(&raw.name, format!("the set `{name}` is empty")));
    }
    Ok((name, ToolSetDefinition { summary: raw.summary, tools }))
}

/// Where each recipe stands, for messages about it.
#[derive(Default)]
struct Places<'a>(BTreeMap<Name, File<'a>>);

impl Places<'_> {
    fn error(&self, recipe: &Name, key: &str, message: impl Into<String>) -> RecipeError {
        let (file, line) = self.0.get(recipe).map_or((recipe.to_string(), 1), |file| {
            let line = file.text.lines().position(|line| line.starts_with(key)).unwrap_or(0) + 1;
            (file.path.to_owned(), line)
        });
        RecipeError { file, line, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(name: &str, role: &str, more: &str) -> String {
        let tool = if role == "tool" {
            "rank = 10\nlicense-files = [\"L\"]\n[[output]]\nfrom = \"x\"\nto = \"/usr/bin/x\"\n[[check]]\nrun = [\"x\"]\n"
        } else {
            ""
        };
        format!(
            "name = \"{name}\"\nversion = \"1\"\nrole = \"{role}\"\nkind = \"c\"\nsummary = \"\"\nlicense = \"MIT\"\n\
             homepage = \"\"\nsource-date = \"2025-01-01T00:00:00Z\"\nsteps = [\"make\"]\n{more}\n{tool}"
        )
    }

    fn errors(recipes: &[(&str, &str, &str)], sets: &[&str]) -> String {
        let recipes: Vec<(String, String)> = recipes
            .iter()
            .map(|(name, role, more)| (format!("catalog/{name}.toml"), recipe(name, role, more)))
            .collect();
        let result = Catalog::parse(
            recipes.iter().map(|(path, text)| File { path, text }),
            sets.iter().map(|text| File { path: "sets/s.toml", text }),
        );
        result.err().map(|errors| errors.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_compiled_in_catalog_is_right() {
        let catalog = Catalog::builtin().unwrap();
        assert!(catalog.base().is_some());
        for tool in ["strace", "tcpdump", "dig", "htop", "busybox"] {
            assert!(catalog.recipe(tool).is_some_and(|recipe| recipe.role == Role::Tool), "{tool}");
        }
    }

    #[test]
    fn dependencies_come_first() {
        let catalog = Catalog::builtin().unwrap();
        let tcpdump = Name::parse("tcpdump").unwrap();
        let order: Vec<&str> = catalog.build_order([&tcpdump]).iter().map(|recipe| recipe.name.as_str()).collect();
        assert_eq!(order.last(), Some(&"tcpdump"));
        for recipe in catalog.build_order(catalog.recipes().keys()) {
            let place =
                |name: &Name| catalog.build_order(catalog.recipes().keys()).iter().position(|r| r.name == *name);
            assert!(recipe.dependencies().all(|dependency| place(dependency) < place(&recipe.name)));
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        insta::assert_snapshot!(errors(&[("a", "library", "uses = [\"b\"]"), ("b", "library", "uses = [\"a\"]")], &[]),
            @"catalog/a.toml:10: recipes need each other: a → b → a");
        insta::assert_snapshot!(errors(&[("a", "tool", "commands = [\"x\"]"), ("b", "tool", "commands = [\"x\"]")], &[]),
            @"catalog/b.toml:10: the command `x` is provided by `a` too: only one tool may claim it");
        insta::assert_snapshot!(errors(&[("a", "library", "uses = [\"gone\"]")], &[]),
            @"catalog/a.toml:10: `uses` names `gone`, which has no recipe");
        insta::assert_snapshot!(errors(&[("a", "library", "build-tools = [\"b\"]"), ("b", "library", "")], &[]),
            @"catalog/a.toml:10: `build-tools` names `b`, which is a library, not a generator");
        insta::assert_snapshot!(errors(&[], &["name = \"s\"\nsummary = \"\"\ntools = [\"gone\"]"]),
            @"sets/s.toml:3: `gone` is not a tool of the catalog");
        insta::assert_snapshot!(errors(&[], &["name = \"s\"\nsummary = \"\"\ntools = []\nextra = 1"]),
            @"sets/s.toml:4: unknown field `extra`, expected one of `name`, `summary`, `tools`");
        insta::assert_snapshot!(
            errors(&[("a", "tool", "commands = [\"a\"]")], &["name = \"a\"\nsummary = \"\"\ntools = [\"a\"]"]),
            @"catalog/a.toml:1: `a` is a set too: rename one of them");
    }
}
