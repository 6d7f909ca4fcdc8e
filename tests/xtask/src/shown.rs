//! Runs a command and shows what it prints while it prints it, with the times that a newcomer asks for.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{Sender, channel},
    thread,
    time::{Duration, Instant},
};

use crate::Result;

/// How a shown command went.
pub(crate) struct Shown {
    /// From its start to the first line on its standard output.
    pub(crate) first_output: Option<Duration>,
    /// From its start to its end.
    pub(crate) total: Duration,
    /// How it ended.
    pub(crate) status: ExitStatus,
}

/// Runs `command` and copies both its outputs to standard error, each line with a margin.
pub(crate) fn show(title: &str, command: &mut Command) -> Result<Shown> {
    eprintln!("\n    $ {title}");
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (sender, lines) = channel();
    let readers = [
        child.stdout.take().map(|stream| reader(Box::new(stream), true, sender.clone())),
        child.stderr.take().map(|stream| reader(Box::new(stream), false, sender)),
    ];
    let mut first_output = None;
    for (line, is_output) in lines {
        if is_output {
            first_output.get_or_insert_with(|| began.elapsed());
        }
        eprintln!("    | {line}");
    }
    let status = child.wait()?;
    for reader in readers.into_iter().flatten() {
        reader.join().map_err(|_| "a reader of the command's output ended badly")?;
    }
    Ok(Shown { first_output, total: began.elapsed(), status })
}

fn reader(stream: Box<dyn Read + Send>, is_output: bool, sender: Sender<(String, bool)>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while let Ok(1..) = stream.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send((text, is_output)).is_err() {
                break;
            }
            line.clear();
        }
    })
}
