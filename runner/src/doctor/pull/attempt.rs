//! Pulls in earnest: makes the Jobs, watches what becomes of their pods, and deletes them on every way out. What a program
//! that is killed leaves behind, the cluster ends and removes by itself ([`super::job`]); where it did not, the next run does.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Outcome, Place, Run, job, observe};
use crate::refusal::{Asked, explain};
use crate::wait::Fault;

/// Between two looks at the pods.
const PAUSE: Duration = Duration::from_millis(300);
/// How long a node that cannot pull is given to try again: a little more than the kubelet's first pause.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a Job is given to make its pod before it is asked why not.
const NO_POD: Duration = Duration::from_secs(2);
/// How long the deletion may take.
const CLEANING: Duration = Duration::from_secs(10);
/// A Job that is still there so long after the cluster should have ended it is not of a run that goes on. More than clocks
/// differ in a cluster that works.
const LEFT: SignedDuration = SignedDuration::from_mins(5);

/// The pulls of one run.
pub struct Attempt<'a> {
    /// The Jobs of the namespace.
    pub jobs: Api<Job>,
    /// Its pods.
    pub pods: Api<Pod>,
    /// Its events.
    pub events: Api<Event>,
    /// The run.
    pub run: &'a Run,
    /// Where.
    pub places: &'a [Place],
    /// The namespace.
    pub namespace: &'a str,
}

impl<'a> Attempt<'a> {
    /// Nothing has been asked yet.
    #[must_use]
    pub fn new(client: &Client, namespace: &'a str, run: &'a Run, places: &'a [Place]) -> Self {
        let client = || client.clone();
        Self {
            jobs: Api::namespaced(client(), namespace),
            pods: Api::namespaced(client(), namespace),
            events: Api::namespaced(client(), namespace),
            run,
            places,
            namespace,
        }
    }

    /// One outcome for each place, within the limit of the run. Afterwards [`Self::clean`] has to be called, also where this
    /// was not waited for.
    pub async fn outcomes(&self) -> Vec<Outcome> {
        let end = Instant::now() + self.run.limit;
        let asked =
            Asked { namespace: self.namespace, verb: "create", resource: "jobs", container: "pull", reasons: "" };
        let makes = self.places.iter().enumerate().map(|(index, place)| async move {
            let made = job(self.run, index, place);
            match timeout_at(end, self.jobs.create(&PostParams::default(), &made)).await {
                Ok(Ok(_)) => waiting(place, "its Job has not made a pod"),
                Err(_) => waiting(place, "the API server has not answered"),
                Ok(Err(error)) => Outcome::NotMade { place: place.clone(), words: explain(&error, asked).to_string() },
            }
        });
        let mut outcomes = join_all(makes).await;
        let start = Instant::now();
        let mut unpulled: HashMap<usize, Instant> = HashMap::new();
        while Instant::now() < end {
            // What is known by then is what is told.
            let asked = timeout_at(end, async {
                self.look(&mut outcomes).await;
                if start.elapsed() >= NO_POD {
                    self.ask_why(&mut outcomes).await;
                }
            });
            let _ = asked.await;
            for (index, outcome) in outcomes.iter().enumerate() {
                if matches!(outcome, Outcome::NotPulled { .. }) {
                    unpulled.entry(index).or_insert_with(Instant::now);
                }
            }
            let is_final = |(index, outcome): (usize, &Outcome)| match outcome {
                Outcome::Waiting { .. } => false,
                Outcome::NotPulled { fault, .. } => {
                    fault.is_final() || unpulled.get(&index).is_some_and(|since| since.elapsed() >= PATIENCE)
                }
                _ => true,
            };
            if outcomes.iter().enumerate().all(is_final) {
                break;
            }
            sleep(PAUSE).await;
        }
        outcomes
    }

    /// Deletes the Jobs, those too that may have been made without an answer. Their pods go with them.
    pub async fn clean(&self) {
        let delete = |index| async move { self.jobs.delete(&self.run.name(index), &DeleteParams::background()).await };
        // The cluster removes what is left, if any is.
        let _ = timeout(CLEANING, join_all((0..self.places.len()).map(delete))).await;
    }

    /// Deletes what runs have left that were killed, in a cluster whose controllers were away.
    pub async fn remove_leftovers(&self, now: Timestamp) {
        let Ok(Ok(jobs)) = timeout(CLEANING, self.jobs.list(&ListParams::default().labels(&Run::any()))).await else {
            return;
        };
        let left = jobs.items.into_iter().filter(|job| {
            let limit = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds).unwrap_or_default();
            let ended = SignedDuration::from_secs(limit).saturating_add(LEFT);
            job.metadata.creation_timestamp.as_ref().is_some_and(|made| now.duration_since(made.0) > ended)
        });
        let names: Vec<String> = left.filter_map(|job| job.metadata.name).collect();
        let parameters = DeleteParams::background();
        let _ = timeout(CLEANING, join_all(names.iter().map(|name| self.jobs.delete(name, &parameters)))).await;
    }

    async fn look(&self, outcomes: &mut [Outcome]) {
        // Where there is no answer, the next look gets one, or the limit is reached.
        let Ok(pods) = self.pods.list(&ListParams::default().labels(&self.run.selector())).await else { return };
        let now = self.run.now();
        for pod in &pods.items {
            let owners = pod.metadata.owner_references.iter().flatten();
            let owner = owners.into_iter().find(|owner| owner.kind == "Job").map(|owner| owner.name.as_str());
            let index = (0..outcomes.len()).find(|index| owner == Some(&self.run.name(*index)));
            if let Some(outcome) = index.and_then(|index| outcomes.get_mut(index)) {
                *outcome = newer(outcome, observe(pod, now));
            }
        }
    }

    /// Why there is no pod.
    async fn ask_why(&self, outcomes: &mut [Outcome]) {
        let lacks = |outcome: &Outcome| matches!(outcome, Outcome::Waiting { made: false, .. });
        if !outcomes.iter().any(lacks) {
            return;
        }
        let refused = ListParams::default().fields("involvedObject.kind=Job,reason=FailedCreate");
        let Ok(events) = self.events.list(&refused).await else { return };
        for (index, outcome) in outcomes.iter_mut().enumerate().filter(|(_, outcome)| lacks(outcome)) {
            let name = self.run.name(index);
            let of_job = events.items.iter().rfind(|event| event.involved_object.name.as_ref() == Some(&name));
            if let (Some(words), Some(place)) = (of_job.and_then(|event| event.message.clone()), self.places.get(index))
            {
                *outcome = Outcome::NotMade { place: place.clone(), words };
            }
        }
    }
}

fn waiting(place: &Place, words: &str) -> Outcome {
    let node = match place {
        Place::Node(node) => Some(node.clone()),
        Place::Anywhere => None,
    };
    Outcome::Waiting { node, words: words.to_owned(), made: false }
}

/// While it waits to try again, the kubelet leaves out what was wrong.
fn newer(before: &Outcome, now: Outcome) -> Outcome {
    match (before, &now) {
        (Outcome::NotPulled { .. }, Outcome::NotPulled { fault: Fault::Unknown, .. } | Outcome::Waiting { .. }) => {
            before.clone()
        }
        _ => now,
    }
}
