//! What the doctor asks, makes and deletes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kitbag_runner::Kind;
use kitbag_runner::doctor::facts::{Facts, Fetched};
use kitbag_runner::doctor::fetch::facts;
use kitbag_runner::doctor::pull::attempt::Attempt;
use kitbag_runner::doctor::pull::{Outcome, Place, Run};
use kitbag_runner::wait::Fault;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower_test::mock::{self, Handle};

/// A server that answers by what is asked, in whatever order: `METHOD /path` to a status and a document. What it was
/// asked is written down, and what was sent beside it.
fn server(
    answer: impl Fn(&str, &Value) -> (u16, Value) + Send + 'static,
) -> (Client, Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
    let (service, mut handle): (_, Handle<Request<Body>, Response<Body>>) = mock::pair();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let server = tokio::spawn(async move {
        while let Some((request, send)) = handle.next_request().await {
            let line = format!("{} {}", request.method(), request.uri());
            let sent = request.into_body().collect_bytes().await.unwrap();
            let sent: Value = serde_json::from_slice(&sent).unwrap_or_default();
            let (status, document) = answer(&line, &sent);
            log.lock().unwrap().push(line);
            let response = Response::builder().status(status).header("date", "Sun, 01 Mar 2026 12:00:00 GMT");
            send.send_response(response.body(Body::from(document.to_string().into_bytes())).unwrap());
        }
    });
    (Client::new(service, "web"), asked, server)
}

fn refused(code: u16, message: &str) -> (u16, Value) {
    (code, json!({ "kind": "Status", "status": "Failure", "code": code, "reason": "", "message": message }))
}

fn list(kind: &str, items: &[Value]) -> (u16, Value) {
    (200, json!({ "kind": format!("{kind}List"), "apiVersion": "v1", "metadata": {}, "items": items }))
}

/// What everybody is told.
fn common(line: &str) -> Option<(u16, Value)> {
    match line {
        "GET /version" => Some((
            200,
            json!({
                "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "", "buildDate": "",
                "goVersion": "", "compiler": "", "platform": "",
            }),
        )),
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews?" => {
            Some((201, json!({ "metadata": {}, "status": { "userInfo": { "username": "jane" } } })))
        }
        _ => None,
    }
}

fn rules(incomplete: bool, rules: &Value) -> (u16, Value) {
    let status = json!({ "incomplete": incomplete, "nonResourceRules": [], "resourceRules": rules });
    (201, json!({ "metadata": {}, "spec": {}, "status": status }))
}

fn allowed(allowed: bool) -> (u16, Value) {
    (201, json!({ "metadata": {}, "spec": {}, "status": { "allowed": allowed } }))
}

async fn fetched(answer: impl Fn(&str, &Value) -> (u16, Value) + Send + 'static) -> (Facts, Vec<String>) {
    let (client, asked, server) = server(answer);
    let facts = facts(&client, "web", Some("admin")).await.unwrap();
    drop(client);
    server.await.unwrap();
    let mut asked = asked.lock().unwrap().clone();
    asked.sort();
    (facts, asked)
}

#[tokio::test]
async fn the_platform_team_is_shown_everything() {
    let all = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    let (facts, asked) = fetched(move |line, _| match common(line) {
        Some(answer) => answer,
        None if line.contains("selfsubjectrulesreviews") => rules(false, &all),
        None if line.contains("selfsubjectaccessreviews") => allowed(true),
        None if line.contains("/configmaps/") || line.contains("/daemonsets/") => refused(404, "not found"),
        None if line.contains("/namespaces/web?") || line.ends_with("/namespaces/web") => {
            (200, json!({ "metadata": { "name": "web" } }))
        }
        None => list("Anything", &[]),
    })
    .await;
    insta::assert_snapshot!(asked.join("\n"), @r"
    GET /api/v1/namespaces/kitbag/events?&fieldSelector=involvedObject.kind%3DDaemonSet%2CinvolvedObject.name%3Dregistry
    GET /api/v1/namespaces/kitbag/pods?
    GET /api/v1/namespaces/kube-public/configmaps/kitbag
    GET /api/v1/namespaces/web
    GET /api/v1/namespaces/web/pods?watch=true&timeoutSeconds=1
    GET /api/v1/namespaces/web/resourcequotas?
    GET /api/v1/nodes?
    GET /apis/apps/v1/daemonsets?&labelSelector=app.kubernetes.io%2Fname%3Dkitbag
    GET /apis/apps/v1/namespaces/kitbag/daemonsets/registry
    GET /version
    POST /apis/authentication.k8s.io/v1/selfsubjectreviews?
    POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews?
    POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews?
    POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews?
    POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews?
    ");
    // This server takes a WebSocket for any other question, as one does behind a proxy that changes the headers.
    assert_eq!(facts.upgrade, Fetched::Got(false));
    assert!(facts.who.platform);
    assert_eq!(facts.who.user, "jane");
    assert_eq!(facts.server.version.git_version, "v1.36.3");
    assert_eq!(facts.server.date, Some("2026-03-01T12:00:00Z".parse().unwrap()));
    assert_eq!((facts.discovery, facts.daemonset), (Fetched::Absent, Fetched::Absent));
    assert_eq!((facts.nodes, facts.quotas), (Fetched::Got(Vec::new()), Fetched::Got(Vec::new())));
}

#[tokio::test]
async fn a_user_is_asked_about_before_anything_that_is_not_theirs() {
    let few = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }]);
    let (facts, asked) = fetched(move |line, _| match common(line) {
        Some(answer) => answer,
        None if line.contains("selfsubjectrulesreviews") => rules(false, &few),
        None if line.contains("selfsubjectaccessreviews") => allowed(false),
        None => refused(403, "forbidden"),
    })
    .await;
    insta::assert_snapshot!(asked.join("\n"), @r"
    GET /api/v1/namespaces/kube-public/configmaps/kitbag
    GET /version
    POST /apis/authentication.k8s.io/v1/selfsubjectreviews?
    POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews?
    POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews?
    POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews?
    POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews?
    ");
    assert!(!facts.who.platform);
    assert_eq!(
        (facts.discovery, facts.nodes, facts.pods),
        (Fetched::Forbidden, Fetched::Forbidden, Fetched::Forbidden)
    );
}

#[tokio::test]
async fn where_permissions_cannot_be_listed_each_is_asked_for() {
    let (facts, asked) = fetched(move |line, sent| match common(line) {
        Some(answer) => answer,
        None if line.contains("selfsubjectrulesreviews") => rules(true, &json!([])),
        None if line.contains("selfsubjectaccessreviews") => {
            let wanted = &sent["spec"]["resourceAttributes"];
            allowed(wanted["namespace"] == "web" && wanted["resource"] == "pods" && wanted["subresource"] != "exec")
        }
        None => refused(403, "forbidden"),
    })
    .await;
    let may = |verb, resource| facts.permissions.may(verb, "", resource, None);
    let answers =
        [("get", "pods"), ("patch", "pods/ephemeralcontainers"), ("create", "pods/exec"), ("create", "events")];
    insta::assert_snapshot!(format!("{:?}", answers.map(|(verb, resource)| may(verb, resource))), @"[Yes, Yes, No, No]");
    assert!(!asked.iter().any(|line| line.contains("/daemonsets/") || line.contains("/nodes")), "{asked:#?}");
}

#[tokio::test]
async fn who_cannot_be_reached_is_an_error() {
    let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
    drop(handle);
    assert!(facts(&Client::new(service, "web"), "web", None).await.is_err());
}

#[tokio::test]
async fn whoever_is_not_let_in_learns_nothing_else() {
    for (code, kind) in [(401, Kind::Forbidden), (502, Kind::Cluster)] {
        let (client, _, server) = server(move |_, _| refused(code, "no"));
        assert_eq!(facts(&client, "web", None).await.unwrap_err().kind(), kind);
        drop(client);
        server.await.unwrap();
    }
}

/// A pod of the Job number `index`.
fn pod(index: usize, state: &Value) -> Value {
    json!({
        "metadata": {
            "name": format!("kitbag-doctor-b2c4d-{index}-x"), "creationTimestamp": "2026-03-01T12:00:00Z",
            "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": format!("kitbag-doctor-b2c4d-{index}"), "uid": "1" }],
        },
        "spec": { "nodeName": format!("node{index}"), "containers": [] },
        "status": { "containerStatuses": [{
            "name": "pull", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }] },
    })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "waiting": { "reason": reason, "message": message } })
}

fn run() -> Run {
    Run {
        id: "b2c4d".to_owned(),
        image: "127.0.0.1:5050/busybox@sha256:00".to_owned(),
        limit: Duration::from_secs(60),
        ahead: SignedDuration::ZERO,
    }
}

/// A run of `count` pulls. `pods` says what the pods do when they are looked at for the nth time.
async fn pulled(
    count: usize,
    made: impl Fn(&str) -> (u16, Value) + Send + 'static,
    pods: impl Fn(usize) -> Vec<Value> + Send + 'static,
    events: Vec<Value>,
) -> (Vec<Outcome>, Vec<String>) {
    let looks = Mutex::new(0);
    let (client, asked, server) = server(move |line, sent| match line.split_once(' ').unwrap() {
        ("POST", _) => made(sent["metadata"]["name"].as_str().unwrap()),
        ("DELETE", _) => (200, json!({ "kind": "Status", "status": "Success", "code": 200 })),
        (_, path) if path.contains("/events") => list("Event", &events),
        _ => {
            let mut look = looks.lock().unwrap();
            *look += 1;
            list("Pod", &pods(*look))
        }
    });
    let run = run();
    let places: Vec<Place> = (0..count).map(|index| Place::Node(format!("node{index}"))).collect();
    let attempt = Attempt::new(&client, "kitbag", &run, &places);
    let outcomes = attempt.outcomes().await;
    attempt.clean().await;
    drop((attempt, client));
    server.await.unwrap();
    let asked = asked.lock().unwrap().clone();
    (outcomes, asked)
}

fn taken(_: &str) -> (u16, Value) {
    (201, json!({ "metadata": {} }))
}

fn done(index: usize) -> Outcome {
    Outcome::Done { node: format!("node{index}"), skew: 0 }
}

#[tokio::test(start_paused = true)]
async fn jobs_are_made_looked_at_together_and_deleted() {
    let ended = json!({ "terminated": { "exitCode": 0 } });
    let pods = move |look| match look {
        1 => vec![pod(1, &waiting("ContainerCreating", ""))],
        2 => vec![pod(1, &ended), pod(0, &waiting("ContainerCreating", ""))],
        _ => vec![pod(0, &ended), pod(1, &ended)],
    };
    let (outcomes, asked) = pulled(2, taken, pods, Vec::new()).await;
    assert_eq!(outcomes, [done(0), done(1)]);
    insta::assert_snapshot!(asked.join("\n"), @r"
    POST /apis/batch/v1/namespaces/kitbag/jobs?
    POST /apis/batch/v1/namespaces/kitbag/jobs?
    GET /api/v1/namespaces/kitbag/pods?&labelSelector=app.kubernetes.io%2Fname%3Dkitbag-doctor%2Capp.kubernetes.io%2Finstance%3Db2c4d
    GET /api/v1/namespaces/kitbag/pods?&labelSelector=app.kubernetes.io%2Fname%3Dkitbag-doctor%2Capp.kubernetes.io%2Finstance%3Db2c4d
    GET /api/v1/namespaces/kitbag/pods?&labelSelector=app.kubernetes.io%2Fname%3Dkitbag-doctor%2Capp.kubernetes.io%2Finstance%3Db2c4d
    DELETE /apis/batch/v1/namespaces/kitbag/jobs/kitbag-doctor-b2c4d-0?
    DELETE /apis/batch/v1/namespaces/kitbag/jobs/kitbag-doctor-b2c4d-1?
    ");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_pull_is_given_one_more_try() {
    let refused = "failed to pull: dial tcp 127.0.0.1:5050: connect: connection refused";
    let pods = move |look| match look {
        1 => vec![pod(0, &waiting("ErrImagePull", refused))],
        // Older kubelets leave out the cause here.
        2..20 => vec![pod(0, &waiting("ImagePullBackOff", "Back-off pulling image"))],
        _ => vec![pod(0, &json!({ "terminated": { "exitCode": 0 } }))],
    };
    let (outcomes, _) = pulled(1, taken, pods, Vec::new()).await;
    assert_eq!(outcomes, [done(0)]);
    let never = move |look| match look {
        1 => vec![pod(0, &waiting("ErrImagePull", refused))],
        _ => vec![pod(0, &waiting("ImagePullBackOff", "Back-off pulling image"))],
    };
    let (outcomes, asked) = pulled(1, taken, never, Vec::new()).await;
    let expected =
        Outcome::NotPulled { node: "node0".to_owned(), fault: Fault::Unreachable, words: refused.to_owned() };
    assert_eq!(outcomes, [expected]);
    let looks = asked.iter().filter(|line| line.contains("/pods?")).count();
    assert!((40..60).contains(&looks), "{looks} looks");
}

#[tokio::test(start_paused = true)]
async fn what_no_further_try_changes_is_told_at_once() {
    let pods = |_| vec![pod(0, &waiting("ErrImagePull", "127.0.0.1:5050/busybox@sha256:00: not found"))];
    let (outcomes, asked) = pulled(1, taken, pods, Vec::new()).await;
    assert!(matches!(outcomes[..], [Outcome::NotPulled { fault: Fault::Missing, .. }]), "{outcomes:?}");
    assert_eq!(asked.len(), 3, "{asked:#?}");
}

#[tokio::test(start_paused = true)]
async fn who_refuses_the_pod_is_told_and_all_is_deleted_all_the_same() {
    let event = json!({
        "metadata": {}, "involvedObject": { "kind": "Job", "name": "kitbag-doctor-b2c4d-0" }, "reason": "FailedCreate",
        "message": "Error creating: pods \"x\" is forbidden: exceeded quota",
    });
    let made = |name: &str| {
        if name.ends_with("-1") { refused(403, "jobs.batch is forbidden: exceeded quota: jobs") } else { taken(name) }
    };
    let (outcomes, asked) = pulled(2, made, |_| Vec::new(), vec![event]).await;
    let words = outcomes.iter().map(|outcome| match outcome {
        Outcome::NotMade { words, .. } => words.as_str(),
        other => panic!("{other:?}"),
    });
    insta::assert_snapshot!(words.collect::<Vec<_>>().join("\n"), @r#"
    Error creating: pods "x" is forbidden: exceeded quota
    a limit of the namespace refuses the debug container: jobs.batch is forbidden: exceeded quota: jobs
    "#);
    assert_eq!(asked.iter().filter(|line| line.starts_with("DELETE")).count(), 2, "{asked:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_limit_ends_the_wait() {
    let (outcomes, _) = pulled(1, taken, |_| vec![pod(0, &waiting("ContainerCreating", ""))], Vec::new()).await;
    assert!(
        matches!(&outcomes[..], [Outcome::Waiting { words, .. }] if words == "the node is pulling"),
        "{outcomes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_limit_ends_the_wait_for_a_server_that_does_not_answer() {
    for (silent, expected) in [("POST", "the API server has not answered"), ("GET", "its Job has not made a pod")] {
        let (service, mut handle): (_, Handle<Request<Body>, Response<Body>>) = mock::pair();
        let server = tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some((request, send)) = handle.next_request().await {
                if request.method() == silent {
                    unanswered.push(send);
                } else {
                    let (status, document) = taken("");
                    let response = Response::builder().status(status);
                    send.send_response(response.body(Body::from(document.to_string().into_bytes())).unwrap());
                }
            }
        });
        let client = Client::new(service, "web");
        let (run, start) = (run(), Instant::now());
        let places = [Place::Node("node0".to_owned())];
        let outcomes = Attempt::new(&client, "kitbag", &run, &places).outcomes().await;
        assert!(start.elapsed() < run.limit + Duration::from_secs(1), "{:?}", start.elapsed());
        assert!(matches!(&outcomes[..], [Outcome::Waiting { words, .. }] if words == expected), "{outcomes:?}");
        drop(client);
        server.await.unwrap();
    }
}

#[tokio::test]
async fn what_an_earlier_run_has_left_is_deleted_and_nothing_of_one_that_goes_on() {
    let job = |name: &str, made: &str, limit: u32| {
        json!({
            "metadata": { "name": name, "creationTimestamp": made },
            "spec": { "activeDeadlineSeconds": limit, "template": {} },
        })
    };
    let jobs = [
        job("kitbag-doctor-old00-0", "2026-03-01T11:53:00Z", 60),
        job("kitbag-doctor-new00-0", "2026-03-01T11:55:00Z", 60),
        job("kitbag-doctor-long0-0", "2026-03-01T11:00:00Z", 7200),
    ];
    let (client, asked, server) = server(move |line, _| match line.split_once(' ').unwrap().0 {
        "GET" => list("Job", &jobs),
        _ => (200, json!({ "kind": "Status", "status": "Success", "code": 200 })),
    });
    let run = run();
    let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    Attempt::new(&client, "kitbag", &run, &[]).remove_leftovers(now).await;
    drop(client);
    server.await.unwrap();
    insta::assert_snapshot!(asked.lock().unwrap().join("\n"), @r"
    GET /apis/batch/v1/namespaces/kitbag/jobs?&labelSelector=app.kubernetes.io%2Fname%3Dkitbag-doctor
    DELETE /apis/batch/v1/namespaces/kitbag/jobs/kitbag-doctor-old00-0?
    ");
}
