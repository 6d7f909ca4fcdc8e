//! Adding the container to the pod. Candidates are tried in earnest, the strongest first: a refusal leaves nothing behind,
//! so that a trial before each would only be one more request.

use std::time::Duration;

use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use tokio::time::{Instant, sleep};

use crate::cluster::FIELD_MANAGER;
use crate::error::Error;
use crate::plan;
use crate::refusal::{Asked, Refusal, best, explain};

/// How long it is tried again when the server does not answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first pause between two tries; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What was taken.
#[derive(Clone, Debug)]
pub struct Added {
    /// The pod as it is then.
    pub pod: Pod,
    /// Which of the candidates.
    pub index: usize,
}

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The container is added.
    Earnest,
    /// The server judges and changes nothing.
    Trial,
}

/// Adds the first of `candidates` that is taken, beginning with number `first`. After each refusal, `next` says which to
/// try then, if any. All have the same name, which no container of the pod has.
///
/// # Errors
/// The refusal that explains most; what `next` makes of one by Pod Security, if that is an error. For trial also
/// [`Refusal::NoDryRun`].
pub async fn add(
    pods: &Api<Pod>,
    pod: &str,
    candidates: &[EphemeralContainer],
    first: usize,
    mut next: impl FnMut(usize, &Refusal) -> Result<Option<usize>, Error>,
    asked: Asked<'_>,
    mode: Mode,
) -> Result<Added, Error> {
    let mut refusals = Vec::new();
    let mut index = first;
    // Each at most once, whatever `next` says.
    let mut left: Vec<Option<&EphemeralContainer>> = candidates.iter().map(Some).collect();
    while let Some(candidate) = left.get_mut(index).and_then(Option::take) {
        match surely(pods, pod, candidate, mode).await.map_err(|error| explain(&error, asked)) {
            Ok(pod) => return Ok(Added { pod, index }),
            Err(Error::Refused(refusal)) => {
                let then = next(index, &refusal);
                let of_pod_security = matches!(refusal, Refusal::PodSecurity { .. });
                refusals.push(refusal);
                match then {
                    Ok(Some(then)) => index = then,
                    Ok(None) => break,
                    // What Pod Security lets through is known, so that it can be said what falls short. Of a policy only
                    // its own words are.
                    Err(error) if of_pod_security => return Err(error),
                    Err(_) => break,
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(best(refusals).map_or_else(|| Error::Unreachable("there was nothing to ask for".to_owned()), Error::Refused))
}

/// Sends the patch until there is an answer that is one. Where the answer was lost, the pod says whether the container
/// was added; sending it again would do no harm either, as the name stays the same.
async fn surely(pods: &Api<Pod>, pod: &str, container: &EphemeralContainer, mode: Mode) -> kube::Result<Pod> {
    let end = Instant::now() + PATIENCE;
    let mut pause = PAUSE;
    loop {
        let error = match send(pods, pod, container, mode).await {
            Err(error) if is_no_answer(&error) && Instant::now() + pause < end => error,
            answer => return answer,
        };
        // A server may ask for more patience than there is.
        let left = end.saturating_duration_since(Instant::now());
        sleep(crate::refusal::retry_after(&error).unwrap_or(pause).min(left)).await;
        pause = LONGEST_PAUSE.min(pause * 2);
        if mode == Mode::Earnest
            && let Ok(pod) = pods.get(pod).await
            && has(&pod, &container.name)
        {
            return Ok(pod);
        }
    }
}

async fn send(pods: &Api<Pod>, pod: &str, container: &EphemeralContainer, mode: Mode) -> kube::Result<Pod> {
    let dry_run = mode == Mode::Trial;
    let parameters = PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    // A strategic merge patch adds to the list, where the other kinds would replace it.
    pods.patch_ephemeral_containers(pod, &parameters, &Patch::Strategic(plan::patch(container))).await
}

/// Whether it may yet be taken, or has been: the connection broke, the server is busy, or others changed the pod
/// meanwhile.
fn is_no_answer(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) if status.code == 409 => true,
        // What is an error of the server itself, and not of its store, will be one again.
        kube::Error::Api(status) if status.code == 500 => status.message.contains("etcdserver"),
        error => crate::refusal::is_passing(error),
    }
}

fn has(pod: &Pod, name: &str) -> bool {
    pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten()).any(|it| it.name == name)
}
