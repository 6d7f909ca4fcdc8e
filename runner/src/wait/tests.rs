use super::*;
use serde_json::{Value, json};

fn seen_in(more: &Value, state: &Value) -> State {
    let mut pod = json!({
        "metadata": { "name": "shop" },
        "spec": {
            "nodeName": "node1",
            "containers": [],
            "ephemeralContainers": [
                { "name": "kitbag-new", "targetContainerName": "app", "image": "127.0.0.1:5005/strace@sha256:00" },
            ],
        },
        "status": { "phase": "Running", "ephemeralContainerStatuses": [
            { "name": "kitbag-old", "state": { "terminated": { "exitCode": 0 } } },
            { "name": "kitbag-new", "state": state },
        ] },
    });
    for (key, value) in more.as_object().unwrap() {
        for (inner, value) in value.as_object().unwrap() {
            pod[key][inner] = value.clone();
        }
    }
    observe(&serde_json::from_value(pod).unwrap(), "kitbag-new")
}

fn seen(state: &Value) -> State {
    seen_in(&json!({}), state)
}

fn waiting(reason: &str, message: &str) -> State {
    seen(&json!({ "waiting": { "reason": reason, "message": message } }))
}

fn ended(code: i32, reason: &str, message: &str) -> State {
    seen(&json!({ "terminated": { "exitCode": code, "reason": reason, "message": message } }))
}

fn text(state: State) -> String {
    match state {
        State::Running => "running".to_owned(),
        State::Waiting(reason) => format!("waits: {}", reason.line()),
        State::Failed(cause) => {
            let error = WaitError { cause: Box::new(cause), events: Vec::new() };
            let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            format!("ends {}: {error}{hint}", error.kind().exit_code())
        }
    }
}

fn texts(states: impl IntoIterator<Item = State>) -> String {
    states.into_iter().map(text).collect::<Vec<_>>().join("\n")
}

#[test]
fn on_its_way_the_container_is_waited_for() {
    insta::assert_snapshot!(texts([
        seen(&Value::Null),
        waiting("ContainerCreating", ""),
        waiting("PodInitializing", ""),
        waiting("CreateContainerError", "context deadline exceeded"),
        waiting("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition"),
        seen(&json!({ "running": {} })),
    ]), @r"
    waits: waiting for node `node1`…
    waits: pulling image…
    waits: pulling image…
    waits: CreateContainerError: context deadline exceeded
    waits: CreateContainerConfigError: failed to sync secret cache: timed out waiting for the condition
    running
    ");
}

#[test]
fn a_target_between_two_starts_is_waited_for() {
    insta::assert_snapshot!(texts([
        waiting(
            "CreateContainerError",
            "failed to generate container spec: invalid target container: container \"4f1c\" is not running - in state CONTAINER_EXITED",
        ),
        waiting("CreateContainerConfigError", "unable to find target container app"),
        waiting("RunContainerError", "runc create failed: lstat /proc/4711/ns/pid: no such file or directory"),
    ]), @r"
    waits: container `app` is not running: waiting for its next start…
    waits: container `app` is not running: waiting for its next start…
    waits: container `app` is not running: waiting for its next start…
    ");
}

#[test]
fn images_that_may_yet_come_are_waited_for() {
    insta::assert_snapshot!(texts([
        waiting(
            "ErrImagePull",
            "rpc error: code = Unavailable desc = failed to pull and unpack image \"127.0.0.1:5005/strace@sha256:00\": dial tcp 127.0.0.1:5005: connect: connection refused",
        ),
        waiting("ImagePullBackOff", "Back-off pulling image \"x\": ErrImagePull: rpc error: code = Unknown desc = dial tcp: lookup kitbag.web.svc: no such host"),
        waiting("ErrImagePull", "unexpected status from HEAD request to http://127.0.0.1:5005/v2/: 503 Service Unavailable"),
        waiting("ImagePullBackOff", "Back-off pulling image \"x\""),
    ]), @r#"
    waits: the node cannot pull the image yet, and tries again (ErrImagePull): failed to pull and unpack image "127.0.0.1:5005/strace@sha256:00": dial tcp 127.0.0.1:5005: connect: connection refused
    hint: nodes pull by themselves: `127.0.0.1:5005` has to answer on the node, whatever it does here; `kubectl kitbag doctor` examines the cluster's own, --registry names another
    waits: the node cannot pull the image yet, and tries again (ImagePullBackOff): dial tcp: lookup kitbag.web.svc: no such host
    hint: the node's own resolver has to know `127.0.0.1:5005`, and it knows no Services; --registry names another
    waits: the node cannot pull the image yet, and tries again (ErrImagePull): unexpected status from HEAD request to http://127.0.0.1:5005/v2/: 503 Service Unavailable
    hint: registry `127.0.0.1:5005` is in trouble or has had enough; --registry names another
    waits: the node cannot pull the image yet, and tries again (ImagePullBackOff): Back-off pulling image "x"
    hint: `kubectl describe pod` has what the node says
    "#);
}

#[test]
fn images_that_will_not_come_end_the_wait() {
    insta::assert_snapshot!(texts([
        waiting("ErrImagePull", "rpc error: code = NotFound desc = failed to resolve reference \"127.0.0.1:5005/strace@sha256:00\": 127.0.0.1:5005/strace@sha256:00: not found"),
        waiting("ErrImagePull", "reading manifest sha256:00 in example.com/strace: manifest unknown"),
        waiting("ErrImagePull", "failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized"),
        waiting("ErrImagePull", "failed to do request: Head \"https://example.com\": tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        waiting("ErrImagePull", "failed to do request: Head \"https://10.0.0.1:5005\": http: server gave HTTP response to HTTPS client"),
        waiting("ErrImagePull", "no match for platform in manifest: not found"),
        waiting("InvalidImageName", "couldn't parse image name \"X\": invalid reference format"),
        waiting("ErrImageNeverPull", "Container image \"x\" is not present with pull policy of Never"),
    ]), @r#"
    ends 71: the node cannot pull the image (ErrImagePull): failed to resolve reference "127.0.0.1:5005/strace@sha256:00": 127.0.0.1:5005/strace@sha256:00: not found
    hint: the registry that the node knows as `127.0.0.1:5005` has no such image: it may be another than the one that this machine knows so; `kubectl kitbag doctor` examines the cluster's own
    ends 71: the node cannot pull the image (ErrImagePull): reading manifest sha256:00 in example.com/strace: manifest unknown
    hint: the registry that the node knows as `127.0.0.1:5005` has no such image: it may be another than the one that this machine knows so; `kubectl kitbag doctor` examines the cluster's own
    ends 71: the node cannot pull the image (ErrImagePull): failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized
    hint: `127.0.0.1:5005` wants to know the node: only the pull secrets that the pod has already count, and none can be added; --registry names another
    ends 71: the node cannot pull the image (ErrImagePull): failed to do request: Head "https://example.com": tls: failed to verify certificate: x509: certificate signed by unknown authority
    hint: the node's container runtime has to trust the certificate of `127.0.0.1:5005` (containerd: `hosts.toml`); --registry names another
    ends 71: the node cannot pull the image (ErrImagePull): failed to do request: Head "https://10.0.0.1:5005": http: server gave HTTP response to HTTPS client
    hint: the node's container runtime has to be told that `127.0.0.1:5005` speaks plain HTTP (containerd: `hosts.toml`); on the node's loopback it needs no telling
    ends 71: the node cannot pull the image (ErrImagePull): no match for platform in manifest: not found
    hint: the image is not there for the node's architecture
    ends 71: the node cannot pull the image (InvalidImageName): couldn't parse image name "X": invalid reference format
    hint: the node can't read this image's name: see --registry and --image
    ends 71: the node cannot pull the image (ErrImageNeverPull): Container image "x" is not present with pull policy of Never
    hint: the image has to be on the node already: its kubelet is told not to pull it
    "#);
}

#[test]
fn what_cannot_be_made_or_started_ends_the_wait() {
    insta::assert_snapshot!(texts([
        waiting("CreateContainerConfigError", "container's runAsUser breaks non-root policy (pod: \"shop\", container: kitbag-new)"),
        waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root (pod: \"shop\", container: kitbag-new)"),
        waiting("CreateContainerConfigError", "secret \"gone\" not found"),
        waiting("CreateContainerConfigError", "recursive read-only mount is not supported by the runtime"),
        waiting("RunContainerError", "exec: \"/usr/bin/kitbag-init\": stat /usr/bin/kitbag-init: no such file or directory"),
        ended(128, "StartError", "exec /usr/bin/kitbag-init: exec format error\n"),
    ]), @r#"
    ends 71: the node cannot make the debug container (CreateContainerConfigError): container's runAsUser breaks non-root policy (pod: "shop", container: kitbag-new)
    hint: the pod wants no root: --as-user UID says as whom the debug container runs, --profile restricted takes the target's user
    ends 71: the node cannot make the debug container (CreateContainerConfigError): container has runAsNonRoot and image will run as root (pod: "shop", container: kitbag-new)
    hint: the pod wants no root: --as-user UID says as whom the debug container runs, --profile restricted takes the target's user
    ends 71: the node cannot make the debug container (CreateContainerConfigError): secret "gone" not found
    hint: --no-env leaves out the target's environment
    ends 71: the node cannot make the debug container (CreateContainerConfigError): recursive read-only mount is not supported by the runtime
    hint: --no-volumes leaves out the target's volumes
    ends 71: the node cannot start the debug container (RunContainerError): exec: "/usr/bin/kitbag-init": stat /usr/bin/kitbag-init: no such file or directory
    hint: an image for debugging has `/usr/bin/kitbag-init`: --image takes one that a kitbag registry composed
    ends 71: the node cannot start the debug container (StartError): exec /usr/bin/kitbag-init: exec format error
    hint: the image is for another architecture than the node's
    "#);
}

#[test]
fn what_has_ended_says_how() {
    let shared = json!({ "spec": { "shareProcessNamespace": true } });
    let killed = json!({ "terminated": { "exitCode": 137, "reason": "Error" } });
    insta::assert_snapshot!(texts([
        ended(0, "Completed", ""),
        ended(125, "Error", "kitbag-init: no such flag\n"),
        seen(&killed),
        ended(137, "OOMKilled", ""),
        seen_in(&shared, &killed),
    ]), @r"
    ends 71: the debug container has ended at once (Completed, exit code 0): no message
    ends 71: the debug container has ended at once (Error, exit code 125): kitbag-init: no such flag
    ends 67: container `app` has ended and took the debug container along
    hint: the same command again begins with its next start
    ends 71: the debug container has ended at once (OOMKilled, exit code 137): no message
    ends 71: the debug container has ended at once (Error, exit code 137): no message
    ");
}

#[test]
fn the_end_of_the_pod_is_an_end() {
    let gone = json!({ "status": { "phase": "Failed" } });
    let going = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    let creating = json!({ "waiting": { "reason": "ContainerCreating" } });
    insta::assert_snapshot!(texts([
        seen_in(&gone, &Value::Null),
        seen_in(&going, &creating),
        // It runs as long as it may.
        seen_in(&going, &json!({ "running": {} })),
    ]), @r"
    ends 67: pod `shop` has ended while the debug container was starting
    ends 67: pod `shop` is being deleted: the debug container will not start
    running
    ");
}

#[test]
fn the_time_ends_with_the_state_the_events_and_a_hint() {
    let timeouts = [
        seen(&Value::Null),
        waiting("ContainerCreating", ""),
        waiting("CreateContainerConfigError", "unable to find target container app"),
        waiting("ErrImagePull", "dial tcp 127.0.0.1:5005: connect: connection refused"),
        waiting("CreateContainerError", "context deadline exceeded"),
        State::Waiting(Reason::away("connection refused")),
    ];
    let timeout = |state| match state {
        State::Waiting(reason) => text(State::Failed(Cause::Timeout { seconds: 60, reason })),
        state => panic!("{state:?}"),
    };
    insta::assert_snapshot!(timeouts.map(timeout).join("\n"), @r"
    ends 75: the debug container has not started within 60 s: waiting for node `node1`…
    hint: the node has not said anything about it: is it ready (`kubectl get nodes`)? Kubelets before 1.23 can't do this
    ends 75: the debug container has not started within 60 s: pulling image…
    hint: what has been pulled stays on the node: the same command again goes on from there; --timeout waits longer
    ends 75: the debug container has not started within 60 s: container `app` is not running: waiting for its next start…
    hint: `kubectl logs --previous` tells why the container ends; --timeout waits longer
    ends 75: the debug container has not started within 60 s: the node cannot pull the image yet, and tries again (ErrImagePull): dial tcp 127.0.0.1:5005: connect: connection refused
    hint: nodes pull by themselves: `127.0.0.1:5005` has to answer on the node, whatever it does here; `kubectl kitbag doctor` examines the cluster's own, --registry names another
    ends 75: the debug container has not started within 60 s: CreateContainerError: context deadline exceeded
    hint: `kubectl describe pod` has the events; --timeout waits longer
    ends 75: the debug container has not started within 60 s: the cluster does not answer (connection refused): trying again…
    hint: check the connection: `kubectl get --raw /readyz`
    ");
}

#[test]
fn only_events_about_the_container_are_told_the_newest_last() {
    let event = |container: &str, second: u8, count: Option<i32>, reason: &str, message: &str| {
        let event = json!({
            "metadata": { "name": "shop.1" },
            "involvedObject": { "fieldPath": format!("spec.ephemeralContainers{{{container}}}") },
            "lastTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
            "count": count, "reason": reason, "message": message,
        });
        serde_json::from_value(event).unwrap()
    };
    let events = [
        event("kitbag-new", 9, Some(3), "Failed", "Error: ErrImagePull"),
        event("kitbag-old", 5, None, "Killing", "Stopping container kitbag-old"),
        event("kitbag-new", 2, None, "Pulling", "Pulling image \"x\""),
    ];
    let cause = Cause::Timeout { seconds: 60, reason: Reason::default() };
    let error = WaitError { cause: Box::new(cause), events: events::lines(&events, "kitbag-new") };
    insta::assert_snapshot!(error, @r#"
    the debug container has not started within 60 s: 
    the node's events:
      Pulling: Pulling image "x"
      Failed (3 times): Error: ErrImagePull
    "#);
}

#[test]
fn what_is_known_is_said_once_and_what_passes_is_not_said() {
    let pod = |state: &Value| {
        let pod = json!({
            "metadata": { "name": "shop" }, "spec": { "nodeName": "node1", "containers": [] },
            "status": { "ephemeralContainerStatuses": [{ "name": "kitbag-new", "state": state }] },
        });
        serde_json::from_value::<Pod>(pod).unwrap()
    };
    let waits = |reason: &str, message: &str| pod(&json!({ "waiting": { "reason": reason, "message": message } }));
    let mut said = Vec::new();
    let mut talk = Talk::new(|line: &str| said.push(line.to_owned()));
    let hear = |talk: &mut Talk<_>, pod: &Pod| assert!(talk.hear(pod, "kitbag-new").is_continue());
    hear(&mut talk, &pod(&Value::Null));
    hear(&mut talk, &waits("ContainerCreating", ""));
    let _ = talk.same::<()>();
    let _ = talk.away::<()>("connection reset");
    hear(&mut talk, &waits("ErrImagePull", "dial tcp 127.0.0.1:5005: connection refused"));
    hear(&mut talk, &waits("ImagePullBackOff", "Back-off pulling image"));
    hear(&mut talk, &waits("ErrImagePull", "dial tcp 127.0.0.1:5005: connection refused (again)"));
    let _ = talk.away::<()>("connection refused");
    let _ = talk.away::<()>("connection refused");
    let _ = talk.same::<()>();
    assert!(matches!(talk.reason().nature, Nature::Pull(Fault::Unreachable)));
    insta::assert_snapshot!(said.join("\n"), @r"
    pulling image…
    the node cannot pull the image yet, and tries again (ErrImagePull): dial tcp 127.0.0.1:5005: connection refused
    hint: nodes pull by themselves: `` has to answer on the node, whatever it does here; `kubectl kitbag doctor` examines the cluster's own, --registry names another
    the cluster does not answer (connection refused): trying again…
    ");
}
