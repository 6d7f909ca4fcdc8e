//! Refusals: each names the thing and says what to do next, and the pod stays as it was.

use crate::{Test, world::World};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("a wrong tool name", a_wrong_tool_name),
    ("a wrong pod", a_wrong_pod),
    ("a wrong container", a_wrong_container),
    ("a name outside the grammar", a_name_outside_the_grammar),
    ("a policy that forbids", a_policy_that_forbids),
    ("a user who may not", a_user_who_may_not),
];

/// `kubectl kitbag debug ARGUMENTS` fails and says all of `expected`, and the pod `untouched` has no debug container.
fn refused(world: &World, arguments: &[&str], expected: &[&str]) {
    let printed = world.kitbag(&[&["debug"], arguments].concat());
    assert!(printed.code.is_some_and(|code| code != 0), "{arguments:?}: {}{}", printed.stdout, printed.stderr);
    for text in expected {
        assert!(printed.stderr.contains(text), "`{text}` is not in:\n{}", printed.stderr);
    }
    assert_eq!(printed.stdout, "");
    assert_eq!(world.debug_containers("untouched"), "");
}

fn a_wrong_tool_name(world: &World) {
    refused(world, &["untouched", "strac"], &["`strac`", "did you mean `strace`"]);
    refused(world, &["untouched", "--", "tcpdmp"], &["`tcpdmp`", "did you mean `tcpdump`"]);
}

fn a_wrong_pod(world: &World) {
    refused(world, &["no-such-pod", "strace"], &["no-such-pod"]);
    refused(world, &["untouched", "strace", "-n", "elsewhere"], &["untouched", "elsewhere"]);
}

fn a_wrong_container(world: &World) {
    refused(world, &["untouched", "strace", "-c", "nope"], &["`nope`", "shop"]);
}

fn a_name_outside_the_grammar(world: &World) {
    refused(world, &["untouched", "Strace"], &["`Strace`", "small letters"]);
    refused(world, &["untouched", "../etc"], &["component 1", "`..`"]);
}

fn a_policy_that_forbids(world: &World) {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: strict\n  labels:\n    \
                     pod-security.kubernetes.io/enforce: restricted\n";
    world.node.apply(namespace).unwrap();
    let pod = kitbag_tests::workload::SHOP.replacen("name: shop\n", "name: shop\n  namespace: strict\n", 1);
    world.node.apply(&pod).unwrap();
    world.node.kubectl(&["wait", "-n", "strict", "--for=condition=Ready", "--timeout=60s", "pod/shop"]).unwrap();
    refused(world, &["shop", "tcpdump", "-n", "strict"], &["restricted", "NET_RAW"]);
    let path = "jsonpath={.spec.ephemeralContainers[*].name}";
    assert_eq!(world.node.kubectl(&["get", "pod", "shop", "-n", "strict", "-o", path]).unwrap(), "");
}

fn a_user_who_may_not(world: &World) {
    let config = world.node.dev_kubeconfig();
    let config = config.to_str().unwrap();
    refused(world, &["untouched", "strace", "--kubeconfig", config], &["pods", "dev"]);
}
