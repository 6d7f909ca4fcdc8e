//! What is wrong with a command line that clap's own rules let through.

use std::path::PathBuf;

use crate::target::ReferenceError;

/// A command line that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// Nothing says what to debug.
    #[error("a TARGET is wanted, or a selector: -l app=shop")]
    NoTarget,
    /// Two things say what to debug.
    #[error("`{target}` is a target, and -l selects others: only one of the two can be meant")]
    TwoTargets {
        /// What was named.
        target: String,
    },
    /// The target makes no sense.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Two flags, or a flag and what it works on, do not go together.
    #[error("{flag} {fault}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// What it takes, or what it is at odds with.
        fault: &'static str,
    },
    /// The custom part of a container.
    #[error("--custom `{}`: {reason}", path.display())]
    Custom {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The command line that `rbac` was given.
    #[error("`kubectl kitbag {line}` is no command line: {reason}")]
    Line {
        /// The line.
        line: String,
        /// The first line of what is wrong with it.
        reason: String,
    },
}
