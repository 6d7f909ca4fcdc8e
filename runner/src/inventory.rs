//! Which tools there are, for those who choose among them: those of the catalog that the cluster publishes, or where none
//! can be had, of the one that is compiled in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kitbag_toolsets::catalog::CatalogErrors;
use kitbag_toolsets::{Catalog, ImagePath, Name, NameIndex, Needs, Published, ToolSet};

use crate::cli::Whose;
use crate::cluster;
use crate::discovery::{Discovered, DiscoveryError, discover};
use crate::error::Error;
use crate::image::Registry;
use crate::tools::ToolsError;

/// How long the cluster may take: somebody only wants to look something up, or has pressed a key.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tools and sets, by name.
#[derive(Clone, Debug)]
pub(crate) struct Inventory {
    pub(crate) tools: Vec<Tool>,
    pub(crate) sets: Vec<Set>,
    names: NameIndex,
}

/// A tool.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) name: Name,
    pub(crate) version: String,
    /// One line for people.
    pub(crate) summary: String,
    pub(crate) commands: Vec<String>,
    pub(crate) needs: Needs,
}

/// A named set of tools.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) name: Name,
    /// One line for people; a cluster's catalog has none.
    pub(crate) summary: String,
    pub(crate) tools: Vec<Name>,
}

/// An inventory, and whose it is.
pub(crate) struct Stock {
    pub(crate) inventory: Inventory,
    /// For people, in a few words.
    pub(crate) source: String,
    /// The registry, as nodes call it, where somebody says.
    pub(crate) registry: Option<Registry>,
}

/// The inventory of the cluster, or else of this program, so that there always is one. Each request is told with the time
/// since `since`, if there is one.
pub(crate) async fn find(whose: &Whose, since: Option<Instant>) -> Result<Stock, CatalogErrors> {
    let catalog = Catalog::builtin()?;
    if let Some(registry) = &whose.registry {
        return Ok(Stock::of_registry(registry, &catalog));
    }
    Ok(match ask(whose, since).await {
        Ok(discovered) => Stock::of_cluster(discovered, &catalog),
        Err(reason) => Stock::of_program(&reason, &catalog),
    })
}

/// The same, for what is not to be guessed: this program's own only where nothing is installed.
///
/// # Errors
/// Where that is not known.
pub(crate) async fn find_surely(whose: &Whose, since: Option<Instant>) -> Result<Stock, Error> {
    let catalog = Catalog::builtin()?;
    if let Some(registry) = &whose.registry {
        return Ok(Stock::of_registry(registry, &catalog));
    }
    let cluster = cluster::connect(&whose.common, since).await?;
    match discover(&cluster.client).await {
        Ok(discovered) => Ok(Stock::of_cluster(discovered, &catalog)),
        Err(nothing @ DiscoveryError::Absent) => Ok(Stock::of_program(&nothing.to_string(), &catalog)),
        Err(error) => Err(error.into()),
    }
}

impl Stock {
    fn of_cluster(Discovered { registry, generation, published }: Discovered, catalog: &Catalog) -> Self {
        Self {
            inventory: Inventory::published(&published, catalog),
            source: format!("the cluster's catalog, generation `{generation}`"),
            registry: Some(registry),
        }
    }

    fn of_registry(registry: &Registry, catalog: &Catalog) -> Self {
        let reason = format!("what the registry at `{registry}` has, only its images tell");
        Self { registry: Some(registry.clone()), ..Self::of_program(&reason, catalog) }
    }

    fn of_program(reason: &str, catalog: &Catalog) -> Self {
        let source = format!("the catalog of this program ({reason})");
        Self { inventory: Inventory::of(catalog), source, registry: None }
    }
}

/// What the cluster has, or why that is not known.
async fn ask(whose: &Whose, since: Option<Instant>) -> Result<Discovered, String> {
    let flags = whose.common.clone();
    // A task of its own, because a credential plugin holds up the thread that it is asked from.
    let asked = tokio::spawn(async move {
        let cluster = cluster::connect(&flags, since).await.map_err(|error| error.to_string())?;
        discover(&cluster.client).await.map_err(|error| error.to_string())
    });
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the cluster does not answer within {} s", PATIENCE.as_secs())),
    }
}

impl Inventory {
    /// Of a catalog.
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let tools = catalog.tools().map(|tool| Tool {
            name: tool.name.clone(),
            version: tool.version.clone(),
            summary: tool.summary.clone(),
            commands: tool.commands.clone(),
            needs: tool.needs.clone(),
        });
        let sets = catalog.sets().iter().map(|(name, set)| Set {
            name: name.clone(),
            summary: set.summary.clone(),
            tools: set.tools.clone(),
        });
        Self { tools: tools.collect(), sets: sets.collect(), names: catalog.names() }
    }

    /// Of a published catalog. What it does not say of a set is taken from a set of that name and with those tools.
    pub(crate) fn published(published: &Published, catalog: &Catalog) -> Self {
        let generation = published.generation();
        let layers = generation.tools().values().filter_map(|platforms| platforms.values().next());
        let tools = layers.map(|layer| Tool {
            name: layer.name.clone(),
            version: layer.version.clone(),
            summary: layer.summary.clone(),
            commands: layer.commands.clone(),
            needs: layer.needs.clone(),
        });
        let sets = generation.names().sets().map(|(name, tools)| {
            let known = catalog.sets().get(name).filter(|set| set.tools == tools);
            let summary = known.map(|set| set.summary.clone()).unwrap_or_default();
            Set { name: name.clone(), summary, tools: tools.to_vec() }
        });
        Self { tools: tools.collect(), sets: sets.collect(), names: generation.names().clone() }
    }

    /// What names mean.
    pub(crate) const fn names(&self) -> &NameIndex {
        &self.names
    }

    /// The tools of `path`, where all its names mean something.
    pub(crate) fn resolve(&self, path: &ImagePath) -> Result<ToolSet, ToolsError> {
        self.names.resolve(path).map_err(ToolsError::Unknown)
    }

    /// What each tool of `path` needs.
    pub(crate) fn needs(&self, path: &ImagePath) -> Result<BTreeMap<Name, Needs>, ToolsError> {
        let set = self.resolve(path)?;
        let wanted = self.tools.iter().filter(|tool| set.contains(tool.name.as_str()));
        Ok(wanted.map(|tool| (tool.name.clone(), tool.needs.clone())).collect())
    }
}

#[cfg(test)]
mod tests;
