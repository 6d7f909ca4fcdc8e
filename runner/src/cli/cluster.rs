//! The command lines for those who run a cluster: registries in it, and what may be debugged there.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::common::{Common, Whose};
use super::values;

/// Puts a registry on each node of the cluster, and tells the plugin of it.
///
/// Nothing leaves a node and nothing listens outside: it listens on the node's loopback. What everybody needs to know
/// stands in the ConfigMap `kitbag` of `kube-public`, which is written when every node's registry answers, out of what
/// they say that they serve. The namespace is `kitbag`, unless --namespace names another. To do it again changes only
/// what is different; what is not said then stays as it is installed, so that without a flag it mends what is there.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag install --dry-run      what would change
  kubectl kitbag install                installs, mends, or brings up to date
  kubectl kitbag install --image registry.example/kitbag-registry@sha256:...
                                        the same with an image of one's own, or from a mirror")]
pub(crate) struct Install {
    /// The registry's image, which `kitbag-builder image --server` makes: REGISTRY/NAME@DIGEST, or one that is loaded on
    /// every node [default: this release's, if it has one; but what is installed under another name stays].
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) image: Option<String>,
    /// The catalog of the image's store, which `kitbag-builder catalog` prints: for who may not exec in the registries'
    /// pods [default: what one of them prints].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) catalog: Option<PathBuf>,
    /// The port on each node's loopback [default: the installed one, else 5050].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..))]
    pub(crate) port: Option<u16>,
    /// A Secret of the namespace that may pull the image; empty for none [default: the installed one].
    #[arg(long, value_name = "NAME")]
    pub(crate) pull_secret: Option<String>,
    /// Changes nothing: shows what would change.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long all nodes may take together.
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "120")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Removes what `install` has made, and nothing else.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag uninstall --dry-run    what would be removed
  kubectl kitbag uninstall              removes it")]
pub(crate) struct Uninstall {
    /// Changes nothing: shows what would be removed.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long it may take until all is gone.
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "120")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Prints a policy that lets only debug containers of this kind into pods.
///
/// Only from the registry, only with capabilities that the tools in the image's name need, never privileged; and where
/// groups are named, only by their members. The registry and the tools are those that the cluster publishes; where nothing
/// is installed `127.0.0.1:5050` and this program's own catalog, which is then said; with --registry the cluster is not
/// asked. Every other change of pods is left alone.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag policy | kubectl apply -f -
                                        in every namespace, for everybody
  kubectl kitbag policy --group oncall --namespace-selector env=prod
                                        in namespaces with a label, for one group")]
pub(crate) struct Policy {
    /// Who may add debug containers; may be repeated [default: whoever RBAC lets].
    #[arg(long = "group", value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// A label of the namespaces that it is for; may be repeated [default: every namespace].
    #[arg(long = "namespace-selector", value_name = "LABEL=VALUE", value_parser = label)]
    pub(crate) namespaces: Vec<(String, String)>,
    /// Lets in what drops no capabilities, too: what every container of the pod has by default.
    #[arg(long)]
    pub(crate) allow_default_capabilities: bool,
    #[command(flatten)]
    pub(crate) whose: Whose,
}

/// `env=prod`.
fn label(text: &str) -> Result<(String, String), &'static str> {
    let parts = text.split_once('=').filter(|(key, _)| !key.is_empty());
    parts.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or("LABEL=VALUE is wanted")
}
