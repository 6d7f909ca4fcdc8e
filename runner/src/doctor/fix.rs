//! The installation that is to be mended, and the commands that mend several things. Pure.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::facts::{Facts, Who};
use crate::discovery::REGISTRY;
use crate::install::objects::{INSTALLED_IMAGE, LISTEN};
use crate::install::{MANAGED_BY, NAMESPACE, PORT};

/// Stands for an image that the cluster does not name.
const IMAGE: &str = "IMAGE";
/// Who takes care of the objects of a chart, and the annotation with the release's name.
const HELM: &str = "Helm";
const RELEASE: &str = "meta.helm.sh/release-name";

/// How kitbag is installed, as far as the cluster says: whoever installs it anew means to keep that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installed<'a> {
    /// The namespace of the registries.
    pub(super) namespace: &'a str,
    /// The port on each node's loopback.
    pub(super) port: u16,
    /// The image that the DaemonSet has.
    image: Option<&'a str>,
    /// The one with which every node has answered when it was installed.
    proven: Option<&'a str>,
    /// The Secret that pulls the image.
    pull_secret: Option<&'a str>,
    /// The release, where Helm takes care of it.
    release: Option<&'a str>,
}

impl<'a> Installed<'a> {
    /// As the DaemonSet and the ConfigMap have it.
    pub(super) fn of(facts: &'a Facts) -> Self {
        let (daemonset, discovery) = (facts.daemonset.got(), facts.discovery.got());
        let told = discovery.and_then(|map| map.data.as_ref()?.get(REGISTRY)).map(String::as_str);
        let secret = daemonset.and_then(template).and_then(|pod| pod.image_pull_secrets.as_ref()?.first());
        let metadata = [daemonset.map(|it| &it.metadata), discovery.map(|it| &it.metadata)];
        Self {
            namespace: &facts.registry_namespace,
            port: daemonset.and_then(listens).or(told).and_then(port).unwrap_or(PORT),
            image: daemonset.map(image).filter(|image| !image.is_empty()),
            proven: discovery.and_then(|map| annotation(&map.metadata, INSTALLED_IMAGE)),
            pull_secret: secret.map(|secret| secret.name.as_str()),
            release: metadata.into_iter().flatten().find_map(release),
        }
    }

    /// Installs anew what is installed.
    pub(super) fn install(&self) -> String {
        self.upgrade("--reuse-values").unwrap_or_else(|| self.with(self.image.or(self.proven), self.port))
    }

    /// Installs the image before this one.
    pub(super) fn install_before(&self) -> String {
        self.install_other(self.image.unwrap_or_default())
    }

    /// Installs the last image that is known to have worked, where this one does not.
    pub(super) fn install_other(&self, than: &str) -> String {
        match self.release {
            Some(release) => format!("helm rollback {release} {}", self.scope()),
            None => self.with(self.proven.filter(|image| *image != than), self.port),
        }
    }

    /// Installs just this image.
    pub(super) fn install_this(&self, image: &str) -> String {
        let digest = image.split_once('@').map_or(image, |(_, digest)| digest);
        let upgrade = self.upgrade(&format!("--reuse-values --set image.digest={digest}"));
        upgrade.unwrap_or_else(|| self.with(Some(image), self.port))
    }

    /// Installs anew, on another port.
    pub(super) fn install_elsewhere(&self) -> String {
        let port = self.port.checked_add(1).unwrap_or(PORT);
        let upgrade = self.upgrade(&format!("--reuse-values --set node.port={port}"));
        upgrade.unwrap_or_else(|| self.with(self.image.or(self.proven), port))
    }

    /// Installs anew, with a Secret that pulls the image.
    pub(super) fn install_with_secret(&self) -> String {
        let upgrade = self.upgrade("--reuse-values --set imagePullSecrets[0].name=NAME");
        upgrade.unwrap_or_else(|| Self { pull_secret: Some("NAME"), ..self.clone() }.install())
    }

    /// What commands about the registries need.
    pub(super) fn scope(&self) -> String {
        format!("-n {}", self.namespace)
    }

    /// Helm's objects are Helm's: `install` takes nothing from others.
    fn upgrade(&self, values: &str) -> Option<String> {
        self.release.map(|release| format!("helm upgrade {release} CHART {} {values}", self.scope()))
    }

    fn with(&self, image: Option<&str>, port: u16) -> String {
        let mut command = format!("kubectl kitbag install --image {}", image.unwrap_or(IMAGE));
        if self.namespace != NAMESPACE {
            command.push_str(&format!(" --namespace {}", self.namespace));
        }
        if port != PORT {
            command.push_str(&format!(" --port {port}"));
        }
        if let Some(secret) = self.pull_secret {
            command.push_str(&format!(" --pull-secret {secret}"));
        }
        command
    }
}

/// What only some may do; others can pass it on.
pub(super) fn for_platform(who: &Who, fix: &str) -> String {
    if who.platform { fix.to_owned() } else { format!("# for the platform team:\n{fix}") }
}

/// The image of the DaemonSet's first container.
pub(super) fn image(daemonset: &DaemonSet) -> &str {
    let image = template(daemonset).and_then(|pod| pod.containers.first()?.image.as_deref());
    image.unwrap_or_default()
}

/// The address that the registries are told to listen on.
pub(super) fn listens(daemonset: &DaemonSet) -> Option<&str> {
    let variables = template(daemonset)?.containers.first()?.env.as_ref()?;
    variables.iter().find(|variable| variable.name == LISTEN)?.value.as_deref()
}

pub(super) fn template(daemonset: &DaemonSet) -> Option<&PodSpec> {
    daemonset.spec.as_ref()?.template.spec.as_ref()
}

/// The namespace that discovery says the registries are in.
pub(super) fn installed_in(discovery: &ConfigMap) -> Option<&str> {
    annotation(&discovery.metadata, crate::install::objects::INSTALLED_IN)
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

fn release(metadata: &ObjectMeta) -> Option<&str> {
    let by = metadata.labels.as_ref()?.get(MANAGED_BY)?;
    (by == HELM).then(|| annotation(metadata, RELEASE).unwrap_or("RELEASE"))
}

/// The port of `127.0.0.1:5050`.
fn port(address: &str) -> Option<u16> {
    address.trim().rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::facts::Fetched;
    use crate::doctor::testing::{daemonset, made, nothing, with};

    fn facts(namespace: &str, daemonset: Option<Value>, discovery: Option<Value>) -> Facts {
        let discovery = discovery.map(|it| serde_json::from_value(it).unwrap());
        Facts {
            registry_namespace: namespace.to_owned(),
            daemonset: daemonset.map_or(Fetched::Absent, |it| Fetched::Got(made(it))),
            discovery: discovery.map_or(Fetched::Absent, Fetched::Got),
            ..nothing()
        }
    }

    fn commands(facts: &Facts) -> String {
        let installed = Installed::of(facts);
        [
            installed.install(),
            installed.install_other("registry.example/kitbag-registry:1"),
            installed.install_this("registry.example/kitbag-registry@sha256:aa"),
            installed.install_elsewhere(),
            installed.install_with_secret(),
        ]
        .join("\n")
    }

    fn discovery() -> Value {
        json!({
            "metadata": { "annotations": { "dev.kitbag.namespace": "tools", "dev.kitbag.image": "registry.example/kitbag-registry:0" } },
            "data": { "registry": "127.0.0.1:5060" },
        })
    }

    #[test]
    fn what_is_not_known_has_to_be_filled_in() {
        insta::assert_snapshot!(commands(&facts("kitbag", None, None)), @r"
        kubectl kitbag install --image IMAGE
        kubectl kitbag install --image IMAGE
        kubectl kitbag install --image registry.example/kitbag-registry@sha256:aa
        kubectl kitbag install --image IMAGE --port 5051
        kubectl kitbag install --image IMAGE --pull-secret NAME
        ");
    }

    #[test]
    fn an_installation_stays_where_it_is_and_as_it_is() {
        let moved = with(daemonset(1), "/spec/template/spec/containers/0/env/0/value", "127.0.0.1:5060".into());
        let mut secret = moved;
        secret["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{ "name": "pull" }]);
        insta::assert_snapshot!(commands(&facts("tools", Some(secret), Some(discovery()))), @r"
        kubectl kitbag install --image registry.example/kitbag-registry:1 --namespace tools --port 5060 --pull-secret pull
        kubectl kitbag install --image registry.example/kitbag-registry:0 --namespace tools --port 5060 --pull-secret pull
        kubectl kitbag install --image registry.example/kitbag-registry@sha256:aa --namespace tools --port 5060 --pull-secret pull
        kubectl kitbag install --image registry.example/kitbag-registry:1 --namespace tools --port 5061 --pull-secret pull
        kubectl kitbag install --image registry.example/kitbag-registry:1 --namespace tools --port 5060 --pull-secret NAME
        ");
    }

    #[test]
    fn what_discovery_remembers_is_enough() {
        insta::assert_snapshot!(commands(&facts("tools", None, Some(discovery()))), @r"
        kubectl kitbag install --image registry.example/kitbag-registry:0 --namespace tools --port 5060
        kubectl kitbag install --image registry.example/kitbag-registry:0 --namespace tools --port 5060
        kubectl kitbag install --image registry.example/kitbag-registry@sha256:aa --namespace tools --port 5060
        kubectl kitbag install --image registry.example/kitbag-registry:0 --namespace tools --port 5061
        kubectl kitbag install --image registry.example/kitbag-registry:0 --namespace tools --port 5060 --pull-secret NAME
        ");
        let map: ConfigMap = serde_json::from_value(discovery()).unwrap();
        assert_eq!(installed_in(&map), Some("tools"));
    }

    #[test]
    fn what_helm_has_made_helm_mends() {
        let mut charted = daemonset(1);
        charted["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": "Helm" });
        charted["metadata"]["annotations"] = json!({ "meta.helm.sh/release-name": "kit" });
        insta::assert_snapshot!(commands(&facts("tools", Some(charted), None)), @r"
        helm upgrade kit CHART -n tools --reuse-values
        helm rollback kit -n tools
        helm upgrade kit CHART -n tools --reuse-values --set image.digest=sha256:aa
        helm upgrade kit CHART -n tools --reuse-values --set node.port=5051
        helm upgrade kit CHART -n tools --reuse-values --set imagePullSecrets[0].name=NAME
        ");
    }
}
