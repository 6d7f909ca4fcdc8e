use serde_json::{Value, json};

use super::*;
use crate::doctor::testing::{daemonset, found, made, node, nodes, nothing, pod, pod_that, pods, told, with};

fn facts(daemonset: Value, all: &[Value]) -> Facts {
    let names = ["a", "b", "c"].map(node);
    Facts {
        daemonset: Fetched::Got(made(daemonset)),
        pods: Fetched::Got(pods(all)),
        nodes: Fetched::Got(nodes(&names)),
        ..nothing()
    }
}

fn judged(facts: &Facts) -> String {
    told(&judge(facts, &Installed::of(facts), Some(&found())))
}

/// Two pods as they should be, and a third.
fn third(pod_of_c: Value) -> String {
    judged(&facts(with(daemonset(3), "/status/numberReady", 2.into()), &[pod("a"), pod("b"), pod_of_c]))
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "waiting": { "reason": reason, "message": message } })
}

fn crashed(message: &str) -> Value {
    let pod = pod_that("c", waiting("CrashLoopBackOff", "back-off 10s restarting failed container"));
    let mut pod = with(pod, "/status/containerStatuses/0/restartCount", 3.into());
    pod["status"]["containerStatuses"][0]["lastState"] = json!({ "terminated": { "exitCode": 1, "message": message } });
    pod
}

#[test]
fn every_node_has_its_registry() {
    insta::assert_snapshot!(judged(&facts(daemonset(3), &["a", "b", "c"].map(pod))), @"ok       registry      DaemonSet `registry` is ready on 3 nodes: `registry.example/kitbag-registry:1`");
}

#[test]
fn there_may_be_none_or_none_to_be_seen() {
    let absent = Facts { daemonset: Fetched::Absent, ..nothing() };
    let central = Discovered { registry: "registry.example".to_owned(), per_node: false, ..found() };
    let texts = [
        judged(&absent),
        told(&judge(&absent, &Installed::of(&absent), None)),
        told(&judge(&absent, &Installed::of(&absent), Some(&central))),
        judged(&nothing()),
        judged(&Facts { pods: Fetched::Forbidden, ..facts(daemonset(3), &[]) }),
    ];
    insta::assert_snapshot!(texts.concat(), @r"
    FAILURE  registry      there is no DaemonSet `registry` in namespace `kitbag`
                             # for the platform team:
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  registry      there is no DaemonSet `registry` in namespace `kitbag`
                             # for the platform team:
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    skipped  registry      nodes pull from `registry.example`, which is not on the nodes: the pull tells whether it answers
    skipped  registry      only who may get DaemonSets in namespace `kitbag` can look at that
    skipped  registry      only who may list pods in namespace `kitbag` can look at that
    ");
}

#[test]
fn an_image_that_cannot_be_pulled_is_told_by_its_cause() {
    let images = [
        (
            "ImagePullBackOff",
            r#"Back-off pulling image "x": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image "x": not found"#,
        ),
        ("ErrImagePull", "dial tcp: lookup registry.example: no such host"),
        ("ErrImagePull", "401 Unauthorized"),
        ("ErrImageNeverPull", "Container image \"x\" is not present with pull policy of Never"),
        ("InvalidImageName", "couldn't parse image name"),
        ("ErrImagePull", "rpc error: code = Unknown desc = something else"),
    ];
    let texts = images.map(|(reason, message)| third(pod_that("c", waiting(reason, message))));
    insta::assert_snapshot!(texts.concat(), @r"
    FAILURE  registry      on node `c`: the registry's image `registry.example/kitbag-registry:1` cannot be pulled: there is no such image
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  registry      on node `c`: the registry's image `registry.example/kitbag-registry:1` cannot be pulled: its registry cannot be reached from the node
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  registry      on node `c`: the registry's image `registry.example/kitbag-registry:1` cannot be pulled: its registry wants a secret
                             kubectl kitbag install --pull-secret NAME
    FAILURE  registry      on node `c`: the registry's image `registry.example/kitbag-registry:1` cannot be pulled: it is not on the node, and must not be pulled
                             # on that node, with the archive of the image:
                             ctr -n k8s.io images import kitbag.tar
    FAILURE  registry      on node `c`: the registry's image `registry.example/kitbag-registry:1` cannot be pulled: that is no reference of an image
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  registry      on node `c`: the registry's image `registry.example/kitbag-registry:1` cannot be pulled: something else
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    ");
}

#[test]
fn a_registry_that_crashes_is_told_by_its_last_words() {
    let words = [
        "error: cannot listen on `127.0.0.1:5050`: it is in use; stop what listens there, or choose another with `--listen`\n",
        "error: the index has artifact type `application/x.v2`, not `application/x.v1`\n",
        "error: the store at `/store` has layout version `2.0.0`; this program knows `1.0.0`\n",
        "one line\nerror: something that nobody has seen before\n",
        "{\"level\":\"INFO\",\"status\":200}\n",
        "",
    ];
    insta::assert_snapshot!(words.map(|words| third(crashed(words))).concat(), @r"
    FAILURE  registry      on node `c`: another program of the node has the registry's port: cannot listen on `127.0.0.1:5050`: it is in use; stop what listens there, or choose another with `--listen`
                             # on that node, to see which:
                             ss -ltnp 'sport = :5050'
                             # or, to take another port:
                             kubectl kitbag install --port 5051
    FAILURE  registry      on node `c`: the registry cannot serve the store of its image: the index has artifact type `application/x.v2`, not `application/x.v1`
                             # program and store have to be of the same release, as they are in the image of one:
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  registry      on node `c`: the registry cannot serve the store of its image: the store at `/store` has layout version `2.0.0`; this program knows `1.0.0`
                             # program and store have to be of the same release, as they are in the image of one:
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  registry      on node `c`: the registry ends again and again, exit code 1: something that nobody has seen before
                             kubectl logs -n kitbag registry-c --previous
    FAILURE  registry      on node `c`: the registry ends again and again, exit code 1
                             kubectl logs -n kitbag registry-c --previous
    FAILURE  registry      on node `c`: the registry ends again and again, exit code 1
                             kubectl logs -n kitbag registry-c --previous
    ");
}

#[test]
fn a_registry_without_memory_is_told_so() {
    let mut pod = crashed("");
    pod["status"]["containerStatuses"][0]["lastState"] =
        json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
    insta::assert_snapshot!(third(pod), @r"
    FAILURE  registry      on node `c`: the registry was killed because it took more memory than its limit
                             kubectl describe pod -n kitbag registry-c
    ");
}

#[test]
fn other_states_of_a_pod() {
    let mut pending = with(
        pod("c"),
        "/spec",
        json!({
            "containers": [],
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["c"] }] },
            ] } } },
        }),
    );
    let unscheduled =
        |message: &str| json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": message }] });
    pending["status"] =
        unscheduled("0/3 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.");
    let mut declaring =
        facts(with(daemonset(3), "/status/numberReady", 2.into()), &[pod("a"), pod("b"), pending.clone()]);
    let mut declared = daemonset(3);
    declared["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 5050 }]);
    declaring.daemonset = Fetched::Got(made(declared));
    let ports = judged(&declaring) + &third(pending.clone());
    pending["status"] = unscheduled("0/3 nodes are available: 1 Insufficient memory.");
    let texts = [
        ports,
        third(pending),
        third(pod_that("c", json!({ "running": {} }))),
        third(pod_that(
            "c",
            waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
        )),
        third(pod_that("c", waiting("ContainerCreating", ""))),
    ];
    insta::assert_snapshot!(texts.concat(), @r#"
    FAILURE  registry      on node `c`: the registry's pod finds no place: 0/3 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.
                             # the DaemonSet must not declare ports: under hostNetwork two versions cannot share a declared one
                             kubectl patch daemonset registry -n kitbag --type=json --patch='[{"op":"remove","path":"/spec/template/spec/containers/0/ports"}]'
    FAILURE  registry      on node `c`: the registry's pod finds no place: 0/3 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.
                             kubectl describe pod -n kitbag registry-c
    FAILURE  registry      on node `c`: the registry's pod finds no place: 0/3 nodes are available: 1 Insufficient memory.
                             kubectl describe pod -n kitbag registry-c
    FAILURE  registry      on node `c`: the registry runs and is not ready
                             kubectl logs -n kitbag registry-c
    FAILURE  registry      on node `c`: the registry's container cannot be made (CreateContainerConfigError): container has runAsNonRoot and image will run as root
                             kubectl describe pod -n kitbag registry-c
    warning  registry      DaemonSet `registry` is being rolled out: 3 of 3 pods are made, 2 are ready
                             kubectl rollout status daemonset/registry -n kitbag
    "#);
}

#[test]
fn the_same_trouble_of_several_nodes_is_told_once() {
    let never = || waiting("ErrImageNeverPull", "not present");
    let two = [pod("a"), pod_that("b", never()), pod_that("c", never())];
    insta::assert_snapshot!(judged(&facts(with(daemonset(3), "/status/numberReady", 1.into()), &two)), @r"
    FAILURE  registry      on nodes `b`, `c`: the registry's image `registry.example/kitbag-registry:1` cannot be pulled: it is not on the node, and must not be pulled
                             # on that node, with the archive of the image:
                             ctr -n k8s.io images import kitbag.tar
    ");
}

#[test]
fn nodes_without_a_registry_are_told_with_the_reason() {
    let mut facts = facts(daemonset(1), &[pod("a")]);
    let tainted = json!({ "taints": [{ "key": "dedicated", "value": "gpu", "effect": "NoSchedule" }] });
    let mut gpu = node("gpu");
    gpu["spec"] = tainted;
    let mut cordoned = node("cordoned");
    cordoned["spec"] = json!({ "taints": [{ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" }] });
    let bare = with(node("bare"), "/metadata/labels", json!({}));
    facts.nodes = Fetched::Got(nodes(&[node("a"), gpu, cordoned, bare]));
    let narrow =
        with(daemonset(1), "/spec/template/spec/tolerations", json!([{ "key": "other", "operator": "Exists" }]));
    facts.daemonset = Fetched::Got(made(narrow));
    insta::assert_snapshot!(judged(&facts), @r"
    FAILURE  registry      node `gpu` has no registry: the DaemonSet does not tolerate the taint `dedicated=gpu:NoSchedule`
                             kubectl kitbag install
    FAILURE  registry      node `cordoned` has no registry: its pod is not there
                             # the cluster's controllers make it: do they run, and what do they say?
                             kubectl describe daemonset registry -n kitbag
                             kubectl get pods -n kube-system
    FAILURE  registry      node `bare` has no registry: the DaemonSet wants the label `kubernetes.io/os=linux`
                             kubectl label node bare kubernetes.io/os=linux --overwrite
    ");
}

#[test]
fn tolerations_are_read_as_the_scheduler_reads_them() {
    let taint: Taint =
        serde_json::from_value(json!({ "key": "dedicated", "value": "gpu", "effect": "NoSchedule" })).unwrap();
    for (toleration, tolerated) in [
        (json!({ "operator": "Exists" }), true),
        (json!({ "key": "dedicated", "operator": "Exists" }), true),
        (json!({ "key": "dedicated", "value": "gpu" }), true),
        (json!({ "key": "dedicated", "value": "gpu", "effect": "NoExecute" }), false),
        (json!({ "key": "dedicated", "value": "db" }), false),
        (json!({ "key": "other", "operator": "Exists" }), false),
    ] {
        let spec = json!({ "containers": [], "tolerations": [toleration] });
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(is_tolerated(Some(&spec), &taint), tolerated, "{toleration}");
    }
}

#[test]
fn a_rollout_is_no_failure_while_nothing_is_wrong() {
    let rolling = with(daemonset(3), "/status/updatedNumberScheduled", 1.into());
    let unseen = with(daemonset(3), "/metadata/generation", 2.into());
    let texts = [rolling, unseen, daemonset(0)].map(|it| judged(&facts(it, &["a", "b", "c"].map(pod))));
    insta::assert_snapshot!(texts.concat(), @r"
    warning  registry      DaemonSet `registry` is being rolled out: 1 of 3 pods are made, 3 are ready
                             kubectl rollout status daemonset/registry -n kitbag
    warning  registry      DaemonSet `registry` is being rolled out: 3 of 3 pods are made, 3 are ready
                             kubectl rollout status daemonset/registry -n kitbag
    FAILURE  registry      no node is to have a registry
                             kubectl describe daemonset registry -n kitbag
    ");
}

#[test]
fn pods_that_are_refused_are_told_by_who_refuses_them() {
    let refusals = [
        r#"Error creating: pods "registry-x" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true)"#,
        r#"Error creating: insufficient quota to match these scopes: [{PriorityClass In [system-node-critical system-cluster-critical]}]"#,
        r#"Error creating: pods "registry-x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0"#,
        "Error creating: admission webhook \"guard.example\" denied the request: no",
    ];
    let texts = refusals.map(|message| {
        let mut facts = facts(with(daemonset(3), "/status/currentNumberScheduled", 0.into()), &[]);
        let event = json!({
            "metadata": {}, "involvedObject": { "kind": "DaemonSet", "name": "registry" }, "reason": "FailedCreate", "message": message,
        });
        facts.events = vec![serde_json::from_value(event).unwrap()];
        judged(&facts)
    });
    insta::assert_snapshot!(texts.concat(), @r#"
    FAILURE  registry      namespace `kitbag` enforces the Pod Security level `restricted:latest`, which refuses the registry's pods: they use the node's network
                             kubectl label namespace kitbag pod-security.kubernetes.io/enforce=privileged --overwrite
                             kubectl rollout restart daemonset/registry -n kitbag
    FAILURE  registry      the cluster lets pods of priority `system-node-critical` be only where a quota names that priority
                             echo '{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"kitbag","namespace":"kitbag"},"spec":{"hard":{"pods":"1000"},"scopeSelector":{"matchExpressions":[{"operator":"In","scopeName":"PriorityClass","values":["system-node-critical"]}]}}}' | kubectl apply -f -
    FAILURE  registry      a quota of namespace `kitbag` refuses the registry's pods: Error creating: pods "registry-x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0
                             kubectl describe resourcequota -n kitbag
    FAILURE  registry      the registry's pods are refused: Error creating: admission webhook "guard.example" denied the request: no
                             kubectl describe daemonset registry -n kitbag
    "#);
}

#[test]
fn registries_of_different_images_are_told() {
    let other =
        with(pod("c"), "/status/containerStatuses/0/imageID", "registry.example/kitbag-registry@sha256:bb".into());
    insta::assert_snapshot!(judged(&facts(daemonset(3), &[pod("a"), pod("b"), other])), @r"
    warning  registry      registries differ, and so may what they serve: nodes `a`, `b` with sha256:aa; node `c` with sha256:bb
                             # a tag may mean another image on each node, a digest means one:
                             kubectl kitbag install --image registry.example/kitbag-registry@sha256:aa
    ");
}

#[test]
fn what_was_loaded_on_nodes_has_no_reference_by_digest() {
    let loaded = |node: &str, id: &str| with(pod(node), "/status/containerStatuses/0/imageID", id.into());
    let all = [loaded("a", "sha256:aa"), loaded("b", "sha256:aa"), loaded("c", "sha256:bb")];
    insta::assert_snapshot!(judged(&facts(daemonset(3), &all)), @r"
    warning  registry      registries differ, and so may what they serve: nodes `a`, `b` with sha256:aa; node `c` with sha256:bb
                             # on each node, the same archive of the image:
                             ctr -n k8s.io images import kitbag.tar
                             # and then:
                             kubectl rollout restart daemonset/registry -n kitbag
    ");
}

#[test]
fn a_node_that_is_off_does_not_stop_a_rollout_for_ever() {
    let mut facts = facts(with(daemonset(3), "/status/numberReady", 2.into()), &["a", "b", "c"].map(pod));
    let off = with(node("c"), "/status/conditions/0/status", "Unknown".into());
    facts.nodes = Fetched::Got(nodes(&[node("a"), node("b"), off]));
    insta::assert_snapshot!(judged(&facts), @"ok       registry      DaemonSet `registry` is ready on 2 nodes: `registry.example/kitbag-registry:1`");
}

#[test]
fn registries_may_listen_elsewhere_than_nodes_are_told() {
    let elsewhere = with(daemonset(3), "/spec/template/spec/containers/0/env/0/value", "127.0.0.1:5051".into());
    insta::assert_snapshot!(judged(&facts(elsewhere, &["a", "b", "c"].map(pod))), @r"
    FAILURE  registry      the registries listen on `127.0.0.1:5051`, and the ConfigMap sends nodes to `127.0.0.1:5050`
                             kubectl kitbag install
    ");
}

#[test]
fn an_affinity_of_others_is_taken_away_by_who_put_it_there() {
    let mut kept_off = daemonset(2);
    kept_off["spec"]["template"]["spec"]["affinity"] = json!({ "nodeAffinity": {} });
    insta::assert_snapshot!(judged(&facts(kept_off, &["a", "b"].map(pod))), @r#"
    FAILURE  registry      node `c` has no registry: the DaemonSet has an affinity, which no registry needs
                             kubectl patch daemonset registry -n kitbag --type=json --patch='[{"op":"remove","path":"/spec/template/spec/affinity"}]'
    "#);
}
