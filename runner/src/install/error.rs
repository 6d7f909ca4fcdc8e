//! Why an installation did not happen, or not as a whole.

use std::fmt;
use std::io;
use std::path::PathBuf;

use kitbag_toolsets::published::PublishedError;

use super::objects::REGISTRY;
use super::permissions::{self, Permission};
use super::rollout::Trouble;
use super::served::ServedError;
use super::{Done, Object};
use crate::error::Kind;
use crate::refusal::is_passing_code;

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
    /// An object of that name belongs to something else. Nothing has been touched.
    #[error("{object} is somebody else's: {reason}")]
    Foreign {
        /// The object.
        object: String,
        /// By what that is known.
        reason: &'static str,
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
    #[error("the cluster refuses {object}: {message}{done}")]
    Refused {
        /// The object.
        object: String,
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
        /// What has been done before.
        done: Done,
    },
    /// The API server does not let go of an object.
    #[error("the cluster refuses to remove {object}: {message}{done}")]
    Kept {
        /// The object.
        object: String,
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
        /// What has been done before.
        done: Done,
    },
    /// Another image, address or Secret than what was applied is to run there.
    #[error("somebody else has changed DaemonSet `{REGISTRY}` meanwhile{done}")]
    Overtaken {
        /// What has been done before.
        done: Done,
    },
    /// What was applied is not there.
    #[error("somebody else has deleted DaemonSet `{REGISTRY}` meanwhile{done}")]
    Gone {
        /// What has been done before.
        done: Done,
    },
    /// There is none that could say what the image serves.
    #[error("no node is to have a registry: the DaemonSet wants none of this cluster's{done}")]
    NoNodes {
        /// What has been done before.
        done: Done,
    },
    /// The registry cannot start somewhere, and waiting does not help.
    #[error("the registry does not start:{}{done}", each(.troubles))]
    Rollout {
        /// What is wrong, and where.
        troubles: Vec<Trouble>,
        /// What has been done before.
        done: Done,
    },
    /// The registries did not all answer in time.
    #[error("after {seconds} s {state}{}{done}", each(.troubles))]
    Timeout {
        /// The limit.
        seconds: u64,
        /// How far it is.
        state: String,
        /// What is wrong, and where.
        troubles: Vec<Trouble>,
        /// What has been done before.
        done: Done,
    },
    /// No registry says what it serves.
    #[error("the registries run, and what they serve cannot be found out: {fault}{done}")]
    Served {
        /// Why.
        #[source]
        fault: ServedError,
        /// What has been done before.
        done: Done,
    },
    /// The registries serve something else than the catalog that was named.
    #[error("`{path}` is the catalog of generation {named}, and the registries serve {served}{done}", path = path.display())]
    Differs {
        /// The catalog's file.
        path: PathBuf,
        /// Its generation.
        named: String,
        /// That of the image.
        served: String,
        /// What has been done before.
        done: Done,
    },
    /// What was deleted is still there.
    #[error("after {seconds} s these are being deleted still:{}", list(.objects))]
    Remains {
        /// The limit.
        seconds: u64,
        /// Which.
        objects: Vec<Object>,
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
            Self::Served {
                fault:
                    ServedError::Unlisted { .. }
                    | ServedError::Overtaken
                    | ServedError::Refused { .. }
                    | ServedError::Lost { .. }
                    | ServedError::NoUpgrade { .. },
                ..
            }
            | Self::Overtaken { .. }
            | Self::Gone { .. }
            | Self::NoNodes { .. } => Kind::Cluster,
            Self::Refused { code, message, .. } | Self::Kept { code, message, .. } => refused(*code, message),
            Self::Managed { .. } | Self::Foreign { .. } | Self::PodSecurity { .. } | Self::Elsewhere { .. } => {
                Kind::Policy
            }
            Self::Rollout { .. } | Self::Served { .. } => Kind::Start,
            Self::Timeout { .. } | Self::Remains { .. } => Kind::Timeout,
        }
    }
}

/// What an API server's answer comes to. A webhook chooses its own status.
fn refused(code: u16, message: &str) -> Kind {
    match code {
        401 => Kind::Forbidden,
        403 if message.contains(" cannot ") => Kind::Forbidden,
        _ if message.starts_with("admission webhook ") => Kind::Policy,
        // What it is about has gone or changed meanwhile.
        404 | 409 | 410 => Kind::Cluster,
        code if is_passing_code(code) => Kind::Cluster,
        _ => Kind::Policy,
    }
}

fn each(troubles: &[Trouble]) -> String {
    troubles.iter().map(|trouble| format!("\n  {trouble}")).collect()
}

fn list<T: fmt::Display>(objects: &[T]) -> String {
    objects.iter().map(|object| format!("\n  {object}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_no_policy() {
        let kind = |code: u16, message: &str| {
            let (object, message) = ("Namespace `kitbag`".to_owned(), message.to_owned());
            InstallError::Refused { object, code, message, done: Done::default() }.kind()
        };
        for code in [404, 409, 429, 500, 503, 504] {
            assert_eq!(kind(code, "no"), Kind::Cluster, "{code}");
        }
        assert_eq!(kind(401, "Unauthorized"), Kind::Forbidden);
        assert_eq!(kind(403, "User \"jane\" cannot patch resource"), Kind::Forbidden);
        assert_eq!(kind(403, "violates PodSecurity"), Kind::Policy);
        assert_eq!(kind(422, "is invalid"), Kind::Policy);
        assert_eq!(kind(500, "admission webhook \"x\" denied the request"), Kind::Policy);
    }
}
