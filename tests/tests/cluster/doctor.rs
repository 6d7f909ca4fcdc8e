//! `kubectl kitbag doctor`: each fault is a real one, made on the cluster; doctor has to find it under the right name, and
//! what it prints as a fix has to mend it. Where that is a command, it is run as it was printed.

mod proxy;
mod report;
mod squatter;
mod surroundings;

use std::process::{Child, Command, Stdio};

use kitbag_tests::registry::NODE_ADDRESS;
use serde_json::{Value, json};

use crate::{
    Test,
    installed::{REGISTRY, answers, shell},
    plugin::{install, nothing_is_there},
    world::{Printed, World, shop},
};
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
    ("doctor finds a namespace where pods are restricted", surroundings::restricted),
    ("doctor finds a quota that leaves no pod", surroundings::used_up),
    ("doctor finds each permission that is missing", surroundings::missing_permissions),
    ("doctor finds a proxy that takes headers away", surroundings::no_upgrade),
    ("doctor finds a clock that is wrong", surroundings::wrong_clock),
    ("doctor finds an API server that is too old", surroundings::too_old),
    ("doctor finds a node with another container runtime", surroundings::other_runtimes),
    ("doctor finds a node that is not ready", surroundings::not_ready),
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
