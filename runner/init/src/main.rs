//! `kitbag-init`: the first process of a debug container, and the wrapper of every session in it.
//!
//! An ephemeral container cannot be restarted or removed, and what an exec leaves behind becomes a child of the process
//! that is being debugged. So the first process waits, and leaves when it is idle; each session runs under a wrapper that
//! takes everything along which it started. No threads, and no dependency on anything in the image.
//!
//! ```text
//! kitbag-init --idle SECONDS                 first process: ends after SECONDS without a session
//! kitbag-init session -- CMD ARGS            what every exec runs: CMD's exit code, 128+n for signal n
//! kitbag-init attached --idle S -- CMD ARGS  both at once, where executing in the container is not permitted
//! kitbag-init status | end                   how the first process is; its end
//! kitbag-init in-target CMD ARGS             a program of this image with the target's root directory as its own
//! ```
//!
//! Of a session, stdin is frames (`frames.rs`), stdout a line that says what is possible here (`report.rs`) and then what
//! the command writes, and stderr is the command's, but for complaints that begin with `kitbag-init: `.

// As it ships, it does without the standard library, nine tenths of which would be for printing backtraces. With it, for
// tests and for the whole workspace at once, it is the same program with another allocator.
#![cfg_attr(all(panic = "abort", target_env = "musl"), no_std)]
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, expect(dead_code, reason = "the tests' harness has an entry point of its own"))]

extern crate alloc;

mod children;
mod clock;
mod command_line;
mod frames;
mod identity;
mod idle;
mod in_target;
mod proc;
mod report;
mod session;
mod socket;
mod sys;
mod target;

use alloc::string::String;
use core::ffi::CStr;

use command_line::Action;
use rustix::io::Errno;

/// Exit code when the command line is wrong or nothing can be set up: not one that a command is likely to use.
const FAILED: u8 = 125;

/// The program, without its name. Returns the exit code.
fn run(arguments: &[&CStr]) -> u8 {
    match command_line::parse(arguments) {
        Some(Action::Idle { limits, whose }) => idle::run(limits, whose),
        Some(Action::Session(session)) => session::run(&session),
        Some(Action::Attached { limits, session }) => session::attached(limits, &session),
        Some(Action::Status) => socket::status(),
        Some(Action::End) => socket::end(),
        Some(Action::InTarget(command)) => in_target::run(command),
        None => {
            complain(&[command_line::USAGE]);
            FAILED
        }
    }
}

/// Why `command` did not run, and the exit code that says so: 127 when there is none, 126 when it cannot be executed.
fn refuse(command: &CStr, error: Errno) -> u8 {
    let command = command.to_string_lossy();
    if error == Errno::NOENT {
        complain(&["`", &command, "`: there is no such command in this image"]);
        127
    } else {
        complain(&["`", &command, "` cannot be executed: ", sys::describe(error)]);
        126
    }
}

/// One line on stderr.
fn complain(pieces: &[&str]) {
    let mut line = String::from("kitbag-init: ");
    pieces.iter().for_each(|piece| line.push_str(piece));
    line.push('\n');
    write_all(sys::stderr(), line.as_bytes());
}

/// Writes, as far as somebody reads.
fn write_all(file: impl rustix::fd::AsFd, mut bytes: &[u8]) {
    while let Ok(length @ 1..) = rustix::io::retry_on_intr(|| rustix::io::write(&file, bytes)) {
        bytes = &bytes[length..];
    }
}
