//! Who knows the words: the catalogs, the kubeconfig, the cluster. Who does not answer in time knows none.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kitbag_toolsets::ImagePath;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, Resource};

use super::Candidate;
use super::question::{Question, What};
use crate::cli::{Common, Whose};
use crate::cluster::{self, Cluster};
use crate::inventory::{self, Inventory, Stock, Tool};
use crate::target::{self, Which, Workload};

/// How long somebody who pressed a key is kept waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most names that are read: nobody chooses among more.
const NAMES: u32 = 500;

/// The candidates, as far as they can be found out.
pub(crate) async fn candidates(question: &Question) -> Vec<Candidate> {
    if let What::Tools(named) | What::Commands(named) = &question.what {
        let Ok(Stock { inventory, .. }) = inventory::find(&Whose::of_flags(&question.flags), None).await else {
            return Vec::new();
        };
        return match question.what {
            What::Tools(_) => tools(&inventory, named, !question.prefix.is_empty()),
            _ => commands(&inventory, named),
        };
    }
    let mut candidates = known(question);
    let (what, flags) = (question.what.clone(), Common::of_flags(&question.flags));
    // A task of its own, because a credential plugin holds up the thread that it is asked from.
    let asked = tokio::spawn(async move { ask(what, &flags).await });
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    candidates.extend(answered.ok().and_then(Result::ok).flatten().unwrap_or_default());
    candidates
}

/// What this program knows by itself.
fn known(question: &Question) -> Vec<Candidate> {
    match &question.what {
        What::Words(words) => words.clone(),
        What::Targets => kinds().collect(),
        _ => Vec::new(),
    }
}

async fn ask(what: What, flags: &Common) -> Option<Vec<Candidate>> {
    let entries = |names: fn(Kubeconfig) -> Vec<String>| {
        let kubeconfig = cluster::kubeconfig(flags.kubeconfig.as_deref()).ok().flatten()?;
        Some(names(kubeconfig).into_iter().map(|name| Candidate::new(name, "")).collect())
    };
    match what {
        What::Contexts => entries(|it| it.contexts.into_iter().map(|named| named.name).collect()),
        What::Clusters => entries(|it| it.clusters.into_iter().map(|named| named.name).collect()),
        What::Users => entries(|it| it.auth_infos.into_iter().map(|named| named.name).collect()),
        What::Namespaces => {
            let cluster = cluster::connect(flags, None).await.ok()?;
            metadata(Api::<Namespace>::all(cluster.client)).await
        }
        What::Targets => objects(Workload::Pod, flags).await,
        What::Objects(kind) => objects(kind, flags).await,
        What::Containers { reference, debug } => {
            let Cluster { client, namespace, .. } = cluster::connect(flags, None).await.ok()?;
            let found = target::find(&client, &namespace, &reference, Which::One).await.ok()?;
            Some(containers(found.pods.first()?, debug))
        }
        What::Words(_) | What::Tools(_) | What::Commands(_) | What::Files | What::Nothing => None,
    }
}

async fn objects(kind: Workload, flags: &Common) -> Option<Vec<Candidate>> {
    let Cluster { client, namespace, .. } = cluster::connect(flags, None).await.ok()?;
    match kind {
        Workload::Pod => metadata(Api::<Pod>::namespaced(client, &namespace)).await,
        Workload::Deployment => metadata(Api::<Deployment>::namespaced(client, &namespace)).await,
        Workload::StatefulSet => metadata(Api::<StatefulSet>::namespaced(client, &namespace)).await,
        Workload::DaemonSet => metadata(Api::<DaemonSet>::namespaced(client, &namespace)).await,
        Workload::ReplicaSet => metadata(Api::<ReplicaSet>::namespaced(client, &namespace)).await,
        Workload::Job => metadata(Api::<Job>::namespaced(client, &namespace)).await,
        Workload::Service => metadata(Api::<Service>::namespaced(client, &namespace)).await,
    }
}

async fn metadata<K>(objects: Api<K>) -> Option<Vec<Candidate>>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let list = objects.list_metadata(&ListParams::default().limit(NAMES)).await.ok()?;
    Some(list.items.into_iter().filter_map(|object| Some(Candidate::new(object.metadata.name?, ""))).collect())
}

/// Beginnings of targets that are no pods.
pub(super) fn kinds() -> impl Iterator<Item = Candidate> {
    let others = Workload::ALL.into_iter().filter(|kind| *kind != Workload::Pod);
    others.map(|kind| Candidate::new(format!("{}/", kind.short()), format!("a pod of a {}", kind.kind())))
}

/// A pod's own containers, or those that debug them.
pub(super) fn containers(pod: &Pod, debug: bool) -> Vec<Candidate> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    if debug {
        let debug = spec.ephemeral_containers.iter().flatten();
        return debug
            .map(|it| {
                Candidate::new(&it.name, format!("beside {}", it.target_container_name.as_deref().unwrap_or("none")))
            })
            .collect();
    }
    let init = spec.init_containers.iter().flatten().map(|it| Candidate::new(&it.name, "init container"));
    let own = spec.containers.iter().map(|it| Candidate::new(&it.name, it.image.as_deref().unwrap_or_default()));
    own.chain(init).collect()
}

/// Tools and sets that have not been named; and commands of tools, which are many.
pub(super) fn tools(inventory: &Inventory, named: &[String], commands_too: bool) -> Vec<Candidate> {
    let tools = inventory.tools.iter().map(|tool| Candidate::new(tool.name.as_str(), &tool.summary));
    let sets = inventory.sets.iter().map(|set| Candidate::new(set.name.as_str(), &set.summary));
    let commands = inventory.tools.iter().filter(|_| commands_too).flat_map(|tool| {
        tool.commands.iter().map(move |command| Candidate::new(command, format!("a command of {}", tool.name)))
    });
    let all = tools.chain(sets).chain(commands);
    all.filter(|candidate| !named.contains(&candidate.word)).collect()
}

/// Commands of the tools that have been named; where none has, of all.
pub(super) fn commands(inventory: &Inventory, named: &[String]) -> Vec<Candidate> {
    let path = ImagePath::from_names(named.iter().map(String::as_str));
    let set = path.ok().and_then(|path| inventory.resolve(&path).ok());
    let wanted = inventory.tools.iter().filter(|tool| set.as_ref().is_none_or(|set| set.contains(tool.name.as_str())));
    let commands = wanted.flat_map(|tool| tool.commands.iter().map(move |command| (command, tool)));
    let about = |command: &str, tool: &Tool| {
        if command == tool.name.as_str() { tool.summary.clone() } else { format!("a command of {}", tool.name) }
    };
    commands.map(|(command, tool)| Candidate::new(command, about(command, tool))).collect()
}
