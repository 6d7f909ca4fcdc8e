//! `kubectl kitbag end`: ends debug containers, and every session in them.

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;

use crate::cli::End;
use crate::cluster::{self, Cluster};
use crate::error::Error;
use crate::found::{self, Debugger};
use crate::progress::{Progress, printable};
use crate::session::Place;
use crate::target::{self, Reference, Which, Workload};

/// Runs the command. All end at once; that one can't be ended keeps no other from it.
pub(crate) async fn run(arguments: &End) -> Result<u8, Error> {
    let progress = Progress::new(arguments.common.verbose);
    let Cluster { client, namespace, .. } = cluster::connect(&arguments.common, progress.clock()).await?;
    let reference = arguments.pods.required()?;
    let pods = target::find(&client, &namespace, &reference, Which::All).await?.pods;
    let running: Vec<(&Pod, Debugger)> = pods
        .iter()
        .flat_map(|pod| found::to_end(pod, arguments.container.as_deref()).into_iter().map(move |it| (pod, it)))
        .collect();
    if running.is_empty() {
        return super::print(format!("no debug container runs in {}\n", what(&reference)));
    }
    let places: Vec<(Place, &Debugger)> =
        running.iter().map(|(pod, it)| (found::place(&client, &namespace, pod, it), it)).collect();
    let endings = join_all(places.iter().map(|(place, debugger)| found::end(place, debugger))).await;
    let (mut said, mut failed) = (String::new(), Vec::new());
    for ((place, _), ending) in places.iter().zip(endings) {
        let name = format!("`{}` of pod `{}`", place.container, place.pod);
        match ending {
            Ok(ending) => said.push_str(&format!("{name} has ended: {ending}\n")),
            Err(error) => failed.push((name, error)),
        }
    }
    let code = super::print(printable(&said))?;
    // Of one there is nothing to say that its error does not.
    for (name, error) in failed.iter().filter(|_| places.len() > 1) {
        progress.say(&format!("{name} has not ended: {error}"));
    }
    failed.into_iter().next().map_or(Ok(code), |(_, error)| Err(error))
}

fn what(reference: &Reference) -> String {
    match reference {
        Reference::Object { kind: Workload::Pod, name } => format!("pod `{name}`"),
        Reference::Object { .. } => reference.to_string(),
        Reference::Selector(_) => format!("the pods of `{reference}`"),
    }
}
