use serde_json::json;

use super::*;
use facts::{Fetched, Who};
use testing::{daemonset, everything, found, jane, made, node, nodes, permissions, told};

/// What is known of a cluster where all is well, to the platform team.
fn facts() -> Facts {
    Facts {
        who: Who { platform: true, ..jane() },
        daemonset: Fetched::Got(made(daemonset(1))),
        nodes: Fetched::Got(nodes(&["a", "b", "c", "d"].map(node))),
        permissions: everything(),
        registry_permissions: everything(),
        ..testing::nothing()
    }
}

#[test]
fn pods_are_made_beside_the_registry_else_in_the_users_namespace() {
    let place = |facts: &Facts| {
        plan(facts, Some(&found()), false).map(|plan| (plan.namespace, plan.places.len(), plan.left_out))
    };
    assert_eq!(place(&facts()), Ok(("kitbag".to_owned(), 3, 1)));
    let central = Facts { daemonset: Fetched::Absent, ..facts() };
    assert_eq!(place(&central), Ok(("web".to_owned(), 3, 1)));
    let user = Facts { registry_permissions: permissions(&json!([])), nodes: Fetched::Forbidden, ..facts() };
    assert_eq!(place(&user), Ok(("web".to_owned(), 1, 0)));
}

#[test]
fn what_cannot_be_pulled_is_skipped_with_a_word() {
    let nobody =
        Facts { permissions: permissions(&json!([])), registry_permissions: permissions(&json!([])), ..facts() };
    let none_ready = Facts { nodes: Fetched::Got(Vec::new()), ..facts() };
    let findings = [
        plan(&facts(), None, false),
        plan(&facts(), Some(&Discovered { image: None, ..found() }), false),
        plan(&nobody, Some(&found()), false),
        plan(&none_ready, Some(&found()), false),
    ];
    insta::assert_snapshot!(told(&findings.map(Result::unwrap_err)), @r"
    skipped  pull          nothing says what to pull: see discovery
    skipped  pull          the generation has no busybox, which is what would be pulled
    skipped  pull          `jane` may not make a Job in namespace `web`, and see its pod, and delete it
                             # somebody else has to run this:
                             kubectl kitbag doctor -n web
    skipped  pull          no node is ready
    ");
}
