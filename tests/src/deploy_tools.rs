//! What objects for a cluster are checked with, built from Go modules.

use std::path::PathBuf;

use crate::{cache, error::Result, go::Program};

const HELM: Program<'_> = Program {
    name: "helm",
    sources: &[
        ("go.mod", include_str!("../deploy-tools/helm/go.mod")),
        ("go.sum", include_str!("../deploy-tools/helm/go.sum")),
    ],
    package: "helm.sh/helm/v4/cmd/helm",
    stamps: &[],
    announcement: "helm 4 from its Go module (once; about 3 minutes on two cores)",
};

const PROMTOOL: Program<'_> = Program {
    name: "promtool",
    sources: &[
        ("go.mod", include_str!("../deploy-tools/promtool/go.mod")),
        ("go.sum", include_str!("../deploy-tools/promtool/go.sum")),
    ],
    package: "github.com/prometheus/prometheus/cmd/promtool",
    stamps: &[],
    announcement: "promtool from its Go module (once; about 5 minutes on two cores)",
};

/// `helm`, built if it is not in the cache. `say` is told before a build starts.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn helm(say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    HELM.built_in(&cache::dir(), say)
}

/// `promtool`, built if it is not in the cache. `say` is told before a build starts.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn promtool(say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    PROMTOOL.built_in(&cache::dir(), say)
}
