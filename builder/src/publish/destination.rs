//! Where an image goes: the grammar of `--to`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use oci_spec::distribution::Reference;

/// A place for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An OCI image layout, to which the image is added.
    Layout(PathBuf),
    /// A tar of one.
    OciArchive(PathBuf),
    /// What `docker load` reads.
    DockerArchive(PathBuf),
    /// A repository of a registry.
    Registry(Reference),
}

/// Why a text is not a [`Destination`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// No path after the colon.
    #[error("a path is missing after `{0}`")]
    NoPath(&'static str),
    /// Without a host it would be Docker Hub, which nobody should reach by leaving something out.
    #[error(
        "`{0}` names no registry: write `HOST/{0}`, or for a file `oci:`, `oci-archive:` or `docker-archive:` and its path"
    )]
    NoRegistry(String),
    /// A digest is what comes out, not what is asked for.
    #[error("an image cannot be pushed to a digest: name a tag, or none")]
    Digest,
    /// No reference at all.
    #[error("that is not a reference of an image: {0}")]
    Reference(String),
}

const LAYOUT: &str = "oci:";
const OCI_ARCHIVE: &str = "oci-archive:";
const DOCKER_ARCHIVE: &str = "docker-archive:";

/// What the beginning of a text makes of a path.
type Kind = (&'static str, fn(PathBuf) -> Destination);
const KINDS: [Kind; 3] = [
    (LAYOUT, Destination::Layout),
    (OCI_ARCHIVE, Destination::OciArchive),
    (DOCKER_ARCHIVE, Destination::DockerArchive),
];

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        for (prefix, kind) in KINDS {
            match text.strip_prefix(prefix) {
                Some("") => return Err(DestinationError::NoPath(prefix)),
                Some(path) => return Ok(kind(path.into())),
                None => {}
            }
        }
        // As skopeo calls it.
        let text = text.strip_prefix("docker://").unwrap_or(text);
        if !text.split_once('/').is_some_and(|(host, _)| is_host(host)) {
            return Err(DestinationError::NoRegistry(text.to_owned()));
        }
        let reference: Reference = text
            .parse()
            .map_err(|error: oci_spec::distribution::ParseError| DestinationError::Reference(error.to_string()))?;
        if reference.digest().is_some() { Err(DestinationError::Digest) } else { Ok(Self::Registry(reference)) }
    }
}

/// What tells a host from the first part of a repository, by Docker's rule.
fn is_host(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':'])
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(path) => write!(f, "{LAYOUT}{}", path.display()),
            Self::OciArchive(path) => write!(f, "{OCI_ARCHIVE}{}", path.display()),
            Self::DockerArchive(path) => write!(f, "{DOCKER_ARCHIVE}{}", path.display()),
            Self::Registry(reference) => f.write_str(&reference.whole()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_destination_is_a_file_or_a_place_in_a_registry() {
        let cases = [
            "oci:out",
            "oci:/a b/c:d",
            "oci-archive:a.tar",
            "docker-archive:/x/a.tar",
            "registry.example/tools/strace",
            "127.0.0.1:5000/strace:6.1",
            "docker://localhost/strace:1",
            "oci:",
            "strace",
            "tools/strace",
            "registry.example/Upper",
            "registry.example/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ];
        let lines = cases.map(|text| match text.parse::<Destination>() {
            Ok(destination) => format!("{text} -> {destination}"),
            Err(error) => format!("{text} -> {error}"),
        });
        insta::assert_snapshot!(lines.join("\n"), @"
        oci:out -> oci:out
        oci:/a b/c:d -> oci:/a b/c:d
        oci-archive:a.tar -> oci-archive:a.tar
        docker-archive:/x/a.tar -> docker-archive:/x/a.tar
        registry.example/tools/strace -> registry.example/tools/strace:latest
        127.0.0.1:5000/strace:6.1 -> 127.0.0.1:5000/strace:6.1
        docker://localhost/strace:1 -> localhost/strace:1
        oci: -> a path is missing after `oci:`
        strace -> `strace` names no registry: write `HOST/strace`, or for a file `oci:`, `oci-archive:` or `docker-archive:` and its path
        tools/strace -> `tools/strace` names no registry: write `HOST/tools/strace`, or for a file `oci:`, `oci-archive:` or `docker-archive:` and its path
        registry.example/Upper -> that is not a reference of an image: invalid reference format
        registry.example/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 -> an image cannot be pushed to a digest: name a tag, or none
        ");
    }

    proptest! {
        #[test]
        fn what_is_printed_is_what_is_read(text in "\\PC{0,30}|(oci|oci-archive):[a-z/:]{1,8}|[a-z]{1,3}\\.[a-z]{1,3}(:[0-9]{1,4})?/[a-z/]{1,6}(:[a-z]{1,3})?") {
            if let Ok(destination) = text.parse::<Destination>() {
                prop_assert_eq!(destination.to_string().parse::<Destination>(), Ok(destination));
            }
        }
    }
}
