//! The central way: two replicas behind a Service, TLS in front of it, and nodes that pull from there by a name. What an
//! Ingress controller does, [`Ingress`] does here.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::PathBuf, sync::Mutex, thread};

use kitbag_tests::{
    http::{Answer, Connection, Tls, fetch},
    image::architecture,
    ingress::{Ingress, Service, trust},
    node::{ADDRESS, IMAGES},
    printed,
    server::Server,
    swarm::{self, Image, Target},
};
use serde_json::Value;

use crate::{
    Test,
    installed::{REGISTRY, answers, overlay, pulled_from, rolled_out, session_from},
    world::World,
};

/// One after the other: they are about one Deployment.
pub(crate) const ALONE: &[(&str, Test)] = &[
    ("central: two replicas, one on each node", by_kustomize),
    ("central: a session on both nodes, with no flag", a_session),
    ("central: the same digests as the nodes' registries", the_same_digests),
    ("central: two hundred clients at once", two_hundred_clients),
    ("central: a drain in the middle of pulls takes one replica, and not both", a_drain_takes_one),
    ("central: another generation in the middle of pulls", another_generation),
    ("central: it goes as it came", it_goes_as_it_came),
];

/// What nodes pull from. DNS over HTTPS has port 443 of that address.
const CENTRAL: &str = "images.kitbag.test:8443";
const NAMESPACE: &str = "kitbag-central";
const SERVICE: Service<'_> = Service { namespace: NAMESPACE, name: "registry", port: 5005 };
/// What stands in front, from the first of the tests to the last. It ends with the node at the latest.
static FRONT: Mutex<Option<Ingress>> = Mutex::new(None);

fn by_kustomize(world: &World) {
    world.kubectl(&["apply", "-k", &central(world, &world.few)]);
    let nodes = overlay(world, &world.few, "nodes").display().to_string();
    world.kubectl(&["apply", "-k", &nodes, "--selector", "app.kubernetes.io/component!=discovery"]);
    for node in &world.nodes {
        trust(node, CENTRAL).unwrap();
    }
    let dir = world.scratch("ingress");
    let front = Ingress::start(world.first(), address(), IMAGES, SERVICE, &dir).unwrap();
    // The HorizontalPodAutoscaler makes two of the Deployment's one.
    front.wait(2).unwrap();
    *FRONT.lock().unwrap() = Some(front);
    let placed = world.kubectl(&["get", "pods", "-n", NAMESPACE, "-o", "jsonpath={.items[*].spec.nodeName}"]);
    let placed: BTreeSet<String> = placed.split(' ').map(str::to_owned).collect();
    assert_eq!(placed, world.nodes.iter().map(kitbag_tests::Node::name).collect());
    rolled_out(world);
    world.kubectl(&["apply", "-k", &discovery(world, &world.few)]);
    let made = ["horizontalpodautoscaler", "poddisruptionbudget", "networkpolicy", "ingress", "service"];
    for kind in made {
        world.kubectl(&["get", kind, "registry", "-n", NAMESPACE]);
    }
}

fn a_session(world: &World) {
    let registry = ["get", "configmap", "kitbag", "-n", "kube-public", "-o", "jsonpath={.data.registry}"];
    assert_eq!(world.kubectl(&registry), CENTRAL);
    session_from(world, CENTRAL, "strace", "strace -V");
}

/// Documents of whole images, of all platforms and both compressions, here and there.
fn the_same_digests(world: &World) {
    let generation = &world.few.generation;
    let tls = Tls::new(IMAGES, &world.first().authority()).unwrap();
    let (central, nodes) = world
        .first()
        .inside(|| {
            let mut central = Connection::open_tls(address(), &tls).unwrap();
            let mut own = Connection::open(REGISTRY.parse().unwrap()).unwrap();
            (documents(&mut central, generation), documents(&mut own, generation))
        })
        .unwrap();
    // An index, and for two platforms a manifest and a config each.
    assert_eq!(nodes.len(), PATHS.len() * 2 * 5);
    assert_eq!(central, nodes);
}

const PATHS: [&str; 5] = ["strace", "dig", "shell", "strace/tcpdump", "tcpdump/dig/strace"];

/// The path, digest and bytes of each.
fn documents(connection: &mut Connection, generation: &str) -> Vec<(String, String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut get = |path: String| -> Value {
        let Answer { head, body } = connection.get(&path).unwrap();
        assert_eq!(head.status, 200, "{path}");
        let document = serde_json::from_slice(&body).unwrap();
        all.push((path, head.header("docker-content-digest").unwrap_or_default().to_owned(), body));
        document
    };
    for path in PATHS {
        for form in ["", "-zstd"] {
            let index = get(format!("/v2/{path}/manifests/{generation}{form}"));
            for manifest in index["manifests"].as_array().unwrap() {
                let manifest = get(format!("/v2/{path}/manifests/{}", manifest["digest"].as_str().unwrap()));
                get(format!("/v2/{path}/blobs/{}", manifest["config"]["digest"].as_str().unwrap()));
            }
        }
    }
    all
}

fn two_hundred_clients(world: &World) {
    let tls = Some(Tls::new(IMAGES, &world.first().authority()).unwrap());
    let target = Target { address: address(), tls };
    // Nobody has asked for this one.
    let image = Image { path: "dig/tcpdump", tag: &world.few.generation, architecture: architecture() };
    let pulls = world.first().inside(|| swarm::pull(&[target], 200, image)).unwrap();
    assert_eq!((pulls.failures.len(), pulls.failures.first()), (0, None));
    let (half, most) = (pulls.within(0.5).unwrap(), pulls.within(0.99).unwrap());
    eprintln!("200 clients, {} MB: half within {half:.1?}, 99 of 100 within {most:.1?}", pulls.bytes / 1_000_000);
}

fn a_drain_takes_one(world: &World) {
    for node in &world.nodes {
        world.kubectl(&["cordon", &node.name()]);
    }
    let [first, second] = <[String; 2]>::try_from(pods(world)).unwrap();
    let own = ["get", &first, "-n", NAMESPACE, "-o", "jsonpath={.status.podIP}:5005"];
    let own: SocketAddr = world.kubectl(&own).parse().unwrap();
    pulled_from(world, CENTRAL, &world.few.generation, || {
        evict(world, &first).expect_code(0);
        let refused = evict(world, &second).expect_code(1);
        assert!(refused.stderr.contains("disruption budget"), "{}", refused.stderr);
        // Who has not heard of it yet still finds the one that goes.
        let answer = world.first().inside(|| fetch(own, "/v2/")).unwrap();
        assert_eq!(answer.unwrap().head.status, 200);
        answering(1);
        for node in &world.nodes {
            world.kubectl(&["uncordon", &node.name()]);
        }
        world.kubectl(&["wait", "--for=delete", "-n", NAMESPACE, &first, "--timeout=90s"]);
        answering(2);
    });
    assert!(pods(world).contains(&second));
}

fn another_generation(world: &World) {
    let old = &world.few.generation;
    pulled_from(world, CENTRAL, old, || {
        world.kubectl(&["apply", "-k", &central(world, &world.all)]);
        world.kubectl(&["rollout", "status", "deployment/registry", "-n", NAMESPACE, "--timeout=90s"]);
        world.kubectl(&["apply", "-k", &discovery(world, &world.all)]);
    });
    session_from(world, CENTRAL, "htop", "htop --version");
}

fn it_goes_as_it_came(world: &World) {
    drop(FRONT.lock().unwrap().take());
    let delete = |dir: &str| drop(world.kubectl(&["delete", "-k", dir, "--ignore-not-found", "--timeout=90s"]));
    thread::scope(|scope| {
        scope.spawn(|| {
            delete(&discovery(world, &world.all));
            // What this overlay has in kube-public is the same.
            delete(&overlay(world, &world.few, "nodes").display().to_string());
        });
        // A namespace that is deleted with pods that may take long is looked at again after half of that time only.
        let first = ["delete", "deployment", "registry", "-n", NAMESPACE, "--cascade=foreground", "--timeout=90s"];
        world.kubectl(&first);
        delete(&central(world, &world.all));
    });
    for namespace in ["kitbag", NAMESPACE] {
        assert_eq!(world.kubectl(&["get", "namespace", namespace, "--ignore-not-found"]), "");
    }
    let public = ["get", "configmap,role,rolebinding", "-n", "kube-public", "-l", "app.kubernetes.io/name=kitbag"];
    assert_eq!(world.kubectl(&[&public[..], &["-o", "name"]].concat()), "");
    for node in &world.nodes {
        assert!(!node.inside(answers).unwrap(), "{}", node.name());
    }
}

/// The overlay with the Ingress, filled in.
fn central(world: &World, server: &Server) -> String {
    let dir = overlay(world, server, "central-ingress");
    replace(&dir.join("ingress.yaml"), "kitbag.example", IMAGES);
    dir.display().to_string()
}

/// The overlay that names that registry, filled in.
fn discovery(world: &World, server: &Server) -> String {
    let dir = overlay(world, server, "central-discovery");
    replace(&dir.join("kustomization.yaml"), "registry=kitbag.example", &format!("registry={CENTRAL}"));
    dir.display().to_string()
}

fn replace(path: &PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{}", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}

/// The replicas that are not about to go.
fn pods(world: &World) -> Vec<String> {
    let alive = r#"jsonpath={range .items[*]}{.metadata.deletionTimestamp}pod/{.metadata.name}{"\n"}{end}"#;
    let all = world.kubectl(&["get", "pods", "-n", NAMESPACE, "-o", alive]);
    all.lines().filter(|line| line.starts_with("pod/")).map(str::to_owned).collect()
}

/// Asks as a drain does: with the budget's consent.
fn evict(world: &World, pod: &str) -> printed::Printed {
    let name = pod.trim_start_matches("pod/");
    let metadata = format!(r#"{{"name":"{name}","namespace":"{NAMESPACE}"}}"#);
    let object = format!(r#"{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{metadata}}}"#);
    let mut command = world.first().kubectl_command();
    let at = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction");
    command.args(["create", "--raw", &at, "--filename", "-"]);
    printed::run(command, object.as_bytes())
}

/// Waits until what stands in front has so many to send to.
fn answering(count: usize) {
    let answering = FRONT.lock().unwrap().as_ref().expect("it was started").wait(count);
    answering.unwrap();
}

fn address() -> SocketAddr {
    SocketAddr::new(ADDRESS.parse().unwrap(), 8443)
}
