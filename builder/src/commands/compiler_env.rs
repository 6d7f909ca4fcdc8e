//! `compiler-env`: the pinned compiler for others. cargo compiles the C in some crates with it.

use std::process::ExitCode;

use kitbag_builder::cargo_env::{cargo_variables, cargo_wrappers};
use kitbag_builder::engine::{Event, Observer as _};
use kitbag_builder::fs;
use kitbag_builder::process::Interrupt;
use kitbag_builder::sources::{Fetcher, Internet, InternetConfig};
use kitbag_builder::toolchain::{Zig, write_program, zig_source};

use crate::cli::{self, CompilerEnv};
use crate::output::{CommandError, Kind};
use crate::progress::Progress;

pub(crate) fn run(options: &CompilerEnv, progress: &Progress, interrupt: &Interrupt) -> Result<ExitCode, CommandError> {
    let host = |error: &dyn std::error::Error| CommandError::new(Kind::Host, error.to_string());
    let cache = cli::cache_dir();
    let zig = Zig::below(&cache.join("toolchain"));
    if !zig.is_installed() {
        let config = InternetConfig { certificates: super::build::certificates, proxy: ureq::Proxy::try_from_env() };
        let internet = Internet::new(config);
        let fetcher = Fetcher {
            directories: options.sources.clone(),
            cache: cache.join("sources"),
            remote: Some(&internet),
            refused: &|message| progress.observe(Event::Note(&message)),
            interrupt,
        };
        let archive =
            fetcher.fetch(&zig_source()).map_err(|error| CommandError::new(Kind::Source, error.to_string()))?;
        zig.install(&archive.path).map_err(|error| host(&error))?;
    }
    let arch = options.arch;
    let wrappers = cache.join("toolchain/cargo").join(arch.as_str());
    fs::create_dir_all(&wrappers)?;
    for (name, script) in cargo_wrappers(arch) {
        write_program(&wrappers.join(name), &script)?;
    }
    let path = std::env::var("PATH").unwrap_or_default();
    for (name, value) in cargo_variables(arch, &wrappers, &zig, &path) {
        println!("{name}={value}");
    }
    Ok(ExitCode::SUCCESS)
}
