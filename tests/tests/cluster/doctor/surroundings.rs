//! Faults of what is around an installation: namespaces, permissions, the way to the API server, other nodes.

use std::process::Command;

use serde_json::{Value, json};

use super::{
    debug,
    proxy::{Change, Proxy},
    report::{all_is_well, examine, examine_as_dev, mend},
    rolled_out,
};
use crate::{installed::shell, world::World};

pub(super) fn restricted(world: &World) {
    let enforce = "pod-security.kubernetes.io/enforce";
    world.kubectl(&["create", "namespace", "narrow"]);
    world.kubectl(&["label", "namespace", "narrow", &format!("{enforce}=restricted")]);
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"shop","namespace":"narrow"},"spec":{
        "securityContext":{"runAsNonRoot":true,"runAsUser":1000,"seccompProfile":{"type":"RuntimeDefault"}},
        "containers":[{"name":"shop","image":"localhost/shop:1","imagePullPolicy":"Never",
            "securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}}"#;
    world.first().apply(pod).unwrap();
    world.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "pod/shop", "-n", "narrow"]);
    let seen = world.kitbag(&["debug", "shop", "tcpdump", "-n", "narrow", "--", "tcpdump", "--version"]);
    assert_eq!(seen.code, Some(73), "{}", seen.stderr);
    for word in ["namespace `narrow` allows only restricted", enforce] {
        assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
    }
    let report = examine(world, &["-n", "narrow", "--no-pull"]);
    let fix = report.warning("pod-security", "namespace `narrow` enforces `restricted`");
    assert!(fix.ends_with(&format!("kubectl label namespace narrow {enforce}=baseline --overwrite")), "{fix}");
    mend(world, &fix);
    all_is_well(world, &["-n", "narrow", "--no-pull"]);
    world.kubectl(&["delete", "namespace", "narrow", "--wait=false"]);
}

pub(super) fn used_up(world: &World) {
    world.kubectl(&["create", "namespace", "small"]);
    world.kubectl(&["create", "quota", "few", "-n", "small", "--hard=pods=0"]);
    world.wait("the quota's status", || {
        world.kubectl(&["get", "quota", "few", "-n", "small", "-o", "jsonpath={.status.hard.pods}"]) == "0"
    });
    let report = examine(world, &["-n", "small"]);
    let fix = report.warning("quota", "namespace `small` has used up `pods` of quota `few` (0 of 0)");
    assert_eq!(fix, "kubectl describe resourcequota -n small");
    mend(world, &fix);
    // The registries' namespace has room.
    report.ok("pull", "pulled and ran");
    world.kubectl(&["delete", "namespace", "small", "--wait=false"]);
}

/// For each permission: the check says what is missing, and the commands that it prints give it.
pub(super) fn missing_permissions(world: &World) {
    for (resource, verbs, status, words) in [
        (
            "pods/ephemeralcontainers",
            "patch",
            "failure",
            "`dev` may not patch `pods/ephemeralcontainers` in namespace `default`",
        ),
        ("pods/exec", "create,get", "warning", "`dev` may not create and get `pods/exec` in namespace `default`"),
        ("events", "list", "warning", "`dev` may not list `events` in namespace `default`"),
    ] {
        let all = [
            ("pods", "get,list,watch"),
            ("pods/ephemeralcontainers", "patch"),
            ("pods/exec", "create,get"),
            ("pods/attach", "create,get"),
            ("events", "create,list,watch"),
        ];
        let rules: Vec<Value> = all
            .into_iter()
            .map(|(known, all)| {
                let left: Vec<&str> = all
                    .split(',')
                    .filter(|verb| known != resource || !verbs.split(',').any(|it| it == *verb))
                    .collect();
                json!({ "apiGroups": [""], "resources": [known], "verbs": left })
            })
            .filter(|rule| rule["verbs"] != json!([]))
            .collect();
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": { "name": "own", "namespace": "default" }, "rules": rules,
        });
        world.first().apply(&role.to_string()).unwrap();
        let bind = ["create", "rolebinding", "own", "--role=own", "--user=dev"];
        world.kubectl(&bind);
        let report = examine_as_dev(world);
        let fix = report.finding(status, "rbac", words);
        assert!(fix.contains(&format!("resources: [{resource}]")), "{fix}");
        mend(world, &fix);
        let after = examine_as_dev(world);
        assert!(!after.text.contains(words), "{}", after.text);
        assert_eq!(after.code, Some(0), "{}", after.text);
        world.kubectl(&["delete", "rolebinding", "own", "kitbag-debug-dev"]);
        world.kubectl(&["delete", "role", "own", "kitbag-debug"]);
    }
}

pub(super) fn no_upgrade(world: &World) {
    let proxy = Proxy::start(world.first(), Change::NoUpgrade);
    let fix = examine(world, &["--no-pull", "--server", &proxy.url])
        .failure("session", "a proxy between this machine and the API server takes away");
    assert!(fix.contains("the proxy has to pass WebSockets on"), "{fix}");
    let seen = debug(world, &["--server", &proxy.url]);
    assert_ne!(seen.code, Some(0), "{}", seen.stdout);
    for word in ["WebSocket", "proxy"] {
        assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
    }
    all_is_well(world, &["--no-pull"]);
}

pub(super) fn wrong_clock(world: &World) {
    let mut date = Command::new("date");
    date.args(["--utc", "--date=10 minutes ago", "+%a, %d %b %Y %H:%M:%S GMT"]).env("LC_ALL", "C");
    let date = String::from_utf8(date.output().unwrap().stdout).unwrap().trim().to_owned();
    let proxy = Proxy::start(world.first(), Change::Date(date));
    let report = examine(world, &["--no-pull", "--server", &proxy.url]);
    let fix = report.failure("clock", "s ahead of the API server's");
    assert!(fix.contains("timedatectl status"), "{fix}");
    report.ok("session", "WebSockets pass");
}

pub(super) fn too_old(world: &World) {
    let proxy = Proxy::start(world.first(), Change::Old);
    let report = examine(world, &["--no-pull", "--server", &proxy.url]);
    let fix = report.failure("version", "the cluster has no ephemeral containers");
    assert!(fix.contains("upgrade the cluster"), "{fix}");
    let seen = debug(world, &["--server", &proxy.url]);
    assert_ne!(seen.code, Some(0), "{}", seen.stdout);
    for word in ["the cluster has no ephemeral containers", "1.25"] {
        assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
    }
}

/// Nodes that are there in name only.
pub(super) fn other_runtimes(world: &World) {
    for (runtime, words) in [
        ("docker://24.0.7", "node `other` runs `docker://24.0.7`"),
        ("containerd://1.5.18", "which is older than any that was tried"),
    ] {
        stranger(world, runtime, &json!({ "type": "Ready", "status": "True", "reason": "Ready", "message": "" }));
        let fix = examine(world, &["--no-pull"]).warning("nodes", words);
        assert!(!fix.is_empty());
        forget_stranger(world);
    }
    all_is_well(world, &["--no-pull"]);
}

pub(super) fn not_ready(world: &World) {
    let silent = "Kubelet stopped posting node status.";
    stranger(
        world,
        "containerd://1.7.24",
        &json!({ "type": "Ready", "status": "False", "reason": "Off", "message": silent }),
    );
    let report = examine(world, &["--all-nodes"]);
    let fix = report.warning("nodes", &format!("node `other` is not ready: {silent}"));
    assert!(fix.contains("kubectl describe node other"), "{fix}");
    mend(world, "kubectl describe node other");
    // It is told once, and nobody waits for it.
    report.ok("pull", "nodes `node1`, `node2` pulled and ran");
    report.ok("registry", "is ready on 2 nodes");
    forget_stranger(world);
    all_is_well(world, &["--no-pull"]);
}

/// A node without a machine.
fn stranger(world: &World, runtime: &str, ready: &Value) {
    let labels = json!({ "kubernetes.io/os": "linux" });
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "other", "labels": labels } });
    world.first().apply(&node.to_string()).unwrap();
    let now = shell(world.first(), "date --utc +%Y-%m-%dT%H:%M:%SZ");
    let mut ready = ready.clone();
    (ready["lastHeartbeatTime"], ready["lastTransitionTime"]) = (now.trim().into(), now.trim().into());
    let room = json!({ "cpu": "1", "memory": "1Gi", "pods": "10" });
    let status = json!({ "status": { "capacity": room, "allocatable": room, "conditions": [ready], "nodeInfo": {
        "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v1.36.3", "containerRuntimeVersion": runtime,
        "bootID": "", "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "osImage": "", "systemUUID": "",
    } } });
    world.kubectl(&["patch", "node", "other", "--subresource=status", "--type=merge", "--patch", &status.to_string()]);
}

/// Its pods would stay for a while: no kubelet ends them.
fn forget_stranger(world: &World) {
    world.kubectl(&["delete", "node", "other"]);
    let there = ["--field-selector", "spec.nodeName=other", "--force", "--grace-period=0"];
    world.kubectl(&[&["delete", "pods", "-n", "kitbag"], &there[..]].concat());
    rolled_out(world);
}
