//! What the tests share: a place for a container's socket, its first process, and clients of its sessions.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_kitbag-init");

/// A container in that its socket and its link are apart from others.
pub(crate) struct Container(TempDir);

impl Container {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Where the socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.path().join("kitbag/init.sock")
    }

    /// What `/target` leads to.
    pub(crate) fn link(&self) -> PathBuf {
        self.0.path().join("kitbag-target")
    }

    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        self.program_by(&[], arguments)
    }

    /// The program, run by another one.
    pub(crate) fn program_by(&self, by: &[&str], arguments: &[&str]) -> Command {
        let program = std::env::var("KITBAG_INIT").unwrap_or_else(|_| PROGRAM.to_owned());
        let line: Vec<&str> = by.iter().copied().chain([program.as_str()]).chain(arguments.iter().copied()).collect();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).env("KITBAG_SOCKET", self.socket());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the first process and waits for its line.
    pub(crate) fn first(&self, arguments: &[&str]) -> (First, String) {
        First::start(&mut self.program(arguments))
    }

    /// Starts a session with these arguments, whose client is silent.
    pub(crate) fn session(&self, arguments: &[&str]) -> Client {
        Client::connect(self.program(&[&["session"], arguments].concat()))
    }

    /// Starts a session of a shell.
    pub(crate) fn shell(&self, script: &str) -> Client {
        self.session(&["--", "sh", "-c", script])
    }
}

/// A container's first process. It ends with the test.
pub(crate) struct First(pub(crate) Child);

impl First {
    pub(crate) fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.spawn().unwrap();
        let line = line(&mut BufReader::new(child.stdout.take().unwrap()));
        (Self(child), line)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    pub(crate) fn code(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for First {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The client of a session.
pub(crate) struct Client {
    pub(crate) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<BufReader<ChildStdout>>,
}

/// How a session ended, and what was left to read.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Client {
    pub(crate) fn connect(mut command: impl std::borrow::BorrowMut<Command>) -> Self {
        // Not in the group of the tests: what is sent to a terminal or a group of a session must not get out of it.
        let mut child = command.borrow_mut().process_group(0).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Self { child, stdin, stdout }
    }

    pub(crate) fn frame(&mut self, kind: u8, payload: &[u8]) {
        let bytes = [&[kind], &u16::try_from(payload.len()).unwrap().to_be_bytes()[..], payload].concat();
        self.stdin.as_mut().unwrap().write_all(&bytes).unwrap();
    }

    pub(crate) fn data(&mut self, bytes: &[u8]) {
        self.frame(0, bytes);
    }

    pub(crate) fn end(&mut self) {
        self.frame(1, b"");
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.frame(2, &[u8::try_from(signal.as_raw()).unwrap()]);
    }

    pub(crate) fn size(&mut self, columns: u16, rows: u16) {
        self.frame(3, &[columns.to_be_bytes(), rows.to_be_bytes()].concat());
    }

    pub(crate) fn beat(&mut self) {
        self.frame(4, b"");
    }

    pub(crate) fn line(&mut self) -> String {
        line(self.stdout.as_mut().unwrap())
    }

    /// Reads up to a line that ends so.
    pub(crate) fn await_line(&mut self, wanted: &str) {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the session has ended");
            if line.ends_with(wanted) {
                return;
            }
        }
    }

    /// Reads the report.
    pub(crate) fn report(&mut self) -> String {
        let line = self.line();
        assert!(line.starts_with("{\"kitbag-init\":\"") && line.ends_with("}\n"), "{line}");
        line
    }

    /// Reads the report, and the line by which the command says that it is there.
    pub(crate) fn open(mut self) -> Self {
        self.report();
        assert_eq!(self.line().trim_end(), "open");
        self
    }

    /// Waits for the end of the session.
    pub(crate) fn ended(mut self) -> Ended {
        let (mut stdout, mut stderr) = (Vec::new(), String::new());
        if let Some(output) = &mut self.stdout {
            output.read_to_end(&mut stdout).unwrap();
        }
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code();
        Ended { code, stdout: String::from_utf8(stdout).unwrap(), stderr }
    }

    /// Waits for the end of the session, whose report is not yet read.
    pub(crate) fn whole(mut self) -> Ended {
        self.report();
        self.ended()
    }

    /// The client dies.
    pub(crate) fn dies(mut self) -> Ended {
        self.stdin = None;
        self.ended()
    }
}

pub(crate) fn line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line
}

pub(crate) fn is_alive(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    test_kill_process(pid).is_ok()
}
