//! `build`: resolves options, names and the environment into the library's settings.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use kitbag_builder::engine::{self, Directories, Report, Settings};
use kitbag_builder::fs;
use kitbag_builder::lock::Lock;
use kitbag_builder::process::Interrupt;
use kitbag_builder::sources::{Internet, InternetConfig, Remote};
use kitbag_toolsets::recipe::Role;
use kitbag_toolsets::{Arch, Catalog, ImagePath, Name};

use crate::cli::{self, Build};
use crate::output::{CommandError, Kind, size};
use crate::progress::Progress;

/// The lock of the catalog that is compiled in.
const LOCK: &str = include_str!("../../../toolsets/catalog.lock");

pub(crate) fn run(
    options: &Build,
    catalog: &Catalog,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<ExitCode, CommandError> {
    let wanted = wanted(catalog, &options.names)?;
    let mut archs: Vec<Arch> = options.arch.clone();
    archs.sort();
    archs.dedup();
    let internet = Internet::new(InternetConfig { certificates, proxy: ureq::Proxy::try_from_env() });
    let settings = Settings {
        directories: directories(options)?,
        sources: options.sources.clone(),
        remote: (!options.offline).then_some(&internet as &dyn Remote),
        jobs: options.jobs(),
        locked: options.locked.then(|| lock(options.lock.as_deref())).transpose()?,
        rebuild: options.rebuild,
        emulator: cli::find_program("qemu-aarch64-static"),
        is_root: rustix::process::geteuid().is_root(),
    };
    let report = engine::build(catalog, &wanted, &archs, &settings, progress, interrupt)?;
    if let Some(path) = &options.update_lock {
        update_lock(path, catalog, &report)?;
    }
    progress.clear();
    print(&report, &settings.directories.store, options.locked);
    Ok(ExitCode::SUCCESS)
}

/// The recipes that names mean; the base layer comes with every tool.
fn wanted(catalog: &Catalog, names: &[String]) -> Result<BTreeSet<Name>, CommandError> {
    let mut wanted: BTreeSet<Name> = catalog.base().map(|recipe| recipe.name.clone()).into_iter().collect();
    if names.is_empty() {
        wanted.extend(catalog.tools().map(|recipe| recipe.name.clone()));
        return Ok(wanted);
    }
    let index = catalog.names();
    for name in names {
        // Libraries can be built for themselves, to try a recipe.
        if let Some(recipe) = catalog.recipe(name).filter(|recipe| recipe.role != Role::Tool) {
            wanted.insert(recipe.name.clone());
            continue;
        }
        let path = ImagePath::from_names([name.as_str()])
            .map_err(|error| CommandError::new(Kind::Usage, error.to_string()))?;
        let set = index.resolve(&path).map_err(|error| CommandError::new(Kind::Usage, error.to_string()))?;
        wanted.extend(set.tools().iter().cloned());
    }
    Ok(wanted)
}

fn directories(options: &Build) -> Result<Directories, CommandError> {
    let cache = cli::cache_dir();
    let work = options.build_root.clone().unwrap_or_else(|| cache.join("work"));
    fs::create_dir_all(&work)?;
    Ok(Directories {
        store: options.store.dir(),
        downloads: cache.join("sources"),
        builds: cache.join("builds"),
        layers: cache.join("layers"),
        toolchain: cache.join("toolchain"),
        logs: cache.join("logs"),
        // Builds change their working directory.
        work: std::path::absolute(&work).map_err(|error| CommandError::new(Kind::Host, error.to_string()))?,
        cargo_home: cli::cargo_home(),
    })
}

/// The certificates that this machine trusts.
pub(super) fn certificates() -> Vec<Vec<u8>> {
    rustls_native_certs::load_native_certs().certs.into_iter().map(|certificate| certificate.to_vec()).collect()
}

fn lock(path: Option<&Path>) -> Result<Lock, CommandError> {
    let text = match path {
        Some(path) => String::from_utf8_lossy(&fs::read(path)?).into_owned(),
        None => LOCK.to_owned(),
    };
    Lock::parse(&text).map_err(|error| CommandError::new(Kind::Usage, error.to_string()))
}

/// Puts what came out in place of what the lock had, and drops what the catalog no longer has.
fn update_lock(path: &Path, catalog: &Catalog, report: &Report) -> Result<(), CommandError> {
    let mut lock = if path.exists() { self::lock(Some(path))? } else { Lock::default() };
    report.records.iter().for_each(|record| lock.insert(record));
    lock.retain(|tool| catalog.recipe(tool).is_some());
    Ok(fs::write_atomic(path, lock.to_text().as_bytes())?)
}

fn print(report: &Report, store: &Path, locked: bool) {
    let mut records: Vec<_> = report.records.iter().collect();
    records.sort_by_key(|record| (!record.base, record.rank, record.architecture));
    for record in records {
        let (gzip, zstd) = (size(record.gzip.size), size(record.zstd.size));
        let (name, version, arch) = (record.name.as_str(), &record.version, record.architecture);
        println!("{name:<12} {version:<14} {arch}  {gzip:>9} gzip  {zstd:>9} zstd");
    }
    let news = if report.done == 0 { ", nothing to do" } else { "" };
    let lock = if locked { ", as the lock says" } else { "" };
    println!("generation {} in {}{news}{lock}", report.generation, store.display());
}
