//! `doctor`: whether kitbag works in a cluster for who asks, and what to do where it does not.
//!
//! [`fetch`] finds out what can be known, and asks first what may be; each check is a function of the [`facts`] to
//! [`Finding`]s; [`pull`] tries it in earnest; [`aim`] says in each command for which cluster it is; [`render`] is the
//! report. No judgement here asks anybody anything.

pub mod aim;
pub mod discovery;
pub mod facts;
pub mod fetch;
mod finding;
mod fix;
mod namespace;
mod nodes;
mod permissions;
pub mod pull;
mod registry;
pub mod render;
pub(crate) mod server;

use std::collections::BTreeMap;

use kitbag_toolsets::{Name, Needs};

use crate::access::{Answer, Permissions};
use crate::shell::quoted;
use discovery::Discovered;
use facts::Facts;
pub use finding::{Check, Finding, Status, Summary};
use fix::Installed;
pub use namespace::needs;
use pull::Place;

/// The exit code where something does not work; warnings are none.
pub const FAILED: u8 = 1;

/// What is to be pulled, and where the pods are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The image.
    pub image: String,
    /// The namespace of the pods.
    pub namespace: String,
    /// The nodes.
    pub places: Vec<Place>,
    /// How many nodes are left out.
    pub left_out: usize,
}

/// All that can be said without pulling; and what is to be pulled, if that is known. `needs` are those of all tools.
#[must_use]
pub fn judge(facts: &Facts, needs: &BTreeMap<Name, Needs>) -> (Vec<Finding>, Option<Discovered>) {
    let (Facts { who, .. }, installed) = (facts, Installed::of(facts));
    let mut findings = server::judge(&facts.server);
    findings.push(server::session(&facts.upgrade));
    let (discovery, found) = discovery::judge(&facts.discovery, &facts.everybody, &installed, who);
    findings.extend(discovery);
    findings.extend(registry::judge(facts, &installed, found.as_ref()));
    findings.extend(nodes::judge(&facts.nodes, found.as_ref().map(|found| found.architectures.as_slice())));
    findings.push(namespace::pod_security(&facts.namespace, who, needs));
    findings.extend(permissions::judge(&facts.permissions, who));
    findings.push(namespace::quota(&facts.quotas, who));
    (findings, found)
}

/// The pull that can be made, or why there is none.
///
/// # Errors
/// The finding that says so.
pub fn plan(facts: &Facts, found: Option<&Discovered>, all_nodes: bool) -> Result<Plan, Finding> {
    let skipped = |text: String| Finding::skipped(Check::Pull, text);
    let Some(found) = found else {
        return Err(skipped("nothing says what to pull: see discovery".to_owned()));
    };
    let Some(image) = found.image.clone() else {
        return Err(skipped("the generation has no busybox, which is what would be pulled".to_owned()));
    };
    let own = (facts.who.namespace.as_str(), &facts.permissions);
    // Its own namespace refuses nothing and has no quota; but it is not there for everybody, nor with a central registry.
    let theirs = facts.daemonset.got().map(|_| (facts.registry_namespace.as_str(), &facts.registry_permissions));
    let Some((namespace, _)) = theirs.into_iter().chain([own]).find(|(_, permissions)| may_pull(permissions)) else {
        let text =
            format!("`{}` may not make a Job in namespace `{}`, and see its pod, and delete it", facts.who.user, own.0);
        let fix = format!("# somebody else has to run this:\nkubectl kitbag doctor -n {}", quoted(own.0));
        return Err(skipped(text).fix(fix));
    };
    let nodes = facts.nodes.got();
    let places = pull::places(nodes.map(Vec::as_slice), facts.pods.got().map_or(&[], Vec::as_slice), all_nodes);
    if places.is_empty() {
        return Err(skipped("no node is ready".to_owned()));
    }
    let fit =
        nodes.map_or(1, |nodes| nodes.iter().filter(|node| nodes::is_linux(node) && nodes::is_ready(node)).count());
    Ok(Plan { image, namespace: namespace.to_owned(), left_out: fit - places.len(), places })
}

/// What a pull takes: verbs on resources of API groups.
const PULLING: [(&str, &str, &str); 3] =
    [("create", "batch", "jobs"), ("delete", "batch", "jobs"), ("list", "", "pods")];

fn may_pull(permissions: &Permissions) -> bool {
    PULLING.iter().all(|(verb, group, resource)| permissions.may(verb, group, resource, None) != Answer::No)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
