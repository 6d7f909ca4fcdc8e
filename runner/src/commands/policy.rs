//! `kubectl kitbag policy`: which debug containers a cluster lets in.

use serde::Serialize;

use crate::cli::Policy;
use crate::error::Error;
use crate::image::Registry;
use crate::install::PORT;
use crate::inventory::{self, Stock};
use crate::policy::{Wanted, objects};
use crate::progress::Progress;

/// Runs the command.
pub(crate) async fn run(arguments: &Policy) -> Result<u8, Error> {
    let progress = Progress::new(arguments.whose.common.verbose);
    let Stock { inventory, source, registry } = inventory::find_surely(&arguments.whose, progress.clock()).await?;
    let registry = registry.unwrap_or_else(|| Registry::on_loopback(PORT));
    progress.say(&format!("for images from `{registry}`; asked what tools need: {source}"));
    let wanted = Wanted {
        registry: &registry,
        groups: &arguments.groups,
        namespaces: &arguments.namespaces,
        default_capabilities: arguments.allow_default_capabilities,
    };
    let (policy, binding) = objects(&wanted, &inventory);
    super::print(format!("{}---\n{}", yaml(&policy)?, yaml(&binding)?))
}

fn yaml(object: &impl Serialize) -> Result<String, Error> {
    serde_saphyr::to_string(object).map_err(|error| Error::Output(std::io::Error::other(error)))
}
