//! `kubectl kitbag policy`: which debug containers a cluster lets in.

use kitbag_toolsets::Catalog;
use serde::Serialize;

use crate::cli::Policy;
use crate::error::Error;
use crate::policy::{Wanted, objects};

/// Runs the command. The cluster is not asked.
pub(crate) fn run(arguments: &Policy) -> Result<u8, Error> {
    let wanted = Wanted {
        registry: &arguments.registry,
        groups: &arguments.groups,
        namespaces: &arguments.namespaces,
        default_capabilities: arguments.allow_default_capabilities,
    };
    let (policy, binding) = objects(&wanted, &Catalog::builtin()?);
    super::print(format!("{}---\n{}", yaml(&policy)?, yaml(&binding)?))
}

fn yaml(object: &impl Serialize) -> Result<String, Error> {
    serde_saphyr::to_string(object).map_err(|error| Error::Output(std::io::Error::other(error)))
}
