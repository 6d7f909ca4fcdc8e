//! A session in one pod, from its container to its exit code: what the session reports is told before its output, and a
//! trace is left on the pod while it runs.

use std::cell::Cell;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kitbag_toolsets::{Name, Needs};
use tokio::sync::oneshot;

use super::enter::{Entered, Entry};
use super::errand::Errand;
use super::object::Object;
use crate::error::Error;
use crate::plan::INIT;
use crate::privileges::{Candidate, is_of_target};
use crate::progress::Progress;
use crate::report::Report;
use crate::sentences::{self, Facts, Said};
use crate::session::{self, Captured, Ended, Output, SessionError, Streams};
use crate::target::{self, Target};
use crate::trace::{Trace, Trail};

/// What kitbag-init, as every shell, returns when there is no such command.
const NOT_FOUND: u8 = 127;

/// A session that has ended.
pub(super) struct Visited {
    target: Target,
    entered: Entered,
    began: Timestamp,
    ended: Ended,
    /// What was said.
    notes: Vec<String>,
}

/// A visit that did not come to a session's end.
pub(super) struct Undone {
    pub(super) error: Error,
    /// The debug container, if there is one.
    pub(super) container: Option<String>,
    /// The output up to then.
    pub(super) captured: Option<Captured>,
}

impl<E: Into<Error>> From<E> for Undone {
    fn from(error: E) -> Self {
        Self { error: error.into(), container: None, captured: None }
    }
}

/// Runs the command in `pod`.
pub(super) async fn run(errand: &Errand, pod: &Pod, progress: &Progress, output: Output) -> Result<Visited, Undone> {
    let target = target::choose(pod, errand.arguments.container.as_deref())?;
    if let Some(warning) = &target.warning {
        progress.say(&format!("warning: {warning}"));
    }
    progress.done(&format!("pod `{}`, container `{}`", target.pod, target.container));
    let entry = Entry { errand, pod, target: &target, means: errand.means(&target.pod), progress };
    if let Some(entered) = entry.again() {
        progress.done(&format!("debug container `{}` is used again", entered.place.container));
        let opened = Cell::new(false);
        match converse(&entry, entered, output.clone(), &opened).await {
            // It came to its end in the moment between, or is another generation's: then a new one.
            Err(Undone {
                error: Error::Session(SessionError::Gone { .. } | SessionError::Generation | SessionError::Report(_)),
                ..
            }) if !opened.get() => {}
            result => return result,
        }
    }
    errand.check(&target.pod, progress)?;
    let entered = add(&entry).await?;
    let opened = Cell::new(false);
    let place = entered.place.clone();
    let result = converse(&entry, entered, output, &opened).await;
    if let Err(Undone { error: Error::Short(_), .. }) = result {
        // It was added for a tool that does not work in it: nobody will come back.
        let _ = session::ask(&place, &["end"]).await;
    }
    result
}

/// Adds a container. Where the target's user had to be guessed, a first session tells whether that was right; if it was
/// not, a second container has the right one.
async fn add(entry: &Entry<'_>) -> Result<Entered, Error> {
    let entered = entry.add(&entry.candidates()).await?;
    let needs = &entry.errand.image.needs;
    let matters = needs.values().flat_map(Needs::all).any(is_of_target);
    if !entered.candidate.guess || entered.attached || !matters {
        return Ok(entered);
    }
    let question = [INIT, "status"].map(str::to_owned).to_vec();
    let wanted =
        entry.session(&entered.candidate, entered.target_id.as_deref(), question, Streams { stdin: false, tty: false });
    let ended = session::run(&entered.place, &wanted, |_| Ok(()), Output::Captured { limit: 0 }).await?;
    let Some(report) = ended.report else { return Ok(entered) };
    let Some(right) = said(entry, &report, &entered.candidate, needs).uid_differs else { return Ok(entered) };
    let Some(corrected) = entered.candidate.corrected(right.0, right.1, entry.target) else { return Ok(entered) };
    entry.progress.say(&sentences::second(&report, right));
    // Nobody will come back to the first one; it would end by itself.
    let _ = session::ask(&entered.place, &["end"]).await;
    entry.add(&[corrected]).await
}

fn said(entry: &Entry<'_>, report: &Report, candidate: &Candidate, needs: &BTreeMap<Name, Needs>) -> Said {
    let Errand { namespace, .. } = entry.errand;
    sentences::of(&Facts { report, level: candidate.level, needs, namespace, target: entry.target })
}

/// The session. `opened` becomes true when it is open.
async fn converse(entry: &Entry<'_>, entered: Entered, output: Output, opened: &Cell<bool>) -> Result<Visited, Undone> {
    let Entry { errand, progress, .. } = *entry;
    let wanted = entry.wanted(&entered.candidate, entered.target_id.as_deref());
    let began = Timestamp::now();
    let mut notes = entered.left_out.clone();
    let tool = errand.tool();
    // For one command its own tool's needs matter; in a shell a person may use any.
    let needs: BTreeMap<Name, Needs> =
        errand.image.needs.iter().filter(|(name, _)| tool.is_none_or(|tool| tool == *name)).map(cloned).collect();
    let (open, is_open) = oneshot::channel();
    let on_report = |report: &Report| {
        opened.set(true);
        progress.done("the session is open");
        let said = said(entry, report, &entered.candidate, &needs);
        // Whether the tool works or not: it is there, and a container may have been added for it.
        let _ = open.send(());
        if let Some(fault) = tool.and_then(|tool| said.missing.get(tool).cloned()) {
            return Err(fault.into());
        }
        said.notes.iter().for_each(|note| progress.say(&format!("note: {note}")));
        notes.extend(said.notes);
        Ok(())
    };
    let session = async {
        if entered.attached {
            session::attach(&entered.place, &wanted, on_report, output).await
        } else {
            session::run(&entered.place, &wanted, on_report, output).await
        }
    };
    let trace = Trace {
        user: &errand.user,
        target: &entry.target.container,
        tools: &entered.tools,
        container: &entered.place.container,
        reason: errand.arguments.reason.as_deref(),
    };
    let events = errand.events();
    let trail = Trail { events: entry.means.trace.then_some(&events), pod: entry.pod, progress };
    let ended = trail.beside(session, is_open, &trace).await.map_err(|failed| Undone {
        error: failed.error,
        container: Some(entered.place.container.clone()),
        captured: failed.captured,
    })?;
    if let Some(first) = ended.first_output {
        progress.note(first, "first output");
    }
    progress.done(&format!("the session has ended, exit code {}", ended.code));
    if let Some(tool) = errand.request.missing_tool(&errand.catalog).filter(|_| ended.code == NOT_FOUND) {
        progress.say(&format!("hint: that command comes with the tool `{tool}`: name it before `--`"));
    }
    Ok(Visited { target: entry.target.clone(), entered, began, ended, notes })
}

fn cloned((name, needs): (&Name, &Needs)) -> (Name, Needs) {
    (name.clone(), needs.clone())
}

impl Visited {
    pub(super) fn code(&self) -> u8 {
        self.ended.code
    }

    pub(super) fn object(&self, errand: &Errand) -> Object {
        let Self { target, entered, began, ended, notes } = self;
        Object::of_session(errand, target, entered, *began, ended, notes)
    }
}
