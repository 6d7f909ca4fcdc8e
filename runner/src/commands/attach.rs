//! `kubectl kitbag attach`: one more session in a debug container that runs. Nothing is added to the pod.

use k8s_openapi::api::core::v1::Pod;
use kitbag_toolsets::Catalog;
use kube::Client;

use crate::error::Error;
use crate::found;
use crate::progress::Progress;
use crate::session::{self, Output, Streams, Wanted};

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Attach {
    /// The debug container, or the container that it is beside.
    pub(crate) container: Option<String>,
    /// What to run; a shell, if nothing.
    pub(crate) command: Vec<String>,
    /// The streams.
    pub(crate) streams: Streams,
}

/// Runs the command in `pod`. Returns the exit code of what ran in the container.
pub(crate) async fn run(
    client: &Client,
    namespace: &str,
    pod: &Pod,
    attach: &Attach,
    progress: &mut Progress,
) -> Result<u8, Error> {
    let debugger = found::choose(pod, attach.container.as_deref())?;
    let command = found::command(&debugger, &attach.command, &Catalog::builtin()?)?;
    progress.done(&format!("debug container `{}`, beside container `{}`", debugger.name, debugger.target));
    let place = found::place(client, namespace, pod.metadata.name.as_deref().unwrap_or_default(), &debugger);
    let wanted = Wanted {
        becomes: debugger.becomes(),
        target_id: found::target_id(pod, &debugger.target),
        ..Wanted::new(command, attach.streams)
    };
    let ended = session::run(&place, &wanted, |_| Ok(()), Output::Standard).await?;
    progress.done(&format!("the session has ended, exit code {}", ended.code));
    Ok(ended.code)
}
