//! What may have been meant by a name that names nothing: a pure function of the pods that there are.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Workload;

/// The most names that are offered.
const OFFERED: usize = 3;

/// The label by which a Deployment tells its ReplicaSets apart.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Pods and their owners with a name like `name`, the likeliest first, as one would write them.
pub(super) fn near<'a>(kind: Workload, name: &str, pods: impl Iterator<Item = &'a ObjectMeta>) -> Vec<String> {
    let mut known: BTreeMap<(Workload, String), usize> = BTreeMap::new();
    let mut offer = |of: Workload, known_name: &str| {
        if let Some(distance) = distance(kind, name, of, known_name) {
            known.insert((of, known_name.to_owned()), distance);
        }
    };
    for pod in pods {
        offer(Workload::Pod, pod.name.as_deref().unwrap_or_default());
        if let Some((of, owner)) = owner(pod) {
            offer(of, &owner);
        }
    }
    let mut known: Vec<_> = known.into_iter().collect();
    known.sort_by(|((kind, name), distance), ((other_kind, other), other_distance)| {
        (distance, kind, name).cmp(&(other_distance, other_kind, other))
    });
    known.into_iter().take(OFFERED).map(|((kind, name), _)| format!("{}/{name}", kind.short())).collect()
}

/// How far `known` is from what was named, if it is near.
fn distance(kind: Workload, name: &str, of: Workload, known: &str) -> Option<usize> {
    // Of the right name, and of another kind.
    if name == known {
        return (kind != of).then_some(0);
    }
    // Of a workload's name: `shop` for the pod `shop-7c9d8-x2v4q`. The workload stands for all of its pods.
    if of == Workload::Pod && kind != Workload::Pod {
        return None;
    }
    let far = strsim::damerau_levenshtein(name, known);
    // A third of the letters may be wrong, as for names of tools.
    let limit = known.len().div_ceil(3);
    if far <= limit {
        // Of the kind that was asked for, rather than of another.
        return Some(far * 2 + usize::from(kind != of));
    }
    let begins = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('-'));
    (begins(known, name) || begins(name, known)).then_some(2 * limit.max(far))
}

/// The workload that the pod is of: its controller, or the Deployment above that.
fn owner(pod: &ObjectMeta) -> Option<(Workload, String)> {
    let owner = pod.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    let kind = Workload::ALL.into_iter().find(|kind| kind.kind() == owner.kind)?;
    let hash = pod.labels.as_ref().and_then(|labels| labels.get(TEMPLATE_HASH));
    let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    match (kind, deployment) {
        (Workload::ReplicaSet, Some(deployment)) => Some((Workload::Deployment, deployment.to_owned())),
        _ => Some((kind, owner.name.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn offered(kind: Workload, name: &str) -> String {
        let pod = |name: &str, owner: &str, owner_name: &str, hash: Option<&str>| -> ObjectMeta {
            serde_json::from_value(json!({
                "name": name,
                "labels": hash.map(|hash| json!({ TEMPLATE_HASH: hash })),
                "ownerReferences": [{ "apiVersion": "v1", "kind": owner, "name": owner_name, "uid": "", "controller": true }],
            }))
            .unwrap()
        };
        let pods = [
            pod("shop-7c9d8-x2v4q", "ReplicaSet", "shop-7c9d8", Some("7c9d8")),
            pod("shop-7c9d8-b5n6m", "ReplicaSet", "shop-7c9d8", Some("7c9d8")),
            pod("store-0", "StatefulSet", "store", None),
            pod("store-1", "StatefulSet", "store", None),
            pod("import-x7k2p", "Job", "import", None),
            pod("web", "Node", "node1", None),
        ];
        near(kind, name, pods.iter()).join(" ")
    }

    #[test]
    fn pods_and_their_owners_are_offered() {
        let names = [
            (Workload::Pod, "shop"),
            (Workload::Pod, "shp"),
            (Workload::Pod, "store-2"),
            (Workload::Pod, "wbe"),
            (Workload::Pod, "shop-7c9d8-x2v4p"),
            (Workload::Pod, "shop-6f8b4-z9z9z"),
            (Workload::Deployment, "shpo"),
            (Workload::Deployment, "store"),
            (Workload::Deployment, "web"),
            (Workload::Job, "imports"),
            (Workload::Pod, "nothing-like-it"),
        ];
        let lines = names.map(|(kind, name)| format!("{}/{name}: {}", kind.short(), offered(kind, name)));
        insta::assert_snapshot!(lines.join("\n"), @r"
        pod/shop: deploy/shop pod/shop-7c9d8-b5n6m pod/shop-7c9d8-x2v4q
        pod/shp: deploy/shop
        pod/store-2: pod/store-0 pod/store-1 sts/store
        pod/wbe: pod/web
        pod/shop-7c9d8-x2v4p: pod/shop-7c9d8-x2v4q pod/shop-7c9d8-b5n6m deploy/shop
        pod/shop-6f8b4-z9z9z: deploy/shop
        deploy/shpo: deploy/shop
        deploy/store: sts/store
        deploy/web: pod/web
        job/imports: job/import
        pod/nothing-like-it:
        ");
    }
}
