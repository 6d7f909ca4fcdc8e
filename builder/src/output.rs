//! What the program says at its end: errors with hints and exit codes, sizes for people.

use std::fmt::Write as _;
use std::process::ExitCode;

use kitbag_builder::build::BuildError;
use kitbag_builder::cargo::CargoError;
use kitbag_builder::engine::{EngineError, UnitError};
use kitbag_builder::fs::FsError;
use kitbag_builder::publish::PublishError;
use kitbag_builder::publish::credentials::CredentialError;
use kitbag_builder::publish::push::PushError;
use kitbag_builder::server::ServerError;
use kitbag_builder::store::StoreError;

/// What an error is about; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The answer is no.
    Mismatch,
    /// The command line.
    Usage,
    /// A source.
    Source,
    /// A recipe.
    Build,
    /// The store.
    Store,
    /// This machine.
    Host,
    /// A registry of somebody else's.
    Registry,
    /// A signal.
    Interrupted,
}

impl Kind {
    /// The exit code, as `--help` has it.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Mismatch => 1,
            Self::Usage => 2,
            Self::Source => 3,
            Self::Build => 4,
            Self::Store => 5,
            Self::Host => 6,
            Self::Registry => 7,
            Self::Interrupted => 130,
        }
    }
}

/// An error, as it is shown.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: Kind,
    message: String,
    hints: Vec<String>,
}

impl CommandError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// With a line that says what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The text, as it is printed.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        for hint in &self.hints {
            // Writing into a string does not fail.
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }

    /// Prints it and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        eprint!("{}", self.text());
        ExitCode::from(self.kind.code())
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::new(Kind::Store, error.to_string())
    }
}

impl From<PublishError> for CommandError {
    fn from(error: PublishError) -> Self {
        let kind = match &error {
            PublishError::NoPlatform { .. } | PublishError::SeveralPlatforms(_) => Kind::Usage,
            PublishError::IsStore(_) | PublishError::NotAFile(_) => Kind::Usage,
            PublishError::Layer { .. } | PublishError::Store(_) => Kind::Store,
            PublishError::Busy(_) | PublishError::Fs(_) => Kind::Host,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ServerError> for CommandError {
    fn from(error: ServerError) -> Self {
        let kind = match &error {
            ServerError::Program { .. } | ServerError::NotAProgram(_) => Kind::Usage,
            ServerError::NoBase(_) | ServerError::Store(_) | ServerError::Layer(_) => Kind::Store,
        };
        let message = error.to_string();
        match kind {
            Kind::Usage => {
                Self::new(kind, message).hint("`cargo xtask release` builds the programs that go into images")
            }
            _ => Self::new(kind, message),
        }
    }
}

impl From<CredentialError> for CommandError {
    fn from(error: CredentialError) -> Self {
        Self::new(Kind::Host, error.to_string())
    }
}

impl From<PushError> for CommandError {
    fn from(error: PushError) -> Self {
        let message = error.to_string();
        match error {
            PushError::Content(error) => error.into(),
            PushError::Refused { registry, .. } => Self::new(Kind::Registry, message)
                .hint(format!("log in with `docker login {registry}` or `podman login {registry}`")),
            PushError::Unreachable { .. } => Self::new(Kind::Registry, message)
                .hint("a registry without TLS that is not on this machine wants --insecure"),
            PushError::Answer { .. } => Self::new(Kind::Registry, message),
        }
    }
}

impl From<FsError> for CommandError {
    fn from(error: FsError) -> Self {
        Self::new(Kind::Host, error.to_string())
    }
}

impl From<EngineError> for CommandError {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::Sources(errors) => {
                let error = Self::new(Kind::Source, message);
                if errors.iter().any(|error| error.wrong_hash) {
                    return error.hint("a file with another hash is never used: compare it with upstream's signature");
                }
                error.hint("put the archives into a directory and name it with --sources")
            }
            EngineError::Toolchain(_) | EngineError::Fs(_) | EngineError::Cargo(_) => Self::new(Kind::Host, message),
            EngineError::Failed(failures) => {
                let on_host = |error: &UnitError| {
                    matches!(
                        error,
                        UnitError::Fs(_)
                            | UnitError::DamagedCache(_)
                            | UnitError::Build(
                                BuildError::Fs(_)
                                    | BuildError::Cargo(CargoError::NoTarget { .. })
                                    | BuildError::Process(_)
                            )
                    )
                };
                let kind =
                    if failures.failed.iter().all(|(_, error)| on_host(error)) { Kind::Host } else { Kind::Build };
                Self::new(kind, message).hint("the store is as it was; what was built is kept for the next time")
            }
            EngineError::Locked(differences) => {
                let error = Self::new(Kind::Mismatch, message).hint("the store is as it was");
                if differences.iter().any(|difference| {
                    difference.expected.as_ref().is_none_or(|locked| locked.input != difference.actual.input)
                }) {
                    return error.hint(
                        "if the change is meant, run `kitbag-builder build --update-lock toolsets/catalog.lock`",
                    );
                }
                error
            }
            EngineError::Store(_) => Self::new(Kind::Store, message),
            EngineError::Interrupted => Self::new(Kind::Interrupted, message),
        }
    }
}

/// A number of bytes for people.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kitbag_builder::engine::Failures;
    use kitbag_builder::sources::SourceError;

    use super::*;

    fn text(error: EngineError) -> String {
        let error = CommandError::from(error);
        format!("{}exit {}", error.text(), error.kind.code())
    }

    #[test]
    fn a_failed_step_names_the_recipe_the_step_and_the_log() {
        let step = BuildError::Step {
            step: "make -j$JOBS".to_owned(),
            status: "exit status: 2".to_owned(),
            last: "a.c:1: error: no\nmake: *** [a.o] Error 1".to_owned(),
            log: PathBuf::from("/logs/strace-6.1-arm64.log"),
        };
        let failures = Failures {
            failed: vec![("strace-6.1-arm64".to_owned(), UnitError::Build(step))],
            skipped: vec!["other-1-arm64".to_owned()],
        };
        insta::assert_snapshot!(text(EngineError::Failed(failures)), @"
        error: strace-6.1-arm64: `make -j$JOBS` failed (exit status: 2)
            | a.c:1: error: no
            | make: *** [a.o] Error 1
            the whole log: /logs/strace-6.1-arm64.log
        not tried because of that: other-1-arm64
        hint: the store is as it was; what was built is kept for the next time
        exit 4
        ");
    }

    #[test]
    fn a_source_that_cannot_be_had_names_every_origin() {
        let error = |wrong_hash| SourceError {
            file: "strace_6.1.orig.tar.xz".to_owned(),
            sha256: "25".to_owned(),
            tried: vec![("directory `/mine`".to_owned(), "it is not there".to_owned())],
            wrong_hash,
        };
        insta::assert_snapshot!(text(EngineError::Sources(vec![error(false)])), @"
        error: cannot get `strace_6.1.orig.tar.xz` (SHA-256 25):
            directory `/mine`: it is not there
        hint: put the archives into a directory and name it with --sources
        exit 3
        ");
        insta::assert_snapshot!(text(EngineError::Sources(vec![error(true)])), @"
        error: cannot get `strace_6.1.orig.tar.xz` (SHA-256 25):
            directory `/mine`: it is not there
        hint: a file with another hash is never used: compare it with upstream's signature
        exit 3
        ");
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([size(999), size(440_123), size(2_500_000)], ["999 B", "440.1 kB", "2.5 MB"]);
    }
}
