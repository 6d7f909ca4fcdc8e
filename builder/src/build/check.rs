//! The checks of a recipe: what was built is run, apart from the network, with nothing else on its `PATH` than itself
//! and the system's shell.

use std::fs::{self as std_fs, File};
use std::path::Path;

use kitbag_toolsets::recipe::Check;

use super::{BuildError, Room, Workshop};
use crate::environment::Machine;
use crate::fs::{self, At as _, FsError};
use crate::layer::Entry;
use crate::plan::Unit;
use crate::process::Step;
use crate::results::Files;
use crate::toolchain::write_program;

impl Workshop<'_> {
    /// Runs the checks of a recipe on its files. Gives whether they ran: not where the machine cannot run the programs.
    pub(super) fn check(&self, unit: &Unit<'_>, files: &Files, room: &Room) -> Result<bool, BuildError> {
        let native = unit.machine.arch() == Machine::Build.arch();
        let emulator = if native { None } else { self.emulator };
        if unit.recipe.checks.is_empty() {
            return Ok(true);
        }
        if !native && emulator.is_none() {
            return Ok(false);
        }
        let bin = room.check.join("bin");
        lay_out(files, &room.check, &bin, emulator).map_err(BuildError::Fs)?;
        for check in &unit.recipe.checks {
            self.run_check(check, room, &bin)?;
        }
        Ok(true)
    }

    fn run_check(&self, check: &Check, room: &Room, bin: &Path) -> Result<(), BuildError> {
        let environment = [
            ("PATH".to_owned(), format!("{}:/usr/bin:/bin", bin.display())),
            ("HOME".to_owned(), room.temporary.display().to_string()),
            ("LC_ALL".to_owned(), "C".to_owned()),
            ("TERM".to_owned(), "dumb".to_owned()),
        ]
        .into();
        let path = room.check.join("output");
        let output =
            File::options().append(true).create(true).open(&path).at("create", &path).map_err(BuildError::Fs)?;
        output.set_len(0).at("write", &path).map_err(BuildError::Fs)?;
        let arguments: Vec<&str> = check.run.iter().map(String::as_str).collect();
        let program = bin.join(arguments[0]);
        let step = Step {
            program: &program.to_string_lossy(),
            arguments: &arguments[1..],
            dir: &room.temporary,
            environment: &environment,
        };
        let status = step.run(self.interrupt, self.isolation, &output).map_err(BuildError::Process)?;
        let said = String::from_utf8_lossy(&fs::read(&path).map_err(BuildError::Fs)?).into_owned();
        let reason = if status.code() != Some(check.exit) {
            format!("it ended with {status}, not with exit status {}", check.exit)
        } else if !said.contains(&check.expect) {
            format!("`{}` is not in what it says", check.expect)
        } else {
            return Ok(());
        };
        Err(BuildError::Check { check: check.clone(), reason, output: super::last_lines(said.as_bytes()) })
    }
}

/// Puts each program into `bin`; for another architecture, a script that runs it in the emulator, so that a program also
/// finds itself by its name.
fn lay_out(files: &Files, dir: &Path, bin: &Path, emulator: Option<&Path>) -> Result<(), FsError> {
    let programs = dir.join("programs");
    fs::create_dir_all(bin)?;
    fs::create_dir_all(&programs)?;
    for (path, entry) in &files.entries {
        let (name, Entry::File { content, mode }) = (path.rsplit('/').next().unwrap_or(path), entry) else { continue };
        if mode & 0o111 == 0 {
            continue;
        }
        let program = if emulator.is_some() { programs.join(name) } else { bin.join(name) };
        std_fs::write(&program, content).at("write", &program)?;
        let mut permissions = std_fs::metadata(&program).at("read", &program)?.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        std_fs::set_permissions(&program, permissions).at("write", &program)?;
        if let Some(emulator) = emulator {
            let script = format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", emulator.display(), program.display());
            write_program(&bin.join(name), &script)?;
        }
    }
    Ok(())
}
