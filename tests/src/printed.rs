//! A command run to its end, and what it printed.

use std::{
    io::Write,
    os::unix::process::CommandExt as _,
    process::{Command, Output, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

/// No command that a test runs to its end takes longer. One that does is ended, and what it printed tells why.
const LIMIT: Duration = Duration::from_secs(300);

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

/// Runs a command on some input, for five minutes at the most.
///
/// # Panics
/// When it doesn't start.
pub fn run(mut command: Command, input: &[u8]) -> Printed {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    let group = Pid::from_raw(child.id().cast_signed());
    let (over, waited) = channel::<()>();
    let output: Output = thread::scope(|scope| {
        scope.spawn(move || {
            if let (Err(RecvTimeoutError::Timeout), Some(group)) = (waited.recv_timeout(LIMIT), group) {
                // It may have ended at this very moment.
                let _ = kill_process_group(group, Signal::KILL);
            }
        });
        scope.spawn(move || {
            // A command that does not read its input closes it.
            let _ = stdin.write_all(input);
        });
        let output = child.wait_with_output().expect("the command ends");
        drop(over);
        output
    });
    Printed {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    }
}
