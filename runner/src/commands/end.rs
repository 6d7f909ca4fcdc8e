//! `kubectl kitbag end`: ends debug containers, and every session in them.

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;

use crate::error::Error;
use crate::found;
use crate::progress::Progress;

/// Ends those of `pod`, or the one that `container` names or is beside, all at once. Returns what is to be printed.
pub(crate) async fn run(
    client: &Client,
    namespace: &str,
    pod: &Pod,
    container: Option<&str>,
    progress: &Progress,
) -> Result<String, Error> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let running = found::to_end(pod, container);
    if running.is_empty() {
        return Ok(format!("no debug container runs in pod `{name}`\n"));
    }
    let endings = join_all(running.iter().map(|debugger| found::end(client, namespace, name, debugger))).await;
    let (mut said, mut failed) = (String::new(), None);
    for (debugger, ending) in running.iter().zip(endings) {
        match ending {
            Ok(ending) => said.push_str(&format!("`{}` of pod `{name}` has ended: {ending}\n", debugger.name)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        None => Ok(said),
        Some(error) => {
            progress.say(said.trim_end());
            Err(error)
        }
    }
}
