//! `kubectl kitbag install`, `uninstall` and `policy`, as a platform team types them.

use std::{
    fs, io,
    net::TcpListener,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use kitbag_tests::{registry::NODE_ADDRESS, server::Server};
use serde_json::Value;

use crate::{
    Test,
    installed::{REGISTRY, answers, generations, meanwhile, pulled_during, session},
    world::{Printed, World, shop},
};

/// One after the other: there is one registry on a node.
pub(crate) const ALONE: &[(&str, Test)] = &[
    ("install shows what it would do, and does nothing", a_dry_run),
    ("install without permission touches nothing", without_permission),
    ("install where the namespace keeps host networks out", a_namespace_that_keeps_it_out),
    ("install with an image that is nowhere", an_image_that_is_nowhere),
    ("install from an image registry that refuses", an_image_registry_that_refuses),
    ("install of an image that is no registry", an_image_that_is_no_registry),
    ("uninstall finds an install that failed in another namespace", a_failure_elsewhere),
    ("install of a store of a newer format", a_store_of_a_newer_format),
    ("install where the port is taken", a_port_that_is_taken),
    ("install with another image's catalog", another_catalog),
    ("install, by two people at once", by_two_at_once),
    ("install again changes nothing", again),
    ("uninstall of another namespace leaves it alone", uninstall_elsewhere),
    ("install of the image before an upgrade that is stuck", back_from_a_stuck_upgrade),
    ("a session on both nodes after install", |world| session(world, "strace", "strace -V")),
    ("discovery is for everybody, and nothing beside it", discovery_is_for_everybody),
    ("install of another generation in the middle of pulls", another_generation),
    ("and of the one before it again", the_generation_before),
    ("a session asks no registry for an image that is there", no_registry_is_asked),
    ("the policy lets kitbag's debug containers in, and no others", the_policy),
    ("uninstall leaves nothing", uninstall),
];

fn a_dry_run(world: &World) {
    let seen = install(world, &world.few, &["--dry-run"]).expect_code(0);
    for line in ["+kind: DaemonSet", "+kind: ConfigMap", "+kind: RoleBinding", &world.few.image(), "not shown: "] {
        assert!(seen.stdout.contains(line), "no {line}: {}", seen.stdout);
    }
    assert!(nothing_is_there(world));
}

fn without_permission(world: &World) {
    let dev = world.first().dev_kubeconfig();
    let seen = install(world, &world.few, &["--kubeconfig", dev.to_str().unwrap()]).expect_code(77);
    for word in ["`dev`", "daemonsets", "rolebindings", "`pods/exec`", "--catalog FILE", "nothing was touched"] {
        assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
    }
    assert!(nothing_is_there(world));
}

fn a_namespace_that_keeps_it_out(world: &World) {
    let level = || world.kubectl(&["get", "namespace", "kitbag", "-o", "jsonpath={.metadata.labels}"]);
    world.kubectl(&["create", "namespace", "kitbag"]);
    for keeps_out in ["restricted", "baseline"] {
        let label = format!("pod-security.kubernetes.io/enforce={keeps_out}");
        world.kubectl(&["label", "namespace", "kitbag", "--overwrite", &label]);
        let before = level();
        let seen = install(world, &world.few, &[]).expect_code(73);
        for word in [keeps_out, "nothing was touched", "kubectl label namespace kitbag", "--namespace"] {
            assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
        }
        assert_eq!(level(), before);
    }
    world.kubectl(&["delete", "namespace", "kitbag"]);
    assert!(nothing_is_there(world));
}

fn an_image_registry_that_refuses(world: &World) {
    let begin = Instant::now();
    let seen = world.kitbag(&["install", "--image", "127.0.0.1:5099/kitbag-registry:1"]).expect_code(71);
    for word in ["connection refused", "`node1`", "`node2`", "every node has to reach", "discovery was not changed"] {
        assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
    }
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(110), "it has waited for {took:?}");
    assert!(configmap(world).is_none());
    world.kitbag(&["uninstall"]).expect_code(0);
}

fn an_image_that_is_no_registry(world: &World) {
    let seen = world.kitbag(&["install", "--image", "localhost/shop:1"]).expect_code(71);
    for word in ["the image is no kitbag-registry", "kitbag-builder image --server", "discovery was not changed"] {
        assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
    }
    assert!(configmap(world).is_none());
    world.kitbag(&["uninstall"]).expect_code(0);
}

fn a_failure_elsewhere(world: &World) {
    world.kitbag(&["install", "--namespace", "tools", "--image", "localhost/shop:1"]).expect_code(71);
    let twice = world.kitbag(&["install", "--namespace", "kitbag", "--image", "localhost/shop:1"]).expect_code(73);
    assert!(twice.stderr.contains("kitbag is installed in namespace `tools`"), "{}", twice.stderr);
    let seen = world.kitbag(&["uninstall"]).expect_code(0);
    assert!(seen.stdout.contains("DaemonSet `registry` in namespace `tools`: removed"), "{}", seen.stdout);
    assert!(world.kubectl(&["get", "namespace", "tools", "--ignore-not-found"]).is_empty());
    assert!(nothing_is_there(world));
    // It may have got no further than the namespace.
    world.kitbag(&["install", "--namespace", "tools", "--image", "localhost/shop:1"]).expect_code(71);
    world.kubectl(&["delete", "daemonset", "registry", "-n", "tools"]);
    assert_eq!(world.kitbag(&["uninstall"]).expect_code(0).stdout, "Namespace `tools`: removed\n");
}

fn a_store_of_a_newer_format(world: &World) {
    let image = world.few.with_a_newer_store(&world.nodes).unwrap();
    let begin = Instant::now();
    let seen = world.kitbag(&["install", "--image", &image]).expect_code(71);
    for word in ["layout version `2.0.0`", "kitbag-builder image --server", "discovery was not changed"] {
        assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
    }
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(60), "it has waited for {took:?}");
    assert!(configmap(world).is_none());
    world.kitbag(&["uninstall"]).expect_code(0);
    assert!(nothing_is_there(world));
}

/// A catalog that the registries do not serve is not written; who may not ask them is taken at their word.
fn another_catalog(world: &World) {
    let path = catalog(world, &world.all);
    let seen = install(world, &world.few, &["--catalog", path.to_str().unwrap()]).expect_code(64);
    for word in [&world.few.generation, &world.all.generation, "discovery was not changed"] {
        assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
    }
    assert!(configmap(world).is_none());
    let path = catalog(world, &world.few);
    install(world, &world.few, &["--catalog", path.to_str().unwrap()]).expect_code(0);
    assert_eq!(generations(world), world.few.generation);
    world.kitbag(&["uninstall"]).expect_code(0);
    assert!(nothing_is_there(world));
}

fn an_image_that_is_nowhere(world: &World) {
    // The registry that the tests run on each node answers that it has no such thing.
    let image = format!("{NODE_ADDRESS}/nowhere:1");
    let seen = world.kitbag(&["install", "--image", &image]).expect_code(71);
    for word in [image.as_str(), "`node", "discovery was not changed"] {
        assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
    }
    assert!(configmap(world).is_none());
    // The next try is not held to what is wrong with this one.
    install(world, &world.few, &[]).expect_code(0);
    world.kitbag(&["uninstall"]).expect_code(0);
    assert!(nothing_is_there(world));
}

fn a_port_that_is_taken(world: &World) {
    let taken = world.second().inside(|| TcpListener::bind(REGISTRY).unwrap()).unwrap();
    let seen = install(world, &world.few, &[]).expect_code(71);
    for word in ["the port is taken", "node2"] {
        assert!(seen.stderr.contains(word), "no {word}: {}", seen.stderr);
    }
    assert!(!seen.stderr.contains("node1"), "{}", seen.stderr);
    assert!(configmap(world).is_none());
    drop(taken);
    world.kitbag(&["uninstall"]).expect_code(0);
    assert!(nothing_is_there(world));
}

fn by_two_at_once(world: &World) {
    let both = thread::scope(|scope| {
        [(); 2].map(|()| scope.spawn(|| install(world, &world.few, &[]))).map(|thread| thread.join().unwrap())
    });
    for seen in both {
        let seen = seen.expect_code(0);
        let last = format!("2 nodes have a registry at `{REGISTRY}`, of generation {}\n", world.few.generation);
        assert!(seen.stdout.ends_with(&last), "{}", seen.stdout);
    }
    assert_eq!(generations(world), world.few.generation);
}

/// What tells of one installation does not go with another, or with none.
fn uninstall_elsewhere(world: &World) {
    let seen = world.kitbag(&["uninstall", "--namespace", "tools"]).expect_code(0);
    let [map, ..] = seen.stdout.lines().collect::<Vec<_>>()[..] else { panic!("{}", seen.stdout) };
    assert_eq!(
        map,
        "ConfigMap `kitbag` in namespace `kube-public`: left there, because it tells of the registries in namespace `kitbag`"
    );
    assert!(!seen.stdout.contains(": removed"), "{}", seen.stdout);
    assert_eq!(generations(world), world.few.generation);
}

fn again(world: &World) {
    let versions = || {
        let objects = ["get", "namespace/kitbag", "daemonset/registry", "-n", "kitbag", "-o", "json"];
        let list: Value = serde_json::from_str(&world.kubectl(&objects)).unwrap();
        let generations = list["items"].as_array().unwrap().iter();
        generations.map(|item| item["metadata"]["generation"].clone()).collect::<Vec<_>>()
    };
    let before = (versions(), configmap(world));
    let seen = install(world, &world.few, &[]).expect_code(0);
    let (objects, last) = seen.stdout.trim_end().rsplit_once('\n').unwrap();
    assert!(last.starts_with("2 nodes have"), "{last}");
    assert!(objects.lines().all(|line| line.ends_with(": unchanged")), "{objects}");
    assert_eq!((versions(), configmap(world)), before);
}

/// The registries of before run on all the while: the controller takes them for the new ones, with their old number.
fn back_from_a_stuck_upgrade(world: &World) {
    let stuck = format!("{NODE_ADDRESS}/nowhere:1");
    world.kitbag(&["install", "--image", &stuck]).expect_code(71);
    assert_eq!(generations(world), world.few.generation);
    install(world, &world.few, &[]).expect_code(0);
    assert_eq!(generations(world), world.few.generation);
    let image = configmap(world).unwrap()["metadata"]["annotations"]["dev.kitbag.image"].clone();
    assert_eq!(image, world.few.image());
}

/// A plain user reads the one ConfigMap, and not its neighbours.
fn discovery_is_for_everybody(world: &World) {
    let dev = world.first().dev_kubeconfig();
    let read = |name: &str| {
        let mut command = world.first().kubectl_command();
        command.arg("--kubeconfig").arg(&dev).args(["get", "configmap", name, "-n", "kube-public", "-o", "name"]);
        kitbag_tests::printed::run(command, b"")
    };
    assert_eq!(read("kitbag").expect_code(0).stdout, "configmap/kitbag\n");
    assert!(read("kube-root-ca.crt").expect_code(1).stderr.contains("Forbidden"));
}

fn another_generation(world: &World) {
    let id = &world.few.generation;
    let images = pulled_during(world, id, || drop(install(world, &world.all, &[]).expect_code(0)));
    assert_eq!(generations(world), world.all.generation);
    assert_eq!(images, pulled_during(world, id, || {}));
    session(world, "htop", "htop --version");
}

fn the_generation_before(world: &World) {
    let id = &world.few.generation;
    let mut said = String::new();
    let images = pulled_during(world, id, || {
        what_is_published_is_served_during(world, || said = install(world, &world.few, &[]).expect_code(0).stdout);
    });
    assert!(said.starts_with("ConfigMap `kitbag` in namespace `kube-public`: changed to generation "), "{said}");
    assert_eq!(generations(world), *id);
    assert_eq!(images, pulled_during(world, id, || {}));
    // Nothing is known of an image that has not been installed, but what its catalog says.
    install(world, &world.all, &[]).expect_code(0);
    let catalog = catalog(world, &world.few);
    let seen = install(world, &world.all, &["--catalog", catalog.to_str().unwrap()]).expect_code(64);
    assert!(seen.stderr.contains("discovery was not changed"), "{}", seen.stderr);
    assert_eq!(generations(world), world.all.generation);
    let install = || drop(install(world, &world.few, &["--catalog", catalog.to_str().unwrap()]).expect_code(0));
    what_is_published_is_served_during(world, install);
    assert_eq!(generations(world), *id);
}

/// Until `change` is through, each node has to serve the generation that is published, as sessions ask for it. Its image is
/// of tools that nobody else pulls meanwhile.
fn what_is_published_is_served_during(world: &World, change: impl FnOnce()) {
    let asking = |done: &AtomicBool| {
        let path = "jsonpath={.data.generation}";
        while !done.load(Ordering::Relaxed) {
            let id = world.kubectl(&["get", "configmap", "kitbag", "-n", "kube-public", "-o", path]);
            for node in &world.nodes {
                let image = format!("{REGISTRY}/dig/shell:{id}");
                node.cri_pull(&[&image]).unwrap();
                node.cri_remove(&[&image]).unwrap();
            }
        }
    };
    meanwhile([asking], change);
}

/// With the registries gone, and somebody in their place who counts who comes.
fn no_registry_is_asked(world: &World) {
    // Of a container of its own each: what is there already may run an image that is not there any more.
    let debug = || {
        for node in &world.nodes {
            world.kitbag(&["debug", &shop(node), "tcpdump", "--new", "--", "tcpdump", "--version"]).expect_code(0);
        }
    };
    debug();
    let nowhere = r#"{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":"yes"}}}}}"#;
    world.kubectl(&["patch", "daemonset", "registry", "-n", "kitbag", "--patch", nowhere]);
    world.wait("the end of the registries", || world.nodes.iter().all(|node| !node.inside(answers).unwrap()));
    let listeners = [0, 1].map(|node| world.nodes[node].inside(|| TcpListener::bind(REGISTRY).unwrap()).unwrap());
    debug();
    for listener in listeners {
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
    let back = r#"[{"op":"remove","path":"/spec/template/spec/nodeSelector/nowhere"}]"#;
    world.kubectl(&["patch", "daemonset", "registry", "-n", "kitbag", "--type=json", "--patch", back]);
    install(world, &world.all, &[]).expect_code(0);
}

fn the_policy(world: &World) {
    world.first().apply(&world.kitbag(&["policy"]).expect_code(0).stdout).unwrap();
    // It takes the API server a moment to see it.
    let elsewhere = "must come from `127.0.0.1:5050`";
    let mut number = 0;
    world.wait("the policy", || {
        number += 1;
        debug(world, "elsewhere.invalid/tools", "general", &format!("early-{number}")).stderr.contains(elsewhere)
    });
    let strace = format!("{REGISTRY}/strace:latest");
    for (image, profile, word) in [
        ("localhost/shop:1", "general", elsewhere),
        ("127.0.0.1:50501/strace", "general", elsewhere),
        (strace.as_str(), "sysadmin", "must not be privileged"),
        (strace.as_str(), "netadmin", "the tools in their image's name need"),
    ] {
        let refused = debug(world, image, profile, "other");
        assert!(refused.stderr.contains(word), "{image} {profile}: {}", refused.stderr);
    }
    for line in [&["strace"][..], &["tcpdump"], &["dig"], &["shell"], &["strace", "tcpdump", "dig", "shell"]] {
        let command = match line[..] {
            ["strace"] => "strace -V",
            ["tcpdump"] => "tcpdump --version",
            ["dig"] => "dig -v",
            _ => "true",
        };
        let pod = shop(world.second());
        let words: Vec<&str> = command.split(' ').collect();
        world.kitbag(&[&["debug", &pod], line, &["--new", "--"], &words].concat()).expect_code(0);
    }
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        world.kubectl(&["delete", kind, "kitbag-debug-containers"]);
    }
}

fn uninstall(world: &World) {
    let shown = world.kitbag(&["uninstall", "--dry-run"]).expect_code(0);
    assert!(configmap(world).is_some());
    let seen = world.kitbag(&["uninstall"]).expect_code(0);
    assert_eq!(shown.stdout.replace("would be removed", "removed"), seen.stdout);
    assert!(nothing_is_there(world));
    for node in &world.nodes {
        assert!(!node.inside(answers).unwrap(), "{}", node.name());
    }
    assert_eq!(world.kitbag(&["uninstall"]).expect_code(0).stdout, "there is nothing to remove\n");
}

/// `kubectl kitbag install` with this image, and more.
pub(crate) fn install(world: &World, server: &Server, more: &[&str]) -> Printed {
    world.kitbag(&[&["install", "--image", &server.image()], more].concat())
}

/// The file with the catalog of the image's store.
pub(crate) fn catalog(world: &World, server: &Server) -> PathBuf {
    let path = world.scratch("catalogs").join(format!("{}.json", server.generation));
    fs::write(&path, &server.catalog).unwrap();
    path
}

/// `kubectl debug`, as those do it who do not have the plugin. Nobody waits for the container to start.
fn debug(world: &World, image: &str, profile: &str, name: &str) -> Printed {
    let mut command = world.first().kubectl_command();
    command.args(["debug", &shop(world.first()), "--attach=false", "--image", image, "--target", "shop"]);
    command.args(["--profile", profile, "--container", name, "--quiet", "--", "true"]);
    kitbag_tests::printed::run(command, b"")
}

fn configmap(world: &World) -> Option<Value> {
    let found = ["get", "configmap", "kitbag", "-n", "kube-public", "--ignore-not-found", "-o", "json"];
    serde_json::from_str(&world.kubectl(&found)).ok()
}

/// Is there nothing of what `install` makes?
pub(crate) fn nothing_is_there(world: &World) -> bool {
    let public = ["get", "configmap,role,rolebinding", "-n", "kube-public", "-l", "app.kubernetes.io/name=kitbag"];
    let public = world.kubectl(&[&public[..], &["-o", "name"]].concat());
    public.is_empty() && world.kubectl(&["get", "namespace", "kitbag", "--ignore-not-found"]).is_empty()
}
