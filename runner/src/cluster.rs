//! The connection to the cluster, found as kubectl finds it.

use std::env;
use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::cli::Cluster;
use crate::error::{Error, root_cause};

/// A client, and the namespace to look in.
pub(crate) async fn connect(options: &Cluster) -> Result<(Client, String), Error> {
    let config = config(options).await?;
    let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| Error::Kubeconfig(root_cause(&error)))?;
    Ok((client, namespace))
}

async fn config(options: &Cluster) -> Result<Config, Error> {
    let named = options.kubeconfig.is_some() || options.context.is_some();
    let Some(kubeconfig) = kubeconfig(options.kubeconfig.as_deref())? else {
        return match Config::incluster() {
            Ok(config) if !named => Ok(config),
            _ => Err(Error::Kubeconfig("there is no kubeconfig".to_owned())),
        };
    };
    let has_proxy = kubeconfig.clusters.iter().flat_map(|named| &named.cluster).any(|it| it.proxy_url.is_some());
    let choice = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &choice).await;
    let mut config = config.map_err(|error| Error::Kubeconfig(error.to_string()))?;
    // As kubectl: a proxy of the environment is not for this machine itself.
    if !has_proxy && config.cluster_url.host().is_some_and(crate::image::is_loopback) {
        config.proxy_url = None;
    }
    Ok(config)
}

/// The kubeconfig: the named file, else those of $KUBECONFIG that exist, merged, else `~/.kube/config`.
fn kubeconfig(named: Option<&Path>) -> Result<Option<Kubeconfig>, Error> {
    let fault = |error: KubeconfigError| Error::Kubeconfig(error.to_string());
    if let Some(path) = named {
        return Kubeconfig::read_from(path).map(Some).map_err(fault);
    }
    let paths: Vec<PathBuf> = match env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        Some(list) => env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => env::home_dir().map(|home| home.join(".kube/config")).into_iter().collect(),
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
mod tests {
    use super::*;

    #[test]
    fn of_several_files_those_that_exist_count_and_the_first_wins() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, context: &str| {
            let path = directory.path().join(name);
            let text = format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: {context}\n\
                 contexts: [{{name: {context}, context: {{cluster: c, user: u, namespace: {name}}}}}]\n"
            );
            std::fs::write(&path, text).unwrap();
            path
        };
        let paths = [directory.path().join("gone"), file("one", "a"), file("two", "b")];
        let merged = merge(&paths).unwrap().unwrap();
        assert_eq!(merged.current_context.as_deref(), Some("a"));
        assert_eq!(merged.contexts.iter().map(|context| context.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(merge(&paths[..1]).unwrap().is_none());
    }
}
