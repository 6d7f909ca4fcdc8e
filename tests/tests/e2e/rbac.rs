//! The Role that `kubectl kitbag rbac` prints is enough for the command, and each of its rules is needed.

use serde_json::{Value, json};

use crate::{
    Test,
    world::{Printed, World, run},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("the least role for a pod", |world| least(world, "pod", &["debug", "POD", "shell", "--new", "--", "true"])),
    ("the least role for a workload", |world| {
        least(world, "workload", &["debug", "deploy/web", "shell", "--new", "--", "true"]);
    }),
    ("the least role for a selector", |world| {
        least(world, "selector", &["debug", "-l", "app=web", "shell", "--new", "--", "true"]);
    }),
    ("the least role to list", |world| least(world, "list", &["list"])),
    ("the least role to attach", |world| {
        world.kitbag(&["debug", &world.pod("rbac-attach"), "shell", "--", "true"]).expect_code(0);
        least(world, "attach", &["attach", "POD", "--", "true"]);
    }),
    ("without pods/exec there is attach", without_exec),
];

fn least(world: &World, name: &str, line: &[&str]) {
    let pod = world.pod(&format!("rbac-{name}"));
    let line: Vec<&str> = line.iter().map(|word| if *word == "POD" { pod.as_str() } else { word }).collect();
    let role = world.kitbag(&[&["rbac"], &line[..]].concat()).expect_code(0).stdout;
    let mut command = world.node.kubectl_command();
    command.args(["create", "--dry-run=client", "-o", "json", "-f", "-"]);
    let role: Value = serde_json::from_str(&run(command, role.as_bytes()).expect_code(0).stdout).unwrap();
    let rules: Vec<(Value, Value, Value)> = role["rules"].as_array().unwrap().iter().flat_map(single).collect();
    assert!(!rules.is_empty());

    let all = attempt(world, &format!("{name}-all"), &rules, &line);
    assert_eq!(all.code, Some(0), "with all of {rules:?}: {}", all.stderr);
    for (index, (_, resource, verb)) in rules.iter().enumerate() {
        let without: Vec<_> =
            rules.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, rule)| rule.clone()).collect();
        let seen = attempt(world, &format!("{name}-{index}"), &without, &line);
        let (resource, verb) = (resource.as_str().unwrap(), verb.as_str().unwrap());
        let optional = match (resource, verb) {
            ("events", _) => true,
            // Where the pod may be asked for, it need not be watched.
            ("pods", "watch") => rules.iter().any(|(_, resource, verb)| resource == "pods" && verb == "get"),
            ("pods/exec", _) => line[0] == "list",
            _ => false,
        };
        if optional {
            assert_eq!(seen.code, Some(0), "without {verb} {resource}: {}", seen.stderr);
        } else {
            assert_eq!(seen.code, Some(77), "without {verb} {resource}: {}", seen.stderr);
            let named = seen.stderr.contains(resource) && seen.stderr.contains(verb);
            assert!(named, "without {verb} {resource}: {}", seen.stderr);
        }
    }
}

/// A rule for each verb on each resource.
fn single(rule: &Value) -> Vec<(Value, Value, Value)> {
    let list = |name: &str| rule[name].as_array().unwrap().clone();
    let mut rules = Vec::new();
    for group in list("apiGroups") {
        for resource in list("resources") {
            rules.extend(list("verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
        }
    }
    rules
}

/// Runs `line` as somebody who has just these rights.
fn attempt(world: &World, user: &str, rules: &[(Value, Value, Value)], line: &[&str]) -> Printed {
    let user = format!("rbac-{user}");
    let rules: Vec<Value> = rules
        .iter()
        .map(|(group, resource, verb)| json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] }))
        .collect();
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": user }, "rules": rules });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": user },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    });
    world.node.apply(&format!("{role}\n---\n{binding}\n")).unwrap();
    // The authorizer learns of it by a watch.
    world.wait("the role to count", || {
        let check = ["auth", "can-i", "--list", "--as", &user];
        let listed = world.node.kubectl(&check).unwrap();
        rules.iter().all(|rule| listed.contains(rule["resources"][0].as_str().unwrap()))
    });
    let split = line.iter().position(|word| *word == "--").unwrap_or(line.len());
    let (before, after) = line.split_at(split);
    world.kitbag(&[before, &["--as", &user], after].concat())
}

fn without_exec(world: &World) {
    let pod = world.pod("attached");
    let before = world.condition("default", &pod);
    let rules = [
        ("pods", "get"),
        ("pods", "watch"),
        ("pods/ephemeralcontainers", "patch"),
        ("pods/attach", "create"),
        ("pods/attach", "get"),
    ];
    let rules: Vec<_> = rules.iter().map(|(resource, verb)| (json!(""), json!(resource), json!(verb))).collect();
    let script = "cat; echo err >&2; exit 9";
    let line = ["debug", &pod, "shell", "-i", "--", "sh", "-c", script];
    let seen = attempt(world, "no-exec", &rules, &line);
    assert_eq!(seen.code, Some(9), "{}", seen.stderr);
    assert!(seen.stderr.contains("pods/exec") && seen.stderr.contains("err\n"), "{}", seen.stderr);
    world.wait("the container's end", || world.is_ended(&pod, &world.debug_containers(&pod)));
    assert_eq!(world.condition("default", &pod), before);

    // Who may list and watch, and not get, has the exit code too.
    let mut rules = rules;
    rules[0].2 = json!("list");
    let line = ["debug", "-l", "app=web", "shell", "--new", "--", "sh", "-c", "exit 9"];
    let seen = attempt(world, "no-exec-no-get", &rules, &line);
    assert_eq!(seen.code, Some(9), "{}", seen.stderr);
}
