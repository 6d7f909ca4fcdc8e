//! What can go wrong, by what a person can do about it; and the exit code of each kind.

use std::io;

use kitbag_toolsets::catalog::CatalogErrors;

use crate::access::AccessError;
use crate::cli::UsageError;
use crate::discovery::DiscoveryError;
use crate::found::FoundError;
use crate::image::ImageError;
use crate::install::InstallError;
use crate::refusal::Refusal;
use crate::sentences::Short;
use crate::session::SessionError;
use crate::target::TargetError;
use crate::tools::ToolsError;
use crate::wait::WaitError;

/// Everything that ends a command before, or instead of, the exit code of what it should have run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line makes no sense.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The tools or the command as named make no sense.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// There is no such pod or container, or it cannot be debugged.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The image could not be found out.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What the cluster says of its own kitbag could not be used.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// No usable kubeconfig.
    #[error("no cluster to talk to: {0}")]
    Kubeconfig(String),
    /// Permissions are missing.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The API server answered with a refusal.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The API server did not answer, or not in a way that makes sense.
    #[error("the cluster does not answer: {0}")]
    Unreachable(String),
    /// The registries could not be put into the cluster, or taken out of it.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The container did not start.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// What is wanted would not work.
    #[error(transparent)]
    Short(#[from] Short),
    /// There is no debug container to use.
    #[error(transparent)]
    Found(#[from] FoundError),
    /// The session broke.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The catalog that is compiled in is wrong, which its tests rule out.
    #[error(transparent)]
    Catalog(#[from] CatalogErrors),
    /// This machine gives no threads or no event loop.
    #[error("the program cannot be set up: {0}")]
    Runtime(#[source] io::Error),
    /// Standard output takes nothing.
    #[error("standard output cannot be written: {0}")]
    Output(#[source] io::Error),
}

/// Kinds of errors, each with an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong.
    Usage,
    /// No such tool or image.
    UnknownTool,
    /// No such pod, container or namespace.
    NotFound,
    /// The pod or container is not in a state to be debugged.
    Unfit,
    /// The registry cannot be asked.
    Registry,
    /// The API server cannot be asked.
    Cluster,
    /// A fault of this program or machine.
    Internal,
    /// The node could not pull or start the image.
    Start,
    /// A policy of the cluster refuses the container.
    Policy,
    /// The container did not start in time.
    Timeout,
    /// The session was cut off.
    Session,
    /// The user lacks a permission.
    Forbidden,
    /// No usable kubeconfig.
    Config,
}

impl Kind {
    /// Every kind, by exit code.
    pub const ALL: [Self; 13] = [
        Self::Usage,
        Self::UnknownTool,
        Self::NotFound,
        Self::Unfit,
        Self::Registry,
        Self::Cluster,
        Self::Internal,
        Self::Start,
        Self::Policy,
        Self::Timeout,
        Self::Session,
        Self::Forbidden,
        Self::Config,
    ];

    /// The exit code: in the range of `sysexits.h`, and with its meaning where it has one. Debugging tools use low
    /// numbers, shells high ones.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::UnknownTool => 65,
            Self::NotFound => 66,
            Self::Unfit => 67,
            Self::Registry => 68,
            Self::Cluster => 69,
            Self::Internal => 70,
            Self::Start => 71,
            Self::Policy => 73,
            Self::Timeout => 75,
            Self::Session => 76,
            Self::Forbidden => 77,
            Self::Config => 78,
        }
    }

    /// One word for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::UnknownTool => "unknown-tool",
            Self::NotFound => "not-found",
            Self::Unfit => "unfit",
            Self::Registry => "registry",
            Self::Cluster => "cluster",
            Self::Internal => "internal",
            Self::Start => "start",
            Self::Policy => "policy",
            Self::Timeout => "timeout",
            Self::Session => "session",
            Self::Forbidden => "forbidden",
            Self::Config => "config",
        }
    }

    /// A few words for `--help`.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Usage => "the command line is wrong",
            Self::UnknownTool => "no such tool",
            Self::NotFound => "no such pod or container",
            Self::Unfit => "the pod or container cannot be debugged in its state",
            Self::Registry => "the registry does not answer",
            Self::Cluster => "the cluster does not answer",
            Self::Internal => "a fault of this program or machine",
            Self::Start => "the node could not pull or start the image",
            Self::Policy => "a policy of the cluster refuses the container",
            Self::Timeout => "the container did not start in time",
            Self::Session => "the session was cut off",
            Self::Forbidden => "a permission is missing",
            Self::Config => "no usable kubeconfig",
        }
    }
}

impl Error {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Usage(_) => Kind::Usage,
            Self::Tools(error) => error.kind(),
            Self::Target(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Discovery(error) => error.kind(),
            Self::Kubeconfig(_) => Kind::Config,
            Self::Access(error) => error.kind(),
            Self::Refused(refusal) => refusal.kind(),
            Self::Unreachable(_) => Kind::Cluster,
            Self::Install(error) => error.kind(),
            Self::Wait(error) => error.kind(),
            Self::Short(_) => Kind::Policy,
            Self::Found(error) => error.kind(),
            Self::Session(error) => error.kind(),
            Self::Catalog(_) | Self::Runtime(_) | Self::Output(_) => Kind::Internal,
        }
    }

    /// What to do next, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tools(_) | Self::Catalog(_) | Self::Runtime(_) | Self::Output(_) => None,
            Self::Usage(_) => Some("`kubectl kitbag COMMAND --help` has examples".to_owned()),
            Self::Target(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Discovery(error) => error.hint(),
            Self::Kubeconfig(_) => Some("name a kubeconfig with --kubeconfig or $KUBECONFIG".to_owned()),
            Self::Access(error) => Some(error.hint()),
            Self::Found(error) => error.hint(),
            Self::Refused(refusal) => refusal.hint(),
            Self::Unreachable(_) => Some("check the cluster's address: `kubectl config view --minify`".to_owned()),
            Self::Install(error) => error.hint(),
            Self::Wait(error) => error.hint(),
            Self::Short(error) => error.hint(),
            Self::Session(error) => error.hint(),
        }
    }
}

/// The innermost cause, which is what a person can do something about.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_exit_code_of_its_own_that_no_shell_and_no_container_runtime_uses() {
        let codes: Vec<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        assert!(codes.iter().all(|code| (64..=78).contains(code)), "{codes:?}");
    }
}
