//! `kubectl kitbag end`: ends debug containers, and every session in them.

use std::time::Instant;

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;

use crate::cli::End;
use crate::cluster::{self, Cluster};
use crate::error::Error;
use crate::found::{self, Debugger};
use crate::target::{self, Reference, Which, Workload};

/// Runs the command. All end at once; that one can't be ended keeps no other from it.
pub(crate) async fn run(arguments: &End) -> Result<u8, Error> {
    let Cluster { client, namespace, .. } =
        cluster::connect(&arguments.common, arguments.common.verbose.then(Instant::now)).await?;
    let reference = arguments.pods.required()?;
    let pods = target::find(&client, &namespace, &reference, Which::All).await?.pods;
    let running: Vec<(&Pod, Debugger)> = pods
        .iter()
        .flat_map(|pod| found::to_end(pod, arguments.container.as_deref()).into_iter().map(move |it| (pod, it)))
        .collect();
    if running.is_empty() {
        return super::print(format!("no debug container runs in {}\n", what(&reference)));
    }
    let places: Vec<_> =
        running.iter().map(|(pod, debugger)| found::place(&client, &namespace, pod, debugger)).collect();
    let endings = join_all(places.iter().map(found::end)).await;
    let (mut said, mut failed) = (String::new(), None);
    for (place, ending) in places.iter().zip(endings) {
        match ending {
            Ok(ending) => said.push_str(&format!("`{}` of pod `{}` has ended: {ending}\n", place.container, place.pod)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let code = super::print(said)?;
    failed.map_or(Ok(code), Err)
}

fn what(reference: &Reference) -> String {
    match reference {
        Reference::Object { kind: Workload::Pod, name } => format!("pod `{name}`"),
        Reference::Object { .. } => reference.to_string(),
        Reference::Selector(_) => format!("the pods of `{reference}`"),
    }
}
