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
use crate::privileges::Candidate;
use crate::progress::Progress;
use crate::report::Report;
use crate::sentences::{self, Facts, Said};
use crate::session::{self, Ended, Output, SessionError, Streams};
use crate::target::{self, Target};
use crate::trace::{self, Trace};

/// What kitbag-init, as every shell, returns when there is no such command.
const NOT_FOUND: u8 = 127;

/// A session that has ended.
pub(super) struct Visited {
    target: Target,
    entered: Entered,
    began: Timestamp,
    ended: Ended,
    notes: Vec<String>,
}

/// Runs the command in `pod`.
pub(super) async fn run(errand: &Errand, pod: &Pod, progress: &Progress, output: Output) -> Result<Visited, Error> {
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
            // It came to its end in the moment between: then a new one, as if it had not been there.
            Err(Error::Session(SessionError::Gone { .. })) if !opened.get() => {}
            result => return result.map(|done| done.of(target.clone())),
        }
    }
    errand.check(&target.pod, progress)?;
    let left_out = entry.left_out();
    left_out.iter().for_each(|note| progress.say(&format!("note: {note}")));
    let entered = add(&entry).await?;
    let mut done = converse(&entry, entered, output, &Cell::new(false)).await?;
    done.notes.splice(0..0, left_out);
    Ok(done.of(target.clone()))
}

/// Adds a container. Where the target's user had to be guessed, a first session tells whether that was right; if it was
/// not, a second container has the right one.
async fn add(entry: &Entry<'_>) -> Result<Entered, Error> {
    let entered = entry.add(&entry.candidates()).await?;
    if !entered.candidate.guess || entered.attached {
        return Ok(entered);
    }
    let question = [INIT, "status"].map(str::to_owned).to_vec();
    let wanted = entry.session(&entered.candidate, question, Streams { stdin: false, tty: false });
    let ended = session::run(&entered.place, &wanted, |_| Ok(()), Output::Captured { limit: 0 }).await?;
    let Some(report) = ended.report else { return Ok(entered) };
    let needs = &entry.errand.image.needs;
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

/// A session that has ended, of a target that is told later.
struct Done {
    entered: Entered,
    began: Timestamp,
    ended: Ended,
    notes: Vec<String>,
}

impl Done {
    fn of(self, target: Target) -> Visited {
        let Self { entered, began, ended, notes } = self;
        Visited { target, entered, began, ended, notes }
    }
}

/// The session. `opened` becomes true when it is open.
async fn converse(entry: &Entry<'_>, entered: Entered, output: Output, opened: &Cell<bool>) -> Result<Done, Error> {
    let Entry { errand, progress, .. } = *entry;
    let wanted = entry.wanted(&entered.candidate);
    let began = Timestamp::now();
    let mut notes = Vec::new();
    let tool = errand.tool();
    // For one command its own tool's needs matter; in a shell a person may use any.
    let needs: BTreeMap<Name, Needs> =
        errand.image.needs.iter().filter(|(name, _)| tool.is_none_or(|tool| tool == *name)).map(cloned).collect();
    let (open, is_open) = oneshot::channel();
    let on_report = |report: &Report| {
        opened.set(true);
        progress.done("the session is open");
        let said = said(entry, report, &entered.candidate, &needs);
        if let Some(fault) = tool.and_then(|tool| said.missing.get(tool).cloned()) {
            return Err(fault.into());
        }
        said.notes.iter().for_each(|note| progress.say(&format!("note: {note}")));
        notes = said.notes;
        let _ = open.send(());
        Ok(())
    };
    let session = async {
        if entered.attached {
            session::attach(&entered.place, &wanted, on_report, output).await
        } else {
            session::run(&entered.place, &wanted, on_report, output).await
        }
    };
    // Once it is open: nobody should wait for the trace, and what did not open leaves none.
    let trace = async {
        if is_open.await.is_ok() {
            leave_trace(entry, &entered).await;
        }
    };
    let (ended, ()) = tokio::join!(session, trace);
    let ended = ended?;
    if let Some(first) = ended.first_output {
        progress.note(first, "first output");
    }
    progress.done(&format!("the session has ended, exit code {}", ended.code));
    if let Some(tool) = errand.request.missing_tool(&errand.catalog).filter(|_| ended.code == NOT_FOUND) {
        progress.say(&format!("hint: that command comes with the tool `{tool}`: name it before `--`"));
    }
    Ok(Done { entered, began, ended, notes })
}

fn cloned((name, needs): (&Name, &Needs)) -> (Name, Needs) {
    (name.clone(), needs.clone())
}

async fn leave_trace(entry: &Entry<'_>, entered: &Entered) {
    let Entry { errand, pod, target, means, progress } = entry;
    if !means.trace {
        return;
    }
    let trace = Trace {
        user: &errand.user,
        target: &target.container,
        tools: &entered.tools,
        container: &entered.place.container,
        reason: errand.arguments.reason.as_deref(),
    };
    if let Err(error) = trace::leave(&errand.events(), &trace::event(&trace, pod, Timestamp::now())).await {
        progress.done(&error);
    }
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
