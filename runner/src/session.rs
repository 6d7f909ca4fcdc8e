//! A session: a command in the debug container, with this terminal or these streams as its own.
//!
//! The other end is `kitbag-init session` (`kitbag-init attached` where an exec is not permitted): it hears frames on its
//! input and says a report, then the command's output. What goes over the wire is [`frame`]'s and the channel's; who may
//! start what is said elsewhere.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use kube::Client;

use crate::error::Error;
use crate::plan::INIT;
use crate::report::Report;
use crate::signals;
use crate::terminal::{self, Raw};

mod ask;
mod connect;
mod ending;
mod error;
pub mod frame;
mod lines;
mod opening;
mod output;
mod pump;
mod receive;
mod send;
mod wanted;

pub use ask::ask;
pub use ending::{Ending, ending};
pub use error::SessionError;
pub use output::{Captured, Output};
pub use wanted::{PATIENCE, Pace, Streams, Terminal, Wanted};

use connect::{Stdin, To, connect};
use ending::has_ended;
use output::Writer;
use pump::{Broken, End, Ours};
use receive::Seen;

/// How long the pod's status is waited for that says whether the container has ended with a session.
const FATE: Duration = Duration::from_secs(2);
/// How long the pod's status is waited for that has the exit code of a container that was attached to.
const CODE: Duration = Duration::from_secs(5);
/// What kitbag-init, and what the runtime, leaves of sessions whose container ends.
const HUNG_UP: u8 = 128 + signals::HUP;
const KILLED: u8 = 128 + signals::KILL;

/// Where sessions run.
#[derive(Clone)]
pub struct Place {
    /// The connection.
    pub client: Client,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The debug container.
    pub container: String,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The command's exit code.
    pub code: u8,
    /// When the first output came.
    pub first_output: Option<Instant>,
    /// What kitbag-init said of the session. There is none where the user ended it before.
    pub report: Option<Report>,
    /// The output, where it was to be captured.
    pub captured: Option<Captured>,
}

/// A session that did not end well.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: Error,
    /// What kitbag-init said of the session, if it came to that.
    pub report: Option<Report>,
    /// The output up to then, where it was to be captured.
    pub captured: Option<Captured>,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, report: None, captured: None }
    }
}

/// Runs a command to its end, in an exec of its own. `on_report` is called before any of its output is written; where it
/// fails, the command is ended. Ctrl-C is passed on; the second time, and on SIGTERM and SIGHUP, the command is ended.
///
/// # Errors
/// [`SessionError`], or what the API server refuses; with what the session has come to.
pub async fn run(
    place: &Place,
    wanted: &Wanted,
    on_report: impl FnOnce(&Report) -> Result<(), Error>,
    output: Output,
) -> Result<Ended, Failed> {
    let command = [INIT, "session"].map(str::to_owned).into_iter().chain(arguments(wanted)).collect();
    let (end, left) = converse(place, To::Exec(command, Stdin::Open), wanted, on_report, output).await;
    match end {
        // A container that ends takes its sessions along, but a command can also get these signals alone.
        Ok(End::Status(code @ (HUNG_UP | KILLED))) => match has_ended(place, FATE).await {
            Ok(Some(ending)) => Err(left.failed(place.gone(ending.to_string()).into())),
            // The pod's status comes up to a second late. The container itself knows at once.
            Ok(None) | Err(_) => match ask(place, &["status"]).await {
                Err(gone @ Error::Session(SessionError::Gone { .. })) => Err(left.failed(place.fate(gone).await)),
                Ok(_) | Err(_) => Ok(left.ended(code)),
            },
        },
        Ok(End::Status(code) | End::Killed(code) | End::Left(code)) => Ok(left.ended(code)),
        Err(broken) => Err(left.failed(place.fate(place.explain(broken, false)).await)),
    }
}

/// Runs the command that the container was made for, `kitbag-init attached`, by attaching to it. Otherwise as [`run`].
///
/// # Errors
/// [`SessionError`], or what the API server refuses; with what the session has come to.
pub async fn attach(
    place: &Place,
    wanted: &Wanted,
    on_report: impl FnOnce(&Report) -> Result<(), Error>,
    output: Output,
) -> Result<Ended, Failed> {
    let (end, left) = converse(place, To::Attach, wanted, on_report, output).await;
    let broken = match end {
        Ok(End::Left(code)) => return Ok(left.ended(code)),
        // The status of an attach knows nothing of the command, and it may get lost.
        Ok(End::Status(_) | End::Killed(_)) => None,
        Err(broken @ (Broken::Lost(_) | Broken::Session(SessionError::NotStarted { .. }))) => Some(broken),
        Err(broken) => return Err(left.failed(place.fate(place.explain(broken, true)).await)),
    };
    let unknown = |reason: String| Broken::Session(SessionError::Status(reason));
    let broken = match (ending(place, CODE).await, broken) {
        (Ok(Some(Ending::Container { code, .. })), _) if left.seen.report.is_some() => return Ok(left.ended(code)),
        (Ok(Some(ending)), _) => return Err(left.failed(place.gone(ending.to_string()).into())),
        (Ok(None) | Err(_), Some(broken)) => broken,
        (Ok(None), None) => unknown("the pod's status does not have it yet".to_owned()),
        (Err(error), None) => unknown(error.to_string()),
    };
    Err(left.failed(place.explain(broken, true)))
}

/// The arguments of `kitbag-init session`, and of `kitbag-init attached` after those that are about the container, on
/// this terminal.
#[must_use]
pub fn arguments(wanted: &Wanted) -> Vec<String> {
    wanted.arguments(&terminal::describe())
}

/// What is left of a conversation.
#[derive(Default)]
struct Left {
    seen: Seen,
    captured: Option<Captured>,
}

impl Left {
    fn ended(self, code: u8) -> Ended {
        Ended { code, first_output: self.seen.first_output, report: self.seen.report, captured: self.captured }
    }

    fn failed(self, error: Error) -> Failed {
        Failed { error, report: self.seen.report, captured: self.captured }
    }
}

async fn converse(
    place: &Place,
    to: To,
    wanted: &Wanted,
    on_report: impl FnOnce(&Report) -> Result<(), Error>,
    output: Output,
) -> (Result<End, Broken>, Left) {
    let mut left = Left::default();
    let mut writer = Writer::new(output, terminal::output(), terminal::errors());
    let end = talk(place, to, wanted, on_report, &mut writer, &mut left.seen).await;
    left.captured = writer.finish().await.unwrap_or_default();
    (end, left)
}

async fn talk(
    place: &Place,
    to: To,
    wanted: &Wanted,
    on_report: impl FnOnce(&Report) -> Result<(), Error>,
    writer: &mut Writer<terminal::Output, terminal::Output>,
    seen: &mut Seen,
) -> Result<End, Broken> {
    let Streams { stdin, tty } = wanted.streams;
    let socket = connect(place, to).await.map_err(Broken::Other)?;
    let _ours = signals::Claim::new();
    // What is said about the report is said to a terminal that is not raw yet.
    let mut raw = None;
    let opened = |report: &Report| {
        on_report(report)?;
        raw = tty.then(Raw::enter).transpose().map_err(SessionError::Terminal)?;
        Ok(())
    };
    let ours = Ours {
        input: stdin.then(|| terminal::input(tty)),
        writer,
        signals: signals::signals().map_err(SessionError::Terminal)?,
        sizes: if tty { signals::sizes().map_err(SessionError::Terminal)? } else { stream::pending().boxed() },
        prompt: tty || !stdin,
        pace: Pace { beat: wanted.beat(), ..wanted.pace },
    };
    pump::talk(socket, ours, seen, opened).await
}

impl Place {
    fn gone(&self, reason: String) -> SessionError {
        SessionError::Gone { container: self.container.clone(), reason }
    }

    /// What broke, by the names that people know.
    fn explain(&self, broken: Broken, attached: bool) -> Error {
        match broken {
            Broken::Lost(reason) => {
                let Self { pod, namespace, container, .. } = self.clone();
                SessionError::Lost { pod, namespace, container, attached, reason }.into()
            }
            // A container that is gone is not a command that cannot be started.
            Broken::Session(SessionError::Exec(reason)) if error::says_gone(&reason) => self.gone(reason).into(),
            Broken::Session(error) => error.into(),
            Broken::Other(error) => error,
        }
    }

    /// The error, or the end of the container where that is behind it: what the pod's status says of it says more.
    async fn fate(&self, error: Error) -> Error {
        let may_be_gone = match &error {
            Error::Session(SessionError::Gone { .. } | SessionError::Lost { .. }) => true,
            Error::Session(SessionError::NotStarted { code, .. }) => [HUNG_UP, KILLED].contains(code),
            _ => false,
        };
        if !may_be_gone {
            return error;
        }
        match ending(self, FATE).await {
            Ok(Some(ending)) => self.gone(ending.to_string()).into(),
            Ok(None) | Err(_) => error,
        }
    }
}

#[cfg(test)]
mod tests;
