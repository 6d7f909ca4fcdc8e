//! What is in the cluster before anything is touched, and whether it may be touched.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::apimachinery::pkg::version::Info;
use kitbag_toolsets::published::Published;
use kube::{Api, Client};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::{failed, unanswered};
use crate::cluster::FIELD_MANAGER;
use crate::error::Error;
use crate::install::objects::{APP, NAME, Object, REGISTRY};
use crate::install::served::Catalog;
use crate::install::{Done, InstallError, MANAGED_BY, NAMESPACE, Objects, apply, find};
use crate::kubernetes::{EPHEMERAL, POD_SECURITY, minor};
use crate::progress::Progress;

/// How often it is looked whether a namespace that is being deleted is gone.
const POLL: Duration = Duration::from_millis(500);
/// The level of Pod Security that lets in host networks.
const PRIVILEGED: &str = "privileged";

/// A catalog in a file.
pub(super) fn catalog_in(path: &Path) -> Result<Catalog, InstallError> {
    let read = fs::read_to_string(path);
    let text = read.map_err(|source| InstallError::CatalogFile { path: path.to_owned(), source })?;
    let published = Published::parse(&text);
    let published = published.map_err(|fault| InstallError::Catalog { path: path.to_owned(), fault })?;
    Ok(Catalog { text, published })
}

/// The API server's version. One that does not say is taken at its word later; one that can have no debug containers at
/// all is the end.
pub(super) async fn version(client: &Client) -> Result<Option<Info>, Error> {
    match client.apiserver_version().await {
        Ok(version) if version.major == "1" && minor(&version.minor).is_some_and(|minor| minor < EPHEMERAL) => {
            Err(InstallError::TooOld { version: version.git_version }.into())
        }
        version => Ok(version.ok()),
    }
}

/// The namespace: where the registries of this cluster are, if there are any.
pub(super) async fn place(client: &Client, wanted: Option<&str>) -> Result<String, Error> {
    let installed = installed_in(client).await?;
    match (wanted, installed) {
        (Some(wanted), Some(namespace)) if wanted != namespace => Err(InstallError::Elsewhere { namespace }.into()),
        (Some(wanted), _) => Ok(wanted.to_owned()),
        (None, installed) => Ok(installed.unwrap_or_else(|| NAMESPACE.to_owned())),
    }
}

/// Where the registries are, if there are any.
pub(in crate::commands) async fn installed_in(client: &Client) -> Result<Option<String>, Error> {
    find::registries(client).await.map_err(|error| unanswered("to be asked where kitbag is", &error))
}

/// Where an installation has begun, if one has.
pub(in crate::commands) async fn begun_in(client: &Client) -> Result<Option<String>, Error> {
    find::begun(client).await.map_err(|error| unanswered("to be asked where kitbag is", &error))
}

/// The registries of this cluster, if there are any. What may not be seen is told with all permissions that are missing.
pub(super) async fn installed(client: &Client, namespace: &str) -> Result<Option<DaemonSet>, Error> {
    let set = Api::<DaemonSet>::namespaced(client.clone(), namespace).get(REGISTRY).await;
    find::seen(set).map_err(|error| unanswered("to be asked what is installed", &error))
}

/// What is there, in the order of [`Objects::all`].
pub(super) struct Found {
    pub(super) namespace: Option<Value>,
    others: Vec<Option<Value>>,
}

impl Found {
    pub(super) fn in_order(self) -> impl Iterator<Item = Option<Value>> {
        std::iter::once(self.namespace).chain(self.others)
    }

    /// The ConfigMap, which is the last of them.
    pub(super) fn discovery(&self) -> Option<&Value> {
        self.others.last()?.as_ref()
    }
}

/// Asks for all of it. A namespace of an earlier installation that is on its way out is waited for, if there is a
/// `patience`.
pub(super) async fn current(
    client: &Client,
    objects: &Objects,
    patience: Option<Duration>,
    progress: &Progress,
) -> Result<Found, Error> {
    let [first, registry] = objects.first();
    let namespace = match patience {
        Some(patience) => once_gone(client, &first, patience, progress).await?,
        None => seen(client, &first).await?,
    };
    let mut others = Vec::new();
    for object in std::iter::once(registry).chain(objects.then()) {
        others.push(seen(client, &object).await?);
    }
    Ok(Found { namespace, others })
}

/// The namespace, but not one that is being deleted.
async fn once_gone(
    client: &Client,
    namespace: &Object,
    patience: Duration,
    progress: &Progress,
) -> Result<Option<Value>, Error> {
    let deadline = Instant::now() + patience;
    let mut is_told = false;
    loop {
        let found = seen(client, namespace).await?;
        if found.as_ref().is_none_or(|it| it["metadata"]["deletionTimestamp"].is_null()) {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            let objects = vec![namespace.clone()];
            return Err(InstallError::Remains { seconds: patience.as_secs(), objects }.into());
        }
        if !std::mem::replace(&mut is_told, true) {
            progress.say(&format!("{namespace} is being deleted: waiting until it is gone…"));
        }
        sleep(POLL).await;
    }
}

/// What is there of an object. What may not be seen is told with all other permissions that are missing.
async fn seen(client: &Client, object: &Object) -> Result<Option<Value>, Error> {
    match apply::get(client, object).await {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(error) => Err(failed(object, &error, &Done::default())),
        Ok(found) => Ok(found),
    }
}

/// Whether a namespace is somebody else's.
pub(super) fn is_foreign(namespace: &Value) -> bool {
    manager(namespace) != Some(FIELD_MANAGER)
}

/// Nobody's object is taken from them. A namespace is shared, but what its owner keeps out of it stays out.
pub(super) fn check_manager(object: &Object, before: Option<&Value>) -> Result<(), InstallError> {
    let Some(before) = before else { return Ok(()) };
    if object.namespace.is_none() {
        let level = before["metadata"]["labels"][POD_SECURITY].as_str().filter(|level| *level != PRIVILEGED);
        return match level.filter(|_| is_foreign(before)) {
            Some(level) => Err(InstallError::PodSecurity { namespace: object.name.clone(), level: level.to_owned() }),
            None => Ok(()),
        };
    }
    if let Some(manager) = manager(before).filter(|manager| *manager != FIELD_MANAGER) {
        return Err(InstallError::Managed { object: object.to_string(), manager: manager.to_owned() });
    }
    let foreign = |reason| Err(InstallError::Foreign { object: object.to_string(), reason });
    if before["metadata"]["labels"][NAME] != APP {
        return foreign("it has no label `app.kubernetes.io/name=kitbag`");
    }
    // Which can't be changed: the server would refuse that when other things have been done.
    if before["spec"]["selector"] != object.body["spec"]["selector"] {
        return foreign("it selects other pods");
    }
    Ok(())
}

fn manager(found: &Value) -> Option<&str> {
    found["metadata"]["labels"][MANAGED_BY].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::Settings;
    use serde_json::json;

    #[test]
    fn what_somebody_keeps_out_of_their_namespace_stays_out() {
        let objects =
            Objects::new(&Settings { image: "x", namespace: "tools", port: 5050, pull_secret: None }).unwrap();
        let [namespace, registry] = objects.first();
        let [.., discovery] = objects.then();
        let checked = |object: &Object, labels: Value| {
            let result = check_manager(object, Some(&json!({ "metadata": { "labels": labels } })));
            result.map_or_else(|error| error.to_string(), |()| "ok".to_owned())
        };
        insta::assert_snapshot!([
            checked(&namespace, json!({})),
            checked(&namespace, json!({ POD_SECURITY: "privileged" })),
            checked(&namespace, json!({ POD_SECURITY: "restricted" })),
            checked(&namespace, json!({ POD_SECURITY: "restricted", MANAGED_BY: FIELD_MANAGER })),
            checked(&namespace, json!({ MANAGED_BY: "Helm" })),
            checked(&registry, json!({ MANAGED_BY: "Helm" })),
            checked(&registry, json!({})),
            checked(&registry, json!({ NAME: APP })),
            checked(&discovery, json!({})),
            checked(&discovery, json!({ NAME: APP })),
            checked(&discovery, json!({ NAME: APP, MANAGED_BY: "Helm" })),
        ].join("\n"), @r"
    ok
    ok
    namespace `tools` is somebody else's, and at the Pod Security level `restricted`, which keeps registries out: they take the node's network
    ok
    ok
    DaemonSet `registry` in namespace `tools` is taken care of by `Helm`
    DaemonSet `registry` in namespace `tools` is somebody else's: it has no label `app.kubernetes.io/name=kitbag`
    DaemonSet `registry` in namespace `tools` is somebody else's: it selects other pods
    ConfigMap `kitbag` in namespace `kube-public` is somebody else's: it has no label `app.kubernetes.io/name=kitbag`
    ok
    ConfigMap `kitbag` in namespace `kube-public` is taken care of by `Helm`
    ");
    }
}
