//! What an installation takes, in RBAC's terms; asked one by one and before anything is touched, because it goes beyond
//! one namespace, which is all that a review of rules tells of.

use futures_util::future::join_all;
use kube::Client;

use super::objects::Object;
use crate::{access, discovery};

/// One thing that has to be permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The API group; the core one is empty.
    pub group: String,
    /// The resource, `daemonsets`, or a part of one, `pods/exec`.
    pub resource: String,
    /// The verb.
    pub verb: &'static str,
    /// The namespace; nothing for what is in none.
    pub namespace: Option<String>,
    /// The object, where the verb is about one that is there.
    pub name: Option<String>,
}

/// What applying `objects` takes. What is there already need not be created.
pub fn to_apply(objects: impl IntoIterator<Item = (Object, bool)>) -> Vec<Permission> {
    let verbs = |exists| if exists { &["get", "patch"][..] } else { &["get", "patch", "create"] };
    objects.into_iter().flat_map(|(object, exists)| of(&object, verbs(exists))).collect()
}

/// What removing `objects` takes.
pub fn to_remove<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Vec<Permission> {
    let verbs = |object: &Object| match object.namespace {
        Some(_) => &["get", "delete"][..],
        // One that stays is given back as it was.
        None => &["get", "delete", "patch"],
    };
    objects.into_iter().flat_map(|object| of(object, verbs(object))).collect()
}

fn of(object: &Object, verbs: &[&'static str]) -> Vec<Permission> {
    let permission = |verb: &&'static str| Permission {
        group: object.resource.group.clone(),
        resource: object.resource.plural.clone(),
        verb,
        namespace: object.namespace.clone(),
        // Who creates has no name to go by yet, as far as RBAC is concerned.
        name: (*verb != "create").then(|| object.name.clone()),
    };
    verbs.iter().map(permission).collect()
}

/// Those of `wanted` that the server refuses. What it cannot tell is left to be tried.
pub async fn missing(client: &Client, wanted: Vec<Permission>) -> Vec<Permission> {
    let answers = join_all(wanted.iter().map(|permission| is_refused(client, permission))).await;
    wanted.into_iter().zip(answers).filter(|(_, refused)| *refused).map(|(permission, _)| permission).collect()
}

async fn is_refused(client: &Client, permission: &Permission) -> bool {
    let Permission { group, resource, verb, namespace, name } = permission;
    let attributes = access::attributes(verb, group, resource, namespace.as_deref(), name.as_deref());
    let status = access::ask(client, attributes).await;
    status.is_some_and(|status| !status.allowed && status.evaluation_error.is_none_or(|error| error.is_empty()))
}

/// Is what asks registries among it?
pub(super) fn is_about_exec(missing: &[Permission]) -> bool {
    missing.iter().any(|permission| permission.resource.starts_with("pods"))
}

/// A line for each resource: which verbs are missing.
#[must_use]
pub fn lines(missing: &[Permission]) -> String {
    let lines = grouped(missing).into_iter().map(|(first, verbs)| {
        let place = match &first.namespace {
            Some(namespace) => format!(" in namespace `{namespace}`"),
            None => String::new(),
        };
        format!("\n  {} `{}`{place}", verbs.join(" and "), first.resource)
    });
    lines.collect()
}

/// The rules to ask for.
#[must_use]
pub fn rules(missing: &[Permission]) -> String {
    let rules = grouped(missing).into_iter().map(|(first, verbs)| {
        let Permission { group, resource, .. } = first;
        let is_new = verbs.contains(&"create");
        let verbs: Vec<String> = verbs.iter().map(|verb| format!("\"{verb}\"")).collect();
        // Who may grant what the Role grants has to be permitted it.
        let held = if is_new && *resource == "roles" && first.namespace.as_deref() == Some(discovery::NAMESPACE) {
            format!("  # and, to grant it: get of the ConfigMap `{}` there\n", discovery::NAME)
        } else {
            String::new()
        };
        format!(
            "  - apiGroups: [\"{group}\"]\n    resources: [\"{resource}\"]\n    verbs: [{}]\n{held}",
            verbs.join(", ")
        )
    });
    rules.collect::<String>().trim_end().to_owned()
}

/// Verbs on the same resource together.
fn grouped(missing: &[Permission]) -> Vec<(&Permission, Vec<&'static str>)> {
    let mut groups: Vec<(&Permission, Vec<&'static str>)> = Vec::new();
    for permission in missing {
        let same = |first: &Permission| {
            (&first.group, &first.resource, &first.namespace)
                == (&permission.group, &permission.resource, &permission.namespace)
        };
        match groups.iter_mut().find(|(first, _)| same(first)) {
            Some((_, verbs)) => verbs.push(permission.verb),
            None => groups.push((permission, vec![permission.verb])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::super::objects::tests::objects;
    use super::*;

    #[test]
    fn what_is_missing_is_told_by_resource() {
        let objects = objects();
        let wanted = to_apply(objects.all().map(|object| (object, false)));
        insta::assert_snapshot!(lines(&wanted), @r"
        get and patch and create `namespaces`
        get and patch and create `daemonsets` in namespace `tools`
        get and patch and create `roles` in namespace `kube-public`
        get and patch and create `rolebindings` in namespace `kube-public`
        get and patch and create `configmaps` in namespace `kube-public`
        ");
        insta::assert_snapshot!(rules(&wanted), @r#"
        - apiGroups: [""]
          resources: ["namespaces"]
          verbs: ["get", "patch", "create"]
        - apiGroups: ["apps"]
          resources: ["daemonsets"]
          verbs: ["get", "patch", "create"]
        - apiGroups: ["rbac.authorization.k8s.io"]
          resources: ["roles"]
          verbs: ["get", "patch", "create"]
        # and, to grant it: get of the ConfigMap `kitbag` there
        - apiGroups: ["rbac.authorization.k8s.io"]
          resources: ["rolebindings"]
          verbs: ["get", "patch", "create"]
        - apiGroups: [""]
          resources: ["configmaps"]
          verbs: ["get", "patch", "create"]
        "#);
    }

    #[test]
    fn who_updates_need_not_create() {
        let objects = objects();
        let verbs = |wanted: &[Permission]| wanted.iter().map(|it| it.verb).collect::<Vec<_>>().join(" ");
        assert_eq!(verbs(&to_apply([(objects.first()[0].clone(), true)])), "get patch");
        assert_eq!(verbs(&to_remove(&objects.first())), "get delete patch get delete");
    }
}
