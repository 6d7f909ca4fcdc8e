//! `kubectl kitbag attach`: one more session in a debug container that runs. Nothing is added to the pod.

use k8s_openapi::api::core::v1::Pod;
use kitbag_toolsets::Catalog;

use crate::cli::Attach;
use crate::cluster::{self, Cluster};
use crate::error::Error;
use crate::found::{self, Debugger, FoundError};
use crate::progress::Progress;
use crate::session::{self, Output, Wanted};
use crate::target::{self, Which};

/// Runs the command. Returns the exit code of what ran in the container.
pub(crate) async fn run(arguments: &Attach) -> Result<u8, Error> {
    let progress = Progress::new(arguments.common.verbose);
    let streams = super::streams(arguments.stdin, arguments.tty, arguments.command.is_empty(), &progress);
    let Cluster { client, namespace, .. } = cluster::connect(&arguments.common, progress.clock()).await?;
    let pods = target::find(&client, &namespace, &arguments.pods.required()?, Which::All).await?.pods;
    let (pod, debugger) = choose(&pods, arguments.container.as_deref())?;
    let command = found::command(&debugger, &arguments.command, &Catalog::builtin()?)?;
    let place = found::place(&client, &namespace, pod, &debugger);
    if pods.len() > 1 {
        progress.say(&format!("pod `{}`, debug container `{}`", place.pod, place.container));
    }
    progress.done(&format!("debug container `{}`, beside container `{}`", debugger.name, debugger.target));
    let wanted = Wanted {
        becomes: debugger.becomes(),
        target_id: found::target_id(pod, &debugger.target),
        ..Wanted::new(command, streams)
    };
    let ended = session::run(&place, &wanted, |_| Ok(()), Output::Standard).await?;
    progress.done(&format!("the session has ended, exit code {}", ended.code));
    Ok(ended.code)
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
