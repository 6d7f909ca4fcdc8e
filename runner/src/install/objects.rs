//! The objects of `registry/deploy`, filled in: edits of values, not of text.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, LocalObjectReference, Namespace, PodSpec};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::core::{ApiResource, ObjectMeta};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{FIELD_MANAGER, InstallError, MANAGED_BY};
use crate::discovery;
use crate::image::Registry;

/// The label that says what an object belongs to, and what that is here.
pub const NAME: &str = "app.kubernetes.io/name";
/// Its value.
pub const APP: &str = "kitbag";
/// The DaemonSet.
pub const REGISTRY: &str = "registry";
/// The annotation of the ConfigMap that names the namespace of the registries.
pub const INSTALLED_IN: &str = "dev.kitbag.namespace";
/// The one that names their image, with which every node has answered.
pub const INSTALLED_IMAGE: &str = "dev.kitbag.image";
/// Those that name the image before that, and the generation that it had.
const PREVIOUS_IMAGE: &str = "dev.kitbag.previous-image";
const PREVIOUS_GENERATION: &str = "dev.kitbag.previous-generation";
/// The container's setting for the address.
pub const LISTEN: &str = "KITBAG_LISTEN";

/// The registry's container.
pub const CONTAINER: &str = "registry";

/// What differs between clusters, and is known before the registries run.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The registry's image, by digest where it is not preloaded.
    pub image: &'a str,
    /// The namespace of the registries.
    pub namespace: &'a str,
    /// The port on each node's loopback.
    pub port: u16,
    /// A Secret of the namespace to pull the image with.
    pub pull_secret: Option<&'a str>,
}

/// All that is put into a cluster, in the order in which it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// The namespace of the registries.
    pub namespace: Namespace,
    /// The registry on each node.
    pub registry: DaemonSet,
    /// What tells the plugin of them.
    pub discovery: ConfigMap,
    /// What lets somebody read it.
    pub role: Role,
    /// What lets everybody read it.
    pub binding: RoleBinding,
}

/// An object as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind, and the path of its API.
    pub resource: ApiResource,
    /// Its namespace, if it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// All of it.
    pub body: Value,
}

impl Objects {
    /// The objects for a cluster.
    ///
    /// # Errors
    /// [`InstallError::Embedded`], which tests rule out.
    pub fn new(settings: &Settings<'_>) -> Result<Self, InstallError> {
        let mut objects = Self::embedded()?;
        objects.namespace.metadata.name = Some(settings.namespace.to_owned());
        let registry = &mut objects.registry;
        registry.metadata.namespace = Some(settings.namespace.to_owned());
        if let Some(spec) = registry.spec.as_mut().and_then(|spec| spec.template.spec.as_mut()) {
            fill(spec, settings);
        }
        objects.discovery.data = Some([(discovery::REGISTRY.to_owned(), address(settings.port))].into());
        let remembered = [(INSTALLED_IN, settings.namespace), (INSTALLED_IMAGE, settings.image)];
        objects.discovery.annotations_mut().extend(remembered.map(|(key, value)| (key.to_owned(), value.to_owned())));
        for metadata in objects.all_metadata() {
            metadata.labels.get_or_insert_default().insert(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
        }
        Ok(objects)
    }

    /// As `registry/deploy` has them.
    fn embedded() -> Result<Self, InstallError> {
        macro_rules! deploy {
            ($path:literal) => {
                read($path, include_str!(concat!("../../../registry/deploy/", $path)))
            };
        }
        Ok(Self {
            namespace: deploy!("node/namespace.yaml")?,
            registry: deploy!("node/daemonset.yaml")?,
            discovery: deploy!("discovery/configmap.yaml")?,
            role: deploy!("discovery/role.yaml")?,
            binding: deploy!("discovery/rolebinding.yaml")?,
        })
    }

    /// What the registries serve: the id of the generation, and the document from which the plugin composes.
    pub fn publish(&mut self, generation: &str, catalog: &str) {
        let data = self.discovery.data.get_or_insert_default();
        data.insert(discovery::GENERATION.to_owned(), generation.to_owned());
        data.insert(discovery::CATALOG.to_owned(), catalog.to_owned());
    }

    /// What is published of the registries of before, where it is not known yet what is to be.
    pub fn publish_as(&mut self, published: &Value) {
        let data = self.discovery.data.get_or_insert_default();
        for key in [discovery::GENERATION, discovery::CATALOG] {
            data.extend(published["data"][key].as_str().map(|value| (key.to_owned(), value.to_owned())));
        }
    }

    /// Remembers what was installed before, by what is `published` of it.
    pub fn remember(&mut self, published: &Value) {
        let image = annotation(published, INSTALLED_IMAGE);
        let annotations = self.discovery.annotations_mut();
        let (image, generation) = if image == annotations.get(INSTALLED_IMAGE).map(String::as_str) {
            (annotation(published, PREVIOUS_IMAGE), annotation(published, PREVIOUS_GENERATION))
        } else {
            (image, published["data"][discovery::GENERATION].as_str())
        };
        if let (Some(image), Some(generation)) = (image, generation) {
            let previous = [(PREVIOUS_IMAGE, image), (PREVIOUS_GENERATION, generation)];
            annotations.extend(previous.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
    }

    /// What tells of another generation of the registries of before, which stay at their address for a while.
    #[must_use]
    pub fn of_before(&self, published: &Value, generation: &str, catalog: &str) -> Object {
        let mut objects = self.clone();
        objects.publish(generation, catalog);
        let annotations = objects.discovery.annotations_mut();
        for key in [INSTALLED_IMAGE, PREVIOUS_IMAGE, PREVIOUS_GENERATION] {
            annotations.remove(key);
            annotations.extend(annotation(published, key).map(|value| (key.to_owned(), value.to_owned())));
        }
        object(&objects.discovery)
    }

    fn all_metadata(&mut self) -> [&mut ObjectMeta; 5] {
        [
            &mut self.namespace.metadata,
            &mut self.registry.metadata,
            &mut self.discovery.metadata,
            &mut self.role.metadata,
            &mut self.binding.metadata,
        ]
    }

    /// The namespace is somebody else's: it gets what the registries need of it, and stays theirs.
    pub fn keep_namespace(&mut self) {
        self.namespace.metadata.labels.get_or_insert_default().retain(|label, _| label.starts_with("pod-security."));
    }

    /// What has to be there before the registries answer.
    #[must_use]
    pub fn first(&self) -> [Object; 2] {
        [object(&self.namespace), object(&self.registry)]
    }

    /// What tells of them, once they do. The permission to read it comes before what is read.
    #[must_use]
    pub fn then(&self) -> [Object; 3] {
        [object(&self.role), object(&self.binding), object(&self.discovery)]
    }

    /// All of them, in the order in which they are applied.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = Object> {
        self.first().into_iter().chain(self.then())
    }
}

/// The generation that an image had when it was installed, as far as what is `published` remembers it.
#[must_use]
pub fn generation_of<'a>(published: &'a Value, image: &str) -> Option<&'a str> {
    if annotation(published, INSTALLED_IMAGE) == Some(image) {
        return published["data"][discovery::GENERATION].as_str();
    }
    annotation(published, PREVIOUS_GENERATION).filter(|_| annotation(published, PREVIOUS_IMAGE) == Some(image))
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

/// What nodes pull from.
fn address(port: u16) -> String {
    Registry::on_loopback(port).to_string()
}

fn fill(spec: &mut PodSpec, settings: &Settings<'_>) {
    spec.image_pull_secrets = settings.pull_secret.map(|name| vec![LocalObjectReference { name: name.to_owned() }]);
    for container in &mut spec.containers {
        container.image = Some(settings.image.to_owned());
        let env = container.env.get_or_insert_default();
        for listen in env.iter_mut().filter(|variable| variable.name == LISTEN) {
            listen.value = Some(address(settings.port));
        }
    }
}

fn read<T: DeserializeOwned>(path: &'static str, text: &str) -> Result<T, InstallError> {
    serde_saphyr::from_str(text).map_err(|error| InstallError::Embedded { path, reason: error.to_string() })
}

fn object<K: Resource<DynamicType = ()> + Serialize>(typed: &K) -> Object {
    Object {
        resource: ApiResource::erase::<K>(&()),
        namespace: typed.namespace(),
        name: typed.name_any(),
        // Strings, numbers and maps whose keys are strings: there is nothing that JSON could not have.
        body: serde_json::to_value(typed).unwrap_or_default(),
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}`", self.resource.kind, self.name)?;
        self.namespace.iter().try_for_each(|namespace| write!(f, " in namespace `{namespace}`"))
    }
}

#[cfg(test)]
pub(super) mod tests;
