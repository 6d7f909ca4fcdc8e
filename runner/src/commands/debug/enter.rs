//! A container for the session: one that runs already and fits, else a new one.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use k8s_openapi::jiff::Timestamp;
use kitbag_toolsets::{Name, Needs};

use super::errand::Errand;
use crate::access::Means;
use crate::error::Error;
use crate::inject::{self, Added, Mode};
use crate::plan::{self, Plan, Planned};
use crate::privileges::{self, Attempts, Candidate, Level, Unmet};
use crate::progress::Progress;
use crate::reentry::{self, Debugger};
use crate::refusal::{Asked, Refusal};
use crate::sentences;
use crate::session::{self, Place, Streams, Wanted};
use crate::target::{self, Target};
use crate::wait::{self, Wait};

/// A container that runs.
pub(super) struct Entered {
    pub(super) place: Place,
    /// What it may do.
    pub(super) candidate: Candidate,
    /// The target's container, where its processes are not alone in its process namespace.
    pub(super) target_id: Option<String>,
    /// It is the one session that it was made for.
    pub(super) attached: bool,
    /// It was there before.
    pub(super) again: bool,
    /// Its image, as its specification has it.
    pub(super) image: String,
    /// Its tools and their versions.
    pub(super) tools: String,
    /// What of the target it does not have, and why.
    pub(super) left_out: Vec<String>,
}

/// What a container for `target` is to be.
pub(super) struct Entry<'a> {
    pub(super) errand: &'a Errand,
    pub(super) pod: &'a Pod,
    pub(super) target: &'a Target,
    pub(super) means: Means,
    pub(super) progress: &'a Progress,
}

impl Entry<'_> {
    /// What could be asked for, strongest first.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        privileges::candidates(&self.errand.image.needs, self.target, &self.errand.wishes)
    }

    /// One of the pod's debug containers that will do.
    pub(super) fn again(&self) -> Option<Entered> {
        let Errand { arguments, image, custom, .. } = self.errand;
        // What a custom container came to cannot be told from the outside.
        if arguments.new || custom.is_some() || !self.means.exec {
            return None;
        }
        let candidates = self.candidates();
        let running = reentry::running(self.pod);
        let tools: Vec<Name> = image.needs.keys().cloned().collect();
        let candidate = |debugger: &Debugger| {
            let level = debugger.level.as_deref()?.parse::<Level>().ok()?;
            let same_tools = debugger.tools.iter().all(|(tool, _)| image.needs.contains_key(tool));
            privileges::fitting(level, &debugger.context, &candidates, same_tools)
        };
        // Who may add containers can make one that looks like ours: only images of the registry that is trusted count.
        let exactly = arguments.image.image.is_some() || arguments.image.tag.is_some();
        let same_image = |debugger: &Debugger| {
            if exactly { debugger.image == image.reference } else { host(&debugger.image) == host(&image.reference) }
        };
        let fits = |debugger: &Debugger| {
            same_image(debugger) && debugger.view == self.errand.view() && candidate(debugger).is_some()
        };
        let wanted = reentry::Wanted { target: &self.target.container, tools: &tools, fits: &fits };
        let debugger = reentry::fitting(&running, &wanted, Timestamp::now())?;
        let level = debugger.level.as_deref()?.parse().ok()?;
        let meant = candidate(debugger)?;
        if let Some(user) = debugger.user.as_ref().filter(|user| **user != self.errand.user) {
            self.progress.say(&format!("note: debug container `{}` was added by user `{user}`", debugger.name));
        }
        Some(Entered {
            target_id: self.target.id_in_shared_namespace().map(str::to_owned),
            place: self.place(&debugger.name),
            candidate: Candidate { level, context: debugger.context.clone(), ..meant.clone() },
            attached: false,
            again: true,
            image: debugger.image.clone(),
            tools: debugger.listed.clone(),
            left_out: Vec::new(),
        })
    }

    /// Adds a container, and waits until it runs.
    pub(super) async fn add(&self, candidates: &[Candidate]) -> Result<Entered, Error> {
        let Errand { arguments, image, namespace, .. } = self.errand;
        let progress = self.progress;
        let pods = self.errand.pods();
        let name = plan::name(&self.target.names, plan::random);
        let (mut planned, added) = self.first_taken(&name, candidates, Mode::Earnest).await?;
        let Planned { container, notes } = planned.swap_remove(added.index);
        notes.iter().for_each(|note| progress.say(&format!("note: {note}")));
        let candidate = candidates[added.index].clone();
        let reasons = sentences::asks(&image.needs, &candidate);
        progress.done(&format!("container `{name}` added, with {reasons}"));

        let asked = Asked { namespace, verb: "watch", resource: "pods", container: &name, reasons: &reasons };
        let events = self.errand.events();
        let wait = Wait {
            pods: &pods,
            events: self.means.events.then_some(&events),
            starts: self.means.starts.then_some(&events),
            watch: self.means.watch,
            limit: arguments.timeout,
            asked,
        };
        wait::until_running(&wait, &added.pod, |state| progress.say(state)).await?;
        progress.done("container started");
        // The target may have been started again while we waited, or for the first time.
        let target_id = if self.target.shares_pid_namespace() {
            let now = pods.get(&self.target.pod).await;
            // Who found the pod by a selector need not be permitted to get it.
            let pod = now.as_ref().unwrap_or(self.pod);
            target::id_in_shared_namespace(pod, &self.target.container).map(str::to_owned)
        } else {
            None
        };
        Ok(Entered {
            target_id,
            place: self.place(&name),
            candidate,
            attached: !self.means.exec,
            again: false,
            image: container.image.unwrap_or_default(),
            tools: image.tools.clone(),
            left_out: notes,
        })
    }

    /// Asks whether the container would be taken, for trial. Returns the one that would.
    pub(super) async fn try_out(&self, candidates: &[Candidate]) -> Result<Planned, Error> {
        let name = plan::name(&self.target.names, plan::random);
        let (mut planned, taken) = self.first_taken(&name, candidates, Mode::Trial).await?;
        Ok(planned.swap_remove(taken.index))
    }

    /// The container that would be asked for first.
    pub(super) fn first(&self, candidates: &[Candidate]) -> Result<Planned, Error> {
        let name = plan::name(&self.target.names, plan::random);
        let needs = self.errand.named();
        let first = self.attempts(candidates, &needs).first().map_err(|unmet| self.short(&unmet))?;
        Ok(self.planned(&name, first))
    }

    async fn first_taken(
        &self,
        name: &str,
        candidates: &[Candidate],
        mode: Mode,
    ) -> Result<(Vec<Planned>, Added), Error> {
        let Errand { image, namespace, .. } = self.errand;
        let needs = self.errand.named();
        let attempts = self.attempts(candidates, &needs);
        let first = attempts.first().map_err(|unmet| self.short(&unmet))?;
        let position = candidates.iter().position(|candidate| candidate == first).unwrap_or_default();
        let planned: Vec<Planned> = candidates.iter().map(|candidate| self.planned(name, candidate)).collect();
        let containers: Vec<EphemeralContainer> = planned.iter().map(|planned| planned.container.clone()).collect();
        let reasons = sentences::asks(&image.needs, first);
        let asked = Asked {
            namespace,
            verb: "patch",
            resource: "pods/ephemeralcontainers",
            container: name,
            reasons: &reasons,
        };
        // The strongest was refused, and nothing that is left would be of use: that says more than the refusal.
        let next = |tried: usize, refusal: &Refusal| {
            let next = attempts.after(&candidates[tried], refusal).map_err(|unmet| self.short(&unmet))?;
            Ok(candidates.iter().position(|candidate| Some(candidate) == next))
        };
        let (pods, pod) = (self.errand.pods(), &self.target.pod);
        let added = inject::add(&pods, pod, &containers, position, next, asked, mode).await?;
        Ok((planned, added))
    }

    fn attempts<'b>(&'b self, candidates: &'b [Candidate], needs: &'b BTreeMap<Name, Needs>) -> Attempts<'b> {
        Attempts { candidates, wanted: needs, run: self.errand.tool(), target: self.target }
    }

    fn short(&self, unmet: &Unmet) -> Error {
        sentences::unmet(unmet, &self.errand.namespace, self.target).into()
    }

    fn planned(&self, name: &str, candidate: &Candidate) -> Planned {
        let Errand { arguments, image, custom, user, .. } = self.errand;
        let target_id = self.target.id_in_shared_namespace();
        let attached = (!self.means.exec).then(|| session::arguments(&self.wanted(candidate, target_id)));
        plan::container(&Plan {
            name,
            image,
            target: self.target,
            candidate,
            idle: arguments.idle,
            ttl: arguments.ttl,
            user: Some(user),
            reason: arguments.reason.as_deref(),
            view: self.errand.view(),
            custom: custom.as_ref(),
            attached: attached.as_deref(),
        })
    }

    /// The session that is wanted.
    pub(super) fn wanted(&self, candidate: &Candidate, target_id: Option<&str>) -> Wanted {
        let Errand { request, streams, .. } = self.errand;
        self.session(candidate, target_id, request.command.clone(), *streams)
    }

    /// A session of some command.
    pub(super) fn session(
        &self,
        candidate: &Candidate,
        target_id: Option<&str>,
        command: Vec<String>,
        streams: Streams,
    ) -> Wanted {
        Wanted {
            becomes: candidate.becomes,
            target_id: target_id.map(str::to_owned),
            shared: self.target.shares_pid_namespace(),
            patience: self.errand.arguments.patience,
            ..Wanted::new(command, streams)
        }
    }

    fn place(&self, container: &str) -> Place {
        Place {
            client: self.errand.client.clone(),
            namespace: self.errand.namespace.clone(),
            pod: self.target.pod.clone(),
            container: container.to_owned(),
        }
    }
}

/// The registry of a reference.
fn host(reference: &str) -> &str {
    reference.split('/').next().unwrap_or(reference)
}
