//! Which tools there are, for those who choose among them: those of the catalog that the cluster publishes, or where none
//! can be had, of the one that is compiled in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kitbag_toolsets::catalog::CatalogErrors;
use kitbag_toolsets::{Catalog, ImagePath, Name, NameIndex, Needs, Published, ToolSet};

use crate::cli::Whose;
use crate::cluster;
use crate::discovery::{Discovered, discover};
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

/// The inventory of the cluster, or of this program. Each request is told with the time since `since`, if there is one.
pub(crate) async fn find(whose: &Whose, since: Option<Instant>) -> Result<Stock, CatalogErrors> {
    let catalog = Catalog::builtin()?;
    Ok(match ask(whose, since).await {
        Ok(Discovered { registry, generation, published }) => Stock {
            inventory: Inventory::published(&published, &catalog),
            source: format!("the cluster's catalog, generation `{generation}`"),
            registry: Some(registry),
        },
        Err(reason) => Stock {
            inventory: Inventory::of(&catalog),
            source: format!("the catalog of this program ({reason})"),
            registry: whose.registry.clone(),
        },
    })
}

/// What the cluster has, or why that is not known.
async fn ask(whose: &Whose, since: Option<Instant>) -> Result<Discovered, String> {
    if let Some(registry) = &whose.registry {
        return Err(format!("what the registry at `{registry}` has, only its images tell"));
    }
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
