//! Taking out what was put in, and nothing else.

use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::apply::{api, get, release};
use super::{FIELD_MANAGER, InstallError, MANAGED_BY, Object};
use crate::error::Error;

/// How often it is looked whether what was deleted is gone.
const POLL: Duration = Duration::from_millis(300);
/// What every namespace has.
const ROOT_CA: &str = "kube-root-ca.crt";
/// What every namespace had before Kubernetes 1.24.
const DEFAULT_TOKEN: &str = "default-token-";
/// What other objects are named of those that keep a namespace.
const NAMED: usize = 3;

/// What is to become of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// There is none.
    Absent,
    /// It goes: this very one, by its uid.
    Goes(String),
    /// It stays, and why.
    Stays(String),
}

/// What is to become of an object of which `found` is there.
#[must_use]
pub fn fate(found: Option<&Value>) -> Fate {
    let Some(found) = found else { return Fate::Absent };
    match found["metadata"]["labels"][MANAGED_BY].as_str() {
        Some(FIELD_MANAGER) => Fate::Goes(found["metadata"]["uid"].as_str().unwrap_or_default().to_owned()),
        Some(manager) => Fate::Stays(format!("`{manager}` takes care of it")),
        None => Fate::Stays("`kubectl kitbag install` did not make it".to_owned()),
    }
}

/// What else is in the namespace, so that it must not go: a sentence for people.
pub async fn others(client: &Client, namespace: &str) -> Option<String> {
    let mut found = Vec::new();
    let listed = async {
        found.extend(names::<Pod>(client, namespace).await?);
        found.extend(names::<ConfigMap>(client, namespace).await?);
        found.extend(names::<Secret>(client, namespace).await?);
        found.extend(names::<Service>(client, namespace).await?);
        found.extend(names::<PersistentVolumeClaim>(client, namespace).await?);
        found.extend(names::<Deployment>(client, namespace).await?);
        found.extend(names::<StatefulSet>(client, namespace).await?);
        Ok::<(), kube::Error>(())
    };
    if listed.await.is_err() {
        return Some("it can't be seen what else is in it".to_owned());
    }
    let more = found.len().saturating_sub(NAMED);
    found.truncate(NAMED);
    match (found.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("{} is in it", found.join(", "))),
        (false, more) => Some(format!("{} and {more} more are in it", found.join(", "))),
    }
}

async fn names<K>(client: &Client, namespace: &str) -> Result<Vec<String>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let list = Api::<K>::namespaced(client.clone(), namespace).list_metadata(&ListParams::default()).await?;
    let is_ours = |labels: &std::collections::BTreeMap<String, String>| {
        // What a doctor was about to clean up goes with it.
        labels.get("app.kubernetes.io/name").is_some_and(|name| matches!(name.as_str(), "kitbag" | "kitbag-doctor"))
    };
    let foreign = list.items.iter().filter(|item| {
        let name = item.name_any();
        !is_ours(item.labels()) && name != ROOT_CA && !name.starts_with(DEFAULT_TOKEN)
    });
    Ok(foreign.map(|item| format!("{} `{}`", K::kind(&()), item.name_any())).collect())
}

/// Deletes an object: this very one. That it is gone already is as good.
///
/// # Errors
/// What the API server refuses, or that it does not answer.
pub async fn delete(client: &Client, object: &Object, uid: &str) -> Result<(), kube::Error> {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
    // In the foreground: the DaemonSet is gone when its pods are.
    let parameters = DeleteParams::foreground().preconditions(preconditions);
    match api(client, object).delete(&object.name, &parameters).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        result => result.map(drop),
    }
}

/// Leaves a namespace that was there before as it was before.
///
/// # Errors
/// What the API server refuses, or that it does not answer.
pub async fn leave(client: &Client, namespace: &Object, found: &Value) -> Result<bool, kube::Error> {
    let managers = found["metadata"]["managedFields"].as_array();
    let is_changed = managers.into_iter().flatten().any(|it| it["manager"] == FIELD_MANAGER);
    if is_changed {
        release(client, namespace).await?;
    }
    Ok(is_changed)
}

/// Waits until what was deleted is gone.
///
/// # Errors
/// [`InstallError::Remains`] when it takes too long.
pub async fn until_gone(client: &Client, deleted: &[(Object, String)], timeout: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + timeout;
    loop {
        let mut there = Vec::new();
        for (object, uid) in deleted {
            // Another of the same name is not ours to wait for. Who gives no answer at the moment is asked again.
            match get(client, object).await {
                Ok(Some(found)) if found["metadata"]["uid"] == uid.as_str() => there.push(object.to_string()),
                Ok(_) => {}
                Err(_) => there.push(object.to_string()),
            }
        }
        if there.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(InstallError::Remains { seconds: timeout.as_secs(), objects: there }.into());
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_was_installed_goes() {
        let labelled = |manager: &str| json!({ "metadata": { "uid": "1", "labels": { MANAGED_BY: manager } } });
        assert_eq!(fate(None), Fate::Absent);
        assert_eq!(fate(Some(&labelled(FIELD_MANAGER))), Fate::Goes("1".to_owned()));
        assert_eq!(fate(Some(&labelled("Helm"))), Fate::Stays("`Helm` takes care of it".to_owned()));
        let bare = json!({ "metadata": { "name": "kitbag" } });
        assert_eq!(fate(Some(&bare)), Fate::Stays("`kubectl kitbag install` did not make it".to_owned()));
    }
}
