//! What is installed where the command line does not say. What a cluster has stays as it is, so that `install` without a
//! flag mends an installation; only a release's own image is brought up to date. Pure.

use k8s_openapi::api::apps::v1::DaemonSet;
use oci_client::Reference;

use super::rollout::{chosen, template};
use super::{InstallError, PORT};

/// What the command line says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// The registry's image.
    pub image: Option<&'a str>,
    /// The port on each node's loopback.
    pub port: Option<u16>,
    /// The Secret to pull the image with; empty for none.
    pub pull_secret: Option<&'a str>,
}

/// What is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The registry's image.
    pub image: String,
    /// Who has chosen it.
    pub by: By,
    /// The port on each node's loopback.
    pub port: u16,
    /// The Secret to pull the image with.
    pub pull_secret: Option<String>,
}

/// Who has chosen the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The command line.
    Flag,
    /// The cluster, which has it.
    Cluster,
    /// This program, with which it was released.
    Release,
}

impl By {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "as --image says",
            Self::Cluster => "which is installed",
            Self::Release => "which belongs to this release",
        }
    }
}

/// Chooses; `released` is the image of this program's release, and `installed` what the cluster has.
///
/// # Errors
/// [`InstallError::NoImage`], [`InstallError::Image`].
pub fn choose(
    wanted: Wanted<'_>,
    released: Option<&str>,
    installed: Option<&DaemonSet>,
) -> Result<Choice, InstallError> {
    let there = installed.and_then(template).map(chosen).unwrap_or_default();
    let image = there.image;
    let (image, by) = match (wanted.image, image, released) {
        (Some(named), ..) => (named, By::Flag),
        // An image of one's own, or of a mirror, is nobody else's to exchange.
        (None, Some(image), Some(released)) if !is_of_same_name(image, released) => (image, By::Cluster),
        (None, _, Some(released)) => (released, By::Release),
        (None, Some(image), None) => (image, By::Cluster),
        (None, None, None) => return Err(InstallError::NoImage),
    };
    let reference = image.parse::<Reference>();
    reference.map_err(|error| InstallError::Image { image: image.to_owned(), reason: error.to_string() })?;

    let port = there.address.and_then(|address| address.rsplit_once(':')?.1.parse().ok());
    Ok(Choice {
        image: image.to_owned(),
        by,
        port: wanted.port.or(port).unwrap_or(PORT),
        pull_secret: match wanted.pull_secret {
            Some("") => None,
            Some(named) => Some(named.to_owned()),
            None => there.pull_secret.map(str::to_owned),
        },
    })
}

/// Are these the same, but for tag and digest?
pub(crate) fn is_of_same_name(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|image| image.parse::<Reference>().ok());
    let name = |image: &Reference| (image.registry().to_owned(), image.repository().to_owned());
    one.as_ref().map(name) == other.as_ref().map(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::{Objects, Settings};

    fn installed(image: &str, port: u16, pull_secret: Option<&str>) -> DaemonSet {
        Objects::new(&Settings { image, namespace: "kitbag", port, pull_secret }).unwrap().registry
    }

    const OLD: &str = "registry.example/kitbag/kitbag-registry@sha256:0000000000000000000000000000000000000000000000000000000000000000";
    const NEW: &str = "registry.example/kitbag/kitbag-registry:v2";
    const MIRROR: &str = "mirror.example/kitbag-registry:v1";

    #[test]
    fn an_image_is_named_or_there_or_the_releases() {
        let chosen = |named: Option<&str>, released: Option<&str>, there: Option<&str>| {
            let installed = there.map(|image| installed(image, PORT, None));
            let choice = choose(Wanted { image: named, ..Wanted::default() }, released, installed.as_ref());
            choice.map(|choice| format!("{} {}", choice.image, choice.by.as_str())).unwrap_or_else(|it| it.to_string())
        };
        insta::assert_snapshot!([
            chosen(None, None, None),
            chosen(Some(MIRROR), Some(NEW), Some(OLD)),
            chosen(Some("UPPER CASE"), None, None),
            chosen(None, Some(NEW), None),
            chosen(None, Some(NEW), Some(OLD)),
            chosen(None, Some(NEW), Some(MIRROR)),
            chosen(None, None, Some(MIRROR)),
        ].join("\n"), @r"
    no image is named, and none is installed
    mirror.example/kitbag-registry:v1 as --image says
    `UPPER CASE` is not a reference of an image: invalid reference format
    registry.example/kitbag/kitbag-registry:v2 which belongs to this release
    registry.example/kitbag/kitbag-registry:v2 which belongs to this release
    mirror.example/kitbag-registry:v1 which is installed
    mirror.example/kitbag-registry:v1 which is installed
    ");
    }

    #[test]
    fn what_is_not_said_stays_as_it_is_installed() {
        let installed = installed(MIRROR, 5060, Some("pull"));
        let chosen = |wanted: Wanted<'_>, installed: Option<&DaemonSet>| {
            let choice = choose(wanted, Some(NEW), installed).unwrap();
            (choice.port, choice.pull_secret)
        };
        let pull = Some("pull".to_owned());
        assert_eq!(chosen(Wanted::default(), None), (PORT, None));
        assert_eq!(chosen(Wanted::default(), Some(&installed)), (5060, pull.clone()));
        assert_eq!(chosen(Wanted { port: Some(5070), ..Wanted::default() }, Some(&installed)), (5070, pull));
        assert_eq!(chosen(Wanted { pull_secret: Some(""), ..Wanted::default() }, Some(&installed)), (5060, None));
    }
}
