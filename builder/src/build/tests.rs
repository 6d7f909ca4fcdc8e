use std::cell::RefCell;

use kitbag_toolsets::catalog::{Catalog, File as CatalogFile};
use kitbag_toolsets::{Arch, Name};
use tempfile::TempDir;

use super::*;
use crate::layer::Entry;
use crate::plan::{Inputs, Plan};

/// A workshop whose compiler is never called.
struct Bench {
    dir: TempDir,
    interrupt: Interrupt,
    arch: Arch,
    emulator: Option<&'static Path>,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), interrupt: Interrupt::default(), arch: Arch::Amd64, emulator: None }
    }

    /// Builds a tool with these steps; `more` are further lines of the recipe.
    fn build(&self, steps: &str, more: &str) -> Result<Built, BuildError> {
        let text = format!(
            "name = 'tool'\nversion = '1'\nrole = 'tool'\nkind = 'c'\nsummary = ''\nlicense = 'MIT'\nhomepage = ''\n\
             source-date = '2025-01-01T00:00:00Z'\nrank = 1\ncommands = ['tool']\nlicense-files = ['LICENSE']\n\
             steps = [{steps}]\n[[output]]\nfrom = 'out/tool'\nto = '/usr/bin/tool'\n{more}"
        );
        let catalog = Catalog::parse([CatalogFile { path: "tool.toml", text: &text }], []).unwrap();
        let inputs = Inputs { rust: String::new(), crates: BTreeMap::new() };
        let plan = Plan::new(&catalog, [&Name::parse("tool").unwrap()], &[self.arch], &inputs);
        let path = self.dir.path();
        let zig = Zig::below(&path.join("toolchain"));
        let workshop = Workshop {
            dir: &path.join("run"),
            logs: &path.join("logs"),
            zig: &zig,
            rust: None,
            cargo_home: &path.join("cargo"),
            online: false,
            isolation: Isolation::None,
            jobs: 3,
            emulator: self.emulator,
            interrupt: &self.interrupt,
        };
        let told = RefCell::new(Vec::new());
        let from = Ingredients { sources: &[], libraries: &[], generators: &[], krate: None };
        let result = workshop.build(&plan.units[0], &from, &|step| told.borrow_mut().push(step));
        assert!(told.borrow().iter().copied().eq(1..=told.borrow().len()));
        assert!(
            !path.join("run").join(plan.units[0].label()).exists(),
            "the build's directory is gone, whatever happened"
        );
        result
    }

    fn plain(&self, error: &BuildError) -> String {
        error.to_string().replace(&self.dir.path().display().to_string(), "")
    }
}

const CHECK: &str = "[[check]]\nrun = ['tool']\nexpect = 'jobs 3'\n";

#[test]
fn a_build_gives_its_outputs_and_licences() {
    let built = Bench::new()
        .build(
            "'echo free > LICENSE; mkdir out', 'printf \"#!/bin/sh\\necho jobs %s\\n\" $JOBS > out/tool'",
            &format!("[[output]]\nlink = 'tool'\nto = '/usr/bin/alias'\n{CHECK}"),
        )
        .unwrap();
    let script = Entry::File { content: b"#!/bin/sh\necho jobs 3\n".to_vec(), mode: 0o755 };
    let link = Entry::Symlink { target: "tool".to_owned() };
    assert_eq!(built.files.entries, [("usr/bin/alias".to_owned(), link), ("usr/bin/tool".to_owned(), script)].into());
    assert_eq!(built.files.licenses, [("LICENSE".to_owned(), b"free\n".to_vec())].into());
    assert!(built.checked);
}

#[test]
fn a_failed_step_shows_the_end_of_the_log_and_keeps_all_of_it() {
    let bench = Bench::new();
    let error = bench.build("'seq 1 30; echo oops >&2; exit 3', 'echo never'", CHECK).unwrap_err();
    insta::assert_snapshot!(bench.plain(&error), @"
        `seq 1 30; echo oops >&2; exit 3` failed (exit status: 3)
            | 12
            | 13
            | 14
            | 15
            | 16
            | 17
            | 18
            | 19
            | 20
            | 21
            | 22
            | 23
            | 24
            | 25
            | 26
            | 27
            | 28
            | 29
            | 30
            | oops
            the whole log: /logs/tool-1-amd64.log
        ");
    let log = std_fs::read_to_string(bench.dir.path().join("logs/tool-1-amd64.log")).unwrap();
    assert!(log.starts_with("### seq 1 30; echo oops >&2; exit 3\n1\n2\n"), "{log}");
}

#[test]
fn what_is_missing_after_the_build_is_named() {
    let bench = Bench::new();
    insta::assert_snapshot!(bench.plain(&bench.build("'echo x > LICENSE'", CHECK).unwrap_err()), @"output `out/tool` is not there after the build: correct the recipe; the log: /logs/tool-1-amd64.log");
    let error = bench.build("'mkdir out; echo x > out/tool'", CHECK).unwrap_err();
    insta::assert_snapshot!(bench.plain(&error), @"licence `LICENSE` is not there after the build: correct the recipe; the log: /logs/tool-1-amd64.log");
}

#[test]
fn a_build_path_does_not_pass_the_gate() {
    let bench = Bench::new();
    let error = bench.build("'touch LICENSE; mkdir out; pwd > out/tool'", CHECK).unwrap_err();
    assert!(matches!(&error, BuildError::Gate { path, .. } if path == "/usr/bin/tool"), "{error}");
}

#[test]
fn a_failed_check_shows_what_was_said() {
    let bench = Bench::new();
    let error =
        bench.build("'touch LICENSE; mkdir out; printf \"#!/bin/sh\\necho hello\\n\" > out/tool'", CHECK).unwrap_err();
    insta::assert_snapshot!(bench.plain(&error), @"
        the check `tool` failed: `jobs 3` is not in what it says
            | hello
        ");
    let error =
        bench.build("'touch LICENSE; mkdir out; printf \"#!/bin/sh\\nexit 4\\n\" > out/tool'", CHECK).unwrap_err();
    insta::assert_snapshot!(bench.plain(&error), @"the check `tool` failed: it ended with exit status: 4, not with exit status 0");
}

#[test]
fn a_program_for_another_machine_is_checked_in_an_emulator_or_not_at_all() {
    let steps = "'touch LICENSE; mkdir out; printf \"echo jobs 3; command -v tool\\n\" > out/tool'";
    let mut bench = Bench { arch: Arch::Arm64, ..Bench::new() };
    assert!(!bench.build(steps, CHECK).unwrap().checked);
    // A shell is an emulator of scripts.
    bench.emulator = Some(Path::new("/bin/sh"));
    assert!(bench.build(steps, CHECK).unwrap().checked);
    let error = bench.build(&steps.replace("jobs 3", "jobs 4"), CHECK).unwrap_err();
    insta::assert_snapshot!(bench.plain(&error), @"
        the check `tool` failed: `jobs 3` is not in what it says
            | jobs 4
            | /run/tool-1-arm64/check/bin/tool
        ");
}
