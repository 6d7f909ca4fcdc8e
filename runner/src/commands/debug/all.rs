//! `--all`: the same command in each pod, at once. Lines are prefixed, exit codes summed up.

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use super::errand::Errand;
use super::object::{self, Object};
use super::visit;
use crate::error::Error;

/// How many pods are visited at once.
const AT_ONCE: usize = 16;

/// What `-o json` prints of several pods.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Objects {
    pods: Vec<Object>,
    exit_code: u8,
}

/// Runs the command in each of the pods. Returns the greatest of the exit codes.
pub(super) async fn run(errand: &Errand, pods: &[Pod]) -> Result<u8, Error> {
    let visits = stream::iter(pods.iter().enumerate());
    let visits = visits.map(|(index, pod)| async move { (index, visit(errand, pod).await) }).buffer_unordered(AT_ONCE);
    let mut objects: Vec<(usize, Object)> = visits.collect().await;
    // As the pods were found, whoever was done first.
    objects.sort_by_key(|(index, _)| *index);
    let objects: Vec<Object> = objects.into_iter().map(|(_, object)| object).collect();
    let exit_code = objects.iter().map(|object| object.exit_code).max().unwrap_or_default();
    if errand.arguments.output.format.is_some() {
        object::print(&Objects { pods: objects, exit_code })?;
    } else {
        let codes = objects.iter().map(|object| object.exit_code).collect();
        errand.progress.say(&sum(codes));
    }
    Ok(exit_code)
}

async fn visit(errand: &Errand, pod: &Pod) -> Object {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let progress = errand.progress.of(name);
    match visit::run(errand, pod, &progress, errand.output(Some(name))).await {
        Ok(visited) => visited.object(errand),
        Err(undone) => {
            progress.fail(&undone.error);
            Object::of_visit(&errand.namespace, pod, &undone)
        }
    }
}

/// How many ended how: `3 pods: exit code 0 in 2, 7 in 1`.
fn sum(mut codes: Vec<u8>) -> String {
    let pods = codes.len();
    codes.sort_unstable();
    let parts = codes.chunk_by(|a, b| a == b).map(|codes| format!("{} in {}", codes[0], codes.len()));
    let parts: Vec<String> = parts.collect();
    format!("{pods} pods: exit code {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_summed_up() {
        assert_eq!(sum(vec![0, 7, 0]), "3 pods: exit code 0 in 2, 7 in 1");
    }
}
