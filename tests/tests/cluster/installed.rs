//! A registry on each node, as it is put there by hand (`kubectl apply -k`), and what it does for pulls: while it is
//! exchanged for another one, while it dies, while a node is emptied.

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use kitbag_tests::{
    Node, printed,
    programs::workspace,
    server::{NAME, Server},
    workload,
};
use serde_json::Value;

use crate::{
    Test,
    world::{World, shop},
};

/// One after the other: there is one registry on a node.
pub(crate) const ALONE: &[(&str, Test)] = &[
    ("a registry on each node, by kustomize", by_kustomize),
    ("it listens on the loopback only", it_listens_on_the_loopback_only),
    ("it takes little", it_takes_little),
    ("a session on both nodes, with no flag", |world| session(world, "strace", "strace -V")),
    ("it comes back when it was killed", it_comes_back),
    ("a drained node keeps it", a_drained_node_keeps_it),
    ("another generation in the middle of pulls", another_generation),
    ("and the one before it again", the_generation_before),
    ("it goes as it came", it_goes_as_it_came),
];

/// Where nodes pull from.
pub(crate) const REGISTRY: &str = "127.0.0.1:5050";
/// A tool that is only pulled.
const PULLED: &str = "tcpdump";
/// Pulls that a rollout is to be seen by, on each node.
const PULLS: usize = 25;
/// The most memory that an idle registry has for itself, in KiB.
const MEMORY: u64 = 6 * 1024;

fn by_kustomize(world: &World) {
    apply(world, &world.few);
    assert_eq!(generations(world), world.few.generation);
    for node in &world.nodes {
        let image = format!("{REGISTRY}/strace:{}", world.few.generation);
        node.cri_pull(&[&image]).unwrap();
        node.cri_remove(&[&image]).unwrap();
    }
}

fn it_listens_on_the_loopback_only(world: &World) {
    let [first, second] = &world.nodes;
    for (from, to) in [(first, "198.51.100.12:5050"), (second, "198.51.100.11:5050"), (first, "198.51.100.11:5050")] {
        let refused = from.inside(|| TcpStream::connect(to.parse::<SocketAddr>().unwrap())).unwrap();
        let kind = refused.map(drop).unwrap_err().kind();
        assert_eq!(kind, std::io::ErrorKind::ConnectionRefused, "{to} from {}", from.name());
    }
}

fn it_takes_little(world: &World) {
    for node in &world.nodes {
        let status = shell(node, &format!("for pid in $({}); do cat /proc/$pid/status; done", registries()));
        let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("it runs");
        let own: u64 = own.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(own <= MEMORY, "{own} KiB on {}", node.name());
    }
}

fn it_comes_back(world: &World) {
    for node in &world.nodes {
        let before = shell(node, registries());
        shell(node, &format!("kill -KILL {before}"));
        world.wait("another registry", || {
            let after = shell(node, &format!("{}; true", registries()));
            !after.is_empty() && after != before && node.inside(answers).unwrap()
        });
    }
    rolled_out(world);
}

fn a_drained_node_keeps_it(world: &World) {
    let node = world.second();
    let pods = || world.kubectl(&["get", "pods", "-n", "kitbag", "-o", "name"]);
    let before = pods();
    // A pod of another kind goes. Those that the tests want to keep are left out.
    world.first().apply(&workload::shop_on(node, "drained")).unwrap();
    world.kubectl(&["label", "pod", "drained", "app.kubernetes.io/name=drained"]);
    let selected = "app.kubernetes.io/name in (kitbag, drained)";
    world.kubectl(&["drain", &node.name(), "--ignore-daemonsets", "--force", "--pod-selector", selected]);
    assert_eq!(world.kubectl(&["get", "pod", "drained", "--ignore-not-found"]), "");
    assert_eq!(pods(), before);
    node.cri_pull(&[&format!("{REGISTRY}/dig:{}", world.few.generation)]).unwrap();
    world.kubectl(&["uncordon", &node.name()]);
}

fn another_generation(world: &World) {
    let images = pulled_during(world, &world.few.generation, || apply(world, &world.all));
    assert_eq!(generations(world), world.all.generation);
    // What the new one serves of the old generation is what the old one served.
    assert_eq!(images, pulled_during(world, &world.few.generation, || {}));
    let htop = format!("{REGISTRY}/htop:{}", world.all.generation);
    for node in &world.nodes {
        node.cri_pull(&[&htop]).unwrap();
    }
}

fn the_generation_before(world: &World) {
    pulled_during(world, &world.few.generation, || apply(world, &world.few));
    assert_eq!(generations(world), world.few.generation);
}

fn it_goes_as_it_came(world: &World) {
    let dir = overlay(world, &world.few, "nodes");
    world.kubectl(&["delete", "-k", dir.to_str().unwrap(), "--timeout=60s"]);
    for node in &world.nodes {
        assert!(!node.inside(answers).unwrap(), "{}", node.name());
    }
}

/// Applies `registry/deploy` as its overlay `nodes` says, with this image.
fn apply(world: &World, server: &Server) {
    let dir = overlay(world, server, "nodes");
    let dir = dir.to_str().unwrap();
    world.kubectl(&["apply", "-k", dir, "--selector", "app.kubernetes.io/component!=discovery"]);
    rolled_out(world);
    world.kubectl(&["apply", "-k", dir]);
}

pub(crate) fn rolled_out(world: &World) {
    world.kubectl(&["rollout", "status", "daemonset/registry", "-n", "kitbag", "--timeout=90s"]);
}

/// A copy of `registry/deploy` with an overlay filled in.
pub(crate) fn overlay(world: &World, server: &Server, name: &str) -> PathBuf {
    let to = world.scratch(&format!("{}-{name}", server.generation));
    let mut copy = Command::new("cp");
    copy.arg("--recursive").arg("--no-target-directory").arg(workspace().join("registry/deploy")).arg(&to);
    printed::run(copy, b"").expect_code(0);
    let dir = to.join("overlays").join(name);
    let path = dir.join("kustomization.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let digest = format!("digest: sha256:{}", "0".repeat(64));
    let text = text.replace(&digest, &format!("newTag: \"{}\"", server.generation));
    let text = text.replace("registry.example/kitbag/kitbag-registry", NAME);
    fs::write(&path, text.replace("generation=000000000000", &format!("generation={}", server.generation))).unwrap();
    fs::write(dir.join("catalog.json"), &server.catalog).unwrap();
    dir
}

/// [`pulled_from`] the nodes' own registries.
pub(crate) fn pulled_during(world: &World, generation: &str, change: impl FnOnce()) -> BTreeSet<String> {
    pulled_from(world, REGISTRY, generation, change)
}

/// Pulls images of a generation on both nodes, over and over, until `change` is through, and [`PULLS`] on each node at the
/// least; none may fail. The images' IDs. Layers come each time: no session of these tests leaves them on the first node.
pub(crate) fn pulled_from(world: &World, registry: &str, generation: &str, change: impl FnOnce()) -> BTreeSet<String> {
    let layers = layers(&world.few.catalog, PULLED);
    let pull = |node: &Node, done: &AtomicBool| {
        let (mut count, mut images) = (0, BTreeSet::new());
        while count < PULLS || !done.load(Ordering::Relaxed) {
            let names = sets().map(|set| format!("{registry}/{set}:{generation}"));
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let pulled = node.cri_pull(&names).unwrap();
            images.extend(pulled.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())));
            count += names.len();
            let is_first = node.name() == world.first().name();
            assert!(!is_first || has_any(node, &layers), "no layer of `{PULLED}` has come");
            node.cri_remove(&names).unwrap();
            assert!(!is_first || !has_any(node, &layers), "the layer of `{PULLED}` has not gone");
        }
        images
    };
    let pull = &pull;
    let pulling = world.nodes.iter().map(|node| move |done: &AtomicBool| pull(node, done));
    meanwhile(pulling, change).into_iter().flatten().collect()
}

/// Makes a change while `works` are done over and over, each until it hears that the change is through. A failure of either
/// ends the other, too.
pub(crate) fn meanwhile<T: Send>(
    works: impl IntoIterator<Item = impl FnOnce(&AtomicBool) -> T + Send>,
    change: impl FnOnce(),
) -> Vec<T> {
    let done = &AtomicBool::new(false);
    thread::scope(|scope| {
        let working: Vec<_> = works.into_iter().map(|work| scope.spawn(move || work(done))).collect();
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(change));
        done.store(true, Ordering::Relaxed);
        changed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        working.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn sets() -> [&'static str; 5] {
    ["strace", PULLED, "dig", "strace/tcpdump", "strace/tcpdump/dig"]
}

/// The digests of a tool's layers.
fn layers(catalog: &str, tool: &str) -> BTreeSet<String> {
    let catalog: Value = serde_json::from_str(catalog).unwrap();
    let tools = catalog["tools"].as_array().unwrap();
    let tool = tools.iter().find(|it| it["name"] == tool).unwrap_or_else(|| panic!("no {tool}: {catalog}"));
    let text = tool.to_string();
    let digests = text.split('"').filter(|word| word.starts_with("sha256:")).map(str::to_owned);
    digests.collect()
}

/// Has a node's containerd any of these blobs?
fn has_any(node: &Node, blobs: &BTreeSet<String>) -> bool {
    let mut command = node.command("ctr");
    command.args(["--namespace", "k8s.io", "content", "ls", "--quiet"]);
    printed::run(command, b"").expect_code(0).stdout.lines().any(|blob| blobs.contains(blob))
}

/// Runs `command` with `tool` and no flag in a pod of each node; its image is the cluster's own.
pub(crate) fn session(world: &World, tool: &str, command: &str) {
    session_from(world, REGISTRY, tool, command);
}

/// The same, where the cluster's registry is this one.
pub(crate) fn session_from(world: &World, registry: &str, tool: &str, command: &str) {
    for node in &world.nodes {
        let pod = shop(node);
        let line: Vec<&str> = ["debug", &pod, tool, "--"].into_iter().chain(command.split(' ')).collect();
        world.kitbag(&line).expect_code(0);
        let images = "jsonpath={.spec.ephemeralContainers[*].image}";
        let images = world.kubectl(&["get", "pod", &pod, "-o", images]);
        let own = format!("{registry}/{tool}@sha256:");
        assert!(images.split(' ').any(|image| image.starts_with(&own)), "{images}");
    }
}

/// The generation that the cluster says it has, which is also what each node serves.
pub(crate) fn generations(world: &World) -> String {
    let map = world.kubectl(&["get", "configmap", "kitbag", "-n", "kube-public", "-o", "json"]);
    let map: Value = serde_json::from_str(&map).unwrap();
    assert_eq!(map["data"]["registry"], REGISTRY);
    let generation = map["data"]["generation"].as_str().unwrap().to_owned();
    for node in &world.nodes {
        let seen = |tag: &str| {
            let pulled = node.cri_pull(&[&format!("{REGISTRY}/strace:{tag}")]).unwrap();
            pulled.split_once(' ').unwrap().0.to_owned()
        };
        assert_eq!(seen("latest"), seen(&generation), "{}", node.name());
    }
    generation
}

/// Does something listen where the registry does? To be asked in a node's network.
pub(crate) fn answers() -> bool {
    let asked = TcpStream::connect_timeout(&REGISTRY.parse().unwrap(), Duration::from_secs(1));
    asked.is_ok()
}

/// A command that prints the numbers of the processes of installed registries.
pub(crate) fn registries() -> &'static str {
    "grep -lsaz '^/usr/bin/kitbag-registry$' /proc/[0-9]*/cmdline | cut -d/ -f3"
}

pub(crate) fn shell(node: &Node, script: &str) -> String {
    let mut command = node.command("sh");
    command.args(["-c", script]);
    printed::run(command, b"").expect_code(0).stdout
}
