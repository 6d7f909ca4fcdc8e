//! Why an installation did not happen, or not as a whole, and what to do about it.

use std::io;
use std::path::PathBuf;

use kitbag_toolsets::published::PublishedError;

use super::permissions::{self, Permission};
use super::rollout::Trouble;
use super::served::ServedError;
use crate::error::Kind;

/// An installation, or its removal, that did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// What is compiled in cannot be read, which tests rule out.
    #[error("`{path}`, which is compiled in, is wrong: {reason}")]
    Embedded {
        /// The file.
        path: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The API server is too old. Nothing has been touched.
    #[error("Kubernetes {version} has no ephemeral containers, without which no pod can be debugged")]
    TooOld {
        /// As it calls itself.
        version: String,
    },
    /// Nothing says which image.
    #[error("no image is named, and none is installed")]
    NoImage,
    /// The image's name makes no sense.
    #[error("`{image}` is not a reference of an image: {reason}")]
    Image {
        /// What was named.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The catalog's file cannot be read.
    #[error("cannot read the catalog in `{path}`: {source}", path = path.display())]
    CatalogFile {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The catalog's file holds something else.
    #[error("`{path}` is no catalog: {fault}", path = path.display())]
    Catalog {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: PublishedError,
    },
    /// Permissions are missing. Nothing has been touched.
    #[error("user `{user}` lacks permissions:{}", permissions::lines(.missing))]
    Forbidden {
        /// Who asks.
        user: String,
        /// All that is missing.
        missing: Vec<Permission>,
    },
    /// Another program takes care of an object. Nothing has been touched.
    #[error("{object} is taken care of by `{manager}`")]
    Managed {
        /// The object.
        object: String,
        /// Who it is, by the label.
        manager: String,
    },
    /// Somebody keeps registries out of the namespace. Nothing has been touched.
    #[error(
        "namespace `{namespace}` is somebody else's, and at the Pod Security level `{level}`, which keeps registries out: they take the node's network"
    )]
    PodSecurity {
        /// Which.
        namespace: String,
        /// Its level.
        level: String,
    },
    /// The registries of this cluster are in another namespace. Nothing has been touched.
    #[error("kitbag is installed in namespace `{namespace}`")]
    Elsewhere {
        /// Which.
        namespace: String,
    },
    /// The API server does not take an object.
    #[error("the cluster refuses {object}: {message}{}", so_far(.done))]
    Refused {
        /// The object.
        object: String,
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
        /// What has been done before.
        done: Vec<String>,
    },
    /// The registry cannot start somewhere, and waiting does not help.
    #[error("the registry does not start:{}{}", each(.troubles), so_far(.done))]
    Rollout {
        /// What is wrong, and where.
        troubles: Vec<Trouble>,
        /// What has been done before.
        done: Vec<String>,
    },
    /// The registries did not all answer in time.
    #[error("after {seconds} s {state}{}{}", each(.troubles), so_far(.done))]
    Timeout {
        /// The limit.
        seconds: u64,
        /// How far it is.
        state: String,
        /// What is wrong, and where.
        troubles: Vec<Trouble>,
        /// What has been done before.
        done: Vec<String>,
    },
    /// No registry says what it serves.
    #[error("the registries run, and what they serve cannot be found out: {fault}{}", so_far(.done))]
    Served {
        /// Why.
        #[source]
        fault: ServedError,
        /// What has been done before.
        done: Vec<String>,
    },
    /// The registries serve something else than the catalog that was named.
    #[error("`{path}` is the catalog of generation {named}, and the registries serve {served}{}", so_far(.done), path = path.display())]
    Differs {
        /// The catalog's file.
        path: PathBuf,
        /// Its generation.
        named: String,
        /// That of the image.
        served: String,
        /// What has been done before.
        done: Vec<String>,
    },
    /// What was deleted is still there.
    #[error("after {seconds} s these are being deleted still:{}", list(.objects))]
    Remains {
        /// The limit.
        seconds: u64,
        /// Which.
        objects: Vec<String>,
    },
}

impl InstallError {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Embedded { .. } => Kind::Internal,
            Self::NoImage
            | Self::Image { .. }
            | Self::CatalogFile { .. }
            | Self::Catalog { .. }
            | Self::Differs { .. } => Kind::Usage,
            Self::TooOld { .. } => Kind::Cluster,
            Self::Forbidden { .. } | Self::Served { fault: ServedError::Refused { code: 401 | 403, .. }, .. } => {
                Kind::Forbidden
            }
            Self::Served { fault: ServedError::Refused { .. } | ServedError::Lost { .. }, .. } => Kind::Cluster,
            Self::Refused { code: 401 | 403, message, .. } if message.contains(" cannot ") => Kind::Forbidden,
            Self::Managed { .. } | Self::PodSecurity { .. } | Self::Elsewhere { .. } | Self::Refused { .. } => {
                Kind::Policy
            }
            Self::Rollout { .. } | Self::Served { .. } => Kind::Start,
            Self::Timeout { .. } | Self::Remains { .. } => Kind::Timeout,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Embedded { .. } => None,
            Self::TooOld { .. } => {
                Some("nothing was touched; upgrade the cluster: ephemeral containers came with Kubernetes 1.25".to_owned())
            }
            Self::NoImage => Some(
                "`kitbag-builder image --server --to REGISTRY/kitbag-registry:TAG` makes one; name it with --image REGISTRY/kitbag-registry@DIGEST"
                    .to_owned(),
            ),
            Self::Image { .. } => Some("REGISTRY/NAME@DIGEST is wanted, or the name of a preloaded image".to_owned()),
            Self::CatalogFile { .. } | Self::Catalog { .. } => Some(
                "`kitbag-builder catalog --store DIR` prints it, for the store that the image is made of".to_owned(),
            ),
            Self::Forbidden { missing, .. } => {
                let rules = permissions::rules(missing);
                let exec = if permissions::is_about_exec(missing) { format!("\n{WITHOUT_EXEC}") } else { String::new() };
                Some(format!("nothing was touched; a ClusterRole with these rules will do:\n{rules}{exec}"))
            }
            Self::Managed { manager, .. } => {
                Some(format!("nothing was touched; change it with `{manager}`, or remove it with that first"))
            }
            Self::PodSecurity { namespace, .. } => Some(format!(
                "nothing was touched; whose it is may let them in: `kubectl label namespace {namespace} pod-security.kubernetes.io/enforce=privileged --overwrite`; or name another with --namespace"
            )),
            Self::Served { fault: ServedError::Catalog { fault: PublishedError::Version { .. } | PublishedError::Composition { .. }, .. }, .. } => {
                Some(format!("the image and this program have to be of the same version\n{AFTERWARDS}"))
            }
            Self::Served { .. } => Some(format!("{WITHOUT_EXEC}\n{AFTERWARDS}")),
            Self::Differs { .. } => Some(format!("without --catalog it is read from the image\n{AFTERWARDS}")),
            Self::Elsewhere { namespace } => Some(format!(
                "nothing was touched; two would want the same port: name --namespace {namespace}, or remove that one first: `kubectl kitbag uninstall --namespace {namespace}`"
            )),
            Self::Refused { done, .. } if done.is_empty() => Some("nothing was touched".to_owned()),
            Self::Rollout { troubles, .. } | Self::Timeout { troubles, .. } if !troubles.is_empty() => {
                Some(format!("{}\n{AFTERWARDS}", troubles.iter().map(Trouble::hint).collect::<Vec<_>>().join("\n")))
            }
            Self::Refused { .. } | Self::Rollout { .. } | Self::Timeout { .. } => Some(AFTERWARDS.to_owned()),
            Self::Remains { .. } => Some("`kubectl get namespace -o yaml` says what it waits for".to_owned()),
        }
    }
}

/// Where a failed installation leaves people.
const AFTERWARDS: &str =
    "the same command again goes on from there, `kubectl kitbag uninstall` takes it back; discovery was not changed";

/// What else there is for who cannot ask the registries.
const WITHOUT_EXEC: &str = "`pods/exec` is for asking the image what it serves: --catalog FILE says it instead, which `kitbag-builder catalog --store DIR` prints";

fn each(troubles: &[Trouble]) -> String {
    troubles.iter().map(|trouble| format!("\n  {trouble}")).collect()
}

fn list(objects: &[String]) -> String {
    objects.iter().map(|object| format!("\n  {object}")).collect()
}

fn so_far(done: &[String]) -> String {
    if done.is_empty() { String::new() } else { format!("\ndone before:{}", list(done)) }
}
