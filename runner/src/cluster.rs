//! The connection to the cluster, found as kubectl finds it, with kubectl's flags.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kitbag_toolsets::loopback::is_loopback_host;
use kube::client::ClientBuilder;
use kube::config::{
    AuthInfo, Cluster as ClusterEntry, Context, KubeConfigOptions, Kubeconfig, KubeconfigError, NamedAuthInfo,
    NamedCluster, NamedContext,
};
use kube::{Client, Config};
use tower::timeout::TimeoutLayer;

use crate::cli::Common;
use crate::error::{Error, root_cause};
use crate::home;
use crate::requests::Tell;

/// The name of what flags say and no kubeconfig does.
const BY_FLAGS: &str = "kubectl-kitbag";

/// What the API server knows this program as: who owns the fields that it sets.
pub(crate) const FIELD_MANAGER: &str = "kubectl-kitbag";

/// A cluster, and who speaks to it.
pub(crate) struct Cluster {
    /// What speaks to it.
    pub(crate) client: Client,
    /// The namespace to look in.
    pub(crate) namespace: String,
    /// The user, as this machine calls it: who the API server takes it for may be something else.
    pub(crate) user: Option<String>,
}

/// Connects. Each request is told with the time since `since`, if there is one.
///
/// # Errors
/// [`Error::Kubeconfig`] where nothing says to what, or what does cannot be read.
pub(crate) async fn connect(flags: &Common, since: Option<Instant>) -> Result<Cluster, Error> {
    let (mut config, user) = config(flags).await?;
    let namespace = flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let fault = |error: kube::Error| Error::Kubeconfig(root_cause(&error));
    let tell = Tell { since };
    let client = if flags.request_timeout.is_zero() {
        ClientBuilder::try_from(config).map_err(fault)?.with_layer(&tell).build()
    } else {
        // To the beginning of the answer: a watch and a session may then be silent for as long as they like.
        config.connect_timeout = Some(flags.request_timeout);
        let builder = ClientBuilder::try_from(config).map_err(fault)?;
        builder.with_layer(&TimeoutLayer::new(flags.request_timeout)).with_layer(&tell).build()
    };
    Ok(Cluster { client, namespace, user })
}

async fn config(flags: &Common) -> Result<(Config, Option<String>), Error> {
    let found = kubeconfig(flags.kubeconfig.as_deref())?;
    let choosing = [&flags.context, &flags.cluster, &flags.user, &flags.server].into_iter().any(Option::is_some);
    if found.is_none() && flags.kubeconfig.is_none() && !choosing {
        let mut config = Config::incluster().map_err(|_| Error::Kubeconfig("there is no kubeconfig".to_owned()))?;
        identify(&mut config.auth_info, flags);
        return Ok((config, flags.impersonate.clone()));
    }
    if found.is_none() && flags.server.is_none() {
        return Err(Error::Kubeconfig("there is no kubeconfig".to_owned()));
    }
    let (kubeconfig, choice) = overridden(found.unwrap_or_default(), flags);
    let user = flags.impersonate.clone().or_else(|| user_name(&kubeconfig, &choice));
    let has_proxy = kubeconfig.clusters.iter().flat_map(|named| &named.cluster).any(|it| it.proxy_url.is_some());
    let config = Config::from_custom_kubeconfig(kubeconfig, &choice).await;
    let mut config = config.map_err(|error| Error::Kubeconfig(error.to_string()))?;
    // As kubectl: a proxy of the environment is not for this machine itself.
    if !has_proxy && config.cluster_url.host().is_some_and(is_loopback_host) {
        config.proxy_url = None;
    }
    Ok((config, user))
}

/// The kubeconfig as the flags change it, and which of its entries count.
fn overridden(mut kubeconfig: Kubeconfig, flags: &Common) -> (Kubeconfig, KubeConfigOptions) {
    let wanted = flags.context.clone().or_else(|| kubeconfig.current_context.clone());
    let known = kubeconfig.contexts.iter().find(|named| Some(&named.name) == wanted.as_ref());
    let context = known.and_then(|named| named.context.clone());
    // A context that is named and missing is an error, which kube tells; where none is named, flags may say it all.
    let name = match (&flags.context, &context) {
        (None, None) => BY_FLAGS.to_owned(),
        _ => wanted.unwrap_or_default(),
    };
    let of_context = context.clone().unwrap_or_default();
    let cluster = flags.cluster.clone().unwrap_or(of_context.cluster.clone());
    let cluster = if cluster.is_empty() { BY_FLAGS.to_owned() } else { cluster };
    let user = flags.user.clone().or(of_context.user.clone()).filter(|user| !user.is_empty());
    let user = user.unwrap_or_else(|| BY_FLAGS.to_owned());
    if name == BY_FLAGS {
        let context = Context { cluster: cluster.clone(), user: Some(user.clone()), ..Context::default() };
        kubeconfig.contexts.push(NamedContext {
            name: name.clone(),
            context: Some(context),
            ..NamedContext::default()
        });
    }
    if flags.server.is_some() && !kubeconfig.clusters.iter().any(|named| named.name == cluster) {
        let entry = Some(ClusterEntry::default());
        kubeconfig.clusters.push(NamedCluster { name: cluster.clone(), cluster: entry, ..NamedCluster::default() });
    }
    if user == BY_FLAGS {
        let entry = Some(AuthInfo::default());
        kubeconfig.auth_infos.push(NamedAuthInfo { name: user.clone(), auth_info: entry, ..NamedAuthInfo::default() });
    }
    for named in kubeconfig.clusters.iter_mut().filter(|named| named.name == cluster) {
        locate(named.cluster.get_or_insert_default(), flags);
    }
    for named in kubeconfig.auth_infos.iter_mut().filter(|named| named.name == user) {
        identify(named.auth_info.get_or_insert_default(), flags);
    }
    (kubeconfig, KubeConfigOptions { context: Some(name), cluster: Some(cluster), user: Some(user) })
}

/// The flags that say where the API server is, and how it is known.
fn locate(cluster: &mut ClusterEntry, flags: &Common) {
    if let Some(server) = &flags.server {
        // As kubectl: without a scheme, an address is an HTTP server's.
        let scheme = if server.contains("://") { "" } else { "http://" };
        cluster.server = Some(format!("{scheme}{server}"));
    }
    if let Some(file) = &flags.certificate_authority {
        cluster.certificate_authority = Some(file.display().to_string());
        cluster.certificate_authority_data = None;
        cluster.insecure_skip_tls_verify = None;
    }
    if let Some(insecure) = flags.insecure_skip_tls_verify {
        cluster.insecure_skip_tls_verify = Some(insecure);
        if insecure {
            (cluster.certificate_authority, cluster.certificate_authority_data) = (None, None);
        }
    }
    if let Some(name) = &flags.tls_server_name {
        cluster.tls_server_name = Some(name.clone());
    }
}

/// The flags that say who asks.
fn identify(user: &mut AuthInfo, flags: &Common) {
    if let Some(token) = &flags.token {
        // It goes before every other way to say who one is; certificates are shown all the same.
        user.token = Some(token.clone().into());
        (user.token_file, user.exec, user.auth_provider, user.username, user.password) = (None, None, None, None, None);
    }
    if let Some(file) = &flags.client_certificate {
        user.client_certificate = Some(file.display().to_string());
        user.client_certificate_data = None;
    }
    if let Some(file) = &flags.client_key {
        user.client_key = Some(file.display().to_string());
        user.client_key_data = None;
    }
    if let Some(name) = &flags.impersonate {
        user.impersonate = Some(name.clone());
        let groups = &flags.impersonate_groups;
        user.impersonate_groups = (!groups.is_empty()).then(|| groups.clone());
        user.impersonate_uid = flags.impersonate_uid.clone();
    }
}

/// Who asks, as the kubeconfig calls it.
fn user_name(kubeconfig: &Kubeconfig, choice: &KubeConfigOptions) -> Option<String> {
    let named = choice.user.clone().filter(|name| name != BY_FLAGS)?;
    let entry = kubeconfig.auth_infos.iter().find(|entry| entry.name == named);
    let acts_as = entry.and_then(|entry| entry.auth_info.as_ref()?.impersonate.clone());
    Some(acts_as.unwrap_or(named))
}

/// The kubeconfig: the named file, else those of $KUBECONFIG that exist, merged, else `~/.kube/config`.
pub(crate) fn kubeconfig(named: Option<&Path>) -> Result<Option<Kubeconfig>, Error> {
    let fault = |error: KubeconfigError| Error::Kubeconfig(error.to_string());
    if let Some(path) = named {
        return Kubeconfig::read_from(path).map(Some).map_err(fault);
    }
    let paths: Vec<PathBuf> = match env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        Some(list) => env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => {
            let mut defaults = home::directories().into_iter().map(|home| home.join(".kube").join("config"));
            defaults.find(|path| path.exists()).into_iter().collect()
        }
    };
    merge(&paths).map_err(fault)
}

/// As kubectl: files that are not there are passed over, and what stands in several is taken from the first.
fn merge(paths: &[PathBuf]) -> Result<Option<Kubeconfig>, KubeconfigError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in paths.iter().filter(|path| path.exists()) {
        let next = Kubeconfig::read_from(path)?;
        merged = Some(match merged {
            None => next,
            Some(before) => before.merge(next)?,
        });
    }
    Ok(merged)
}

#[cfg(test)]
mod tests;
