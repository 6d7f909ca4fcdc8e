//! A command run to its end, and what it printed.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    thread,
};

/// What a command printed, as text, and how it ended.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
}

impl Printed {
    /// Panics, with everything that was printed, unless the command ended with `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs a command on some input.
///
/// # Panics
/// When it doesn't start.
pub fn run(mut command: Command, input: &[u8]) -> Printed {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    let output: Output = thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read its input closes it.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("the command ends")
    });
    Printed {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    }
}
