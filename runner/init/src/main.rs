//! `kitbag-init`: the first process of a debug container, and the wrapper of every session in it.
//!
//! An ephemeral container cannot be restarted or removed, and what an exec leaves behind becomes a child of the process
//! that is being debugged. So the first process waits, and leaves when it is idle; each session runs under a wrapper that
//! takes everything along which it started. No threads, and no dependency on anything in the image.
//!
//! ```text
//! kitbag-init --idle SECONDS                 first process: ends after SECONDS without a session
//! kitbag-init session [--id ID] -- CMD ARGS  what every exec runs: CMD's exit code, 128+n for signal n
//! kitbag-init signal ID NUMBER               sends a signal to the command of session ID
//! ```

// As it ships, it does without the standard library, nine tenths of which would be for printing backtraces. With it, for
// tests and for the whole workspace at once, it is the same program with another allocator.
#![cfg_attr(all(panic = "abort", target_env = "musl"), no_std)]
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, expect(dead_code, reason = "the tests' harness has an entry point of its own"))]

extern crate alloc;

mod children;
mod clock;
mod idle;
mod session;
mod socket;
mod sys;

use alloc::string::String;
use core::ffi::CStr;

/// Exit code when the command line is wrong or nothing can be set up: not one that a command is likely to use.
const FAILED: u8 = 125;

const USAGE: &str = "usage: kitbag-init --idle SECONDS | session [--id ID] -- COMMAND [ARGUMENT...] | signal ID NUMBER";

/// The program, without its name. Returns the exit code.
fn run(arguments: &[&CStr]) -> u8 {
    match parse(arguments) {
        Some(Action::Idle { milliseconds }) => idle::run(milliseconds),
        Some(Action::Session { id, command }) => session::run(id, command),
        Some(Action::Signal { id, number }) => socket::send_signal(id, number),
        None => {
            complain(&[USAGE]);
            FAILED
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Action<'a> {
    Idle { milliseconds: u64 },
    Session { id: &'a str, command: &'a [&'a CStr] },
    Signal { id: &'a str, number: u8 },
}

fn parse<'a>(arguments: &'a [&'a CStr]) -> Option<Action<'a>> {
    let text = |index: usize| arguments.get(index).and_then(|argument| argument.to_str().ok());
    let session = |id, command: &'a [&'a CStr]| {
        (socket::is_id(id) && !command.is_empty()).then_some(Action::Session { id, command })
    };
    match (text(0)?, text(1)?) {
        ("--idle", seconds) if arguments.len() == 2 => {
            Some(Action::Idle { milliseconds: u64::from(seconds.parse::<u32>().ok()?) * 1000 })
        }
        ("session", "--") => session("", &arguments[2..]),
        ("session", "--id") if text(3) == Some("--") => session(text(2)?, &arguments[4..]),
        ("signal", id) if arguments.len() == 3 => {
            let number = text(2)?.parse().ok().filter(|number| (1..=64).contains(number))?;
            Some(Action::Signal { id, number })
        }
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_taken_literally_or_not_at_all() {
        assert_eq!(parse(&[c"--idle", c"60"]), Some(Action::Idle { milliseconds: 60_000 }));
        let command = [c"sh", c"-c", c"--"];
        let line = [c"session", c"--id", c"a-1", c"--", c"sh", c"-c", c"--"];
        assert_eq!(parse(&line), Some(Action::Session { id: "a-1", command: &command }));
        assert_eq!(parse(&[c"session", c"--", c"\xff"]), Some(Action::Session { id: "", command: &[c"\xff"] }));
        assert_eq!(parse(&[c"signal", c"a-1", c"2"]), Some(Action::Signal { id: "a-1", number: 2 }));
        for wrong in [&[][..], &[c"--idle"], &[c"--idle", c"-1"], &[c"session", c"--"], &[c"signal", c"a", c"0"]] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
