//! The chart, as a platform team uses it: installed, tested, upgraded in its two steps, rolled back and uninstalled.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use kitbag_tests::{
    deploy_tools, printed,
    programs::workspace,
    server::{NAME, Server},
};
use serde_json::Value;

use crate::{
    Test,
    installed::{answers, generations, pulled_during, session},
    plugin,
    world::{Printed, World},
};

/// One after the other: there is one registry on a node.
pub(crate) const ALONE: &[(&str, Test)] = &[
    ("helm refuses values that make no sense", refusals),
    ("helm installs a registry on each node", install),
    ("helm tests by a pull", |world| drop(helm(world, &["test", RELEASE]).expect_code(0))),
    ("helm installs for sessions with no flag", |world| session(world, "strace", "strace -V")),
    ("helm refuses discovery that is ahead of the registries", ahead),
    ("helm upgrades in the middle of pulls", upgrade),
    ("helm rolls back in the middle of pulls", rollback),
    ("helm leaves nothing", uninstall),
];

const RELEASE: &str = "kitbag";

fn refusals(world: &World) {
    for (value, words) in [
        ("node.port=80", "minimum: got 80, want 1,024"),
        ("node.prot=5051", "additional properties 'prot' not allowed"),
        ("image.digest=sha256:beef", "'sha256:beef' does not match pattern"),
        ("central.enabled=yes", "got string, want boolean"),
    ] {
        let seen = helm(world, &["install", RELEASE, &chart(), "--set", value]);
        assert_ne!(seen.code, Some(0), "{value}");
        assert!(seen.stderr.contains(words), "{value}: {}", seen.stderr);
    }
    assert!(helm(world, &["list", "--short"]).expect_code(0).stdout.is_empty());
}

fn install(world: &World) {
    let image = image(&world.few);
    let catalog = catalog(world, &world.few);
    let what = ["install", RELEASE, &chart(), "--create-namespace", "--wait", "--timeout", "90s"];
    let seen = helm(world, &[&what[..], &image.each_ref().map(String::as_str), &["--set-file", &catalog]].concat());
    let seen = seen.expect_code(0);
    assert!(seen.stdout.contains(&format!("generation {}", world.few.generation)), "{}", seen.stdout);
    assert_eq!(generations(world), world.few.generation);
}

fn ahead(world: &World) {
    let before = discovery(world);
    let refused = |seen: Printed, words: &str| {
        assert_ne!(seen.code, Some(0), "{words}");
        assert!(seen.stderr.contains(words), "{words}: {}", seen.stderr);
        assert_eq!(discovery(world), before, "{words}");
        assert_eq!(generations(world), world.few.generation, "{words}");
    };
    // Both at once: the registries of before do not serve what the plugin would be told of.
    let changes = "DaemonSet `registry` changes with it: upgrade the registries first, with the catalog of before";
    refused(upgrade_to(world, Some(&world.all), Some(&world.all), ""), changes);
    // Also where the values are those of a chart that did not have the setting.
    refused(upgrade_to(world, Some(&world.all), Some(&world.all), "discovery.afterRollout=null"), changes);
    // Another address, where nobody listens yet.
    let moves = "upgrade the registries first, with discovery.registry=127.0.0.1:5050";
    refused(upgrade_to(world, None, None, "node.port=5051"), moves);
    // Another way, which is not there yet.
    let absent = "Deployment `registry` is not there yet";
    refused(upgrade_to(world, None, Some(&world.all), "central.enabled=true"), absent);
    refused(upgrade_to(world, None, None, "central.enabled=true,discovery.registry=kitbag.example"), absent);
    // Just the image, and the values of before forgotten.
    let (chart, image) = (chart(), image(&world.all));
    let forgotten = [&["upgrade", RELEASE, &chart][..], &image.each_ref().map(String::as_str)].concat();
    refused(helm(world, &forgotten), "--reset-then-reuse-values");
}

fn upgrade(world: &World) {
    let old = &world.few.generation;
    pulled_during(world, old, || {
        upgrade_to(world, Some(&world.all), None, "").expect_code(0);
        assert_eq!(discovery(world)["generation"], **old);
        upgrade_to(world, None, Some(&world.all), "").expect_code(0);
    });
    assert_eq!(generations(world), world.all.generation);
    session(world, "htop", "htop --version");
}

fn rollback(world: &World) {
    pulled_during(world, &world.few.generation, || {
        helm(world, &["rollback", RELEASE, "1", "--wait", "--timeout", "90s"]).expect_code(0);
    });
    assert_eq!(generations(world), world.few.generation);
}

fn uninstall(world: &World) {
    helm(world, &["uninstall", RELEASE, "--wait", "--cascade", "foreground", "--timeout", "90s"]).expect_code(0);
    // helm takes a DaemonSet that its watch has not seen yet for one that is gone, and may come back before.
    world.kubectl(&["wait", "--for=delete", "daemonset/registry", "-n", "kitbag", "--timeout=90s"]);
    let public = ["get", "configmap,role,rolebinding", "-n", "kube-public", "-l", "app.kubernetes.io/name=kitbag"];
    assert_eq!(world.kubectl(&[&public[..], &["-o", "name"]].concat()), "");
    let own = "daemonset,deployment,pod,service,secret,poddisruptionbudget,networkpolicy";
    assert_eq!(world.kubectl(&["get", own, "-n", "kitbag", "-o", "name"]), "");
    for node in &world.nodes {
        assert!(!node.inside(answers).unwrap(), "{}", node.name());
    }
    // It was made by `--create-namespace`, which is not undone.
    world.kubectl(&["delete", "namespace", "kitbag", "--timeout=60s"]);
}

/// `helm upgrade --reset-then-reuse-values` to this image, to this catalog, or to both, and to other values.
fn upgrade_to(world: &World, server: Option<&Server>, told: Option<&Server>, values: &str) -> Printed {
    let image = server.map(image);
    let catalog = told.map(|server| catalog(world, server));
    let chart = chart();
    let mut line = vec!["upgrade", RELEASE, &chart, "--reset-then-reuse-values", "--wait", "--timeout", "90s"];
    line.extend(image.iter().flatten().map(String::as_str));
    line.extend(catalog.iter().flat_map(|file| ["--set-file", file]));
    line.extend((!values.is_empty()).then_some(["--set", values]).into_iter().flatten());
    helm(world, &line)
}

/// The flags that name an image.
fn image(server: &Server) -> [String; 2] {
    // A tag of digits alone would be taken for a number.
    ["--set-string".to_owned(), format!("image.repository={NAME},image.tag={}", server.generation)]
}

/// The value of the flag that names a catalog.
fn catalog(world: &World, server: &Server) -> String {
    format!("discovery.catalog={}", plugin::catalog(world, server).display())
}

/// What the plugin is told.
fn discovery(world: &World) -> Value {
    let map = world.kubectl(&["get", "configmap", "kitbag", "-n", "kube-public", "-o", "json"]);
    let map: Value = serde_json::from_str(&map).unwrap();
    map["data"].clone()
}

fn chart() -> String {
    workspace().join("registry/deploy/chart").display().to_string()
}

/// helm as the administrator, in the namespace of the registries, with a home of its own.
fn helm(world: &World, arguments: &[&str]) -> Printed {
    static HELM: OnceLock<PathBuf> = OnceLock::new();
    let program = HELM.get_or_init(|| deploy_tools::helm(&mut |text| eprintln!("{text}")).unwrap());
    let home = world.scratch("helm");
    let mut command: Command = world.first().client_command(program);
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, &home);
    }
    command.args(["--namespace", "kitbag"]).args(arguments);
    printed::run(command, b"")
}
