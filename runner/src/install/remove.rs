//! Taking out what was put in, and nothing else.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::core::ApiResource;
use kube::discovery::{ApiGroup, Scope, verbs};
use kube::{Api, Client, Discovery, ResourceExt as _};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::apply::{api, get, release};
use super::objects::{NAME, REGISTRY};
use super::{FIELD_MANAGER, InstallError, MANAGED_BY, Object};
use crate::error::Error;

/// How often it is looked whether what was deleted is gone.
const POLL: Duration = Duration::from_millis(300);
/// What every namespace has.
const ROOT_CA: &str = "kube-root-ca.crt";
/// What every namespace had before Kubernetes 1.24.
const DEFAULT_TOKEN: &str = "default-token-";
/// The account that every namespace has.
const DEFAULT: &str = "default";
/// The label of what a doctor makes.
const DOCTOR: &str = "kitbag-doctor";
/// What only tells of others.
const EVENTS: [&str; 1] = ["events.k8s.io"];
const EVENT: &str = "Event";
/// Kinds that are listed at the same time.
const AT_ONCE: usize = 8;
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

/// What else is in the namespace and would go with it: a sentence for people.
pub async fn others(client: &Client, namespace: &str) -> Option<String> {
    let Ok(mut found) = foreign(client, namespace).await else {
        return Some("it can't be seen what else is in it".to_owned());
    };
    let more = found.len().saturating_sub(NAMED);
    found.truncate(NAMED);
    match (found.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("{} is in it", found.join(", "))),
        (false, more) => Some(format!("{} and {more} more are in it", found.join(", "))),
    }
}

/// Objects of every kind that the API server has in namespaces.
async fn foreign(client: &Client, namespace: &str) -> Result<Vec<String>, kube::Error> {
    let kinds = Discovery::new(client.clone()).exclude(&EVENTS).run().await?;
    let mut kinds: Vec<ApiResource> = kinds
        .groups_alphabetical()
        .into_iter()
        .flat_map(ApiGroup::resources_by_stability)
        // What can't be deleted is a view of something else.
        .filter(|(kind, can)| {
            can.scope == Scope::Namespaced
                && can.supports_operation(verbs::LIST)
                && can.supports_operation(verbs::DELETE)
                && kind.kind != EVENT
        })
        .map(|(kind, _)| kind)
        .collect();
    kinds.sort_by(|one, other| (&one.group, &one.plural).cmp(&(&other.group, &other.plural)));
    let lists = stream::iter(kinds.iter().map(|kind| async move {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, kind);
        (kind, api.list_metadata(&ListParams::default()).await)
    }));
    let mut found = Vec::new();
    let mut lists = lists.buffered(AT_ONCE);
    while let Some((kind, list)) = lists.next().await {
        let items = list?.items;
        let named = items.iter().filter(|item| !is_ours(&item.metadata) && !is_everywhere(kind, &item.name_any()));
        found.extend(named.map(|item| format!("{} `{}`", kind.kind, item.name_any())));
    }
    Ok(found)
}

/// Has `install` made it, the DaemonSet that `install` has made, or a doctor who was about to clean up?
fn is_ours(object: &ObjectMeta) -> bool {
    let label = |name: &str| object.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    let mut owners = object.owner_references.iter().flatten();
    label(MANAGED_BY) == Some(FIELD_MANAGER)
        || label(NAME) == Some(DOCTOR)
        || owners.any(|owner| owner.kind == "DaemonSet" && owner.name == REGISTRY)
}

/// Does every namespace have it?
fn is_everywhere(kind: &ApiResource, name: &str) -> bool {
    match kind.kind.as_str() {
        "ConfigMap" => name == ROOT_CA,
        "ServiceAccount" => name == DEFAULT,
        "Secret" => name.starts_with(DEFAULT_TOKEN),
        _ => false,
    }
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
                Ok(Some(found)) if found["metadata"]["uid"] == uid.as_str() => there.push(object.clone()),
                Ok(_) => {}
                Err(_) => there.push(object.clone()),
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
