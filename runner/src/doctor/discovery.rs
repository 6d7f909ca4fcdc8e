//! What tells the plugin where nodes pull from: what it means that it is not there, or is no good. Reading it is the affair
//! of [`crate::discovery`].

use k8s_openapi::api::core::v1::ConfigMap;
use kitbag_toolsets::{Arch, Compression, ImagePath, Published};

use super::facts::{Fetched, Who};
use super::finding::{Check, Finding};
use super::fix::{self, Installed};
use crate::discovery::{self, DiscoveryError, NAME, NAMESPACE};
use crate::shell::quoted;

/// What the pull pulls: a shell is in every catalog that people debug with.
const PULLED: &str = "busybox";

/// What the ConfigMap says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// What nodes pull from.
    pub registry: String,
    /// Whether that is a registry on each node.
    pub per_node: bool,
    /// The generation.
    pub generation: String,
    /// The architectures that images are there for.
    pub architectures: Vec<Arch>,
    /// An image to pull, by its digest. None where the catalog lacks it.
    pub image: Option<String>,
}

/// Lets every user read it, whatever of it is there already, where it is nobody's who would do that.
const OPEN: &str = "kubectl create role kitbag -n kube-public --verb=get --resource=configmaps --resource-name=kitbag --dry-run=client -o yaml | kubectl apply -f -\n\
     kubectl create rolebinding kitbag -n kube-public --role=kitbag --group=system:authenticated --dry-run=client -o yaml | kubectl apply -f -";

/// Whether the plugin finds the registry by itself, also for `everybody`; and what it finds.
#[must_use]
pub(super) fn judge(
    discovery: &Fetched<ConfigMap>,
    everybody: &Fetched<bool>,
    installed: &Installed<'_>,
    who: &Who,
) -> (Vec<Finding>, Option<Discovered>) {
    let failure = |text: String| Finding::failure(Check::Discovery, text);
    let read = match discovery {
        Fetched::Got(map) => discovery::read(&map.data.clone().unwrap_or_default()),
        Fetched::Absent => Err(DiscoveryError::Absent),
        Fetched::Forbidden => Err(DiscoveryError::Forbidden),
        Fetched::Failed(_) => return (vec![Finding::unseen(Check::Discovery, discovery, "")], None),
    };
    let error = match read {
        Ok(found) => {
            let found = of(&found);
            let Discovered { registry, generation, .. } = &found;
            let text = format!("nodes pull from `{registry}`, generation {generation}");
            let mut findings = vec![Finding::ok(Check::Discovery, text)];
            if everybody == &Fetched::Got(false) {
                let text = format!(
                    "not everybody may read ConfigMap `{NAMESPACE}/{NAME}`: the Role or RoleBinding is missing, without which the plugin finds no registry"
                );
                let fix = installed.write_discovery().unwrap_or_else(|| OPEN.to_owned());
                findings.push(failure(text).fix(fix::for_platform(who, &fix)));
            }
            return (findings, Some(found));
        }
        Err(error) => error,
    };
    let finding = match &error {
        // Nobody but administrators sees that namespace as it comes.
        DiscoveryError::Forbidden => failure(format!(
            "`{}` may not read ConfigMap `{NAMESPACE}/{NAME}`: kitbag is not installed, or the Role or RoleBinding that lets everybody read it is missing",
            who.user
        ))
        .fix(format!("{}, to whom it tells which, and what to do:\nkubectl kitbag doctor", fix::FOR_PLATFORM)),
        DiscoveryError::Skew { registry, .. } => failure(error.to_string()).fix(format!(
            "# take the kubectl-kitbag of the cluster's version (this one is {}), or do without the catalog:\n\
             export KITBAG_REGISTRY={}",
            env!("CARGO_PKG_VERSION"),
            quoted(&registry.to_string()),
        )),
        _ => {
            let fix = if installed.central.is_some() { installed.publish() } else { installed.install() };
            failure(error.to_string()).fix(fix::for_platform(who, &fix))
        }
    };
    (vec![finding], None)
}

fn of(found: &discovery::Discovered) -> Discovered {
    let discovery::Discovered { registry, generation, published } = found;
    Discovered {
        registry: registry.to_string(),
        per_node: registry.is_loopback(),
        generation: generation.to_string(),
        architectures: published.generation().base().keys().copied().collect(),
        image: digest(published).map(|digest| format!("{registry}/{PULLED}@{digest}")),
    }
}

/// The digest of the image that is pulled.
fn digest(published: &Published) -> Option<String> {
    let path = PULLED.parse::<ImagePath>().ok()?;
    let set = published.resolve(&path).ok()?;
    let image = published.compose(&set).ok()?;
    Some(image.form(Compression::Gzip).index.digest.to_string())
}

#[cfg(test)]
mod tests;
