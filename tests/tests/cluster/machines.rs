//! The cluster itself: two machines that know of each other, and each other's pods.

use kitbag_tests::{Node, printed::run, workload};

use crate::{
    Test,
    world::{World, pod_on, shop},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("both nodes are Ready", both_nodes_are_ready),
    ("a machine's address leads to its own cable", a_machines_address_leads_to_its_own_cable),
    ("pods are reached from either node", pods_are_reached_from_either_node),
    ("logs come from either node", logs_come_from_either_node),
    ("a pod of each node is debugged", a_pod_of_each_node_is_debugged),
];

pub(crate) const ALONE: &[(&str, Test)] = &[("a third node comes and goes", a_third_node_comes_and_goes)];

fn both_nodes_are_ready(world: &World) {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.status.addresses[?(@.type==\"InternalIP\")].address} \
                {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
    assert_eq!(world.kubectl(&["get", "nodes", "-o", path]), "node1 198.51.100.11 True\nnode2 198.51.100.12 True\n");
}

/// The switch is in the first machine's network, and must not answer for it.
fn a_machines_address_leads_to_its_own_cable(world: &World) {
    let [first, second] = world.nodes.each_ref();
    let ip = |node: &Node, arguments: &[&str]| {
        let mut command = node.command("ip");
        command.args(arguments);
        run(command, b"").expect_code(0).stdout
    };
    second.kubectl(&["get", "--raw", "/readyz"]).unwrap();
    let known = ip(second, &["neighbour", "show", first.address().as_str()]);
    let address = known.split_whitespace().skip_while(|&word| word != "lladdr").nth(1);
    let own = ip(first, &["-oneline", "link", "show", "eth0"]);
    assert!(address.is_some_and(|address| own.contains(address)), "{known} is not of {own}");
}

fn pods_are_reached_from_either_node(world: &World) {
    for from in &world.nodes {
        for to in &world.nodes {
            let answer = workload::visit(from, &shop(to)).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{} to {}: {answer}", from.name(), to.name());
        }
    }
}

fn logs_come_from_either_node(world: &World) {
    for node in &world.nodes {
        world.kubectl(&["logs", &shop(node)]);
    }
}

fn a_pod_of_each_node_is_debugged(world: &World) {
    for node in &world.nodes {
        let command = "timeout -s INT 2 strace -f -e trace=open,openat -p 1; cat /proc/sys/kernel/hostname";
        let seen = world.kitbag(&["debug", &shop(node), "strace", "shell", "--", "sh", "-c", command]).expect_code(0);
        assert!(seen.stderr.contains(workload::MARKER), "{}", seen.stderr);
        assert_eq!(seen.stdout.trim(), shop(node));
    }
}

fn a_third_node_comes_and_goes(world: &World) {
    let third = world.first().join(&world.options).unwrap();
    assert_eq!(third.name(), "node3");
    world.first().apply(&pod_on(&third)).unwrap();
    world.first().wait_ready(&shop(&third)).unwrap();
    for node in &world.nodes {
        workload::visit(node, &shop(&third)).unwrap();
        workload::visit(&third, &shop(node)).unwrap();
    }
    let disk = third.dir().join("disk");
    assert!(disk.exists());
    third.stop().unwrap();
    assert!(!disk.exists());
    world.kubectl(&["delete", "node", "node3"]);
    world.kubectl(&["delete", "pod", "shop-node3", "--ignore-not-found", "--force", "--grace-period=0"]);
}
