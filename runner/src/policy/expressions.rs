//! The policy's sentences in CEL, as Kubernetes has it. Nothing newer than Kubernetes 1.30 is used.

use std::collections::{BTreeMap, BTreeSet};

use kitbag_toolsets::{ImagePath, Needs};

use crate::inventory::Inventory;
use crate::privileges::union;

/// The containers that the request adds: those of before cannot be changed.
pub(super) const ADDED: &str = "\
!has(object.spec.ephemeralContainers) ? [] :
object.spec.ephemeralContainers.filter(c,
  !has(oldObject.spec.ephemeralContainers) ||
  !oldObject.spec.ephemeralContainers.exists(old, old.name == c.name))";

pub(super) const UNPRIVILEGED: &str = "\
variables.added.all(c,
  !has(c.securityContext) ||
  !has(c.securityContext.privileged) ||
  !c.securityContext.privileged)";

pub(super) const DROPPED: &str = "\
variables.added.all(c,
  has(c.securityContext) &&
  has(c.securityContext.capabilities) &&
  has(c.securityContext.capabilities.drop) &&
  'ALL' in c.securityContext.capabilities.drop)";

/// From the registry, whose name ends with a slash here.
pub(super) fn from(prefix: &str) -> String {
    format!("variables.added.all(c, has(c.image) && c.image.startsWith({}))", quoted(prefix))
}

/// Only capabilities that some name in the image's path needs. A reference is `PREFIX` NAME `/` NAME `:` TAG `@` DIGEST.
pub(super) fn needed(prefix: &str) -> String {
    let (quoted, length) = (quoted(prefix), prefix.chars().count());
    format!(
        "\
variables.added.all(c,
  !has(c.securityContext) ||
  !has(c.securityContext.capabilities) ||
  !has(c.securityContext.capabilities.add) ||
  c.securityContext.capabilities.add.all(capability,
    capability in variables.needs &&
    has(c.image) && c.image.startsWith({quoted}) &&
    c.image.substring({length}).split('@')[0].split(':')[0].split('/').exists(name,
      name in variables.needs[capability])))"
    )
}

/// Added by a member of one of the groups.
pub(super) fn by(groups: &[String]) -> String {
    let groups: Vec<String> = groups.iter().map(|group| quoted(group)).collect();
    format!(
        "\
variables.added.size() == 0 ||
has(request.userInfo.groups) &&
request.userInfo.groups.exists(group, group in [{}])",
        groups.join(", ")
    )
}

/// For each capability the names that need it: of tools, with and without their version, of sets and of commands.
pub(super) fn needs(inventory: &Inventory) -> String {
    let mut needed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for name in names(inventory) {
        let path = ImagePath::from_names([name.as_str()]).ok();
        let needs = path.and_then(|path| inventory.needs(&path).ok()).unwrap_or_default();
        for capability in union(needs.values().flat_map(Needs::all)) {
            needed.entry(capability).or_default().insert(name.clone());
        }
    }
    let lists = needed.iter().map(|(capability, names)| {
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        format!("  {}: [{}]", quoted(capability), names.join(", "))
    });
    format!("{{\n{}\n}}", lists.collect::<Vec<_>>().join(",\n"))
}

/// Every name that an image's path can have, and some that are none.
fn names(inventory: &Inventory) -> BTreeSet<String> {
    let of_tools = inventory.tools.iter().flat_map(|tool| {
        let versioned = tool.name.with_version(&tool.version).map(|name| name.to_string());
        [tool.name.to_string()].into_iter().chain(versioned).chain(tool.commands.iter().cloned())
    });
    of_tools.chain(inventory.sets.iter().map(|set| set.name.to_string())).collect()
}

/// A literal: JSON's escapes are CEL's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
