//! `kubectl kitbag install` as a process, against an API server that answers as it is told: what it says, how it ends, and
//! that it has touched nothing by then.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// What was asked, in order.
type Asked = Arc<Mutex<Vec<String>>>;

/// An API server; it ends with this process.
fn server(answer: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, answer) = (Asked::default(), Arc::new(answer));
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            thread::spawn(move || serve(stream.unwrap(), &log, &*answer));
        }
    });
    (address, asked)
}

/// One request on each connection.
fn serve(stream: TcpStream, log: &Asked, answer: &dyn Fn(&str, &Value) -> (u16, Value)) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).unwrap();
    let asked = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim_end().to_lowercase();
        match header.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut sent = vec![0; length];
    reader.read_exact(&mut sent).unwrap();
    log.lock().unwrap().push(asked.clone());
    let (code, body) = answer(&asked, &serde_json::from_slice(&sent).unwrap_or_default());
    let body = body.to_string();
    let head = format!("HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    // Who has left hears nothing.
    let _ = write!(reader.get_mut(), "{head}\r\nconnection: close\r\n\r\n{body}");
}

/// The exit code, and what is said.
fn install(address: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-kitbag"));
    command.env_clear().args(["install", "--server", address]).args(arguments);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    format!("{}{said}exit {}", String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

fn version(minor: &str) -> (u16, Value) {
    (
        200,
        json!({
            "major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.0"), "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        }),
    )
}

fn refused(code: u16, message: &str) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "" };
    (code, json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message }))
}

fn touched(asked: &Asked) -> Vec<String> {
    let is_change = |line: &&String| {
        !line.starts_with("GET ") && !line.contains("authorization.k8s.io") && !line.contains("authentication.k8s.io")
    };
    asked.lock().unwrap().iter().filter(is_change).cloned().collect()
}

#[test]
fn a_cluster_without_ephemeral_containers_is_told_so_and_left_alone() {
    let (address, asked) = server(|asked, _| match asked {
        "GET /version" => version("22"),
        _ => refused(500, "asked too much"),
    });
    insta::assert_snapshot!(install(&address, &["--image", "registry.example/kitbag-registry:1"]), @r"
    error: Kubernetes v1.22.0 has no ephemeral containers, without which no pod can be debugged
    hint: nothing was touched; upgrade the cluster: ephemeral containers came with Kubernetes 1.25
    exit 69
    ");
    assert_eq!(*asked.lock().unwrap(), ["GET /version"]);
}

#[test]
fn without_an_image_it_says_how_to_make_one() {
    let (address, asked) = server(|asked, _| match asked {
        "GET /version" => version("36"),
        _ => refused(404, "not found"),
    });
    insta::assert_snapshot!(install(&address, &[]), @r"
    error: no image is named, and none is installed
    hint: `kitbag-builder image --server --to REGISTRY/kitbag-registry:TAG` makes one; name it with --image REGISTRY/kitbag-registry@DIGEST
    exit 64
    ");
    assert!(touched(&asked).is_empty());
}

#[test]
fn who_may_not_ask_the_registries_hears_of_the_other_way() {
    let (address, asked) = server(|asked, sent| match asked {
        "GET /version" => version("36"),
        _ if asked.contains("selfsubjectaccessreviews") => {
            let is_exec = sent["spec"]["resourceAttributes"]["subresource"] == "exec";
            (201, json!({ "metadata": {}, "spec": {}, "status": { "allowed": !is_exec } }))
        }
        _ if asked.contains("selfsubjectreviews") => {
            (201, json!({ "metadata": {}, "status": { "userInfo": { "username": "jane" } } }))
        }
        _ => refused(404, "not found"),
    });
    insta::assert_snapshot!(install(&address, &["--image", "registry.example/kitbag-registry:1"]), @r#"
    image `registry.example/kitbag-registry:1`, as --image says
    error: user `jane` lacks permissions:
      get and create `pods/exec` in namespace `kitbag`
    hint: nothing was touched; a ClusterRole with these rules will do:
      - apiGroups: [""]
        resources: ["pods/exec"]
        verbs: ["get", "create"]
    `pods/exec` is for asking the image what it serves: --catalog FILE says it instead, which `kitbag-builder catalog --store DIR` prints
    exit 77
    "#);
    assert!(touched(&asked).is_empty());
}

#[test]
fn a_namespace_that_somebody_keeps_registries_out_of_is_left_alone() {
    let (address, asked) = server(|asked, _| match asked {
        "GET /version" => version("36"),
        "GET /api/v1/namespaces/kitbag" => {
            let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
            (
                200,
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kitbag", "labels": labels } }),
            )
        }
        _ => refused(404, "not found"),
    });
    insta::assert_snapshot!(install(&address, &["--image", "registry.example/kitbag-registry:1"]), @r"
    image `registry.example/kitbag-registry:1`, as --image says
    error: namespace `kitbag` is somebody else's, and at the Pod Security level `restricted`, which keeps registries out: they take the node's network
    hint: nothing was touched; whose it is may let them in: `kubectl label namespace kitbag pod-security.kubernetes.io/enforce=privileged --overwrite`; or name another with --namespace
    exit 73
    ");
    assert!(touched(&asked).is_empty());
}

#[test]
fn what_is_installed_is_not_guessed_where_nobody_says() {
    let (address, asked) = server(|asked, _| match asked {
        "GET /version" => version("36"),
        "GET /apis/apps/v1/namespaces/kitbag/daemonsets/registry" => refused(500, "etcd has no leader"),
        _ => refused(404, "not found"),
    });
    insta::assert_snapshot!(install(&address, &["--image", "registry.example/kitbag-registry:1"]), @r"
    error: the cluster refuses to be asked what is installed: etcd has no leader
    hint: nothing was touched
    exit 69
    ");
    assert!(touched(&asked).is_empty());
}

#[test]
fn who_may_not_see_what_is_installed_lacks_a_permission_and_no_image() {
    let (address, asked) = server(|asked, sent| match asked {
        "GET /version" => version("36"),
        _ if asked.contains("selfsubjectaccessreviews") => {
            let is_set = sent["spec"]["resourceAttributes"]["resource"] == "daemonsets";
            (201, json!({ "metadata": {}, "spec": {}, "status": { "allowed": !is_set } }))
        }
        _ if asked.contains("daemonsets") => refused(403, "no"),
        _ => refused(404, "not found"),
    });
    let said = install(&address, &[]);
    assert!(said.contains("get and patch and create `daemonsets` in namespace `kitbag`"), "{said}");
    assert!(said.ends_with("exit 77"), "{said}");
    assert!(touched(&asked).is_empty());
}

#[test]
fn a_daemonset_of_the_same_name_is_not_taken_over() {
    let (address, asked) = server(|asked, sent| match asked {
        "GET /version" => version("36"),
        "GET /apis/apps/v1/namespaces/kitbag/daemonsets/registry" => {
            let labels = json!({ "app": "theirs" });
            let spec = json!({
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [] } },
            });
            let metadata = json!({ "name": "registry", "namespace": "kitbag", "labels": labels });
            (200, json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec }))
        }
        _ if asked.contains("selfsubjectaccessreviews") => {
            assert!(!sent.is_null());
            (201, json!({ "metadata": {}, "spec": {}, "status": { "allowed": true } }))
        }
        _ => refused(404, "not found"),
    });
    insta::assert_snapshot!(install(&address, &["--image", "registry.example/kitbag-registry:1"]), @r"
    image `registry.example/kitbag-registry:1`, as --image says
    error: DaemonSet `registry` in namespace `kitbag` is somebody else's: it has no label `app.kubernetes.io/name=kitbag`
    hint: nothing was touched; rename or remove it, or name another namespace with --namespace where that will do
    exit 73
    ");
    assert!(touched(&asked).is_empty());
}

/// The deadline of a namespace that does not go is the end, and no dry run waits for it.
#[test]
fn a_namespace_that_does_not_go_is_not_installed_into() {
    let (address, asked) = server(|asked, _| match asked {
        "GET /version" => version("36"),
        "GET /api/v1/namespaces/kitbag" => {
            let metadata = json!({
                "name": "kitbag", "deletionTimestamp": "2026-11-21T10:00:00Z",
                "labels": { "app.kubernetes.io/managed-by": "kubectl-kitbag" },
            });
            (200, json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }))
        }
        _ => refused(404, "not found"),
    });
    let image = ["--image", "registry.example/kitbag-registry:1"];
    insta::assert_snapshot!(install(&address, &[&image[..], &["--timeout", "1"]].concat()), @r"
    image `registry.example/kitbag-registry:1`, as --image says
    Namespace `kitbag` is being deleted: waiting until it is gone…
    error: after 1 s these are being deleted still:
      Namespace `kitbag`
    hint: `kubectl get namespaces kitbag --output yaml` says what it waits for
    exit 75
    ");
    assert!(touched(&asked).is_empty());
    let said = install(&address, &[&image[..], &["--dry-run"]].concat());
    assert!(!said.contains("waiting"), "{said}");
}

/// A server that is busy is asked again, and who it refuses for good is not.
#[test]
fn what_passes_is_tried_again() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let (address, asked) = server(move |asked, _| match asked {
        "GET /version" => version("36"),
        _ if asked.contains("selfsubjectaccessreviews") => {
            (201, json!({ "metadata": {}, "spec": {}, "status": { "allowed": true } }))
        }
        _ if asked.starts_with("PATCH") => match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => refused(429, "slow down"),
            _ => refused(403, "violates a policy"),
        },
        _ => refused(404, "not found"),
    });
    insta::assert_snapshot!(install(&address, &["--image", "registry.example/kitbag-registry:1"]), @r"
    image `registry.example/kitbag-registry:1`, as --image says
    error: the cluster refuses Namespace `kitbag`: violates a policy
    hint: nothing was touched
    exit 73
    ");
    assert_eq!(touched(&asked).len(), 2);
}
