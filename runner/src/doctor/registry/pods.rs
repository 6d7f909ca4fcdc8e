//! What the pods of the registry say of themselves.

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::doctor::finding::{Check, Finding, alike, named};
use crate::doctor::fix::Installed;
use crate::install::rollout::{Cause, after_colon, container};
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
    Some(container(pod)?.image_id.as_str()).filter(|id| !id.is_empty())
}

/// The digest in it.
pub(super) fn digest(image_id: &str) -> &str {
    image_id.rsplit_once('@').map_or(image_id, |(_, digest)| digest)
}

fn trouble(pod: &Pod, installed: &Installed<'_>) -> Option<Trouble> {
    match Cause::of(pod) {
        Some(cause) => Some(told(&cause, pod, installed)),
        None => silent(pod, installed),
    }
}

/// One that has started, and does not answer.
fn silent(pod: &Pod, installed: &Installed<'_>) -> Option<Trouble> {
    let runs = container(pod)?.state.as_ref()?.running.is_some();
    (runs && !is_ready(pod) && pod.metadata.deletion_timestamp.is_none()).then(|| Trouble {
        text: "the registry runs and is not ready".to_owned(),
        fix: format!("kubectl logs {} {}", installed.scope(), name(pod)),
    })
}

fn told(cause: &Cause, pod: &Pod, installed: &Installed<'_>) -> Trouble {
    let describe = || format!("kubectl describe pod {} {}", installed.scope(), name(pod));
    let image = || container(pod).map_or("", |container| container.image.as_str());
    let (text, fix) = match cause {
        Cause::Pull { image, fault, message } => return not_pulled(image, *fault, message, installed),
        Cause::Port { message, .. } => (
            format!("another program of the node has the registry's port{}", after_colon(message)),
            format!(
                "# on that node, to see which:\nss -ltnp 'sport = :{}'\n# or, to take another port:\n{}",
                installed.port,
                installed.install_elsewhere()
            ),
        ),
        Cause::Store { message } => (
            format!("the registry cannot serve the store of its image{}", after_colon(message)),
            format!(
                "# program and store have to be of the same release, as they are in the image of one:\n{}",
                installed.install_other(image())
            ),
        ),
        Cause::Foreign { message } => {
            (format!("the image `{}` is no kitbag-registry: {message}", image()), installed.install_other(image()))
        }
        Cause::Crash { code, message, .. } => (
            format!("the registry ends again and again, exit code {code}{}", after_colon(message)),
            format!("kubectl logs {} {} --previous", installed.scope(), name(pod)),
        ),
        Cause::Container { reason, message } => {
            (format!("the registry's container cannot be made ({reason}): {message}"), describe())
        }
        Cause::Unschedulable { message } => {
            let ports = installed.ports.filter(|_| message.contains("free ports"));
            let fix = ports.map_or_else(describe, |container| without_ports(container, installed));
            (format!("the registry's pod finds no place: {message}"), fix)
        }
        Cause::Memory | Cause::Refused { .. } => (cause.to_string(), describe()),
    };
    Trouble { text, fix }
}

fn name(pod: &Pod) -> String {
    quoted(pod.metadata.name.as_deref().unwrap_or_default())
}

fn without_ports(container: usize, installed: &Installed<'_>) -> String {
    let why = "# the DaemonSet must not declare ports: under hostNetwork two versions cannot share a declared one\n";
    why.to_owned() + &super::without(&format!("containers/{container}/ports"), installed)
}

fn not_pulled(image: &str, fault: Fault, message: &str, installed: &Installed<'_>) -> Trouble {
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
