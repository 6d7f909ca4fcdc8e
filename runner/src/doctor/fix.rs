//! The installation that is to be mended, and the commands that mend several things. Pure.
//!
//! What is printed here is pasted into a shell by people who may do everything: each value that others have written is taken
//! only where it can be one, and quoted.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Container};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use oci_client::Reference;

use super::facts::{Facts, Who};
use crate::cluster::FIELD_MANAGER;
use crate::discovery::REGISTRY;
use crate::image::Registry;
use crate::install::choice::is_of_same_name;
use crate::install::find::is_label;
use crate::install::objects::{INSTALLED_IMAGE, INSTALLED_IN};
use crate::install::rollout::{chosen, template};
use crate::install::{IMAGE, MANAGED_BY, NAMESPACE, PORT};
use crate::shell::quoted;

/// Stands for an image that nothing names.
const SOME_IMAGE: &str = "# the image is one that kitbag-builder image --server has made:\n\
     kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…";
/// Who takes care of the objects of a chart, and the annotations with the release's name and namespace.
const HELM: &str = "Helm";
const RELEASE: &str = "meta.helm.sh/release-name";
const RELEASED_IN: &str = "meta.helm.sh/release-namespace";
/// How the fixes begin that others have to do.
pub(super) const FOR_PLATFORM: &str = "# for the platform team";
/// The longest name of an object.
const NAME: usize = 253;

/// How kitbag is installed, as far as the cluster says: whoever installs it anew means to keep that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installed<'a> {
    /// The namespace of the registries.
    pub(super) namespace: &'a str,
    /// The port on each node's loopback.
    pub(super) port: u16,
    /// Where nodes pull from, where that is not on the nodes.
    pub(super) central: Option<String>,
    /// Which container of the DaemonSet declares ports.
    pub(super) ports: Option<usize>,
    /// Whether there is a DaemonSet: `install` keeps its port and its Secret, and an image that is one.
    is_there: bool,
    /// Whether discovery says where the registries are.
    is_told: bool,
    /// Whether `install` takes care of discovery.
    is_ours: bool,
    /// The image that the DaemonSet has.
    image: Option<&'a str>,
    /// The one with which every node has answered when it was installed.
    proven: Option<&'a str>,
    /// The one that `install` has of itself.
    released: Option<&'a str>,
    /// The release, where Helm takes care of it.
    release: Option<Release<'a>>,
}

/// A release of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Release<'a> {
    name: &'a str,
    namespace: Option<&'a str>,
}

/// What an installation is to have that it has not.
#[derive(Clone, Copy, Debug, Default)]
struct Change<'a> {
    image: Option<&'a str>,
    port: Option<u16>,
    pull_secret: Option<&'a str>,
}

impl<'a> Installed<'a> {
    /// As the DaemonSet and the ConfigMap have it.
    pub(super) fn of(facts: &'a Facts) -> Self {
        let (daemonset, discovery) = (facts.daemonset.got(), facts.discovery.got());
        let told = discovery.and_then(|map| map.data.as_ref()?.get(REGISTRY)).map(String::as_str);
        let registry = told.and_then(|told| told.parse::<Registry>().ok());
        let central = registry.filter(|registry| daemonset.is_none() && !registry.is_loopback());
        let metadata = [daemonset.map(|it| &it.metadata), discovery.map(|it| &it.metadata)];
        Self {
            namespace: &facts.registry_namespace,
            port: daemonset.and_then(listens).or(told).and_then(port).unwrap_or(PORT),
            central: central.map(|registry| registry.to_string()),
            ports: daemonset.and_then(declares_ports),
            is_there: daemonset.is_some(),
            is_told: discovery.and_then(installed_in) == Some(&facts.registry_namespace),
            is_ours: discovery.is_some_and(|map| manager(&map.metadata) == Some(FIELD_MANAGER)),
            image: daemonset.map(image).filter(|image| is_image(image)),
            proven: discovery.and_then(|map| annotation(&map.metadata, INSTALLED_IMAGE)).filter(|it| is_image(it)),
            released: IMAGE,
            release: metadata.into_iter().flatten().find_map(release),
        }
    }

    /// Installs anew what is installed.
    pub(super) fn install(&self) -> String {
        self.change("", Change::default())
    }

    /// Installs the image before this one.
    pub(super) fn install_before(&self) -> String {
        self.install_other(self.image.unwrap_or_default())
    }

    /// Installs the last image that is known to have worked, where this one does not.
    pub(super) fn install_other(&self, than: &str) -> String {
        if let Some(release) = self.release {
            return format!("helm rollback {} -n {}", quoted(release.name), self.helms());
        }
        match [self.proven, self.released].into_iter().flatten().find(|image| *image != than) {
            Some(image) => self.with(Change { image: Some(image), ..Change::default() }),
            None => SOME_IMAGE.to_owned() + &self.place(),
        }
    }

    /// Installs just this image.
    pub(super) fn install_this(&self, image: &str) -> String {
        let digest = image.split_once('@').map_or(image, |(_, digest)| digest);
        self.change(
            &format!(" --set {}", quoted(&format!("image.digest={digest}"))),
            Change { image: Some(image), ..Change::default() },
        )
    }

    /// Installs anew, on another port.
    pub(super) fn install_elsewhere(&self) -> String {
        let port = self.port.checked_add(1).unwrap_or(PORT);
        // The chart tells of an address only when the registries are there.
        let first = self.upgrade(&format!(
            " --wait --set node.port={port},discovery.registry={}",
            Registry::on_loopback(self.port)
        ));
        let then = self.upgrade(" --set discovery.registry=");
        match first.zip(then) {
            Some((first, then)) => format!("{first}\n{then}"),
            None => self.with(Change { port: Some(port), ..Change::default() }),
        }
    }

    /// Installs anew, with a Secret that pulls the image.
    pub(super) fn install_with_secret(&self) -> String {
        self.change(
            &format!(" --set {}", quoted("imagePullSecrets[0].name=NAME")),
            Change { pull_secret: Some("NAME"), ..Change::default() },
        )
    }

    /// Tells the plugin anew what a registry serves that is not on the nodes: `install` would put one there.
    pub(super) fn publish(&self) -> String {
        let how = match self.upgrade(" --set-file discovery.catalog=catalog.json") {
            Some(upgrade) => upgrade,
            None => "# and the ConfigMap from it, as overlays/central-discovery makes it".to_owned(),
        };
        format!("# of the store that the registry serves:\nkitbag-builder catalog --store DIR > catalog.json\n{how}")
    }

    /// Writes discovery anew, and who may read it: whoever takes care of it has to, or it would belong to nobody. None where
    /// that is somebody whom the cluster does not name.
    pub(super) fn write_discovery(&self) -> Option<String> {
        (self.release.is_some() || self.is_ours).then(|| self.change("", Change::default()))
    }

    /// What commands about the registries need.
    pub(super) fn scope(&self) -> String {
        format!("-n {}", quoted(self.namespace))
    }

    fn change(&self, values: &str, change: Change<'_>) -> String {
        self.upgrade(values).unwrap_or_else(|| self.with(change))
    }

    /// Helm's objects are Helm's: `install` takes nothing from others.
    fn upgrade(&self, values: &str) -> Option<String> {
        let name = quoted(self.release?.name);
        Some(format!("helm upgrade {name} CHART -n {} --reset-then-reuse-values{values}", self.helms()))
    }

    /// The namespace of the release.
    fn helms(&self) -> String {
        quoted(self.release.and_then(|release| release.namespace).unwrap_or(self.namespace))
    }

    fn with(&self, change: Change<'_>) -> String {
        let mut command = match change.image.or_else(|| self.unkept_image()) {
            Some(image) => format!("kubectl kitbag install --image {}", quoted(image)),
            None if self.image.is_some() || self.released.is_some() => "kubectl kitbag install".to_owned(),
            None => SOME_IMAGE.to_owned(),
        };
        command.push_str(&self.place());
        if let Some(port) = change.port.or_else(|| (!self.is_there && self.port != PORT).then_some(self.port)) {
            command.push_str(&format!(" --port {port}"));
        }
        if let Some(secret) = change.pull_secret {
            command.push_str(&format!(" --pull-secret {secret}"));
        }
        command
    }

    /// The image, where `install` would not choose it by itself.
    fn unkept_image(&self) -> Option<&'a str> {
        let own = |image: &&str| self.released.is_none_or(|released| !is_of_same_name(image, released));
        match (self.image, self.is_there) {
            (Some(_), _) => None,
            // It would take what is no image for one of the user's own.
            (None, true) => self.proven.or(self.released),
            (None, false) => self.proven.filter(own),
        }
    }

    /// The namespace, where `install` would not find the registries by itself.
    fn place(&self) -> String {
        let is_known = self.namespace == NAMESPACE || (self.is_there && self.is_told);
        if is_known { String::new() } else { format!(" --namespace {}", quoted(self.namespace)) }
    }
}

/// What only some may do; others can pass it on.
pub(super) fn for_platform(who: &Who, fix: &str) -> String {
    if who.platform { fix.to_owned() } else { format!("{FOR_PLATFORM}:\n{fix}") }
}

/// The image of the registries.
pub(super) fn image(daemonset: &DaemonSet) -> &str {
    template(daemonset).and_then(|pod| chosen(pod).image).unwrap_or_default()
}

/// The address that the registries are told to listen on.
pub(super) fn listens(daemonset: &DaemonSet) -> Option<&str> {
    chosen(template(daemonset)?).address
}

fn declares_ports(daemonset: &DaemonSet) -> Option<usize> {
    let declares = |container: &Container| container.ports.as_ref().is_some_and(|ports| !ports.is_empty());
    template(daemonset)?.containers.iter().position(declares)
}

/// The namespace that discovery says the registries are in.
pub(super) fn installed_in(discovery: &ConfigMap) -> Option<&str> {
    annotation(&discovery.metadata, INSTALLED_IN).filter(|name| is_label(name))
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn manager(metadata: &ObjectMeta) -> Option<&str> {
    metadata.labels.as_ref()?.get(MANAGED_BY).map(String::as_str)
}

fn release(metadata: &ObjectMeta) -> Option<Release<'_>> {
    (manager(metadata) == Some(HELM)).then(|| Release {
        name: annotation(metadata, RELEASE).filter(|name| is_name(name)).unwrap_or("RELEASE"),
        namespace: annotation(metadata, RELEASED_IN).filter(|name| is_label(name)),
    })
}

/// The port of `127.0.0.1:5050`.
fn port(address: &str) -> Option<u16> {
    address.trim().rsplit_once(':')?.1.parse().ok()
}

/// Labels with dots between, as most objects and releases are called.
fn is_name(name: &str) -> bool {
    name.len() <= NAME && name.split('.').all(is_label)
}

fn is_image(image: &str) -> bool {
    image.parse::<Reference>().is_ok()
}

#[cfg(test)]
mod tests;
