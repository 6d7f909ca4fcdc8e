//! One build: from sources and what it depends on to a set of files that have passed the gate.
//!
//! What is built, and in which order, is decided elsewhere; here is one directory in which one recipe runs.

mod check;
mod outputs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self as std_fs, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use kitbag_toolsets::recipe::{Check, Kind, Role};

use crate::cargo::{CargoError, Crate, Rust};
use crate::environment::{Machine, Places, environment};
use crate::fs::{self, At as _, FsError};
use crate::plan::Unit;
use crate::process::{Interrupt, Isolation, ProcessError, Step};
use crate::results::{BuildPath, Files};
use crate::toolchain::{Zig, remove_tree, wrappers, write_program};
use crate::unpack::{self, UnpackError};

/// Lines of the log that stand in an error.
const LAST_LINES: usize = 20;

/// Where builds happen, and with what.
#[derive(Debug)]
pub struct Workshop<'a> {
    /// A directory of this run alone; each build gets one in it.
    pub dir: &'a Path,
    /// Logs, by unit.
    pub logs: &'a Path,
    /// The C compiler.
    pub zig: &'a Zig,
    /// The Rust compiler, where a unit needs it.
    pub rust: Option<&'a Rust>,
    /// Cargo's own directory.
    pub cargo_home: &'a Path,
    /// Whether cargo may ask the network.
    pub online: bool,
    /// How far builds are kept apart.
    pub isolation: Isolation,
    /// Processes of one build at a time.
    pub jobs: usize,
    /// Runs programs of another architecture.
    pub emulator: Option<&'a Path>,
    /// Ends it all.
    pub interrupt: &'a Interrupt,
}

/// Why a build has failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A step ended with an error.
    #[error("`{step}` failed ({status})\n{}\n    the whole log: {}", indented(last), log.display())]
    Step {
        /// The step, its first line.
        step: String,
        /// How it ended.
        status: String,
        /// The last lines of the log.
        last: String,
        /// The log.
        log: PathBuf,
    },
    /// A file that must be there is not.
    #[error("{what} `{path}` is not there after the build: correct the recipe; the log: {}", log.display())]
    Missing {
        /// What it should be.
        what: &'static str,
        /// Where it should be, relative to the work directory.
        path: String,
        /// The log.
        log: PathBuf,
    },
    /// A file has not passed the gate.
    #[error("`{path}` must not be in a layer: {fault}")]
    Gate {
        /// The file, in the image.
        path: String,
        /// What is wrong with it.
        #[source]
        fault: crate::elf::ElfFault,
    },
    /// A library or generator names its build directory.
    #[error("a file of the prefix is not fit to be used elsewhere: {0}")]
    Prefix(#[source] BuildPath),
    /// A check of the recipe has failed.
    #[error("the check `{}` failed: {reason}\n{}", check.run.join(" "), indented(output))]
    Check {
        /// The check.
        check: Check,
        /// What was expected.
        reason: String,
        /// What the program said.
        output: String,
    },
    /// A source does not unpack.
    #[error(transparent)]
    Unpack(UnpackError),
    /// A program did not run, or was interrupted.
    #[error(transparent)]
    Process(ProcessError),
    /// Cargo.
    #[error(transparent)]
    Cargo(CargoError),
    /// The file system says no.
    #[error(transparent)]
    Fs(FsError),
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    | {line}")).collect::<Vec<_>>().join("\n")
}

/// What a build needs.
#[derive(Debug)]
pub struct Ingredients<'a> {
    /// The archive of each source, in the recipe's order.
    pub sources: &'a [PathBuf],
    /// The libraries of its prefix.
    pub libraries: &'a [Files],
    /// The generators of its path.
    pub generators: &'a [Files],
    /// The crate, where the recipe is of kind `cargo` and has no archive.
    pub krate: Option<&'a Crate>,
}

/// What came out.
#[derive(Debug)]
pub struct Built {
    /// The files.
    pub files: Files,
    /// Whether the checks ran; not if the machine cannot run the program.
    pub checked: bool,
}

impl Workshop<'_> {
    /// Builds `unit`; `step` is told of each step's number.
    ///
    /// # Errors
    /// [`BuildError`]. Whatever happens, nothing of the build is left but its log.
    pub fn build(&self, unit: &Unit<'_>, from: &Ingredients<'_>, step: &dyn Fn(usize)) -> Result<Built, BuildError> {
        let room = Room::new(&self.dir.join(unit.label()), &self.logs.join(format!("{}.log", unit.label())));
        let result = room.open().map_err(BuildError::Fs).and_then(|log| self.run(unit, from, &room, &log, step));
        let closed = remove_tree(&room.dir).map_err(BuildError::Fs);
        result.and_then(|built| closed.map(|()| built))
    }

    fn run(
        &self,
        unit: &Unit<'_>,
        from: &Ingredients<'_>,
        room: &Room,
        log: &File,
        step: &dyn Fn(usize),
    ) -> Result<Built, BuildError> {
        let recipe = unit.recipe;
        self.prepare(unit, from, room)?;
        let others = self.others(from);
        match recipe.kind {
            Kind::C => self.steps(unit, room, log, step)?,
            Kind::Cargo => self.cargo(unit, room, log)?,
        }
        let is_prefix = matches!(recipe.role, Role::Library | Role::Generator);
        let mut files = if is_prefix {
            Files::of_prefix(&room.prefix, &others).map_err(BuildError::Fs)?
        } else {
            outputs::collect(unit, room)?
        };
        files.licenses = outputs::licenses(recipe, room)?;
        let forbidden = self.forbidden();
        let forbidden: Vec<&str> = forbidden.iter().map(String::as_str).collect();
        if is_prefix {
            files.build_path(&forbidden).map_or(Ok(()), |fault| Err(BuildError::Prefix(fault)))?;
        } else {
            outputs::gate(&files, unit.machine.arch(), &forbidden)?;
        }
        let checked = self.check(unit, &files, room)?;
        Ok(Built { files, checked })
    }

    /// Directories, sources, libraries, generators, wrappers.
    fn prepare(&self, unit: &Unit<'_>, from: &Ingredients<'_>, room: &Room) -> Result<(), BuildError> {
        for (index, (source, archive)) in unit.recipe.sources.iter().zip(from.sources).enumerate() {
            match (&source.unpack, index) {
                (Some(dir), _) => unpack::unpack(source, archive, &room.work.join(dir)),
                (None, 0) => unpack::unpack(source, archive, &room.work),
                (None, _) => unpack::copy(archive, &room.sources, &source.file).map_err(UnpackError::Fs),
            }
            .map_err(BuildError::Unpack)?;
        }
        let prepare = || {
            from.libraries.iter().try_for_each(|files| files.install(&room.prefix))?;
            from.generators.iter().try_for_each(|files| files.install(&room.tools))?;
            if let Some(krate) = from.krate {
                krate.write(&room.work)?;
            }
            wrappers(unit.machine.triple(), Machine::Build.triple())
                .iter()
                .try_for_each(|(name, script)| write_program(&room.wrappers.join(name), script))
        };
        prepare().map_err(BuildError::Fs)
    }

    /// The files of other libraries in the prefix.
    fn others(&self, from: &Ingredients<'_>) -> BTreeSet<String> {
        from.libraries.iter().flat_map(|files| files.entries.keys().cloned()).collect()
    }

    fn environment(&self, unit: &Unit<'_>, room: &Room) -> BTreeMap<String, String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let tools = room.tools.join("bin");
        let path = [&room.wrappers, &self.zig.bin, &tools].map(|path| text(path)).join(":");
        let places = Places {
            work: &text(&room.work),
            prefix: &text(&room.prefix),
            sources: &text(&room.sources),
            temporary: &text(&room.temporary),
            compiler_cache: &text(&self.zig.cache),
            local_cache: &text(&room.compiler),
            path: &format!("{path}:/usr/bin:/bin"),
        };
        environment(unit.recipe, unit.machine, &self.jobs.to_string(), &places)
    }

    fn steps(&self, unit: &Unit<'_>, room: &Room, log: &File, tell: &dyn Fn(usize)) -> Result<(), BuildError> {
        let environment = self.environment(unit, room);
        for (index, script) in unit.recipe.steps.iter().enumerate() {
            tell(index + 1);
            // What files a step makes must not depend on who runs the builder.
            let script_here = format!("umask 022\n{script}");
            let step =
                Step { program: "sh", arguments: &["-ec", &script_here], dir: &room.work, environment: &environment };
            self.step(&step, script.trim().lines().next().unwrap_or_default(), room, log)?;
        }
        Ok(())
    }

    fn cargo(&self, unit: &Unit<'_>, room: &Room, log: &File) -> Result<(), BuildError> {
        let Some(rust) = self.rust else {
            return Err(BuildError::Cargo(CargoError::NoRust("it was not looked for".to_owned())));
        };
        let arch = unit.machine.arch();
        let fetched = rust
            .fetch(&room.work, arch, self.cargo_home, self.online, log, self.interrupt)
            .map_err(BuildError::Cargo)?;
        if !fetched {
            return Err(failed("cargo fetch", "the crates are not to be had", room));
        }
        let work = room.work.to_string_lossy();
        let environment = self.environment(unit, room);
        let environment = rust.environment(&environment, &work, self.cargo_home).map_err(BuildError::Fs)?;
        let (program, arguments) = rust.build_command(arch);
        let step = Step { program: &program, arguments: &arguments, dir: &room.work, environment: &environment };
        self.step(&step, "cargo build", room, log)
    }

    fn step(&self, step: &Step<'_>, name: &str, room: &Room, mut log: &File) -> Result<(), BuildError> {
        writeln!(log, "### {name}").at("write", &room.log).map_err(BuildError::Fs)?;
        let status = step.run(self.interrupt, self.isolation, log).map_err(BuildError::Process)?;
        if status.success() { Ok(()) } else { Err(failed(name, &status.to_string(), room)) }
    }

    /// Paths of this machine that must not be in what is built.
    fn forbidden(&self) -> Vec<String> {
        let toolchain = self.zig.bin.parent().unwrap_or(&self.zig.bin);
        [self.dir, toolchain, &self.zig.cache, self.cargo_home].map(|path| path.to_string_lossy().into_owned()).into()
    }
}

fn failed(step: &str, status: &str, room: &Room) -> BuildError {
    BuildError::Step {
        step: step.to_owned(),
        status: status.to_owned(),
        last: last_lines(&std_fs::read(&room.log).unwrap_or_default()),
        log: room.log.clone(),
    }
}

/// The last lines of a log.
fn last_lines(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// The directories of one build.
#[derive(Debug)]
struct Room {
    dir: PathBuf,
    work: PathBuf,
    prefix: PathBuf,
    sources: PathBuf,
    tools: PathBuf,
    wrappers: PathBuf,
    temporary: PathBuf,
    compiler: PathBuf,
    check: PathBuf,
    log: PathBuf,
}

impl Room {
    fn new(dir: &Path, log: &Path) -> Self {
        let below = |name: &str| dir.join(name);
        Self {
            work: below("work"),
            prefix: below("prefix"),
            sources: below("sources"),
            tools: below("tools"),
            wrappers: below("wrappers"),
            temporary: below("tmp"),
            compiler: below("compiler"),
            check: below("check"),
            dir: dir.to_owned(),
            log: log.to_owned(),
        }
    }

    /// Makes the directories, and the log.
    fn open(&self) -> Result<File, FsError> {
        remove_tree(&self.dir)?;
        let dirs = [
            &self.work,
            &self.prefix,
            &self.sources,
            &self.tools,
            &self.wrappers,
            &self.temporary,
            &self.compiler,
            &self.check,
        ];
        dirs.into_iter().try_for_each(|dir| fs::create_dir_all(dir))?;
        if let Some(logs) = self.log.parent() {
            fs::create_dir_all(logs)?;
        }
        // Not truncated: another builder may be writing to a log of that name.
        let _ = std_fs::remove_file(&self.log);
        File::options().append(true).create(true).open(&self.log).at("create", &self.log)
    }
}

#[cfg(test)]
mod tests;
