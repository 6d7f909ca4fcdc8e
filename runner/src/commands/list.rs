//! `kubectl kitbag list`: the debug containers that pods have.

use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;

use crate::cli::List;
use crate::cluster::{self, Cluster};
use crate::error::Error;
use crate::found::{self, Found, table};
use crate::reentry::Condition;
use crate::refusal::{Asked, explain};
use crate::target::{self, Which};

/// Runs the command.
pub(crate) async fn run(arguments: &List) -> Result<u8, Error> {
    let cluster = cluster::connect(&arguments.common, arguments.common.verbose.then(Instant::now)).await?;
    let mut found = found::of(&pods(&cluster, arguments).await?);
    found.retain(|it| arguments.ended || !matches!(it.debugger.state, Condition::Ended(_)));
    found::ask_activity(&cluster.client, &mut found).await;
    super::print(text(&found, Timestamp::now(), arguments))
}

fn text(found: &[Found], now: Timestamp, arguments: &List) -> String {
    if arguments.format.is_some() {
        return format!("{:#}\n", table::json(found, now));
    }
    if found.is_empty() {
        return "no debug containers\n".to_owned();
    }
    table::table(found, now, arguments.all_namespaces)
}

async fn pods(cluster: &Cluster, arguments: &List) -> Result<Vec<Pod>, Error> {
    let Cluster { client, namespace, .. } = cluster;
    if let Some(reference) = arguments.pods.optional()? {
        return Ok(target::find(client, namespace, &reference, Which::All).await?.pods);
    }
    let pods: Api<Pod> =
        if arguments.all_namespaces { Api::all(client.clone()) } else { Api::namespaced(client.clone(), namespace) };
    let asked = Asked { namespace, verb: "list", resource: "pods", container: "", reasons: "" };
    let listed = pods.list(&ListParams::default()).await.map_err(|error| explain(&error, asked))?;
    Ok(listed.items)
}
