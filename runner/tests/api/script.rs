//! An API server that plays a script, and what its answers are made of.

use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::Pod;
use kitbag_runner::refusal::Asked;
use kube::client::Body;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower_test::mock::{self, Handle};

pub(crate) const ASKED: Asked<'_> = Asked {
    namespace: "web",
    verb: "patch",
    resource: "pods/ephemeralcontainers",
    container: "kitbag-new",
    reasons: "NET_RAW (tcpdump: raw-socket)",
};

/// One answer of the script, and what must have been asked.
pub(crate) struct Answer {
    method: Method,
    /// A part of path and query.
    asked: &'static str,
    /// None is a connection that breaks.
    answer: Option<(StatusCode, String)>,
}

impl Answer {
    pub(crate) fn new(method: Method, asked: &'static str, code: u16, body: &Value) -> Self {
        Self { method, asked, answer: Some((StatusCode::from_u16(code).unwrap(), body.to_string())) }
    }

    pub(crate) fn get(asked: &'static str, body: &Value) -> Self {
        Self::new(Method::GET, asked, 200, body)
    }

    pub(crate) fn patched(asked: &'static str, body: &Value) -> Self {
        Self::new(Method::PATCH, asked, 200, body)
    }

    pub(crate) fn refused(method: Method, asked: &'static str, code: u16, message: &str) -> Self {
        let reason = if code == 410 { "Expired" } else { "Forbidden" };
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
        });
        Self::new(method, asked, code, &status)
    }

    pub(crate) fn watched(asked: &'static str, events: &[Value]) -> Self {
        let lines: String = events.iter().map(|event| event.to_string() + "\n").collect();
        Self { method: Method::GET, asked, answer: Some((StatusCode::OK, lines)) }
    }

    pub(crate) fn broken(method: Method, asked: &'static str) -> Self {
        Self { method, asked, answer: None }
    }
}

/// Plays the script. What the client asks beyond it fails the test.
pub(crate) fn server(script: Vec<Answer>) -> (Client, JoinHandle<()>) {
    let (service, mut handle): (_, Handle<Request<Body>, Response<Body>>) = mock::pair();
    let server = tokio::spawn(async move {
        for Answer { method, asked, answer } in script {
            let (request, send) = handle.next_request().await.expect("one more request");
            let uri = request.uri().to_string();
            assert_eq!(request.method(), method, "{uri}");
            assert!(uri.contains(asked), "`{asked}` is not in {uri}");
            match answer {
                Some((status, body)) => {
                    send.send_response(Response::builder().status(status).body(Body::from(body.into_bytes())).unwrap());
                }
                None => send.send_error(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
            }
        }
        assert!(handle.next_request().await.is_none(), "there was one request too many");
    });
    (Client::new(service, "web"), server)
}

/// Plays the script for pods.
pub(crate) fn pods(script: Vec<Answer>) -> (Api<Pod>, JoinHandle<()>) {
    let (client, server) = server(script);
    (Api::namespaced(client, "web"), server)
}

/// The pod, with the debug container in a state.
pub(crate) fn pod(version: &str, state: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "shop", "uid": "1", "resourceVersion": version },
        "spec": {
            "nodeName": "node1",
            "containers": [{ "name": "app" }],
            "ephemeralContainers": [{ "name": "kitbag-new", "targetContainerName": "app", "image": "127.0.0.1:5005/strace" }],
        },
        "status": { "phase": "Running", "ephemeralContainerStatuses": [{
            "name": "kitbag-new", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }] },
    })
}

/// The pod before the container was added.
pub(crate) fn bare_pod() -> Value {
    let mut pod = pod("6", &Value::Null);
    pod["spec"]["ephemeralContainers"] = json!([]);
    pod["status"] = json!({ "phase": "Running" });
    pod
}

pub(crate) fn modified(version: &str, state: &Value) -> Value {
    json!({ "type": "MODIFIED", "object": pod(version, state) })
}
