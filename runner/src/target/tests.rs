use serde_json::{Value, json};

use super::*;

fn pod(more: &Value) -> Pod {
    let mut pod = json!({
        "metadata": { "name": "shop" },
        "spec": {
            "nodeName": "node1",
            "containers": [{ "name": "app" }, { "name": "proxy" }],
            "initContainers": [{ "name": "setup" }, { "name": "mesh", "restartPolicy": "Always" }],
            "ephemeralContainers": [{ "name": "kitbag-old" }],
        },
        "status": { "phase": "Running" },
    });
    merge(&mut pod, more);
    serde_json::from_value(pod).unwrap()
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.iter().for_each(|(key, value)| merge(into.entry(key.clone()).or_insert(Value::Null), value));
        }
        (into, from) => *into = from.clone(),
    }
}

fn chosen(more: &Value, wanted: Option<&str>) -> String {
    choose(&pod(more), wanted).map_or_else(|error| error.to_string(), |target| target.container)
}

#[test]
fn the_named_one_else_the_annotated_one_else_the_first() {
    let annotated = |name: &str| json!({ "metadata": { "annotations": { DEFAULT_CONTAINER: name } } });
    assert_eq!(chosen(&json!({}), None), "app");
    assert_eq!(chosen(&json!({}), Some("proxy")), "proxy");
    assert_eq!(chosen(&json!({}), Some("mesh")), "mesh");
    assert_eq!(chosen(&annotated("proxy"), None), "proxy");
    assert_eq!(chosen(&annotated("proxy"), Some("app")), "app");
    assert_eq!(chosen(&annotated("gone"), None), "app");
}

#[test]
fn what_cannot_be_debugged_is_refused_with_the_reason() {
    let terminated = |list: &str, name: &str, code: i32| {
        json!({ "status": { list: [
            { "name": name, "state": { "terminated": { "exitCode": code, "reason": "Completed" } } },
        ] } })
    };
    let mut never = terminated("containerStatuses", "app", 1);
    never["spec"] = json!({ "restartPolicy": "Never" });
    let messages = [
        chosen(&json!({}), Some("web")),
        chosen(&json!({ "status": { "phase": "Succeeded" } }), None),
        chosen(&json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }), None),
        chosen(&json!({ "spec": { "nodeName": null } }), None),
        chosen(
            &json!({ "spec": { "nodeName": null }, "status": { "conditions": [
                { "type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu." },
            ] } }),
            None,
        ),
        chosen(&never, None),
        chosen(&terminated("initContainerStatuses", "setup", 0), Some("setup")),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    pod `shop` has no container `web`; it has `app`, `proxy`, `setup`, `mesh`
    pod `shop` has finished (Succeeded): no container can be added
    pod `shop` is being deleted: no container will be started in it
    pod `shop` is on no node yet
    pod `shop` is on no node yet: 0/1 nodes are available: 1 Insufficient cpu.
    container `app` of pod `shop` has ended (Completed, exit code 1) and will not start again
    container `setup` of pod `shop` has ended (Completed, exit code 0) and will not start again
    ");
}

#[test]
fn what_will_start_again_is_not_refused() {
    let terminated = json!({ "status": { "containerStatuses": [
        { "name": "app", "state": { "terminated": { "exitCode": 1 } } },
    ] } });
    assert_eq!(chosen(&terminated, None), "app");
    let back_off = json!({ "status": { "containerStatuses": [
        { "name": "app", "state": { "waiting": { "reason": "CrashLoopBackOff" } } },
    ] } });
    insta::assert_snapshot!(choose(&pod(&back_off), None).unwrap().warning.unwrap(), @"container `app` is between two starts (CrashLoopBackOff): the session begins with its next start and ends with its next crash");
}

#[test]
fn a_new_name_has_to_differ_from_every_container() {
    assert_eq!(choose(&pod(&json!({})), None).unwrap().names, ["app", "proxy", "setup", "mesh", "kitbag-old"]);
}

#[test]
fn a_pod_is_a_name_or_the_path_of_one() {
    for (text, name) in [("shop", "shop"), ("pod/shop", "shop"), ("pods/shop", "shop"), ("po/shop", "shop")] {
        assert_eq!(pod_name(text).unwrap(), name);
    }
    for text in ["deploy/shop", "pod/", "", "pod/a/b", "/a"] {
        assert_eq!(pod_name(text).unwrap_err(), TargetError::NotAPod { text: text.to_owned() });
    }
}
