//! The program as it runs in a container: exit codes, signals, what it leaves behind, when it ends.
//!
//! $KITBAG_INIT names another build of it, such as the one without the standard library that is in images.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

fn program() -> String {
    std::env::var("KITBAG_INIT").unwrap_or_else(|_| env!("CARGO_BIN_EXE_kitbag-init").to_owned())
}

/// A directory for the socket, and the program that uses it.
struct Container(TempDir);

impl Container {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).env("KITBAG_SOCKET", self.0.path().join("kitbag/init.sock"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn session(&self, script: &str) -> Output {
        self.program(&["session", "--", "sh", "-c", script]).output().unwrap()
    }

    /// Starts the first process and waits for its line.
    fn first(&self, idle: &str) -> (Child, String) {
        let mut child = self.program(&["--idle", idle]).spawn().unwrap();
        let line = line(&mut BufReader::new(child.stdout.take().unwrap()));
        (child, line)
    }

    /// Starts a session that prints a line when it is there.
    fn open(&self, id: &str, script: &str) -> (Child, BufReader<ChildStdout>) {
        let mut child = self.program(&["session", "--id", id, "--", "sh", "-c", script]).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        assert_eq!(line(&mut output), "open\n");
        (child, output)
    }
}

fn line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn is_alive(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    test_kill_process(pid).is_ok()
}

#[test]
fn the_commands_exit_code_is_the_sessions() {
    let container = Container::new();
    for (script, code) in
        [("true", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
    {
        assert_eq!(container.session(script).status.code(), Some(code), "{script}");
    }
}

#[test]
fn a_command_that_cannot_run_is_named() {
    let container = Container::new();
    for (command, code, text) in [
        ("no-such-tool", 127, "`no-such-tool`: there is no such command in this image"),
        ("/etc/passwd", 126, "`/etc/passwd` cannot be executed: Permission denied"),
    ] {
        let output = container.program(&["session", "--", command]).output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(text), "{stderr}");
    }
}

#[test]
fn output_is_passed_through_and_apart() {
    let output = Container::new().session("echo out; echo err >&2");
    assert_eq!(output.stdout, b"out\n");
    assert!(String::from_utf8(output.stderr).unwrap().ends_with("err\n"));
}

#[test]
fn a_command_starts_with_no_signal_blocked() {
    let output = Container::new().program(&["session", "--", "grep", "SigBlk", "/proc/self/status"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "SigBlk:\t0000000000000000\n");
}

#[test]
fn what_a_command_leaves_behind_ends_with_it() {
    let container = Container::new();
    // One ends when it is asked, one ignores that, one has moved to a session of its own and has a child.
    let output = container.session(
        "sleep 1000 & echo $!
         (trap '' TERM; exec sleep 1000) & echo $!
         setsid sh -c 'echo $$; sleep 1000 & echo $!; wait' &
         sleep 0.2; exit 5",
    );
    assert_eq!(output.status.code(), Some(5));
    let pids = String::from_utf8(output.stdout).unwrap();
    assert_eq!(pids.lines().count(), 4, "{pids}");
    assert!(!pids.lines().any(is_alive), "{pids}");
}

#[test]
fn a_session_that_is_told_to_end_ends_its_command() {
    let container = Container::new();
    let (mut session, mut output) =
        container.open("a", "trap 'echo bye; exit 3' TERM; echo open; while :; do sleep 0.1; done");
    kill_process(pid(&session), Signal::TERM).unwrap();
    assert_eq!(line(&mut output), "bye\n");
    assert_eq!(session.wait().unwrap().code(), Some(3));
}

#[test]
fn a_command_that_ignores_the_end_is_killed() {
    let container = Container::new();
    let (mut session, _output) = container.open("a", "trap '' TERM; echo open; exec sleep 1000");
    kill_process(pid(&session), Signal::TERM).unwrap();
    assert_eq!(session.wait().unwrap().code(), Some(137));
}

#[test]
fn signals_reach_the_session_of_that_id_and_no_other() {
    let container = Container::new();
    let (mut first, _) = container.first("1000");
    let (mut a, mut output) =
        container.open("a", "trap 'echo summary; exit 0' INT; echo open; while :; do sleep 0.1; done");
    let (mut b, _output) = container.open("b", "echo open; exec sleep 1000");
    assert!(container.program(&["signal", "a", "2"]).status().unwrap().success());
    assert_eq!(line(&mut output), "summary\n");
    assert_eq!(a.wait().unwrap().code(), Some(0));
    assert!(b.try_wait().unwrap().is_none());
    let unknown = container.program(&["signal", "a", "2"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(String::from_utf8(unknown.stderr).unwrap(), "kitbag-init: there is no session `a`\n");
    // When the first process is gone, so are the sessions.
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(b.wait().unwrap().code(), Some(143));
}

#[test]
fn the_first_process_says_that_it_is_ready_and_ends_on_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let container = Container::new();
        let (mut first, line) = container.first("1000");
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(
            line,
            format!("{{\"kitbag-init\":\"{}\",\"uid\":{uid},\"ready\":true}}\n", env!("CARGO_PKG_VERSION"))
        );
        kill_process(pid(&first), signal).unwrap();
        assert_eq!(first.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn the_first_process_ends_when_nobody_is_there() {
    let container = Container::new();
    let (mut first, _) = container.first("0");
    assert_eq!(first.wait().unwrap().code(), Some(0));

    let (mut first, _) = container.first("1");
    let (mut session, _) = container.open("a", "echo open; sleep 2");
    assert!(first.try_wait().unwrap().is_none());
    assert_eq!(session.wait().unwrap().code(), Some(0), "a session keeps the first process");
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert!(!Path::new(&container.0.path().join("kitbag/init.sock")).exists());
}

#[test]
fn without_a_place_for_the_socket_it_says_so_and_stays() {
    let container = Container::new();
    let mut first = container.program(&["--idle", "0"]).env("KITBAG_SOCKET", "/proc/none/init.sock").spawn().unwrap();
    let line = line(&mut BufReader::new(first.stdout.take().unwrap()));
    assert!(line.contains(r#""ready":true,"warning":"no idle end: the sessions' socket cannot be made: "#), "{line}");
    assert!(first.try_wait().unwrap().is_none());
    kill_process(pid(&first), Signal::TERM).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0));
}

#[test]
fn a_wrong_command_line_is_answered_with_the_right_one() {
    for arguments in [
        &[][..],
        &["--idle"],
        &["--idle", "soon"],
        &["session"],
        &["session", "--"],
        &["session", "--id", "a b", "--", "true"],
        &["signal", "a", "0"],
        &["signal", "a", "65"],
    ] {
        let output = Container::new().program(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(output.stderr.starts_with(b"kitbag-init: usage: "), "{arguments:?}");
    }
}
