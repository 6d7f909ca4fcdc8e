//! Adding the container.

use std::io;
use std::time::Duration;

use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::EphemeralContainer;
use kitbag_runner::Error;
use kitbag_runner::inject::{self, Added, Mode};
use kitbag_runner::refusal::Refusal;
use kube::client::Body;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_test::mock;

use crate::script::{ASKED, Answer, bare_pod, pod, pods};

const PATCH: &str = "/ephemeralcontainers?&fieldManager=kubectl-kitbag";
const DRY: &str = "dryRun=All";
const GET: &str = "/pods/shop";

const BASELINE: &str = r#"pods "shop" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities (container "kitbag-new" must not include "NET_RAW" in securityContext.capabilities.add)"#;
const RESTRICTED: &str = r#"pods "shop" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true (container "kitbag-new" must set securityContext.runAsNonRoot=true), runAsUser=0 (container "kitbag-new" must not set runAsUser=0)"#;

fn refused(code: u16, message: &str) -> Answer {
    Answer::refused(Method::PATCH, PATCH, code, message)
}

fn taken() -> Answer {
    Answer::patched(PATCH, &pod("7", &Value::Null))
}

/// Three candidates that differ in what shows who they are.
fn candidates() -> Vec<EphemeralContainer> {
    let named = |image: &str| EphemeralContainer {
        name: "kitbag-new".to_owned(),
        image: Some(image.to_owned()),
        ..EphemeralContainer::default()
    };
    ["exact", "baseline", "restricted"].map(named).to_vec()
}

/// The next candidate, but only where it is Pod Security that refuses.
fn next(index: usize, refusal: &Refusal) -> Result<Option<usize>, Error> {
    Ok(matches!(refusal, Refusal::PodSecurity { .. }).then_some(index + 1))
}

async fn add(script: Vec<Answer>) -> Result<Added, Error> {
    let (pods, server) = pods(script);
    let added = inject::add(&pods, "shop", &candidates(), 0, next, ASKED, Mode::Earnest).await;
    end(pods, server).await;
    added
}

async fn end<T>(pods: Api<T>, server: tokio::task::JoinHandle<()>) {
    drop(pods);
    server.await.unwrap();
}

#[tokio::test]
async fn the_strongest_candidate_is_taken_where_nothing_refuses_it() {
    let added = add(vec![taken()]).await.unwrap();
    assert_eq!((added.index, added.pod.metadata.resource_version.as_deref()), (0, Some("7")));
}

#[tokio::test]
async fn after_a_refusal_comes_the_candidate_that_is_next() {
    let added = add(vec![refused(403, BASELINE), refused(403, RESTRICTED), taken()]).await.unwrap();
    assert_eq!(added.index, 2);
}

#[tokio::test]
async fn where_nothing_that_is_left_would_do_that_is_the_error() {
    let (pods, server) = pods(vec![refused(403, BASELINE)]);
    let unmet = |_: usize, _: &Refusal| Err(Error::Unreachable("tcpdump would not work".to_owned()));
    let error = inject::add(&pods, "shop", &candidates(), 1, unmet, ASKED, Mode::Earnest).await.unwrap_err();
    assert!(error.to_string().contains("tcpdump would not work"));
    end(pods, server).await;
}

#[tokio::test]
async fn a_policy_is_told_in_its_own_words_though_nothing_that_is_left_would_do() {
    let message = r#"admission webhook "policy.example" denied the request: registry not allowed"#;
    let unmet = |index: usize, _: &Refusal| match index {
        0 => Ok(Some(1)),
        _ => Err(Error::Unreachable("tcpdump would not work".to_owned())),
    };
    let (pods, server) = pods(vec![refused(403, message), refused(403, message)]);
    let error = inject::add(&pods, "shop", &candidates(), 0, unmet, ASKED, Mode::Earnest).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"a policy of the cluster refuses the debug container: admission webhook "policy.example" denied the request: registry not allowed"#);
    end(pods, server).await;
}

#[tokio::test]
async fn when_all_are_refused_the_shortest_list_of_reasons_is_told() {
    let error =
        add(vec![refused(403, RESTRICTED), refused(403, BASELINE), refused(403, RESTRICTED)]).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"
    namespace `web` enforces the Pod Security level `baseline:latest`, which refuses the debug container:
      non-default capabilities (container "kitbag-new" must not include "NET_RAW" in securityContext.capabilities.add)
    "#);
    assert_eq!(error.kind().exit_code(), 73);
}

#[tokio::test]
async fn a_refusal_that_is_for_all_is_the_end() {
    let message = r#"admission webhook "policy.example" denied the request: no debugging on Fridays"#;
    let error = add(vec![refused(403, BASELINE), refused(403, message)]).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"a policy of the cluster refuses the debug container: admission webhook "policy.example" denied the request: no debugging on Fridays"#);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (pods, server) =
        pods(vec![Answer::refused(Method::PATCH, DRY, 403, BASELINE), Answer::patched(DRY, &pod("6", &Value::Null))]);
    assert_eq!(inject::add(&pods, "shop", &candidates(), 0, next, ASKED, Mode::Trial).await.unwrap().index, 1);
    end(pods, server).await;
}

#[tokio::test]
async fn what_cannot_be_tried_out_is_said_to_be_so() {
    let message = "admission webhook \"audit.example\" does not support dry run";
    let (pods, server) = pods(vec![Answer::refused(Method::PATCH, DRY, 400, message)]);
    let error = inject::add(&pods, "shop", &candidates(), 0, next, ASKED, Mode::Trial).await.unwrap_err();
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()), @r#"
    it can't be tried out in this cluster: admission webhook "audit.example" does not support dry run
    hint: --dry-run=client prints what would be sent, without asking
    "#);
    end(pods, server).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_looked_for_before_anything_is_sent_again() {
    let added = Answer::get(GET, &pod("8", &Value::Null));
    let added = add(vec![Answer::broken(Method::PATCH, PATCH), added]).await.unwrap();
    assert_eq!((added.index, added.pod.metadata.resource_version.as_deref()), (0, Some("8")));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_added_is_sent_again() {
    let conflict = "Operation cannot be fulfilled on pods \"shop\": the object has been modified";
    let script = vec![
        refused(409, conflict),
        Answer::get(GET, &bare_pod()),
        refused(500, "etcdserver: leader changed"),
        Answer::broken(Method::GET, GET),
        refused(403, BASELINE),
        refused(503, "apiserver is shutting down"),
        Answer::get(GET, &bare_pod()),
        taken(),
    ];
    assert_eq!(add(script).await.unwrap().index, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_given_up() {
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    let server = tokio::spawn(async move {
        while let Some((_, send)) = handle.next_request().await {
            send.send_error(io::Error::from(io::ErrorKind::ConnectionRefused));
        }
    });
    let pods = Api::namespaced(Client::new(service, "web"), "web");
    let error = inject::add(&pods, "shop", &candidates(), 0, next, ASKED, Mode::Earnest).await.unwrap_err();
    assert_eq!(error.to_string(), "the cluster does not answer: connection refused");
    end(pods, server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_more_patience_than_there_is_gets_what_there_is() {
    let busy = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 429, "reason": "TooManyRequests",
        "message": "too many requests", "details": { "retryAfterSeconds": 3600 },
    });
    let busy = || Answer::new(Method::PATCH, PATCH, 429, &busy);
    let began = Instant::now();
    let error = add(vec![busy(), Answer::get(GET, &bare_pod()), busy()]).await.unwrap_err();
    assert_eq!(error.to_string(), "the cluster refuses with status 429: too many requests");
    assert!(began.elapsed() <= Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_webhook_that_is_down_is_named_at_once() {
    let message = r#"Internal error occurred: failed calling webhook "policy.example": failed to call webhook: Post "https://policy.example": connection refused"#;
    let error = add(vec![refused(500, message)]).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"a webhook of the cluster does not answer: Internal error occurred: failed calling webhook "policy.example": failed to call webhook: Post "https://policy.example": connection refused"#);
}
