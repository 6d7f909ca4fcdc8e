//! One container, many sessions: found again, listed, attached to, ended; and what scripts get.

use std::thread;

use serde_json::Value;

use crate::{Test, world::World};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("thirty sessions in a row are one container", thirty_sessions),
    ("two clients at once on one pod", two_clients),
    ("list, attach and end", list_attach_end),
    ("a container ends when idle, and at its last hour", idle_and_last_hour),
    ("a workload is a target", a_workload),
    ("a command in every pod of a selector", in_every_pod),
    ("one object for scripts", one_object),
    ("tools and needs are told without a cluster", tools_and_needs),
    ("completion knows pods, containers and tools", completion),
    ("an event tells who was there and why", an_event),
];

fn thirty_sessions(world: &World) {
    let pod = world.pod("thirty");
    let before = world.condition("default", &pod);
    for round in 0..30 {
        let seen = world.kitbag(&["debug", &pod, "shell", "--", "echo", &round.to_string()]).expect_code(0);
        assert_eq!(seen.stdout, format!("{round}\n"));
    }
    assert_eq!(world.debug_containers(&pod).split_whitespace().count(), 1);
    // More tools than it has, or another container on request.
    world.kitbag(&["debug", &pod, "htop", "--", "htop", "--version"]).expect_code(0);
    world.kitbag(&["debug", &pod, "shell", "--new", "--", "true"]).expect_code(0);
    assert_eq!(world.debug_containers(&pod).split_whitespace().count(), 3);
    world.leave(&pod, &before);
}

fn two_clients(world: &World) {
    let pod = world.pod("two-clients");
    let before = world.condition("default", &pod);
    let session =
        |word: &str| world.kitbag(&["debug", &pod, "shell", "--", "sh", "-c", &format!("sleep 1; echo {word}")]);
    thread::scope(|scope| {
        let clients = ["one", "two"].map(|word| (word, scope.spawn(move || session(word))));
        for (word, client) in clients {
            assert_eq!(client.join().unwrap().expect_code(0).stdout, format!("{word}\n"));
        }
    });
    assert_eq!(world.kitbag(&["debug", &pod, "shell", "--", "echo", "three"]).expect_code(0).stdout, "three\n");
    world.leave(&pod, &before);
}

fn list_attach_end(world: &World) {
    let pod = world.pod("listed");
    let none = world.kitbag(&["attach", &pod, "--", "true"]);
    assert_eq!(none.code, Some(66), "{}", none.stderr);
    assert!(none.stderr.contains(&format!("kubectl kitbag debug {pod}")), "{}", none.stderr);

    world.kitbag(&["debug", &pod, "strace", "--reason", "INC-7", "--", "strace", "--version"]).expect_code(0);
    let name = world.debug_containers(&pod);
    let listed = world.kitbag(&["list", &pod]).expect_code(0).stdout;
    for text in [name.as_str(), "shop", "strace", "admin"] {
        assert!(listed.contains(text), "`{text}` is not in:\n{listed}");
    }
    let listed: Value =
        serde_json::from_str(&world.kitbag(&["list", &pod, "-o", "json"]).expect_code(0).stdout).unwrap();
    assert!(listed.to_string().contains("INC-7"), "{listed}");

    let seen = world.kitbag(&["attach", &pod, "--", "strace", "--version"]).expect_code(0);
    assert!(seen.stdout.contains("version 6.1"));
    let ended = world.kitbag(&["end", &pod]).expect_code(0);
    assert!(format!("{}{}", ended.stdout, ended.stderr).contains(&name), "{}{}", ended.stdout, ended.stderr);
    assert!(world.is_ended(&pod, &name));
    assert_ne!(world.kitbag(&["attach", &pod, "--", "true"]).code, Some(0));
}

fn idle_and_last_hour(world: &World) {
    let pod = world.pod("idle");
    world.kitbag(&["debug", &pod, "shell", "--idle", "1", "--", "true"]).expect_code(0);
    let idle = world.debug_containers(&pod);
    world.wait("the idle end", || world.is_ended(&pod, &idle));
    // A session does not outlive the container's last hour.
    let seen = world.kitbag(&["debug", &pod, "shell", "--new", "--ttl", "2", "--", "sleep", "1000"]);
    assert_ne!(seen.code, Some(0), "{}", seen.stderr);
    let names = world.debug_containers(&pod);
    world.wait("the last hour's end", || names.split_whitespace().all(|name| world.is_ended(&pod, name)));
}

fn a_workload(world: &World) {
    for target in ["deploy/web", "deployment/web", "svc/web"] {
        let seen = world.kitbag(&["debug", target, "shell", "--", "hostname"]).expect_code(0);
        assert!(seen.stdout.starts_with("web-"), "{}", seen.stdout);
        assert!(seen.stderr.contains(seen.stdout.trim()), "the choice is said: {}", seen.stderr);
    }
    let seen = world.kitbag(&["debug", "-l", "app=web", "shell", "--", "hostname"]).expect_code(0);
    assert!(seen.stdout.starts_with("web-"), "{}", seen.stdout);
    let none = world.kitbag(&["debug", "deploy/no-such", "shell", "--", "true"]);
    assert_eq!(none.code, Some(66), "{}", none.stderr);
}

fn in_every_pod(world: &World) {
    let seen = world.kitbag(&["debug", "-l", "app=web", "--all", "shell", "--", "hostname"]).expect_code(0);
    let mut lines: Vec<&str> = seen.stdout.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 2, "{}", seen.stdout);
    for line in lines {
        let (pod, said) = line.split_once(": ").unwrap();
        assert_eq!(pod, said);
    }
    let (one, _) = seen.stdout.split_once(": ").unwrap();
    let script = format!("[ $(hostname) = {one} ] && exit 3; exit 0");
    let failing = world.kitbag(&["debug", "-l", "app=web", "--all", "shell", "--", "sh", "-c", &script]);
    assert_eq!(failing.code, Some(3), "{}", failing.stderr);
    assert!(failing.stderr.contains("2 pods: exit code 0 in 1, 3 in 1"), "{}", failing.stderr);
}

fn one_object(world: &World) {
    let script = "echo out; echo err >&2; exit 4";
    let seen = world.kitbag(&["debug", "shop", "shell", "-o", "json", "--", "sh", "-c", script]).expect_code(4);
    let object: Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!(object["pod"], "shop");
    assert_eq!(object["namespace"], "default");
    assert_eq!(object["exitCode"], 4);
    assert_eq!(object["stdout"], "out\n");
    assert_eq!(object["stderr"], "err\n");
    assert!(object["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{object}");
    assert!(object["container"].as_str().is_some_and(|name| name.starts_with("kitbag-")), "{object}");
}

fn tools_and_needs(world: &World) {
    let tools = world.kitbag(&["tools", "packets"]).expect_code(0).stdout;
    assert!(tools.contains("tcpdump") && !tools.contains("htop"), "{tools}");
    let needs = world.kitbag(&["needs", "strace", "tcpdump"]).expect_code(0).stdout;
    for text in ["target-attach", "SYS_PTRACE", "raw-socket", "NET_RAW", "baseline", "restricted"] {
        assert!(needs.contains(text), "`{text}` is not in:\n{needs}");
    }
    let unknown = world.kitbag(&["needs", "strac"]);
    assert_eq!(unknown.code, Some(65), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("`strace`"), "{}", unknown.stderr);
}

fn completion(world: &World) {
    let complete = |words: &[&str]| world.kitbag(&[&["__complete"], words].concat()).expect_code(0).stdout;
    assert!(complete(&["debug", "shop-t"]).starts_with("shop-two"));
    assert!(complete(&["debug", "shop", "str"]).starts_with("strace"));
    let containers = complete(&["debug", "shop-two", "-c", ""]);
    assert!(containers.contains("sidecar") && containers.contains("shop"), "{containers}");
    assert!(complete(&["de"]).starts_with("debug"));
    let script = world.kitbag(&["completion", "kubectl"]).expect_code(0).stdout;
    assert!(script.starts_with("#!/bin/sh") && script.contains("__complete"), "{script}");
    assert!(world.kitbag(&["man"]).expect_code(0).stdout.contains(".TH"));
}

fn an_event(world: &World) {
    let pod = world.pod("traced");
    world.kitbag(&["debug", &pod, "shell", "--reason", "INC-42: slow checkout", "--", "true"]).expect_code(0);
    let described = world.node.kubectl(&["describe", "pod", &pod]).unwrap();
    let event = described.lines().rfind(|line| line.contains("INC-42: slow checkout") && line.contains("Debug"));
    assert!(event.is_some_and(|event| event.contains("admin")), "{described}");
    let path = "jsonpath={.spec.ephemeralContainers[0].env[?(@.name==\"KITBAG_REASON\")].value}";
    assert_eq!(world.node.kubectl(&["get", "pod", &pod, "-o", path]).unwrap(), "INC-42: slow checkout");
}
