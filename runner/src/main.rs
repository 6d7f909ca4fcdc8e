//! `kubectl-kitbag`: the plugin's entry point; everything is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    kitbag_runner::run(std::env::args_os())
}
