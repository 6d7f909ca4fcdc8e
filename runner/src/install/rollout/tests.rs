use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::{Value, json};

use super::*;

fn set(generation: i64, nodes: i32, updated: i32, available: i32) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": {
            "name": "registry", "generation": 2,
            "managedFields": [{ "manager": FIELD_MANAGER, "time": "2026-11-21T10:00:00Z" }],
        },
        "status": {
            "observedGeneration": generation, "desiredNumberScheduled": nodes, "updatedNumberScheduled": updated,
            "numberAvailable": available, "currentNumberScheduled": nodes, "numberMisscheduled": 0, "numberReady": 0,
        },
    }))
    .unwrap()
}

fn pod(node: &str, status: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "registry-x" },
        "spec": { "nodeName": node, "containers": [] },
        "status": { "containerStatuses": [{
            "name": "registry", "image": "", "imageID": "", "ready": false,
            "restartCount": status["restarts"].as_i64().unwrap_or(0),
            "state": status["state"], "lastState": status["last"],
        }] },
    }))
    .unwrap()
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "state": { "waiting": { "reason": reason, "message": message } } })
}

fn crashed(restarts: i32, message: &str) -> Value {
    let last = json!({ "terminated": { "exitCode": 1, "message": message } });
    json!({ "restarts": restarts, "state": { "waiting": { "reason": "CrashLoopBackOff" } }, "last": last })
}

fn event(time: &str, message: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {}, "reason": "FailedCreate", "lastTimestamp": time, "message": message,
    }))
    .unwrap()
}

/// What is seen, and of each trouble whether it is final and what to do.
fn told(state: &State) -> String {
    match state {
        State::Done { nodes } => format!("done: {nodes}"),
        State::Going { text, troubles } => {
            let line = |trouble: &Trouble| {
                let end = if trouble.is_final() { "final" } else { "may pass" };
                format!("\n  {trouble} [{end}]\n  hint: {}", trouble.hint())
            };
            format!("{text}{}", troubles.iter().map(line).collect::<String>())
        }
    }
}

#[test]
fn what_was_wrong_with_an_earlier_template_is_none_of_its_troubles() {
    let mut set = set(2, 2, 0, 0);
    set.annotations_mut().insert(TEMPLATES.to_owned(), "2".to_owned());
    let made_from = |template: &str| {
        let mut pod = pod("node1", &waiting("ErrImagePull", "not found"));
        pod.labels_mut().insert(TEMPLATE.to_owned(), template.to_owned());
        pod
    };
    let troubles = |pods: &[Pod]| match observe(&set, pods, &[]) {
        State::Going { troubles, .. } => troubles.len(),
        State::Done { .. } => panic!("it is not done"),
    };
    assert_eq!(troubles(&[made_from("1")]), 0);
    assert_eq!(troubles(&[made_from("1"), made_from("2")]), 1);
}

/// The controller keeps the pods that it has from then, with the number that they have.
#[test]
fn an_earlier_template_that_comes_back_brings_its_pods() {
    use crate::install::{Objects, Settings};
    let of =
        |image: &str| Objects::new(&Settings { image, namespace: "kitbag", port: 5050, pull_secret: None }).unwrap();
    let mut set = DaemonSet { spec: of("few").registry.spec, ..set(2, 2, 2, 1) };
    set.annotations_mut().insert(TEMPLATES.to_owned(), "3".to_owned());
    let made_from = |number: &str, image: &str| {
        let mut pod = pod("node1", &waiting("CreateContainerConfigError", "no"));
        pod.labels_mut().insert(TEMPLATE.to_owned(), number.to_owned());
        pod.spec = template(&of(image).registry).cloned();
        pod
    };
    for (number, image, is) in [("1", "few", true), ("2", "all", false), ("3", "few", true), ("3", "mirrored", true)] {
        let pod = made_from(number, image);
        assert_eq!(is_of(&set, &pod), is, "{number} {image}");
        let state = observe(&set, &[pod], &[]);
        assert!(matches!(state, State::Going { troubles, .. } if troubles.is_empty() != is), "{number} {image}");
    }
}

#[test]
fn it_is_done_when_every_node_has_the_new_registry_and_answers() {
    let states = [
        set(1, 2, 2, 2),
        set(2, 2, 0, 2),
        set(2, 2, 2, 1),
        set(2, 2, 2, 2),
        set(2, 0, 0, 0),
        DaemonSet { status: None, ..set(2, 0, 0, 0) },
    ];
    let states: Vec<String> = states.iter().map(|set| told(&observe(set, &[], &[]))).collect();
    insta::assert_snapshot!(states.join("\n"), @r"
    the cluster has not looked at the DaemonSet yet
    0 of 2 nodes have the new registry
    1 of 2 nodes answer
    done: 2
    done: 0
    the cluster has not looked at the DaemonSet yet
    ");
}

#[test]
fn what_is_wrong_is_told_by_node() {
    let missing = "rpc error: code = NotFound desc = failed to pull: registry.example/x: not found";
    let taken = "{\"level\":\"info\"}\nerror: cannot listen on `127.0.0.1:5050`: it is in use; stop what listens there, or choose another with `--listen`";
    let pods = [
        pod("node1", &waiting("ErrImagePull", missing)),
        pod("node2", &waiting("ImagePullBackOff", &format!("Back-off: {missing}"))),
        pod("node3", &crashed(1, taken)),
        pod("node4", &waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")),
        pod("node5", &waiting("ContainerCreating", "")),
    ];
    insta::assert_snapshot!(told(&observe(&set(2, 5, 5, 0), &pods, &[])), @r"
    0 of 5 nodes answer
      `node1`, `node2`: the image cannot be pulled: rpc error: code = NotFound desc = failed to pull: registry.example/x: not found [final]
      hint: is --image right, and the image there?
      `node3`: the port is taken: cannot listen on `127.0.0.1:5050`: it is in use; stop what listens there, or choose another with `--listen` [may pass]
      hint: choose another port with --port
      `node4`: the container cannot be made (CreateContainerConfigError): container has runAsNonRoot and image will run as root [may pass]
      hint: `kubectl describe pod` has what the node says
    ");
    let pods = [
        pod("node1", &crashed(2, taken)),
        pod("node2", &crashed(2, "")),
        pod("node3", &crashed(5, "error: the store in `/usr/share/kitbag/store` has a format that is too new")),
    ];
    insta::assert_snapshot!(told(&observe(&set(2, 3, 3, 0), &pods, &[])), @r"
    0 of 3 nodes answer
      `node1`: the port is taken: cannot listen on `127.0.0.1:5050`: it is in use; stop what listens there, or choose another with `--listen` [final]
      hint: choose another port with --port
      `node2`: the registry ends at once, exit code 1 [final]
      hint: `kubectl logs --previous` of the pod has all that it said
      `node3`: the registry cannot serve what the image has: the store in `/usr/share/kitbag/store` has a format that is too new [final]
      hint: make the image anew with the `kitbag-registry` that belongs to the store's `kitbag-builder`: `kitbag-builder image --server --to REGISTRY/kitbag-registry:TAG`
    ");
}

#[test]
fn an_image_of_something_else_is_told_so() {
    let missing = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: \"/usr/bin/kitbag-registry\": stat /usr/bin/kitbag-registry: no such file or directory: unknown";
    let state = json!({ "state": { "terminated": { "exitCode": 128, "reason": "StartError", "message": missing } } });
    let pods = [pod("node1", &waiting("RunContainerError", missing)), pod("node2", &state)];
    insta::assert_snapshot!(told(&observe(&set(2, 2, 2, 0), &pods, &[])), @r#"
    0 of 2 nodes answer
      `node1`, `node2`: the image is no kitbag-registry: failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "/usr/bin/kitbag-registry": stat /usr/bin/kitbag-registry: no such file or directory: unknown [final]
      hint: name with --image one that `kitbag-builder image --server` made
    "#);
}

#[test]
fn many_nodes_with_the_same_trouble_are_one_line() {
    let refused = waiting("ErrImagePull", "dial tcp: connection refused");
    let pods: Vec<Pod> = (1..=40).map(|number| pod(&format!("node{number}"), &refused)).collect();
    insta::assert_snapshot!(told(&observe(&set(2, 40, 40, 0), &pods, &[])), @r"
    0 of 40 nodes answer
      `node1`, `node2`, `node3` and 37 more: the image cannot be pulled: dial tcp: connection refused [may pass]
      hint: every node has to reach the image's registry, or have the image loaded
    ");
}

#[test]
fn a_pod_that_gets_no_node_tells_which_it_is_for() {
    let terms = json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["node7"] }] }]);
    let affinity =
        json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } });
    let conditions = json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/9 nodes are available: 1 Insufficient memory." }]);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {}, "spec": { "containers": [], "affinity": affinity }, "status": { "conditions": conditions },
    }))
    .unwrap();
    insta::assert_snapshot!(told(&observe(&set(2, 9, 9, 8), &[pod], &[])), @r"
    8 of 9 nodes answer
      `node7`: no place for the pod: 0/9 nodes are available: 1 Insufficient memory. [may pass]
      hint: `kubectl describe node` says what is left of it: the registry asks for 5m of CPU and 16 MiB
    ");
}

#[test]
fn what_the_controller_could_not_make_before_the_last_change_does_not_count() {
    let refused = r#"Error creating: pods "registry-" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)"#;
    let events = [event("2026-11-21T09:59:00Z", "old"), event("2026-11-21T10:00:01Z", refused)];
    insta::assert_snapshot!(told(&observe(&set(2, 2, 0, 0), &[], &events)), @r#"
    0 of 2 nodes have the new registry
      the cluster refuses the pod: Error creating: pods "registry-" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true) [may pass]
      hint: the namespace has to be at the Pod Security level `privileged`, for hostNetwork alone; where that is forbidden, there is the central way
    "#);
    assert_eq!(told(&observe(&set(2, 2, 0, 0), &[], &events[..1])), "0 of 2 nodes have the new registry");
}

#[test]
fn a_pod_on_its_way_out_is_no_trouble() {
    let mut pod = pod("node1", &crashed(3, "terminated"));
    pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-21T10:00:00Z")).unwrap();
    assert_eq!(told(&observe(&set(2, 2, 1, 1), &[pod], &[])), "1 of 2 nodes have the new registry");
}
