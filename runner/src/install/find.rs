//! Where the registries of a cluster are. Discovery remembers it, but it is written last, may be written by anybody who may
//! write ConfigMaps there, and knows nothing of what kustomize has put: it is taken at its word only where registries are,
//! or an installation has been.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::objects::{APP, INSTALLED_IN, NAME, REGISTRY};
use super::{FIELD_MANAGER, MANAGED_BY, NAMESPACE};
use crate::discovery;

/// The longest name of a namespace.
const LONGEST_NAME: usize = 63;

/// The namespace of the registries, if there are any. What may not be seen counts as not there.
///
/// # Errors
/// What the API server refuses else, or that it does not answer.
pub async fn registries(client: &Client) -> Result<Option<String>, kube::Error> {
    if let Some(namespace) = remembered(client).await?
        && is_used(client, &namespace).await?
    {
        return Ok(Some(namespace));
    }
    labelled(client).await
}

/// The same, by the labels of what is there alone.
///
/// # Errors
/// As [`registries`].
pub async fn labelled(client: &Client) -> Result<Option<String>, kube::Error> {
    let labelled = ListParams::default().labels(&format!("{NAME}={APP}"));
    let all = seen(Api::<DaemonSet>::all(client.clone()).list_metadata(&labelled).await)?;
    let all = all.into_iter().flat_map(|list| list.items);
    let ours = all.filter(|it| it.name_any() == REGISTRY).filter_map(|it| it.namespace());
    Ok(ours.min_by_key(|namespace| (namespace != NAMESPACE, namespace.clone())))
}

/// The namespace that an installation has made which got no further, if there is one.
///
/// # Errors
/// As [`registries`].
pub async fn begun(client: &Client) -> Result<Option<String>, kube::Error> {
    let made = ListParams::default().labels(&format!("{MANAGED_BY}={FIELD_MANAGER}"));
    let all = seen(Api::<Namespace>::all(client.clone()).list_metadata(&made).await)?;
    Ok(all.into_iter().flat_map(|list| list.items).map(|namespace| namespace.name_any()).min())
}

/// The namespace of which discovery tells.
async fn remembered(client: &Client) -> Result<Option<String>, kube::Error> {
    let discovery =
        seen(Api::<ConfigMap>::namespaced(client.clone(), discovery::NAMESPACE).get(discovery::NAME).await)?;
    let namespace = discovery.and_then(|map| map.metadata.annotations?.remove(INSTALLED_IN));
    Ok(namespace.filter(|name| is_label(name)))
}

/// Whether registries are there, or an installation has been. Who may not see the registries is told so when it comes to
/// permissions, before anything is touched.
async fn is_used(client: &Client, namespace: &str) -> Result<bool, kube::Error> {
    let set = Api::<DaemonSet>::namespaced(client.clone(), namespace).get_metadata(REGISTRY).await;
    if matches!(&set, Err(kube::Error::Api(status)) if status.code == 403) {
        return Ok(true);
    }
    if seen(set)?.is_some_and(|set| set.labels().get(NAME).is_some_and(|name| name == APP)) {
        return Ok(true);
    }
    let found = seen(Api::<Namespace>::all(client.clone()).get_metadata(namespace).await)?;
    let managers = found.into_iter().flat_map(|found| found.metadata.managed_fields.unwrap_or_default());
    Ok(managers.into_iter().any(|it| it.manager.as_deref() == Some(FIELD_MANAGER)))
}

/// What there is, if it is there and may be seen.
pub(crate) fn seen<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
        answer => answer.map(Some),
    }
}

/// Can it be the name of a namespace at all (RFC 1123)? What it goes into is paths, and lines that people paste.
pub(crate) fn is_label(name: &str) -> bool {
    let is_inner = |byte: u8| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_of_a_namespace_is_no_place() {
        for name in ["kitbag", "a", "1-2", &"a".repeat(63)] {
            assert!(is_label(name), "{name}");
        }
        for name in ["", "-a", "a-", "A", "a.b", "a/b", "../x", "x;id", "a b", "x\n", "ä", &"a".repeat(64)] {
            assert!(!is_label(name), "{name}");
        }
    }
}
