//! The user's namespace: its Pod Security level and what that means for tools, and its quotas.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use kitbag_toolsets::{Catalog, Name, Need, Needs};

use super::facts::{Fetched, Who};
use super::finding::{Check, Finding, alike};
use crate::kubernetes::POD_SECURITY;
use crate::sentences::{in_baseline, in_restricted};
use crate::shell::quoted;

/// How a need fares that a level refuses.
const REFUSED: &str = "refused";

/// The level, and which tools feel it.
#[must_use]
pub(super) fn pod_security(namespace: &Fetched<Namespace>, who: &Who, needs: &BTreeMap<Name, Needs>) -> Finding {
    let name = &who.namespace;
    let namespace = match namespace {
        Fetched::Got(namespace) => namespace,
        Fetched::Absent => {
            return Finding::failure(Check::PodSecurity, format!("there is no namespace `{name}`"))
                .fix("kubectl get namespaces");
        }
        other => return Finding::unseen(Check::PodSecurity, other, &format!("get namespace `{name}`")),
    };
    let level = namespace.metadata.labels.as_ref().and_then(|labels| labels.get(POD_SECURITY)).map(String::as_str);
    let fate = match level {
        None => {
            let text = format!(
                "namespace `{name}` enforces no level of its own: the cluster's default counts, which refuses nothing unless it was changed"
            );
            return Finding::ok(Check::PodSecurity, text);
        }
        Some("baseline") => in_baseline,
        Some("restricted") => in_restricted,
        Some("privileged") => {
            return Finding::ok(
                Check::PodSecurity,
                format!("namespace `{name}` enforces `privileged`, which refuses nothing"),
            );
        }
        Some(other) => {
            let text = format!(
                "namespace `{name}` enforces `{other}`, which is no level: the API server takes it for `restricted`"
            );
            return Finding::failure(Check::PodSecurity, text)
                .fix(format!("kubectl label namespace {} {POD_SECURITY}=baseline --overwrite", quoted(name)));
        }
    };
    let level = level.unwrap_or_default();
    let told = format!("namespace `{name}` enforces `{level}`");
    let lost = tools(needs, |needs| needs.required.iter().copied().any(|need| fate(need) == REFUSED));
    let less = tools(needs, |needs| needs.optional.iter().copied().any(|need| fate(need) == REFUSED));
    let conditional: Vec<String> = conditions(needs, fate);
    if lost.is_empty() && less.is_empty() && conditional.is_empty() {
        return Finding::ok(Check::PodSecurity, format!("{told}: every tool works there as elsewhere"));
    }
    let mut lines = Vec::new();
    if !lost.is_empty() {
        lines.push(format!("{} cannot be used there", lost.join(", ")));
    }
    if !less.is_empty() {
        lines.push(format!("{} can do less", less.join(", ")));
    }
    lines.extend(conditional);
    let text = format!("{told}:\n{}", lines.join("\n"));
    if lost.is_empty() {
        return Finding::ok(Check::PodSecurity, text);
    }
    let let_in = |tool: &String| {
        needs.iter().any(|(name, needs)| {
            name.as_str() == tool && needs.required.iter().all(|need| in_baseline(*need) != REFUSED)
        })
    };
    let wider = if level == "restricted" && lost.iter().any(let_in) { "baseline" } else { "privileged" };
    let fix = format!(
        "kubectl kitbag needs {}\n\
         # where these matter more than the level, it is for the platform team to widen it; or debug a copy of the pod in another namespace\n\
         kubectl label namespace {} {POD_SECURITY}={wider} --overwrite",
        lost.join(" "),
        quoted(name),
    );
    Finding::warning(Check::PodSecurity, text).fix(fix)
}

fn tools(needs: &BTreeMap<Name, Needs>, is_meant: impl Fn(&Needs) -> bool) -> Vec<String> {
    needs.iter().filter(|(_, needs)| is_meant(needs)).map(|(tool, _)| tool.to_string()).collect()
}

/// What works under a condition, each with the tools that want it.
fn conditions(needs: &BTreeMap<Name, Needs>, fate: fn(Need) -> &'static str) -> Vec<String> {
    let each = needs.iter().flat_map(|(tool, needs)| needs.all().map(move |need| (fate(need), (tool, need))));
    alike(each.filter(|(fate, _)| *fate != REFUSED && *fate != "works"))
        .into_iter()
        .map(|(fate, needs)| {
            let tools = alike(needs).into_iter().map(|(tool, needs)| {
                let needs: Vec<&str> = needs.into_iter().map(Need::as_str).collect();
                format!("{tool} ({})", needs.join(", "))
            });
            format!("{}: {fate}", tools.collect::<Vec<_>>().join(", "))
        })
        .collect()
}

/// What the tools of this program's own catalog need.
#[must_use]
pub fn needs(catalog: &Catalog) -> BTreeMap<Name, Needs> {
    catalog.tools().map(|tool| (tool.name.clone(), tool.needs.clone())).collect()
}

/// Quotas that are used up. They never refuse an ephemeral container, which cannot ask for resources, but the pods that
/// are debugged may not come back.
#[must_use]
pub(super) fn quota(quotas: &Fetched<Vec<ResourceQuota>>, who: &Who) -> Finding {
    let name = &who.namespace;
    let Fetched::Got(quotas) = quotas else {
        return Finding::unseen(Check::Quota, quotas, &format!("list ResourceQuotas in namespace `{name}`"));
    };
    let full: Vec<String> = quotas.iter().flat_map(full).collect();
    if full.is_empty() {
        let text = if quotas.is_empty() { "has no quota" } else { "has room in its quotas" };
        return Finding::ok(Check::Quota, format!("namespace `{name}` {text}"));
    }
    let text = format!(
        "namespace `{name}` has used up {}: debug containers are not counted, but no new pod starts there, the doctor's own neither",
        full.join(", ")
    );
    Finding::warning(Check::Quota, text).fix(format!("kubectl describe resourcequota -n {}", quoted(name)))
}

/// What counts pods and jobs, and has reached its limit.
fn full(quota: &ResourceQuota) -> Vec<String> {
    let status = quota.status.clone().unwrap_or_default();
    let (hard, used) = (status.hard.unwrap_or_default(), status.used.unwrap_or_default());
    let counts = ["pods", "count/pods", "count/jobs.batch"];
    let reached = |key: &&str| {
        let (limit, used) = (hard.get(*key)?.0.parse::<u64>().ok()?, used.get(*key)?.0.parse::<u64>().ok()?);
        (used >= limit).then(|| {
            format!("`{key}` of quota `{}` ({used} of {limit})", quota.metadata.name.as_deref().unwrap_or_default())
        })
    };
    counts.iter().filter_map(reached).collect()
}

#[cfg(test)]
mod tests;
