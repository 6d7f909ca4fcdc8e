//! Debug containers that are there already, against an API server that answers from a script.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

#[allow(dead_code, reason = "sessions use more of it")]
mod apiserver;

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apiserver::{Answer, Asked, place, refusal, talk};
use k8s_openapi::api::core::v1::Pod;
use kitbag_runner::found::{self, Activity, Debugger};
use serde_json::{Value, json};

fn pod(name: &str, state: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "shop", "namespace": "web", "uid": "1", "resourceVersion": "7" },
        "spec": { "containers": [], "ephemeralContainers": [{
            "name": name, "command": ["/usr/bin/kitbag-init", "--idle", "60"],
            "env": [{ "name": "KITBAG_TARGET", "value": "app" }],
        }] },
        "status": { "ephemeralContainerStatuses": [{
            "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }] },
    })
}

fn running() -> Value {
    pod("kitbag-b2c4d", &json!({ "running": { "startedAt": "2026-01-01T12:00:00Z" } }))
}

fn ended() -> Value {
    pod("kitbag-b2c4d", &json!({ "terminated": { "exitCode": 0, "reason": "Completed" } }))
}

fn debugger(pod: Value) -> Debugger {
    found::of(&[serde_json::from_value(pod).unwrap()]).remove(0).debugger
}

fn words(asked: &Asked) -> String {
    asked.all("command").join(" ")
}

/// What a container says of itself, where an exec into it is answered like this.
async fn activity(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Option<Activity> {
    let place = place(answer).await;
    let pod: Pod = serde_json::from_value(running()).unwrap();
    let mut found = found::of(&[pod]);
    found::ask_activity(&place.client, &mut found).await;
    found[0].activity
}

#[tokio::test]
async fn those_that_run_say_what_they_are_busy_with() {
    let busy = activity(|asked| {
        assert_eq!(words(asked), "/usr/bin/kitbag-init status");
        talk(|mut wire| async move {
            wire.say(1, b"{\"sessions\":0,\"idle\":754,\"age\":900,\"ttl\":28800}\n").await;
            wire.end(0).await;
        })
    });
    assert_eq!(busy.await, Some(Activity { sessions: 0, idle: Duration::from_secs(754) }));
    assert_eq!(activity(|_| refusal(403, "pods \"shop\" is forbidden")).await, None);
    let other = activity(|_| {
        talk(|mut wire| async move {
            wire.say(1, b"kitbag-init 0.1.0\n").await;
            wire.end(0).await;
        })
    });
    assert_eq!(other.await, None);
}

#[tokio::test]
async fn the_end_is_waited_for_though_the_answer_is_taken_along() {
    let asked_for = AtomicUsize::new(0);
    let place = place(move |asked| match asked.subresource.as_str() {
        "exec" => {
            assert_eq!(words(asked), "/usr/bin/kitbag-init end");
            talk(|mut wire| async move { wire.end(137).await })
        }
        // The pod as it is, and then as it becomes.
        _ if asked.is_watch() => Answer::Json(200, json!({ "type": "MODIFIED", "object": ended() })),
        _ => {
            assert_eq!(asked_for.fetch_add(1, Ordering::Relaxed), 0, "it is watched");
            Answer::Json(200, running())
        }
    });
    let ending = found::end(&place.await, &debugger(running())).await.unwrap();
    assert_eq!(ending.to_string(), "exit code 0 (Completed)");
}

#[tokio::test]
async fn who_may_not_end_it_is_told() {
    let message = r#"pods "shop" is forbidden: User "jane" cannot create resource "pods/exec" in API group "" in the namespace "web""#;
    let error = found::end(&place(move |_| refusal(403, message)).await, &debugger(running())).await.unwrap_err();
    assert_eq!(error.to_string(), "user `jane` may not create `pods/exec` in namespace `web`");
}

#[tokio::test]
async fn why_it_could_not_be_told_to_end_is_told_where_it_goes_on() {
    let waits = Once::new();
    let place = place(move |asked| match asked.subresource.as_str() {
        "exec" => talk(|mut wire| async move {
            wire.say(2, b"kitbag-init: the first process does not answer\n").await;
            wire.end(1).await;
        }),
        _ => {
            // What is waited for will not come.
            waits.call_once(tokio::time::pause);
            Answer::Json(200, running())
        }
    });
    let error = found::end(&place.await, &debugger(running())).await.unwrap_err();
    assert!(error.to_string().contains("the first process does not answer"), "{error}");
}

#[tokio::test]
async fn one_that_is_attached_to_cannot_be_told() {
    let mut attached = running();
    attached["spec"]["ephemeralContainers"][0]["command"] =
        json!(["/usr/bin/kitbag-init", "attached", "--idle", "60", "--ttl", "28800", "--", "sh"]);
    let place = place(|asked| panic!("nobody is asked: {}", words(asked)));
    let error = found::end(&place.await, &debugger(attached)).await.unwrap_err();
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()), @r"
    debug container `kitbag-b2c4d` of pod `shop` was made for one session, and ends with it
    hint: it ends with the command of its session, after 60s if nobody attaches, after 8h in any case
    ");
}
