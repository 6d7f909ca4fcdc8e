//! From a reference to pods: as few requests as there can be. One for a pod or a selector, two for a workload.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::{Metadata, NamespaceResourceScope};
use kube::api::ListParams;
use kube::core::Selector;
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use super::near::near;
use super::pods::choose_pods;
use super::{Found, Reference, TargetError, Which, Workload};
use crate::error::Error;
use crate::refusal::{Asked, explain};

/// The most pods that are looked through for a name that may have been meant.
const LOOKED_THROUGH: u32 = 500;

/// What a workload says about its pods.
struct Selection {
    selector: Option<Selector>,
    /// It is not meant to have any.
    scaled_down: bool,
}

/// The pods that `reference` means, where they can be debugged. A pod that was named is not judged here.
///
/// # Errors
/// [`TargetError`] where there is none, [`Error`] where the API server does not say.
pub async fn find(client: &Client, namespace: &str, reference: &Reference, which: Which) -> Result<Found, Error> {
    let (what, selector, scaled_down) = match reference {
        Reference::Object { kind: Workload::Pod, name } => {
            let pod = get::<Pod>(client, namespace, Workload::Pod, name).await?;
            return Ok(Found { pods: vec![pod], said: None });
        }
        Reference::Object { kind, name } => {
            let what = reference.to_string();
            let selection = selection(client, namespace, *kind, name).await?;
            let selector = selection.selector.filter(|selector| !selector.selects_all());
            let selector = selector.ok_or_else(|| TargetError::NoSelector { what: what.clone() })?;
            (what, selector.to_string(), selection.scaled_down)
        }
        Reference::Selector(selector) => (format!("`{reference}`"), selector.clone(), false),
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let listed = pods.list(&ListParams::default().labels(&selector)).await;
    let pods = listed.map_err(|error| explain(&error, asked(namespace, "list", "pods")))?.items;
    if pods.is_empty() {
        return Err(TargetError::NoPods { what, selector, namespace: namespace.to_owned(), scaled_down }.into());
    }
    Ok(choose_pods(&what, pods, which)?)
}

async fn selection(client: &Client, namespace: &str, kind: Workload, name: &str) -> Result<Selection, Error> {
    let of_labels = |selector: LabelSelector| Selector::try_from(selector).ok();
    let down = |replicas: Option<i32>| replicas == Some(0);
    Ok(match kind {
        Workload::Pod => Selection { selector: None, scaled_down: false },
        Workload::Deployment => {
            let spec = get::<Deployment>(client, namespace, kind, name).await?.spec.unwrap_or_default();
            Selection { selector: of_labels(spec.selector), scaled_down: down(spec.replicas) }
        }
        Workload::StatefulSet => {
            let spec = get::<StatefulSet>(client, namespace, kind, name).await?.spec.unwrap_or_default();
            Selection { selector: of_labels(spec.selector), scaled_down: down(spec.replicas) }
        }
        Workload::ReplicaSet => {
            let spec = get::<ReplicaSet>(client, namespace, kind, name).await?.spec.unwrap_or_default();
            Selection { selector: of_labels(spec.selector), scaled_down: down(spec.replicas) }
        }
        Workload::DaemonSet => {
            let spec = get::<DaemonSet>(client, namespace, kind, name).await?.spec.unwrap_or_default();
            Selection { selector: of_labels(spec.selector), scaled_down: false }
        }
        Workload::Job => {
            let spec = get::<Job>(client, namespace, kind, name).await?.spec.unwrap_or_default();
            Selection { selector: spec.selector.and_then(of_labels), scaled_down: spec.suspend == Some(true) }
        }
        Workload::Service => {
            let spec = get::<Service>(client, namespace, kind, name).await?.spec.unwrap_or_default();
            Selection { selector: spec.selector.map(|labels| labels.into_iter().collect()), scaled_down: false }
        }
    })
}

async fn get<K>(client: &Client, namespace: &str, kind: Workload, name: &str) -> Result<K, Error>
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Metadata
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let objects: Api<K> = Api::namespaced(client.clone(), namespace);
    match objects.get(name).await {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let what = match kind {
                Workload::Pod => format!("pod `{name}`"),
                kind => format!("{}/{name}", kind.short()),
            };
            let near = meant(client, namespace, kind, name).await;
            let resource = kind.resource();
            Err(TargetError::NotFound { what, resource, namespace: namespace.to_owned(), near }.into())
        }
        Err(error) => Err(explain(&error, asked(namespace, "get", kind.resource()))),
    }
}

/// What may have been meant, if the user may list pods; who may not is told nothing, and that is all.
async fn meant(client: &Client, namespace: &str, kind: Workload, name: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let listed = pods.list_metadata(&ListParams::default().limit(LOOKED_THROUGH)).await;
    listed.map(|list| near(kind, name, list.items.iter().map(|pod| &pod.metadata))).unwrap_or_default()
}

fn asked<'a>(namespace: &'a str, verb: &'a str, resource: &'a str) -> Asked<'a> {
    Asked { namespace, verb, resource, container: "", reasons: "" }
}
