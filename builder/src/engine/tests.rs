//! Whole builds of a catalog whose recipes need no compiler.

use std::fs as std_fs;
use std::path::Path;
use std::sync::Mutex;

use kitbag_toolsets::catalog::File as CatalogFile;
use tempfile::TempDir;

use super::*;
use crate::store::{Store, verify};
use crate::toolchain::Zig;

/// Remembers what was said.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn observe(&self, event: Event<'_>) {
        let line = match event {
            Event::Started { unit, .. } => format!("build {unit}"),
            Event::Finished { unit, layer: Some(_), .. } => format!("pack {unit}"),
            Event::Failed { unit } => format!("failed {unit}"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

const HEAD: &str = "version = '1'\nkind = 'c'\nlicense = 'MIT'\nhomepage = ''\nsource-date = '2025-01-01T00:00:00Z'\n";
const TOOL: &str =
    "license-files = ['LICENSE']\n[[output]]\nfrom = 'out'\nto = '/usr/bin/NAME'\n[[check]]\nrun = ['NAME']\n";
const SCRIPT: &str = "touch LICENSE; echo \"#!/bin/sh\" > out";

struct Kitchen {
    dir: TempDir,
    recipes: BTreeMap<&'static str, String>,
}

impl Kitchen {
    fn new() -> Self {
        let tool = |name: &str, rank: u32, more: &str| {
            let tool = TOOL.replace("NAME", name);
            format!("role = 'tool'\nrank = {rank}\ncommands = ['{name}']\nsummary = 'x'\n{more}\n{tool}")
        };
        let recipes = [
            ("base", "role = 'base'\nsummary = ''\nsteps = ['echo root > passwd']\n[[output]]\nfrom = 'passwd'\nto = '/etc/passwd'\nmode = 0o644\n".to_owned()),
            ("lib", "role = 'library'\nsummary = ''\nsteps = ['mkdir -p $PREFIX/lib; echo one > $PREFIX/lib/lib.a']\n".to_owned()),
            ("one", tool("one", 1, &format!("uses = ['lib']\nsteps = ['{SCRIPT}; sed \"s,^,# ,\" $PREFIX/lib/lib.a >> out']"))),
            ("two", tool("two", 2, &format!("steps = ['{SCRIPT}']"))),
        ];
        let kitchen = Self { dir: tempfile::tempdir().unwrap(), recipes: recipes.into() };
        // It only has to be there: nothing here calls it.
        let zig = Zig::below(&kitchen.path("toolchain"));
        std_fs::create_dir_all(&zig.bin).unwrap();
        std_fs::write(zig.bin.join("zig"), "").unwrap();
        kitchen
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn edit(&mut self, recipe: &str, from: &str, to: &str) {
        let text = self.recipes.get_mut(recipe).unwrap();
        assert!(text.contains(from));
        *text = text.replace(from, to);
    }

    fn settings(&self) -> Settings<'static> {
        Settings {
            directories: Directories {
                store: self.path("store"),
                downloads: self.path("downloads"),
                builds: self.path("builds"),
                layers: self.path("layers"),
                toolchain: self.path("toolchain"),
                logs: self.path("logs"),
                work: self.path("work"),
                cargo_home: self.path("cargo"),
            },
            sources: Vec::new(),
            remote: None,
            jobs: 2,
            locked: None,
            rebuild: false,
            emulator: None,
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// Builds everything; gives what was done, sorted.
    fn build(&self, settings: &Settings<'_>) -> (Result<Report, EngineError>, Vec<String>) {
        let heard = Heard::default();
        let result = self.build_with(settings, &heard, &Interrupt::default());
        let mut heard = heard.0.into_inner().unwrap();
        heard.sort();
        (result, heard)
    }

    fn build_with(
        &self,
        settings: &Settings<'_>,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<Report, EngineError> {
        let texts: Vec<(String, String)> = self
            .recipes
            .iter()
            .map(|(name, text)| (format!("{name}.toml"), format!("name = '{name}'\n{HEAD}{text}")))
            .collect();
        let catalog = Catalog::parse(texts.iter().map(|(path, text)| CatalogFile { path, text }), []).unwrap();
        let wanted = catalog.tools().chain(catalog.base()).map(|recipe| recipe.name.clone()).collect();
        build(&catalog, &wanted, &[Arch::Amd64], settings, observer, interrupt)
    }
}

/// Ends everything as soon as the first step begins.
struct Impatient(Interrupt);

impl Observer for Impatient {
    fn observe(&self, event: Event<'_>) {
        if matches!(event, Event::Step { .. }) {
            self.0.trigger();
        }
    }
}

fn snapshot(dir: &Path) -> Vec<u8> {
    std_fs::read(dir.join("store/index.json")).unwrap_or_default()
}

#[test]
fn everything_is_built_once() {
    let kitchen = Kitchen::new();
    let (report, heard) = kitchen.build(&kitchen.settings());
    let report = report.unwrap();
    assert_eq!(
        heard,
        [
            "build base-1-amd64",
            "build lib-1-amd64",
            "build one-1-amd64",
            "build two-1-amd64",
            "pack base-1-amd64",
            "pack one-1-amd64",
            "pack two-1-amd64"
        ]
    );
    assert_eq!(report.records.len(), 3);
    let store = Store::open(&kitchen.path("store")).unwrap();
    assert_eq!(store.generations()[0].id(), &report.generation);
    assert!(verify(&kitchen.path("store")).unwrap().faults.is_empty());
    assert_eq!(crate::fs::list(&kitchen.path("work")).unwrap(), Vec::<String>::new());

    let (again, heard) = kitchen.build(&kitchen.settings());
    assert_eq!((again.unwrap().generation, heard), (report.generation.clone(), vec![]));

    // Another store is filled from the caches.
    let mut settings = kitchen.settings();
    settings.directories.store = kitchen.path("other");
    let (other, heard) = kitchen.build(&settings);
    assert_eq!((other.unwrap().generation, heard), (report.generation, vec![]));
}

#[test]
fn a_change_of_a_library_rebuilds_what_uses_it() {
    let mut kitchen = Kitchen::new();
    let first = kitchen.build(&kitchen.settings()).0.unwrap();
    kitchen.edit("lib", "echo one", "echo two");
    let (report, heard) = kitchen.build(&kitchen.settings());
    assert_eq!(heard, ["build lib-1-amd64", "build one-1-amd64", "pack one-1-amd64"]);
    let report = report.unwrap();
    assert_ne!(report.generation, first.generation);
    assert_eq!(Store::open(&kitchen.path("store")).unwrap().generations().len(), 2);

    kitchen.edit("two", "summary = 'x'", "summary = 'another'");
    let (report, heard) = kitchen.build(&kitchen.settings());
    assert_eq!(heard, ["pack two-1-amd64"]);
    let two = report.unwrap().records.into_iter().find(|record| record.name.as_str() == "two").unwrap();
    assert_eq!(two.summary, "another");
}

#[test]
fn a_recipe_that_fails_stops_only_what_needs_it_and_leaves_the_store() {
    let mut kitchen = Kitchen::new();
    kitchen.build(&kitchen.settings()).0.unwrap();
    let before = snapshot(kitchen.dir.path());
    kitchen.edit("lib", "echo one", "echo no; false");
    kitchen.edit("two", "touch LICENSE", "touch LICENSE LICENSE2");
    let (result, heard) = kitchen.build(&kitchen.settings());
    assert_eq!(heard, ["build lib-1-amd64", "build two-1-amd64", "failed lib-1-amd64", "pack two-1-amd64"]);
    let Err(EngineError::Failed(failures)) = result else { panic!("it must fail: {result:?}") };
    assert_eq!(failures.skipped, ["one-1-amd64"]);
    assert!(failures.to_string().starts_with("lib-1-amd64: `mkdir -p $PREFIX/lib; "), "{failures}");
    assert_eq!(snapshot(kitchen.dir.path()), before);
}

#[test]
fn with_a_lock_nothing_else_may_come_out() {
    let mut kitchen = Kitchen::new();
    let report = kitchen.build(&kitchen.settings()).0.unwrap();
    let mut lock = Lock::default();
    report.records.iter().for_each(|record| lock.insert(record));
    let mut settings = kitchen.settings();
    settings.locked = Some(lock);
    settings.rebuild = true;
    kitchen.build(&settings).0.unwrap();

    let before = snapshot(kitchen.dir.path());
    // Not reproducible: each build makes something else.
    kitchen.edit("two", "touch LICENSE;", "cat /proc/sys/kernel/random/uuid > LICENSE;");
    kitchen.build(&kitchen.settings()).0.unwrap();
    assert_ne!(snapshot(kitchen.dir.path()), before);
    let before = snapshot(kitchen.dir.path());
    let (result, _) = kitchen.build(&settings);
    let Err(EngineError::Locked(differences)) = result else { panic!("it must differ: {result:?}") };
    assert_eq!(differences.iter().map(|d| d.tool.as_str()).collect::<Vec<_>>(), ["two"]);
    assert_eq!(snapshot(kitchen.dir.path()), before);
}

#[test]
fn a_source_that_is_not_there_stops_everything_before_it_begins() {
    let mut kitchen = Kitchen::new();
    kitchen.edit(
        "two",
        "[[output]]",
        &format!("[[source]]\nfile = 'a.tar'\nsha256 = '{}'\ndebian = 'pool/a.tar'\n[[output]]", "0".repeat(64)),
    );
    let (result, heard) = kitchen.build(&kitchen.settings());
    assert!(matches!(result, Err(EngineError::Sources(errors)) if errors.len() == 1 && errors[0].file == "a.tar"));
    assert_eq!(heard, Vec::<String>::new());
    assert!(!kitchen.path("store").exists());
}

#[test]
fn an_interrupt_ends_it_and_leaves_nothing() {
    let mut kitchen = Kitchen::new();
    kitchen.edit("lib", "echo one", "sleep 1000; echo one");
    kitchen.edit("two", "touch LICENSE", "sleep 1000; touch LICENSE");
    let impatient = Impatient(Interrupt::default());
    let result = kitchen.build_with(&kitchen.settings(), &impatient, &impatient.0);
    assert!(matches!(result, Err(EngineError::Interrupted)), "{result:?}");
    assert!(!kitchen.path("store").exists());
    assert_eq!(crate::fs::list(&kitchen.path("work")).unwrap(), Vec::<String>::new());
}
