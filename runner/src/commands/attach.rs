//! `kubectl kitbag attach`: one more session in a debug container that runs. Nothing is added to the pod.

use k8s_openapi::api::core::v1::Pod;
use kitbag_toolsets::Catalog;
use kube::Api;
use tokio::sync::oneshot;

use crate::access;
use crate::cli::Attach;
use crate::cluster::{self, Cluster};
use crate::error::Error;
use crate::found::{self, Debugger, FoundError};
use crate::privileges::Level;
use crate::progress::Progress;
use crate::report::Report;
use crate::sentences::{self, Facts};
use crate::session::{self, Output, Wanted};
use crate::target::{self, Target, Which};
use crate::trace::{Trace, Trail};

/// Runs the command. Returns the exit code of what ran in the container.
pub(crate) async fn run(arguments: &Attach) -> Result<u8, Error> {
    let progress = Progress::new(arguments.common.verbose);
    let streams = super::streams(arguments.stdin, arguments.tty, arguments.command.is_empty(), &progress);
    let Cluster { client, namespace, user } = cluster::connect(&arguments.common, progress.clock()).await?;
    let reference = arguments.pods.required()?;
    let (found, user) = tokio::join!(
        target::find(&client, &namespace, &reference, Which::All),
        access::whoami(&client, user.as_deref()),
    );
    let pods = found?.pods;
    let (pod, debugger) = choose(&pods, arguments.container.as_deref())?;
    let catalog = Catalog::builtin()?;
    let command = found::command(&debugger, &arguments.command, &catalog)?;
    let place = found::place(&client, &namespace, pod, &debugger);
    if pods.len() > 1 {
        progress.say(&format!("pod `{}`, debug container `{}`", place.pod, place.container));
    }
    progress.done(&format!("debug container `{}`, beside container `{}`", debugger.name, debugger.target));
    let wanted = Wanted {
        becomes: debugger.becomes,
        target_id: target::id_in_shared_namespace(pod, &debugger.target).map(str::to_owned),
        shared: pod.spec.as_ref().is_some_and(target::shares_pid_namespace),
        patience: arguments.patience,
        ..Wanted::new(command, streams)
    };
    // Of a pod that is going, or a target between two starts, nothing more can be said.
    let target = target::choose(pod, Some(&debugger.target)).ok();
    let (open, is_open) = oneshot::channel();
    let on_report = |report: &Report| {
        let notes = target.as_ref().map(|target| notes(report, &debugger, &namespace, target, &catalog));
        notes.unwrap_or_default().iter().for_each(|note| progress.say(&format!("note: {note}")));
        let _ = open.send(());
        Ok(())
    };
    let trace = Trace {
        user: &user,
        target: &debugger.target,
        tools: &debugger.listed,
        container: &debugger.name,
        reason: arguments.reason.as_deref(),
    };
    let events = Api::namespaced(client.clone(), &namespace);
    let trail = Trail { events: Some(&events), pod, progress: &progress };
    let session = session::run(&place, &wanted, on_report, Output::Standard);
    let ended = trail.beside(session, is_open, &trace).await?;
    progress.done(&format!("the session has ended, exit code {}", ended.code));
    Ok(ended.code)
}

/// What falls short in that container, for all of its tools.
fn notes(report: &Report, debugger: &Debugger, namespace: &str, target: &Target, catalog: &Catalog) -> Vec<String> {
    let needs = debugger.tools.iter().filter_map(|(tool, _)| {
        let recipe = catalog.recipe(tool.as_str())?;
        Some((tool.clone(), recipe.needs.clone()))
    });
    let level = debugger.level.as_deref().and_then(|level| level.parse().ok()).unwrap_or(Level::Chosen);
    sentences::of(&Facts { report, level, needs: &needs.collect(), namespace, target }).notes
}

/// Of several pods the best that has a debug container to use; where none has, the best is told about.
fn choose<'a>(pods: &'a [Pod], container: Option<&str>) -> Result<(&'a Pod, Debugger), FoundError> {
    let mut first = None;
    for pod in pods {
        match found::choose(pod, container) {
            Ok(debugger) => return Ok((pod, debugger)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let none = || FoundError::None { pod: String::new(), beside: container.map(str::to_owned) };
    Err(first.unwrap_or_else(none))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::INIT;
    use serde_json::json;

    fn pod(name: &str, has: bool) -> Pod {
        let spec =
            json!({ "name": "kitbag-a", "command": [INIT], "env": [{ "name": "KITBAG_TARGET", "value": "app" }] });
        let specs = if has { json!([spec]) } else { json!([]) };
        let pod = json!({
            "metadata": { "name": name },
            "spec": { "containers": [], "ephemeralContainers": specs },
            "status": { "ephemeralContainerStatuses": [{ "name": "kitbag-a", "state": { "running": {} } }] },
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn of_several_pods_the_one_with_a_debug_container_is_meant() {
        let chosen = |pods: &[Pod]| match choose(pods, None) {
            Ok((pod, debugger)) => format!("{} {}", pod.metadata.name.as_deref().unwrap(), debugger.name),
            Err(error) => error.to_string(),
        };
        assert_eq!(chosen(&[pod("a", false), pod("b", true), pod("c", true)]), "b kitbag-a");
        assert_eq!(chosen(&[pod("a", false), pod("b", false)]), "no debug container runs in pod `a`");
    }
}
