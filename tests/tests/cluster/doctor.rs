//! `kubectl kitbag doctor`: each fault is a real one, made on the cluster; doctor has to find it under the right name, and
//! what it prints as a fix has to mend it. Where that is a command, it is run as it was printed.

mod proxy;
mod report;
mod squatter;

use std::process::{Child, Command, Stdio};

use kitbag_tests::registry::NODE_ADDRESS;
use serde_json::{Value, json};

use crate::{
    Test,
    installed::{REGISTRY, answers, shell},
    plugin::{install, nothing_is_there},
    world::{Printed, World, shop},
};
use proxy::{Change, Proxy};
use report::{all_is_well, examine, examine_as_dev, mend};
use squatter::Squatter;

/// One after the other: there is one registry on a node.
pub(crate) const ALONE: &[(&str, Test)] = &[
    ("doctor names what is missing before install", nothing_installed),
    ("doctor finds all well after install", all_well),
    ("doctor leaves nothing behind when it is interrupted", interrupted),
    ("doctor leaves nothing behind when it is killed", killed),
    ("doctor finds a DaemonSet that was deleted", no_daemonset),
    ("doctor finds a ConfigMap that was deleted", no_configmap),
    ("doctor finds a ConfigMap that was edited to nonsense", nonsense),
    ("doctor finds a ConfigMap of a generation that nodes do not serve", another_generation),
    ("doctor finds a ConfigMap that sends nodes to another port", another_port),
    ("doctor finds a Role or a RoleBinding that is gone", unreadable),
    ("doctor finds a port that is taken on one node", taken),
    ("doctor finds a node that registries are kept off", kept_off),
    ("doctor finds an image that cannot be pulled", unpullable),
    ("doctor finds an upgrade that got stuck", stuck),
    ("doctor tells an upgrade from a fault", upgrade),
    ("doctor finds a namespace where pods are restricted", restricted),
    ("doctor finds a quota that leaves no pod", used_up),
    ("doctor finds each permission that is missing", missing_permissions),
    ("doctor finds a proxy that takes headers away", no_upgrade),
    ("doctor finds a clock that is wrong", wrong_clock),
    ("doctor finds an API server that is too old", too_old),
    ("doctor finds a node with another container runtime", other_runtimes),
    ("doctor finds a node that is not ready", not_ready),
    ("doctor examines an installation in another namespace", another_namespace),
];

fn nothing_installed(world: &World) {
    let seen = world.kitbag(&["doctor"]).expect_code(1);
    for text in [
        "FAILURE  discovery",
        "FAILURE  registry",
        "# the image is one that kitbag-builder image --server has made:\n",
        "kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…\n",
    ] {
        assert!(seen.stdout.contains(text), "no {text}: {}", seen.stdout);
    }
    install(world, &world.few, &[]).expect_code(0);
}

fn all_well(world: &World) {
    let seen = world.kitbag(&["doctor", "--all-nodes"]).expect_code(0);
    assert!(seen.stdout.contains("ok       pull          nodes `node1`, `node2` pulled and ran"), "{}", seen.stdout);
    assert!(seen.stdout.contains("\nnothing is wrong: 0 failures, 0 warnings"), "{}", seen.stdout);
    assert_eq!(left_behind(world, "jobs"), "");
    world.wait("the end of the pods", || left_behind(world, "pods").is_empty());
}

fn interrupted(world: &World) {
    let mut doctor = started(world);
    signal(&doctor, "INT");
    assert_eq!(doctor.wait().unwrap().code(), Some(128 + 2));
    assert_eq!(left_behind(world, "jobs"), "");
    world.wait("the end of the pods", || left_behind(world, "pods").is_empty());
}

fn killed(world: &World) {
    let mut doctor = started(world);
    signal(&doctor, "KILL");
    assert_eq!(doctor.wait().unwrap().code(), None);
    assert_ne!(left_behind(world, "jobs"), "");
    world.wait("the cluster's removal of the Jobs and their pods", || left_behind(world, "jobs,pods").is_empty());
}

/// It has made a Job.
fn started(world: &World) -> Child {
    let mut command = world.first().kubectl_command();
    command.args(["kitbag", "doctor", "--all-nodes"]).stdout(Stdio::null()).stderr(Stdio::null());
    let doctor = command.spawn().unwrap();
    world.wait("the first Job", || !left_behind(world, "jobs").is_empty());
    doctor
}

/// The process that was started has become kubectl, and then the plugin.
fn signal(doctor: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &doctor.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The Jobs that doctor has made, or their pods, in whatever namespace. Who deletes the Jobs does not wait for the pods: the
/// cluster takes them away.
fn left_behind(world: &World, kinds: &str) -> String {
    let ours = "app.kubernetes.io/name=kitbag-doctor";
    world.kubectl(&["get", kinds, "--all-namespaces", "--selector", ours, "--output", "name"])
}

fn no_daemonset(world: &World) {
    world.kubectl(&["delete", "daemonset", "registry", "-n", "kitbag"]);
    let report = examine(world, &[]);
    let fix = report.failure("registry", "there is no DaemonSet `registry` in namespace `kitbag`");
    assert_eq!(fix, reinstall(world, ""));
    let pull = report.failure("pull", "nothing answers at `127.0.0.1:5050`");
    assert!(pull.ends_with(&reinstall(world, "")), "{pull}");
    mend(world, &fix);
    all_is_well(world, &[]);
}

fn no_configmap(world: &World) {
    world.kubectl(&["delete", "configmap", "kitbag", "-n", "kube-public"]);
    let report = examine(world, &[]);
    let fix = report.failure("discovery", "there is no ConfigMap `kube-public/kitbag`");
    assert_eq!(fix, "kubectl kitbag install");
    mend(world, &fix);
    all_is_well(world, &[]);
}

fn nonsense(world: &World) {
    for (key, value, words) in [
        ("catalog.json", "{}", "`catalog.json` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it"),
        ("generation", "7", "`generation` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it"),
        ("registry", "http://x", "the scheme is not part of a registry's name"),
    ] {
        edit(world, &json!({ key: value }));
        let seen = debug(world, &[]);
        assert_eq!(seen.code, Some(68), "{}", seen.stderr);
        for word in [words, "`kubectl kitbag install` writes it anew"] {
            assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
        }
        let fix = examine(world, &["--no-pull"]).failure("discovery", words);
        assert_eq!(fix, "kubectl kitbag install");
        mend(world, &fix);
        all_is_well(world, &["--no-pull"]);
    }
}

fn another_generation(world: &World) {
    edit(world, &json!({ "generation": world.all.generation, "catalog.json": world.all.catalog }));
    let seen = debug(world, &[]);
    assert_eq!(seen.code, Some(71), "{}", seen.stderr);
    assert!(seen.stderr.contains("has no such image"), "{}", seen.stderr);
    let words = format!("`{REGISTRY}` does not have generation {}", world.all.generation);
    let fix = examine(world, &[]).failure("pull", &words);
    assert_eq!(fix, "kubectl kitbag install");
    mend(world, &fix);
    all_is_well(world, &[]);
}

fn another_port(world: &World) {
    edit(world, &json!({ "registry": "127.0.0.1:5099" }));
    let report = examine(world, &[]);
    let words = "the registries listen on `127.0.0.1:5050`, and the ConfigMap sends nodes to `127.0.0.1:5099`";
    let fix = report.failure("registry", words);
    assert_eq!(fix, "kubectl kitbag install");
    report.failure("pull", "nothing answers at `127.0.0.1:5099`");
    mend(world, &fix);
    all_is_well(world, &[]);
}

fn unreadable(world: &World) {
    for kind in ["role", "rolebinding"] {
        world.kubectl(&["delete", kind, "kitbag", "-n", "kube-public"]);
        let seen = examine_as_dev(world).failure("discovery", "`dev` may not read ConfigMap `kube-public/kitbag`");
        assert!(seen.starts_with("# for the platform team") && seen.ends_with("\nkubectl kitbag doctor"), "{seen}");
        let fix = examine(world, &["--no-pull"]).failure("discovery", "not everybody may read ConfigMap");
        assert_eq!(fix, "kubectl kitbag install");
        mend(world, &fix);
        let by = [
            "get",
            kind,
            "kitbag",
            "-n",
            "kube-public",
            "-o",
            r"jsonpath={.metadata.labels.app\.kubernetes\.io/managed-by}",
        ];
        assert_eq!(world.kubectl(&by), "kubectl-kitbag");
        all_is_well(world, &["--no-pull"]);
        assert_eq!(examine_as_dev(world).status("discovery"), "ok");
    }
    // What was made by hand is taken over by the next installation.
    install(world, &world.few, &[]).expect_code(0);
}

/// A stranger has the port of one node, and serves images of its own.
fn taken(world: &World) {
    let node = world.second();
    let squatter = Squatter::start(node);
    // What a node has it does not fetch.
    let own = shell(node, "ctr --namespace k8s.io images list --quiet");
    let own: Vec<&str> = own.lines().filter(|name| name.starts_with(REGISTRY)).collect();
    node.cri_remove(&own).unwrap();
    world.wait("a registry that has ended for want of the port", || {
        let pods = ["get", "pods", "-n", "kitbag", "--field-selector", "spec.nodeName=node2", "-o", "json"];
        world.kubectl(&pods).contains("it is in use")
    });
    let report = examine(world, &["--all-nodes"]);
    let fix = report.failure("registry", "on node `node2`: another program of the node has the registry's port");
    assert!(fix.contains("ss -ltnp 'sport = :5050'"), "{fix}");
    let pull =
        report.failure("pull", "on node `node2`: what answers at `127.0.0.1:5050` is not this cluster's registry");
    assert!(pull.contains("ss -ltnp 'sport = :5050'"), "{pull}");
    report.ok("pull", "node `node1` pulled and ran");
    let elsewhere = fix.lines().last().unwrap();
    assert_eq!(elsewhere, "kubectl kitbag install --port 5051");
    mend(world, elsewhere);
    all_is_well(world, &["--all-nodes"]);
    drop(squatter);
    install(world, &world.few, &["--port", "5050"]).expect_code(0);
}

fn kept_off(world: &World) {
    let selector =
        json!({ "spec": { "template": { "spec": { "nodeSelector": { "kubernetes.io/hostname": "node1" } } } } });
    patch(world, &selector);
    gone_from(world, "node2");
    let report = examine(world, &[]);
    let words = "node `node2` has no registry: the DaemonSet wants the label `kubernetes.io/hostname=node1`";
    let fix = report.failure("registry", words);
    assert_eq!(fix, "kubectl kitbag install");
    report.failure("pull", "on node `node2`: nothing answers");
    report.ok("pull", "node `node1` pulled and ran");
    mend(world, &fix);
    all_is_well(world, &[]);
}

fn unpullable(world: &World) {
    let image = unpullable_image(world);
    let report = examine(world, &[]);
    let words = format!("the registry's image `{image}` cannot be pulled: there is no such image");
    let fix = report.failure("registry", &words);
    // The one that is known to have worked.
    assert_eq!(fix, reinstall(world, ""));
    // The old one goes on until then.
    report.ok("pull", "pulled and ran");
    mend(world, &fix);
    all_is_well(world, &[]);
}

/// Gives the DaemonSet an image that nobody has. The registry that the tests run on each node says so.
fn unpullable_image(world: &World) -> String {
    let image = format!("{NODE_ADDRESS}/nowhere:1");
    world.kubectl(&["set", "image", "daemonset/registry", "-n", "kitbag", &format!("registry={image}")]);
    world.wait("the node's answer", || world.kubectl(&["get", "pods", "-n", "kitbag"]).contains("ImagePull"));
    image
}

/// The ConfigMap has changed already, and the registries cannot.
fn stuck(world: &World) {
    edit(world, &json!({ "generation": world.all.generation, "catalog.json": world.all.catalog }));
    unpullable_image(world);
    let report = examine(world, &["--all-nodes"]);
    let fix = report.failure("registry", "cannot be pulled: there is no such image");
    assert_eq!(report.failure("pull", "nodes `node1`, `node2`: `127.0.0.1:5050` does not have generation"), fix);
    assert_eq!(fix, reinstall(world, ""));
    mend(world, &fix);
    all_is_well(world, &["--all-nodes"]);
}

/// Each node comes to it in turn.
fn upgrade(world: &World) {
    let image = format!("registry={}", world.all.image());
    world.kubectl(&["set", "image", "daemonset/registry", "-n", "kitbag", &image]);
    let fix = examine(world, &["--no-pull"]).warning("registry", "DaemonSet `registry` is being rolled out");
    assert_eq!(fix, "kubectl rollout status daemonset/registry -n kitbag");
    mend(world, &fix);
    // What the new ones serve of the generation before is what discovery is of.
    all_is_well(world, &["--all-nodes"]);
    install(world, &world.few, &[]).expect_code(0);
}

fn restricted(world: &World) {
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

fn used_up(world: &World) {
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
fn missing_permissions(world: &World) {
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

fn no_upgrade(world: &World) {
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

fn wrong_clock(world: &World) {
    let mut date = Command::new("date");
    date.args(["--utc", "--date=10 minutes ago", "+%a, %d %b %Y %H:%M:%S GMT"]).env("LC_ALL", "C");
    let date = String::from_utf8(date.output().unwrap().stdout).unwrap().trim().to_owned();
    let proxy = Proxy::start(world.first(), Change::Date(date));
    let report = examine(world, &["--no-pull", "--server", &proxy.url]);
    let fix = report.failure("clock", "s ahead of the API server's");
    assert!(fix.contains("timedatectl status"), "{fix}");
    report.ok("session", "WebSockets pass");
}

fn too_old(world: &World) {
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
fn other_runtimes(world: &World) {
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

fn not_ready(world: &World) {
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

fn another_namespace(world: &World) {
    let seen = world.kitbag(&["uninstall"]).expect_code(0);
    assert!(nothing_is_there(world), "{}", seen.stdout);
    install(world, &world.few, &["--namespace", "tools", "--port", "5060"]).expect_code(0);
    let well = all_is_well(world, &["--all-nodes"]);
    well.ok("pull", "nodes `node1`, `node2` pulled and ran `127.0.0.1:5060/");
    world.kubectl(&["delete", "daemonset", "registry", "-n", "tools"]);
    let fix =
        examine(world, &["--no-pull"]).failure("registry", "there is no DaemonSet `registry` in namespace `tools`");
    assert_eq!(fix, reinstall(world, " --namespace tools --port 5060"));
    mend(world, &fix);
    // Where nothing says so, it is found all the same.
    world.kubectl(&["delete", "configmap", "kitbag", "-n", "kube-public"]);
    let report = examine(world, &["--no-pull"]);
    report.ok("registry", "is ready on 2 nodes");
    let fix = report.failure("discovery", "there is no ConfigMap");
    assert_eq!(fix, "kubectl kitbag install --namespace tools");
    mend(world, &fix);
    all_is_well(world, &["--all-nodes"]);
    let seen = world.kitbag(&["uninstall"]).expect_code(0);
    assert!(seen.stdout.contains("Namespace `tools`: removed"), "{}", seen.stdout);
    assert!(nothing_is_there(world), "{}", seen.stdout);
    for node in &world.nodes {
        assert!(!node.inside(answers).unwrap(), "{}", node.name());
    }
}

/// What doctor prints to install the image that was, where none is or another one.
fn reinstall(world: &World, more: &str) -> String {
    format!("kubectl kitbag install --image {}{more}", world.few.image())
}

/// `kubectl kitbag debug` with a tool that every generation has, and a command that ends.
fn debug(world: &World, more: &[&str]) -> Printed {
    let pod = shop(world.first());
    world.kitbag(&[&["debug", &pod, "tcpdump", "--new"], more, &["--", "tcpdump", "--version"]].concat())
}

/// Edits what discovery says.
fn edit(world: &World, data: &Value) {
    let patch = json!({ "data": data }).to_string();
    world.kubectl(&["patch", "configmap", "kitbag", "-n", "kube-public", "--type=merge", "--patch", &patch]);
}

fn patch(world: &World, change: &Value) {
    let change = change.to_string();
    world.kubectl(&["patch", "daemonset", "registry", "-n", "kitbag", "--type=merge", "--patch", &change]);
}

fn gone_from(world: &World, node: &str) {
    let selector = format!("spec.nodeName={node}");
    world.wait("the end of the registry", || {
        world.kubectl(&["get", "pods", "-n", "kitbag", "--field-selector", &selector, "-o", "name"]).is_empty()
    });
}

fn rolled_out(world: &World) {
    world.kubectl(&["rollout", "status", "daemonset/registry", "-n", "kitbag", "--timeout=90s"]);
}
