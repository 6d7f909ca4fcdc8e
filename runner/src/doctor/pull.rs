//! A real pull by a real pod: on which nodes, and what comes of it. Making the pods is done in [`attempt`].

pub mod attempt;
mod fault;
mod job;

use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod};
use k8s_openapi::jiff::Timestamp;

use super::discovery::Discovered;
use super::facts::Facts;
use super::finding::{Check, Finding, alike, counted, named};
use super::fix::{Installed, for_platform};
use super::nodes;
use super::registry::{self, pods};
use crate::kubernetes::unscheduled;
use crate::shell::quoted;
use crate::wait::{Fault, words};

use fault::not_pulled;
pub use job::{Run, job};

/// Nodes that are tried unless all are wanted.
const SAMPLE: usize = 3;

/// Where a pod is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this node, whoever else is kept off it.
    Node(String),
    /// Wherever the scheduler likes: who may not see nodes names none.
    Anywhere,
}

/// What became of one pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The node pulled the image and ran it.
    Done {
        /// Which node.
        node: String,
        /// By how many seconds at least the node's clock is ahead of the API server's; negative where it is behind.
        skew: i64,
    },
    /// The kubelet says that it can't pull it, and may try again.
    NotPulled {
        /// Which node.
        node: String,
        /// Why.
        fault: Fault,
        /// The node's words.
        words: String,
    },
    /// It was pulled and does not run.
    NotRun {
        /// Which node.
        node: String,
        /// The node's words.
        words: String,
    },
    /// Nothing has come of it yet.
    Waiting {
        /// Which node; none as long as the scheduler has found none.
        node: Option<String>,
        /// For what.
        words: String,
        /// Whether there is a pod.
        made: bool,
    },
    /// The API server or a controller refuses the Job or its pod.
    NotMade {
        /// Where it should have been.
        place: Place,
        /// The cluster's words.
        words: String,
    },
}

/// The nodes to try: every one that is ready, or a sample that differs as much as can be, also in what serves the images.
#[must_use]
pub fn places(nodes: Option<&[Node]>, registries: &[Pod], all: bool) -> Vec<Place> {
    let Some(nodes) = nodes else { return vec![Place::Anywhere] };
    let fit = nodes.iter().filter(|node| nodes::is_linux(node) && nodes::is_ready(node));
    let kind = |node: &&Node| {
        let info = nodes::info(node).map(|info| {
            (info.architecture.clone(), info.container_runtime_version.clone(), info.kubelet_version.clone())
        });
        let mut own = registries.iter().filter(|pod| pods::is_ready(pod) && pods::node(pod) == Some(nodes::name(node)));
        (info, own.next().and_then(pods::image_id))
    };
    let mut kinds: Vec<std::vec::IntoIter<&Node>> =
        alike(fit.map(|node| (kind(&node), node))).into_iter().map(|(_, nodes)| nodes.into_iter()).collect();
    let mut chosen: Vec<&Node> = Vec::new();
    // One of each kind, then a second of each, until there are enough.
    loop {
        let before = chosen.len();
        for kind in &mut kinds {
            chosen.extend(kind.next());
        }
        if chosen.len() == before || (!all && chosen.len() >= SAMPLE) {
            break;
        }
    }
    chosen.truncate(if all { usize::MAX } else { SAMPLE });
    chosen.into_iter().map(|node| Place::Node(nodes::name(node).to_owned())).collect()
}

/// What the pod says, at a moment of the API server's clock.
#[must_use]
pub fn observe(pod: &Pod, now: Timestamp) -> Outcome {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|name| !name.is_empty());
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    let (Some(node), Some(status)) = (node.clone(), status) else {
        let words = unscheduled(pod).and_then(|it| it.message.as_deref()).unwrap_or("the node has not said anything");
        return Outcome::Waiting { node, words: words.to_owned(), made: true };
    };
    let state = status.state.clone().unwrap_or_default();
    if let Some(ended) = state.terminated {
        if ended.exit_code == 0 {
            return Outcome::Done { skew: skew(pod, ended.finished_at.map(|time| time.0), now), node };
        }
        let message = ended.message.or(ended.reason).unwrap_or_default();
        return Outcome::NotRun { node, words: format!("exit code {}, {}", ended.exit_code, message.trim()) };
    }
    if state.running.is_some() {
        return Outcome::Waiting { node: Some(node), words: "it runs".to_owned(), made: true };
    }
    let waiting = state.waiting.unwrap_or_default();
    let (reason, message) = (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default());
    if let Some(fault) = Fault::of(&reason, &message) {
        return Outcome::NotPulled { node, fault, words: words(&message) };
    }
    match reason.as_str() {
        "RunContainerError" | "CreateContainerError" | "CreateContainerConfigError" => {
            Outcome::NotRun { node, words: format!("{reason}: {message}") }
        }
        _ => Outcome::Waiting { node: Some(node), words: already(status), made: true },
    }
}

fn already(status: &ContainerStatus) -> String {
    if status.image_id.is_empty() { "the node is pulling".to_owned() } else { "the node is starting it".to_owned() }
}

/// How far the node's clock is ahead or behind, at least: the container has ended, by that clock, after its pod was made and
/// before now.
fn skew(pod: &Pod, finished: Option<Timestamp>, now: Timestamp) -> i64 {
    let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
    let Some((finished, made)) = finished.map(|it| it.as_second()).zip(made) else { return 0 };
    (finished - made).min(0) + (finished - now.as_second()).max(0)
}

/// What the outcomes mean. `left_out` nodes were not tried.
#[must_use]
pub fn judge(outcomes: &[Outcome], discovered: &Discovered, facts: &Facts, left_out: usize) -> Vec<Finding> {
    let installed = Installed::of(facts);
    let course = registry::course(facts, &installed);
    let image = discovered.image.as_deref().unwrap_or_default();
    let again = format!("kubectl kitbag doctor -n {}", quoted(&facts.who.namespace));
    let mut findings = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    let mut apart: Vec<(&str, i64)> = Vec::new();
    let mut faults: Vec<((String, String), Option<&str>)> = Vec::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Done { node, skew } => {
                done.push(node);
                if skew.abs() > SKEWED {
                    apart.push((node, *skew));
                }
            }
            Outcome::NotPulled { node, fault, words } => {
                let (text, fix) = not_pulled(*fault, words, discovered, &installed, course);
                faults.push(((text, for_platform(&facts.who, &fix)), Some(node)));
            }
            Outcome::NotRun { node, words } => {
                let fix = for_platform(&facts.who, "kubectl get nodes -o wide");
                faults.push(((format!("the image was pulled and does not run: {words}"), fix), Some(node)));
            }
            Outcome::Waiting { node, words, made } => {
                let fix = if *made {
                    format!("# once more, with more time:\n{again} --timeout 180\nkubectl get nodes")
                } else {
                    let fix =
                        "# the cluster's controllers make pods of Jobs: do they run?\nkubectl get pods -n kube-system";
                    for_platform(&facts.who, fix)
                };
                faults.push(((format!("nothing has come of the pull: {words}"), fix), node.as_deref()));
            }
            Outcome::NotMade { place, words } => {
                let fix =
                    format!("# whoever made that rule has to make an exception, or somebody else runs this:\n{again}");
                let node = match place {
                    Place::Node(node) => Some(node.as_str()),
                    Place::Anywhere => None,
                };
                faults.push(((format!("the cluster refuses the pod that would pull: {words}"), fix), node));
            }
        }
    }
    for ((text, fix), nodes) in alike(faults) {
        let nodes: Vec<&str> = nodes.into_iter().flatten().collect();
        let place = if nodes.is_empty() { String::new() } else { format!("on {}: ", named("node", nodes)) };
        findings.push(Finding::failure(Check::Pull, format!("{place}{text}")).fix(fix));
    }
    if !done.is_empty() {
        let rest = if left_out == 0 {
            String::new()
        } else {
            format!("; {} not tried (--all-nodes)", counted(left_out, "node"))
        };
        let text = format!("{} pulled and ran `{image}`{rest}", named("node", done));
        findings.insert(0, Finding::ok(Check::Pull, text));
    }
    for (node, skew) in apart {
        let direction = if skew < 0 { "behind" } else { "ahead of" };
        let text = format!(
            "node `{node}` has a clock that is at least {} s {direction} the API server's",
            skew.unsigned_abs()
        );
        findings.push(Finding::warning(Check::Clock, text).fix("# on that node:\ntimedatectl status"));
    }
    findings
}

/// In seconds: what is less comes of whole seconds.
const SKEWED: i64 = 5;

#[cfg(test)]
mod tests;
