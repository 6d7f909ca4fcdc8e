//! Adding the container to the pod: first for trial, so that a refusal leaves nothing behind, then in earnest.

use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};

use crate::error::Error;
use crate::plan;
use crate::refusal::{Asked, explain};

/// What the API server knows this program as.
const FIELD_MANAGER: &str = "kubectl-kitbag";

/// Whether the API would take the container, as far as admission goes.
///
/// # Errors
/// What refuses it, in full.
pub async fn try_out(
    pods: &Api<Pod>,
    pod: &str,
    container: &EphemeralContainer,
    asked: Asked<'_>,
) -> Result<(), Error> {
    match send(pods, pod, container, true).await {
        // A webhook that has side effects can't be tried out: then the earnest decides.
        Err(kube::Error::Api(status)) if status.message.contains("does not support dry run") => Ok(()),
        Err(error) => Err(explain(&error, asked)),
        Ok(_) => Ok(()),
    }
}

/// Adds the container. Returns the pod as it is then.
///
/// # Errors
/// What refuses it, in full.
pub async fn add(pods: &Api<Pod>, pod: &str, container: &EphemeralContainer, asked: Asked<'_>) -> Result<Pod, Error> {
    send(pods, pod, container, false).await.map_err(|error| explain(&error, asked))
}

async fn send(pods: &Api<Pod>, pod: &str, container: &EphemeralContainer, dry_run: bool) -> kube::Result<Pod> {
    let parameters = PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    // A strategic merge patch adds to the list, where the other kinds would replace it.
    pods.patch_ephemeral_containers(pod, &parameters, &Patch::Strategic(plan::patch(container))).await
}
