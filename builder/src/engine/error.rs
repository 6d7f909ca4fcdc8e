//! Why a build has come to nothing.

use std::fmt;
use std::path::PathBuf;

use crate::build::BuildError;
use crate::cargo::CargoError;
use crate::fs::FsError;
use crate::layer::LayerError;
use crate::lock::Difference;
use crate::process::ProcessError;
use crate::sources::SourceError;
use crate::store::StoreError;
use crate::toolchain::ToolchainError;

/// Why there is no new generation. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Archives that are not to be had.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Sources(Vec<SourceError>),
    /// The C compiler.
    #[error(transparent)]
    Toolchain(ToolchainError),
    /// The Rust compiler.
    #[error(transparent)]
    Cargo(CargoError),
    /// Builds that failed.
    #[error(transparent)]
    Failed(Failures),
    /// Layers that came out otherwise than `catalog.lock` has them.
    #[error("not what the lock says:\n{}", .0.iter().map(|d| format!("  {d}")).collect::<Vec<_>>().join("\n"))]
    Locked(Vec<Difference>),
    /// The store.
    #[error(transparent)]
    Store(StoreError),
    /// Someone has pressed Ctrl-C.
    #[error("interrupted; the store is as it was")]
    Interrupted,
    /// The file system says no.
    #[error(transparent)]
    Fs(FsError),
}

/// The builds that failed, and what was not tried because of them.
#[derive(Debug)]
pub struct Failures {
    /// Which, and why.
    pub failed: Vec<(String, UnitError)>,
    /// What needs one of them.
    pub skipped: Vec<String>,
}

/// Why one recipe has no result.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// Its build failed.
    #[error(transparent)]
    Build(BuildError),
    /// Its files make no layer.
    #[error(transparent)]
    Layer(LayerError),
    /// A file of the build cache is damaged.
    #[error("`{}` is damaged: delete it and build again", .0.display())]
    DamagedCache(PathBuf),
    /// The file system says no.
    #[error(transparent)]
    Fs(FsError),
}

impl std::error::Error for Failures {}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (unit, error) in &self.failed {
            write!(f, "{separator}{unit}: {error}")?;
            separator = "\n";
        }
        if !self.skipped.is_empty() {
            write!(f, "{separator}not tried because of that: {}", self.skipped.join(", "))?;
        }
        Ok(())
    }
}

impl UnitError {
    /// Whether it is no failure of its own, but the end of everything.
    pub(super) fn is_interrupt(&self) -> bool {
        matches!(
            self,
            Self::Build(
                BuildError::Process(ProcessError::Interrupted)
                    | BuildError::Cargo(CargoError::Process(ProcessError::Interrupted))
            )
        )
    }
}
