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
        chosen(&json!({}), Some("kitbag-old")),
        chosen(&json!({ "metadata": { "annotations": { MIRROR: "4f5c" } } }), None),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    pod `shop` has no container `web`; it has `app`, `proxy`, `setup`, `mesh`
    pod `shop` has finished (Succeeded): no container can be added
    pod `shop` is being deleted: no container will be started in it
    pod `shop` is on no node yet
    pod `shop` is on no node yet: 0/1 nodes are available: 1 Insufficient cpu.
    container `app` of pod `shop` has ended (Completed, exit code 1) and will not start again
    init container `setup` of pod `shop` has ended (Completed, exit code 0) and will not start again
    container `kitbag-old` of pod `shop` is an ephemeral container: Kubernetes lets no other be aimed at it
    pod `shop` is a static pod of node `node1`: the API adds no containers to those
    ");
}

#[test]
fn what_will_start_again_is_not_refused() {
    let terminated = status("containerStatuses", "app", &json!({ "terminated": { "exitCode": 1 } }), &json!({}));
    assert_eq!(chosen(&terminated, None), "app");
    let failed = status("initContainerStatuses", "setup", &json!({ "terminated": { "exitCode": 1 } }), &json!({}));
    assert_eq!(chosen(&failed, Some("setup")), "setup");
    let sidecar = status("initContainerStatuses", "mesh", &json!({ "terminated": { "exitCode": 0 } }), &json!({}));
    assert_eq!(chosen(&sidecar, Some("mesh")), "mesh");
}

#[test]
fn what_does_not_run_or_not_for_long_is_warned_of() {
    let warned = |pod: &Value, wanted: Option<&str>| match choose(&self::pod(pod), wanted) {
        Ok(target) => target.warning.unwrap_or_else(|| "nothing".to_owned()),
        Err(error) => error.to_string(),
    };
    let app = |state: &Value, more: &Value| status("containerStatuses", "app", state, more);
    let ended = |code: i32, reason: &str, seconds: u32| {
        json!({ "terminated": {
            "exitCode": code, "reason": reason,
            "startedAt": "2026-01-01T00:00:00Z", "finishedAt": format!("2026-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60),
        } })
    };
    let crashed = |restarts: i32, last: &Value| json!({ "restartCount": restarts, "lastState": last });
    let back_off =
        json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container" } });
    let running = json!({ "running": {} });
    let mut initializing = app(&json!({ "waiting": { "reason": "PodInitializing" } }), &json!({}));
    initializing["status"]["initContainerStatuses"] = json!([merged("setup", &running, &json!({}))]);
    let lines = [
        warned(&app(&running, &json!({})), None),
        warned(&app(&running, &crashed(1, &ended(1, "Error", 3))), None),
        warned(&app(&running, &crashed(7, &ended(1, "Error", 3))), None),
        warned(&app(&running, &crashed(7, &ended(1, "Error", 900))), None),
        warned(&app(&back_off, &crashed(7, &ended(137, "OOMKilled", 3))), None),
        warned(&app(&back_off, &json!({ "restartCount": 1 })), None),
        warned(&app(&ended(2, "Error", 3), &json!({ "restartCount": 0 })), None),
        warned(&initializing, None),
        warned(&initializing, Some("setup")),
        warned(&app(&json!({ "waiting": { "reason": "ErrImagePull", "message": "not found" } }), &json!({})), None),
        warned(&json!({}), None),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    nothing
    nothing
    container `app` does not run for long (7 restarts, the last run ended with exit code 1; it had run for 3 s): the session ends with its next crash
    nothing
    container `app` is between two starts (CrashLoopBackOff; 7 restarts, the last run ended with exit code 137, OOMKilled): the session begins with its next start and ends with its next crash
    container `app` is between two starts (CrashLoopBackOff; 1 restart): the session begins with its next start and ends with its next crash
    container `app` is between two starts (0 restarts, the last run ended with exit code 2): the session begins with its next start and ends with its next crash
    container `app` has not started yet (PodInitializing): the session begins when it does; -c names one that runs: `setup`
    nothing
    container `app` has not started yet (ErrImagePull: not found): the session begins when it does
    container `app` has not started yet: the session begins when it does
    ");
}

/// A pod with a container in a state.
fn status(list: &str, name: &str, state: &Value, more: &Value) -> Value {
    json!({ "status": { list: [merged(name, state, more)] } })
}

fn merged(name: &str, state: &Value, more: &Value) -> Value {
    let mut status =
        json!({ "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state });
    merge(&mut status, more);
    status
}

#[test]
fn a_target_knows_its_id_and_whose_processes_it_sees() {
    let target = |more: &Value| choose(&pod(more), None).unwrap();
    let running =
        |id: &str| status("containerStatuses", "app", &json!({ "running": {} }), &json!({ "containerID": id }));
    assert_eq!(target(&running("containerd://4f5c")).container_id(), Some("4f5c"));
    assert_eq!(target(&running("cri-o://4f5c")).container_id(), Some("4f5c"));
    assert_eq!(target(&running("")).container_id(), None);
    assert_eq!(target(&json!({})).container_id(), None);
    for (spec, expected) in [
        (json!({}), None),
        (json!({ "shareProcessNamespace": true }), Some("4f5c")),
        (json!({ "hostPID": true }), Some("4f5c")),
    ] {
        let mut shared = running("containerd://4f5c");
        shared["spec"] = spec;
        assert_eq!(target(&shared).id_in_shared_namespace(), expected);
        assert_eq!(id_in_shared_namespace(&pod(&shared), "app"), expected);
        assert_eq!(id_in_shared_namespace(&pod(&shared), "proxy"), None);
    }
    assert!(!target(&json!({})).shares_pid_namespace());
    assert!(target(&json!({ "spec": { "shareProcessNamespace": true } })).shares_pid_namespace());
    assert!(target(&json!({ "spec": { "hostPID": true } })).shares_pid_namespace());
}

#[test]
fn a_new_name_has_to_differ_from_every_container() {
    assert_eq!(choose(&pod(&json!({})), None).unwrap().names, ["app", "proxy", "setup", "mesh", "kitbag-old"]);
}
