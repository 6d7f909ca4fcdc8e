//! Commands, timed to what a person sees of them first.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Result;

/// For a client that has printed what was wanted of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Seconds to the first line on standard output, and the line.
pub(super) fn first_output(command: Command) -> Result<(f64, String)> {
    let began = Instant::now();
    let (mut child, line) = first_line(command)?;
    let took = began.elapsed();
    // What a client of ours does when it is killed is another matter; `kubectl debug` goes on for seconds.
    let patience = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > patience {
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok((took.as_secs_f64(), line))
}

/// Starts a command, and waits for its first line.
pub(super) fn first_line(mut command: Command) -> Result<(Child, String)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    let output = child.stdout.as_mut().ok_or("its output is a pipe")?;
    // Byte for byte, so that the pipe stays open and nothing is lost.
    BufReader::with_capacity(1, output).read_line(&mut line)?;
    Ok((child, line.trim_end().to_owned()))
}
