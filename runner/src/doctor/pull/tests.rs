use serde_json::{Value, json};

use super::*;
use crate::doctor::testing::{daemonset, found, made, node, nodes, nothing, pods, told, with};
use crate::doctor::{facts::Fetched, testing};

fn chosen(all: &[Value], every: bool) -> Vec<String> {
    let place = |place| match place {
        Place::Node(node) => node,
        Place::Anywhere => "anywhere".to_owned(),
    };
    places(Some(&nodes(all)), &[], every).into_iter().map(place).collect()
}

#[test]
fn a_sample_differs_as_much_as_can_be() {
    let runtime = |name, version: &str| with(node(name), "/status/nodeInfo/containerRuntimeVersion", version.into());
    let off = with(node("off"), "/status/conditions/0/status", "False".into());
    let windows = with(node("windows"), "/status/nodeInfo/operatingSystem", "windows".into());
    let all = [node("a"), node("b"), node("c"), node("d"), runtime("x", "cri-o://1.30.1"), off, windows];
    assert_eq!(chosen(&all, false), ["a", "x", "b"]);
    assert_eq!(chosen(&all, true), ["a", "x", "b", "c", "d"]);
    assert_eq!(chosen(&all[5..], true), [""; 0]);
    assert_eq!(places(None, &[], true), [Place::Anywhere]);
}

#[test]
fn a_node_with_another_registry_is_in_the_sample() {
    let all = ["a", "b", "c", "d"].map(node);
    let mut registries = ["a", "b", "c", "d"].map(testing::pod);
    registries[3]["status"]["containerStatuses"][0]["imageID"] = "registry.example/kitbag-registry@sha256:bb".into();
    let Place::Node(second) = &places(Some(&nodes(&all)), &pods(&registries), false)[1] else { panic!("no node") };
    assert_eq!(second, "d");
}

#[test]
fn a_generation_may_be_on_its_way() {
    let missing = || Outcome::NotPulled { node: "a".to_owned(), fault: Fault::Missing, words: "not found".to_owned() };
    let rolling = with(daemonset(3), "/status/updatedNumberScheduled", 1.into());
    let unpullable = json!({ "waiting": { "reason": "ErrImagePull", "message": "not found" } });
    let stuck = [testing::pod_that("a", unpullable)];
    let texts = [(daemonset(3), &[][..]), (rolling.clone(), &[]), (rolling, &stuck)].map(|(it, registries)| {
        let (daemonset, pods) = (Fetched::Got(made(it)), Fetched::Got(pods(registries)));
        let facts = Facts { daemonset, pods, ..nothing() };
        told(&judge(&[missing()], &found(), &facts, 0))
    });
    insta::assert_snapshot!(texts.concat(), @r"
    FAILURE  pull          on node `a`: `127.0.0.1:5050` does not have generation 5c729eb85204, of which the ConfigMap speaks; or another program answers there
                             # for the platform team:
                             kubectl kitbag install
    FAILURE  pull          on node `a`: `127.0.0.1:5050` does not have generation 5c729eb85204, of which the ConfigMap speaks; or another program answers there
                             # for the platform team:
                             # another one is on its way to the nodes:
                             kubectl rollout status daemonset/registry -n kitbag
    FAILURE  pull          on node `a`: `127.0.0.1:5050` does not have generation 5c729eb85204, of which the ConfigMap speaks; or another program answers there
                             # for the platform team:
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    ");
}

/// A pod on `node1` whose container is in this state.
fn pod(state: &Value) -> Pod {
    let pod = json!({
        "metadata": { "name": "kitbag-doctor-b2c4d-0-x", "creationTimestamp": "2026-03-01T12:00:00Z" },
        "spec": { "nodeName": "node1", "containers": [] },
        "status": { "containerStatuses": [{
            "name": "pull", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }] },
    });
    serde_json::from_value(pod).unwrap()
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "waiting": { "reason": reason, "message": message } })
}

#[test]
fn a_pod_says_what_became_of_the_pull() {
    let pending = json!({ "spec": { "containers": [] }, "status": { "conditions": [
        { "type": "PodScheduled", "status": "False", "message": "0/1 nodes are available" },
    ] } });
    let states = [
        json!({ "terminated": { "exitCode": 0, "finishedAt": "2026-03-01T12:00:01Z" } }),
        json!({ "terminated": { "exitCode": 0, "finishedAt": "2026-03-01T11:58:00Z" } }),
        json!({ "terminated": { "exitCode": 0, "finishedAt": "2026-03-01T12:01:32Z" } }),
        json!({ "terminated": { "exitCode": 128, "reason": "StartError", "message": "exec format error" } }),
        json!({ "running": {} }),
        waiting("ContainerCreating", ""),
        waiting(
            "ErrImagePull",
            "rpc error: code = Unknown desc = failed to pull: dial tcp 127.0.0.1:5050: connect: connection refused",
        ),
        waiting("RunContainerError", "no such file"),
    ];
    let now = "2026-03-01T12:00:02Z".parse().unwrap();
    let mut told: Vec<String> = states.iter().map(|state| format!("{:?}", observe(&pod(state), now))).collect();
    told.push(format!("{:?}", observe(&serde_json::from_value(pending).unwrap(), now)));
    insta::assert_snapshot!(told.join("\n"), @r#"
    Done { node: "node1", skew: 0 }
    Done { node: "node1", skew: -120 }
    Done { node: "node1", skew: 90 }
    NotRun { node: "node1", words: "exit code 128, exec format error" }
    Waiting { node: Some("node1"), words: "it runs", made: true }
    Waiting { node: Some("node1"), words: "the node is pulling", made: true }
    NotPulled { node: "node1", fault: Unreachable, words: "failed to pull: dial tcp 127.0.0.1:5050: connect: connection refused" }
    NotRun { node: "node1", words: "RunContainerError: no such file" }
    Waiting { node: None, words: "0/1 nodes are available", made: true }
    "#);
}

#[test]
fn pulls_that_fare_alike_are_told_together() {
    let done = |node: &str, skew| Outcome::Done { node: node.to_owned(), skew };
    insta::assert_snapshot!(told(&judge(&[done("b", 0), done("a", -1)], &found(), &nothing(), 7)), @"ok       pull          nodes `a`, `b` pulled and ran `127.0.0.1:5050/busybox@sha256:5eed`; 7 nodes not tried (--all-nodes)");
    insta::assert_snapshot!(told(&judge(&[done("a", -90), done("b", 90)], &found(), &nothing(), 0)), @r"
    ok       pull          nodes `a`, `b` pulled and ran `127.0.0.1:5050/busybox@sha256:5eed`
    warning  clock         node `a` has a clock that is at least 90 s behind the API server's
                             # on that node:
                             timedatectl status
    warning  clock         node `b` has a clock that is at least 90 s ahead of the API server's
                             # on that node:
                             timedatectl status
    ");
    let refused = |node: &str| Outcome::NotPulled {
        node: node.to_owned(),
        fault: Fault::Unreachable,
        words: "connect: connection refused".to_owned(),
    };
    insta::assert_snapshot!(told(&judge(&[done("a", 0), refused("b"), refused("c")], &found(), &nothing(), 0)), @r"
    ok       pull          node `a` pulled and ran `127.0.0.1:5050/busybox@sha256:5eed`
    FAILURE  pull          on nodes `b`, `c`: nothing answers at `127.0.0.1:5050`, where the node's own registry should be
                             # for the platform team:
                             kubectl get pods -n kitbag -o wide
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    ");
}

#[test]
fn who_serves_other_bytes_is_not_the_registry() {
    let words = "failed commit on ref \"index-sha256:5eed\": unexpected commit digest sha256:00, expected sha256:5eed";
    let central = Discovered { registry: "registry.example".to_owned(), per_node: false, ..found() };
    let texts = [found(), central].map(|discovered| {
        let outcome = Outcome::NotPulled { node: "a".to_owned(), fault: Fault::Unknown, words: words.to_owned() };
        told(&judge(&[outcome], &discovered, &nothing(), 0))
    });
    insta::assert_snapshot!(texts.concat(), @r"
    FAILURE  pull          on node `a`: what answers at `127.0.0.1:5050` is not this cluster's registry: it serves something else under the digest that is asked for, which the node refuses
                             # for the platform team:
                             # on that node, to see who listens there:
                             ss -ltnp 'sport = :5050'
                             kubectl get pods -n kitbag -o wide
    FAILURE  pull          on node `a`: what answers at `registry.example` is not this cluster's registry: it serves something else under the digest that is asked for, which the node refuses
                             # for the platform team:
                             # see who answers there:
                             curl -sS https://registry.example/v2/
    ");
}

#[test]
fn every_fault_of_a_pull_has_its_own_fix() {
    let central = Discovered { registry: "registry.example".to_owned(), per_node: false, ..found() };
    let faults = [
        (Fault::Missing, found()),
        (Fault::Unknown, found()),
        (Fault::Full, found()),
        (Fault::Platform, found()),
        (Fault::Busy, found()),
        (Fault::Unreachable, central.clone()),
        (Fault::NoName, central.clone()),
        (Fault::Untrusted, central.clone()),
        (Fault::Plain, central.clone()),
        (Fault::Denied, central),
    ];
    let texts = faults.map(|(fault, discovered)| {
        let outcome = Outcome::NotPulled { node: "a".to_owned(), fault, words: "the node's words".to_owned() };
        told(&judge(&[outcome], &discovered, &nothing(), 0))
    });
    insta::assert_snapshot!(texts.concat(), @r"
    FAILURE  pull          on node `a`: `127.0.0.1:5050` does not have generation 5c729eb85204, of which the ConfigMap speaks; or another program answers there
                             # for the platform team:
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  pull          on node `a`: the node cannot pull from `127.0.0.1:5050`: the node's words
                             # for the platform team:
                             kubectl get pods -n kitbag -o wide
    FAILURE  pull          on node `a`: the node's disk is full
                             # for the platform team:
                             kubectl describe nodes
    FAILURE  pull          on node `a`: the image is not there for the node's architecture
                             # for the platform team:
                             kubectl get nodes -L kubernetes.io/arch
    FAILURE  pull          on node `a`: the registry at `127.0.0.1:5050` is in trouble: the node's words
                             # for the platform team:
                             kubectl logs -n kitbag daemonset/registry
    FAILURE  pull          on node `a`: the node does not reach `registry.example`
                             # for the platform team:
                             # a firewall or a NetworkPolicy lies between, or nobody listens; on that node:
                             curl -sS https://registry.example/v2/
    FAILURE  pull          on node `a`: the node's resolver does not know `registry.example`
                             # for the platform team:
                             # nodes know no Services: the name has to be one of the DNS that nodes use
    FAILURE  pull          on node `a`: the node does not trust the certificate of `registry.example`
                             # for the platform team:
                             # on each node, a file of the container runtime (containerd: `/etc/containerd/certs.d/registry.example/hosts.toml`) has to name the authority
    FAILURE  pull          on node `a`: `registry.example` speaks plain HTTP, which nodes accept from their own loopback only
                             # for the platform team:
                             # put TLS in front of it
    FAILURE  pull          on node `a`: `registry.example` does not let the node in
                             # for the platform team:
                             # a kitbag registry for nodes has to let everybody pull: see its `htpasswd` and `token-file`
    ");
}

#[test]
fn a_pull_that_was_not_tried_is_a_failure_too() {
    let outcomes = [
        Outcome::NotRun { node: "a".to_owned(), words: "exit code 128, exec format error".to_owned() },
        Outcome::Waiting { node: None, words: "0/1 nodes are available".to_owned(), made: true },
        Outcome::Waiting { node: None, words: "its Job has not made a pod".to_owned(), made: false },
        Outcome::NotMade {
            place: Place::Node("b".to_owned()),
            words: "pods \"x\" is forbidden: exceeded quota".to_owned(),
        },
    ];
    insta::assert_snapshot!(told(&judge(&outcomes, &found(), &nothing(), 0)), @r#"
    FAILURE  pull          on node `a`: the image was pulled and does not run: exit code 128, exec format error
                             # for the platform team:
                             kubectl get nodes -o wide
    FAILURE  pull          nothing has come of the pull: 0/1 nodes are available
                             # once more, with more time:
                             kubectl kitbag doctor -n '' --timeout 180
                             kubectl get nodes
    FAILURE  pull          nothing has come of the pull: its Job has not made a pod
                             # for the platform team:
                             # the cluster's controllers make pods of Jobs: do they run?
                             kubectl get pods -n kube-system
    FAILURE  pull          on node `b`: the cluster refuses the pod that would pull: pods "x" is forbidden: exceeded quota
                             # whoever made that rule has to make an exception, or somebody else runs this:
                             kubectl kitbag doctor -n ''
    "#);
}
