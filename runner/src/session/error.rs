//! What breaks a session, and what to do then.

use std::io;

use crate::error::Kind;
use crate::report::ReportError;

/// What breaks a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The runtime could not start kitbag-init.
    #[error("the session could not be started: {0}")]
    Exec(String),
    /// The image is another generation's.
    #[error("the image's kitbag-init does not know what it was asked for")]
    Generation,
    /// kitbag-init could not start the command.
    #[error("kitbag-init could not start the session (exit code {code}): {said}")]
    NotStarted {
        /// Its exit code.
        code: u8,
        /// Its complaint.
        said: String,
    },
    /// The first line is something else.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The status at the end cannot be read.
    #[error("the exit code cannot be read: {0}")]
    Status(String),
    /// The connection ended before the command.
    #[error("the connection to the cluster was lost during the session: {reason}")]
    Lost {
        /// The pod.
        pod: String,
        /// Its namespace.
        namespace: String,
        /// The debug container.
        container: String,
        /// Whether the container is this one session.
        attached: bool,
        /// How.
        reason: String,
    },
    /// The container has ended, and with it the session.
    #[error("the debug container `{container}` has ended: {reason}")]
    Gone {
        /// The container.
        container: String,
        /// How.
        reason: String,
    },
    /// kitbag-init does not answer.
    #[error("the debug container `{container}` has not answered within {seconds} s")]
    Silent {
        /// The container.
        container: String,
        /// The limit.
        seconds: u64,
    },
    /// Our own output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[source] io::Error),
    /// The terminal cannot be set up.
    #[error("the terminal cannot be set up: {0}")]
    Terminal(#[source] io::Error),
}

/// kitbag-init's exit code for a command line that it does not understand, among others.
const USAGE: u8 = 125;

impl SessionError {
    /// What it means that kitbag-init ended without a report, having said this on stderr.
    pub(super) fn unopened(code: u8, said: &str) -> Self {
        if code == USAGE && said.contains("usage: ") {
            return Self::Generation;
        }
        let said = match said.trim() {
            "" => "it did not say why",
            said => said,
        };
        Self::NotStarted { code, said: said.to_owned() }
    }

    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Exec(_) | Self::Generation | Self::NotStarted { .. } | Self::Report(_) => Kind::Start,
            Self::Status(_) | Self::Lost { .. } | Self::Gone { .. } | Self::Silent { .. } => Kind::Session,
            Self::Output(_) | Self::Terminal(_) => Kind::Internal,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Lost { attached: true, .. } => {
                Some("the debug container ends with its one session: run the command again".to_owned())
            }
            Self::Lost { pod, namespace, container, .. } => Some(format!(
                "the debug container stays until it is idle: `kubectl kitbag attach {pod} -n {namespace} -c {container}` opens a new session in it"
            )),
            Self::Gone { .. } => {
                Some("as long as the pod is there, `kubectl kitbag debug` adds another one".to_owned())
            }
            Self::Generation | Self::Report(_) => Some(format!(
                "this is kubectl-kitbag {}: use an image of the same generation, or --new if an older container was re-entered",
                env!("CARGO_PKG_VERSION")
            )),
            Self::Exec(reason) if reason.contains("kitbag-init") && reason.contains("no such file") => Some(
                "the image has no kitbag-init: only those that kitbag composes, or that are built on one, will do"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Whether these words of a kubelet or a runtime say that the container does not run.
pub(super) fn says_gone(message: &str) -> bool {
    const WORDS: [&str; 6] = [
        "container not found",
        "not found in pod",
        "CONTAINER_EXITED",
        "no running task found",
        "cannot exec in a stopped",
        "is not running",
    ];
    WORDS.iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_early_end_means_depends_on_what_was_said() {
        let text = |code, said| {
            let error = SessionError::unopened(code, said);
            format!("{error}\n  {}", error.hint().as_deref().unwrap_or("(no hint)"))
        };
        let texts = [
            text(125, "kitbag-init: usage: kitbag-init session -- COMMAND\n"),
            text(125, "kitbag-init: the target is not visible, so `{pid}` cannot be replaced\n"),
            text(137, ""),
        ];
        insta::assert_snapshot!(texts.join("\n"), @r"
        the image's kitbag-init does not know what it was asked for
          this is kubectl-kitbag 0.1.0: use an image of the same generation, or --new if an older container was re-entered
        kitbag-init could not start the session (exit code 125): kitbag-init: the target is not visible, so `{pid}` cannot be replaced
          (no hint)
        kitbag-init could not start the session (exit code 137): it did not say why
          (no hint)
        ");
    }

    #[test]
    fn a_broken_session_comes_with_the_way_back() {
        let lost = |attached| SessionError::Lost {
            pod: "shop".to_owned(),
            namespace: "web".to_owned(),
            container: "kitbag-b2c4d".to_owned(),
            attached,
            reason: "Connection reset by peer".to_owned(),
        };
        let exec = r#"failed to exec in container: exec: "/usr/bin/kitbag-init": stat /usr/bin/kitbag-init: no such file or directory"#;
        let errors = [
            lost(false),
            lost(true),
            SessionError::Gone { container: "kitbag-b2c4d".to_owned(), reason: "exit code 0".to_owned() },
            SessionError::Exec(exec.to_owned()),
        ];
        let text = |error: SessionError| format!("{error}\n  {}", error.hint().unwrap_or_default());
        insta::assert_snapshot!(errors.map(text).join("\n"), @r#"
        the connection to the cluster was lost during the session: Connection reset by peer
          the debug container stays until it is idle: `kubectl kitbag attach shop -n web -c kitbag-b2c4d` opens a new session in it
        the connection to the cluster was lost during the session: Connection reset by peer
          the debug container ends with its one session: run the command again
        the debug container `kitbag-b2c4d` has ended: exit code 0
          as long as the pod is there, `kubectl kitbag debug` adds another one
        the session could not be started: failed to exec in container: exec: "/usr/bin/kitbag-init": stat /usr/bin/kitbag-init: no such file or directory
          the image has no kitbag-init: only those that kitbag composes, or that are built on one, will do
        "#);
    }

    #[test]
    fn a_session_that_broke_is_told_from_one_that_did_not_start_and_from_a_fault_here() {
        let (reason, container) = ("no".to_owned(), "kitbag-b2c4d".to_owned());
        for (error, kind) in [
            (SessionError::Exec(reason.clone()), Kind::Start),
            (SessionError::Generation, Kind::Start),
            (SessionError::unopened(1, ""), Kind::Start),
            (ReportError::TooLong.into(), Kind::Start),
            (SessionError::Status(reason.clone()), Kind::Session),
            (SessionError::Gone { container: container.clone(), reason }, Kind::Session),
            (SessionError::Silent { container, seconds: 1 }, Kind::Session),
            (SessionError::Output(io::ErrorKind::StorageFull.into()), Kind::Internal),
            (SessionError::Terminal(io::ErrorKind::Other.into()), Kind::Internal),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[test]
    fn a_container_that_has_ended_is_told_from_a_command_that_cannot_be_started() {
        assert!(says_gone(r#"container not found ("kitbag-b2c4d")"#));
        assert!(says_gone("container is in CONTAINER_EXITED state"));
        assert!(!says_gone(r#"exec: "/usr/bin/kitbag-init": stat: no such file or directory"#));
    }
}
