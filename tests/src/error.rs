//! Everything that can go wrong while the tests' world is set up, in words for the person who started it. And the few
//! helpers that make such an error: every failed file operation names its path, every failed command shows its output.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the node, or something around it, could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, a directory or a mount.
    #[error("cannot {action} `{}`: {source}", path.display())]
    File {
        /// What was tried: "read", "mount", ...
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program could not be started at all.
    #[error("cannot run `{program}`: {source}")]
    Spawn {
        /// The program's name or path.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program ended with another status than 0.
    #[error("`{command}` failed ({status}):\n{output}")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// Namespaces, control groups and mounts take root.
    #[error("this needs root: the node lives in namespaces and control groups of its own")]
    NotRoot,
    /// Packages can be installed by apt-get only.
    #[error("`{}` are missing and there is no apt-get here: install what provides them", .0.join("`, `"))]
    NotDebian(Vec<String>),
    /// Programs that the node runs, or that make it.
    #[error("`{}` not found: `kitbag-node up` and `cargo xtask demo` install what is missing", .0.join("`, `"))]
    MissingPrograms(Vec<String>),
    /// The directory holds something that is not a node's.
    #[error("`{}` holds other files: name an empty or a new directory", .0.display())]
    ForeignDirectory(PathBuf),
    /// The directory is hidden inside the node by a fresh mount.
    #[error("`{}` can't hold a node: /run, /proc, /sys and /dev are other directories inside it", .0.display())]
    HiddenDirectory(PathBuf),
    /// A node runs on this directory already.
    #[error("a node runs in `{}` already: `kitbag-node down` ends it", .0.display())]
    AlreadyUp(PathBuf),
    /// No node was started on this directory.
    #[error("no node runs in `{}`", .0.display())]
    NotUp(PathBuf),
    /// Every number that a node of a cluster can have is taken.
    #[error("the cluster in `{}` has had as many nodes as it can have: start another one", .0.display())]
    NoRoom(PathBuf),
    /// The calling program forgot its part.
    #[error("`kitbag_tests::machine::enter` was not called at the start of `main`")]
    EnterNotCalled,
    /// The control groups of this machine are not as expected.
    #[error("control groups: {0}")]
    ControlGroups(String),
    /// The node's processes ended, or something in it took too long.
    #[error("the node is not up: {what}; its logs are in `{}`\n{tail}", logs.display())]
    NotReady {
        /// What was waited for.
        what: String,
        /// Where all logs are.
        logs: PathBuf,
        /// The last lines of the most telling one.
        tail: String,
    },
    /// Something that was waited for did not happen.
    #[error("{what} did not happen within {seconds} s\n{seen}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// What was there instead.
        seen: String,
    },
    /// The tests' own store could not be made.
    #[error(transparent)]
    Store(#[from] kitbag_builder::store::StoreError),
    /// A program's answer was not in the form that it should have.
    #[error("cannot understand the answer of `{from}`: {answer}")]
    Answer {
        /// The program or file.
        from: String,
        /// What it said.
        answer: String,
    },
}

/// `.map_err(file("read", path))` names the path of a failed operation.
pub(crate) fn file<E: Into<io::Error>>(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> Error {
    move |source| Error::File { action, path: path.as_ref().to_path_buf(), source: source.into() }
}

/// Run to the end; standard input is empty; a status other than 0 is an error that shows the output.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().map_err(spawn(command))?;
    checked(command, output)
}

/// Run a command on this input; what it printed.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Result<String> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(spawn(command))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that doesn't read to the end has a reason, which it prints.
        let _ = stdin.write_all(input);
    }
    let output = checked(command, child.wait_with_output().map_err(spawn(command))?)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `output`, unless its status is not 0.
pub(crate) fn checked(command: &Command, output: Output) -> Result<Output> {
    if output.status.success() {
        return Ok(output);
    }
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    Err(Error::Failed {
        command: words(command).join(" "),
        status: output.status,
        output: tail(&String::from_utf8_lossy(&both), 20),
    })
}

/// `.map_err(spawn(&command))` names the program that didn't start.
pub(crate) fn spawn(command: &Command) -> impl FnOnce(io::Error) -> Error + use<> {
    let program = command.get_program().to_string_lossy().into_owned();
    move |source| Error::Spawn { program, source }
}

/// The last `lines` lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A command's program and arguments.
fn words(command: &Command) -> Vec<String> {
    let program = std::iter::once(command.get_program());
    program.chain(command.get_args()).map(|word| word.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_shows_what_it_printed() {
        let error = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("out\nerr"), "{text}");
    }

    #[test]
    fn a_tail_is_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }
}
