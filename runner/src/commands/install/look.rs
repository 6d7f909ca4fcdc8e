//! What is in the cluster before anything is touched, and whether it may be touched.

use k8s_openapi::api::apps::v1::DaemonSet;
use kitbag_toolsets::published::Published;
use kube::{Api, Client};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::failed;
use crate::cluster::FIELD_MANAGER;
use crate::doctor::server::{BETA, minor};
use crate::error::Error;
use crate::install::objects::{INSTALLED_IN, Object, REGISTRY};
use crate::install::served::Catalog;
use crate::install::{InstallError, MANAGED_BY, NAMESPACE, Objects, Settings, apply};
use crate::progress::Progress;

/// How often it is looked whether a namespace that is being deleted is gone.
const POLL: Duration = Duration::from_millis(500);
/// The label of a namespace that says what Pod Security lets into it, and the level that lets in host networks.
const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";
const PRIVILEGED: &str = "privileged";

/// A catalog in a file.
pub(super) fn catalog_in(path: &Path) -> Result<Catalog, InstallError> {
    let read = fs::read_to_string(path);
    let text = read.map_err(|source| InstallError::CatalogFile { path: path.to_owned(), source })?;
    let published = Published::parse(&text);
    let published = published.map_err(|fault| InstallError::Catalog { path: path.to_owned(), fault })?;
    Ok(Catalog { text, published })
}

/// Whether the cluster can have debug containers at all. One that does not say is taken at its word later.
pub(super) async fn check_version(client: &Client) -> Result<(), Error> {
    match client.apiserver_version().await {
        Ok(version) if version.major == "1" && minor(&version.minor).is_some_and(|minor| minor < BETA) => {
            Err(InstallError::TooOld { version: version.git_version }.into())
        }
        _ => Ok(()),
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

/// Where `install` has put the registries, as far as discovery says.
pub(in crate::commands) async fn installed_in(client: &Client) -> Result<Option<String>, Error> {
    let objects = Objects::new(&Settings { image: "", namespace: NAMESPACE, port: 0, pull_secret: None })?;
    let [.., discovery] = objects.then();
    let found = seen(client, &discovery).await?;
    Ok(found.and_then(|found| found["metadata"]["annotations"][INSTALLED_IN].as_str().map(str::to_owned)))
}

/// The registries of this cluster, if there are any. What may not be seen is told with all permissions that are missing.
pub(super) async fn installed(client: &Client, namespace: &str) -> Option<DaemonSet> {
    Api::<DaemonSet>::namespaced(client.clone(), namespace).get_opt(REGISTRY).await.ok().flatten()
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

pub(super) async fn current(
    client: &Client,
    objects: &Objects,
    deadline: Instant,
    progress: &Progress,
) -> Result<Found, Error> {
    let mut all = objects.all();
    let mut namespace = None;
    let mut is_told = false;
    // An earlier installation may still be on its way out.
    for object in all.by_ref().take(1) {
        namespace = seen(client, &object).await?;
        while namespace.as_ref().is_some_and(|it| !it["metadata"]["deletionTimestamp"].is_null())
            && Instant::now() < deadline
        {
            if !std::mem::replace(&mut is_told, true) {
                progress.say(&format!("{object} is being deleted: waiting until it is gone…"));
            }
            sleep(POLL).await;
            namespace = seen(client, &object).await?;
        }
    }
    let mut others = Vec::new();
    for object in all {
        others.push(seen(client, &object).await?);
    }
    Ok(Found { namespace, others })
}

/// What is there of an object. What may not be seen is told with all other permissions that are missing.
async fn seen(client: &Client, object: &Object) -> Result<Option<Value>, Error> {
    match apply::get(client, object).await {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(error) => Err(failed(object, &error, &[])),
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
    match manager(before).filter(|manager| *manager != FIELD_MANAGER) {
        Some(manager) => Err(InstallError::Managed { object: object.to_string(), manager: manager.to_owned() }),
        None => Ok(()),
    }
}

fn manager(found: &Value) -> Option<&str> {
    found["metadata"]["labels"][MANAGED_BY].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_somebody_keeps_out_of_their_namespace_stays_out() {
        let objects =
            Objects::new(&Settings { image: "x", namespace: "tools", port: 5050, pull_secret: None }).unwrap();
        let [namespace, registry] = objects.first();
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
        ].join("\n"), @r"
    ok
    ok
    namespace `tools` is somebody else's, and at the Pod Security level `restricted`, which keeps registries out: they take the node's network
    ok
    ok
    DaemonSet `registry` in namespace `tools` is taken care of by `Helm`
    ok
    ");
    }
}
