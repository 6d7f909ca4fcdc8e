//! What the pods of the registry say of themselves.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Node, Pod};

use crate::doctor::finding::{Check, Finding, alike, named};
use crate::doctor::fix::Installed;
use crate::install::objects::CONTAINER;
use crate::shell::quoted;
use crate::wait::Fault;

pub(in crate::doctor) use crate::install::rollout::{is_ready, node};

/// What is wrong with a pod: of the same kind on several nodes, it is said once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    text: String,
    fix: String,
}

/// A finding for each kind of trouble.
pub(super) fn judge(pods: &[Pod], nodes: &[Node], installed: &Installed<'_>) -> Vec<Finding> {
    let on = pods.iter().filter(|pod| !is_off(pod, nodes));
    let troubled = on.filter_map(|pod| Some((trouble(pod, installed)?, node(pod).unwrap_or("?"))));
    alike(troubled)
        .into_iter()
        .map(|(Trouble { text, fix }, nodes)| {
            Finding::failure(Check::Registry, format!("on {}: {text}", named("node", nodes))).fix(fix)
        })
        .collect()
}

/// Whether its node is not ready: such a node says nothing of its pods, and that is told with the nodes.
pub(super) fn is_off(pod: &Pod, nodes: &[Node]) -> bool {
    nodes.iter().any(|it| node(pod) == Some(crate::doctor::nodes::name(it)) && !crate::doctor::nodes::is_ready(it))
}

/// The image that runs: a reference by digest where it was pulled, or a digest alone where it was loaded.
pub(in crate::doctor) fn image_id(pod: &Pod) -> Option<&str> {
    Some(status(pod)?.image_id.as_str()).filter(|id| !id.is_empty())
}

/// The digest in it.
pub(super) fn digest(image_id: &str) -> &str {
    image_id.rsplit_once('@').map_or(image_id, |(_, digest)| digest)
}

fn status(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == CONTAINER)
}

fn trouble(pod: &Pod, installed: &Installed<'_>) -> Option<Trouble> {
    // One that goes has had its successor.
    if is_ready(pod) || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let Some(status) = status(pod) else { return unscheduled(pod, installed) };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let (reason, message) = waiting
        .map(|it| (it.reason.as_deref().unwrap_or_default(), it.message.as_deref().unwrap_or_default()))
        .unwrap_or_default();
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" | "RegistryUnavailable" => {
            Some(not_pulled(&status.image, reason, message, installed))
        }
        _ if reason == "CrashLoopBackOff" || status.restart_count > 0 || ended(status).is_some() => {
            Some(crashed(name, status, installed))
        }
        "" if waiting.is_none() => Some(Trouble {
            text: "the registry runs and is not ready".to_owned(),
            fix: format!("kubectl logs {} {}", installed.scope(), quoted(name)),
        }),
        // On its way.
        "" | "ContainerCreating" | "PodInitializing" => None,
        _ => Some(Trouble {
            text: format!("the registry's container cannot be made ({reason}): {message}"),
            fix: format!("kubectl describe pod {} {}", installed.scope(), quoted(name)),
        }),
    }
}

fn not_pulled(image: &str, reason: &str, message: &str, installed: &Installed<'_>) -> Trouble {
    let fault = Fault::new(reason, message);
    let why = match fault {
        Fault::Missing => "there is no such image".to_owned(),
        Fault::Denied => "its registry wants a secret".to_owned(),
        Fault::NoName | Fault::Unreachable => "its registry cannot be reached from the node".to_owned(),
        Fault::Platform => "it is not there for the node's architecture".to_owned(),
        Fault::Name => "that is no reference of an image".to_owned(),
        Fault::Never => "it is not on the node, and must not be pulled".to_owned(),
        Fault::Full => "the node's disk is full".to_owned(),
        _ => crate::wait::words(message),
    };
    let fix = match fault {
        Fault::Never => {
            "# on that node, with the archive of the image:\nctr -n k8s.io images import kitbag.tar".to_owned()
        }
        Fault::Full => "kubectl describe nodes".to_owned(),
        Fault::Denied => installed.install_with_secret(),
        _ => installed.install_other(image),
    };
    Trouble { text: format!("the registry's image `{image}` cannot be pulled: {why}"), fix }
}

/// How its last run ended: the DaemonSet asks the kubelet to keep the end of the log.
fn ended(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let state = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    state.or_else(|| status.last_state.as_ref()?.terminated.as_ref())
}

fn crashed(name: &str, status: &ContainerStatus, installed: &Installed<'_>) -> Trouble {
    let ended = ended(status);
    let code = ended.map_or(0, |ended| ended.exit_code);
    let words = ended.and_then(|ended| ended.message.as_deref()).unwrap_or_default();
    // What it logs are objects; what it ends with is a sentence.
    let last = words.trim().lines().rfind(|line| !line.starts_with('{')).unwrap_or_default();
    let last = last.strip_prefix("error: ").unwrap_or(last);
    let last = if last.is_empty() { String::new() } else { format!(": {last}") };
    if words.contains("cannot listen on") && words.contains("in use") {
        let fix = format!(
            "# on that node, to see which:\nss -ltnp 'sport = :{}'\n# or, to take another port:\n{}",
            installed.port,
            installed.install_elsewhere()
        );
        return Trouble { text: format!("another program of the node has the registry's port{last}"), fix };
    }
    // An image index of another kind, or a directory of another layout.
    if words.contains("artifact type") || words.contains("has layout version") {
        let fix = "# program and store have to be of the same release, as they are in the image of one:\n".to_owned();
        return Trouble {
            text: format!("the registry cannot read its store, which is of another format{last}"),
            fix: fix + &installed.install_other(&status.image),
        };
    }
    if ended.is_some_and(|ended| ended.reason.as_deref() == Some("OOMKilled")) {
        return Trouble {
            text: "the registry was killed because it took more memory than its limit".to_owned(),
            fix: format!("kubectl describe pod {} {}", installed.scope(), quoted(name)),
        };
    }
    Trouble {
        text: format!("the registry ends again and again, exit code {code}{last}"),
        fix: format!("kubectl logs {} {} --previous", installed.scope(), quoted(name)),
    }
}

fn unscheduled(pod: &Pod, installed: &Installed<'_>) -> Option<Trouble> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let refused = conditions.into_iter().find(|it| it.type_ == "PodScheduled" && it.status == "False")?;
    let message = refused.message.as_deref().unwrap_or("no reason is given");
    let ports = installed.ports.filter(|_| message.contains("free ports"));
    let fix = match ports {
        Some(container) => {
            let fix =
                "# the DaemonSet must not declare ports: under hostNetwork two versions cannot share a declared one\n";
            fix.to_owned() + &super::without(&format!("containers/{container}/ports"), installed)
        }
        None => {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            format!("kubectl describe pod {} {}", installed.scope(), quoted(name))
        }
    };
    Some(Trouble { text: format!("the registry's pod finds no place: {message}"), fix })
}
