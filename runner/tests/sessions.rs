//! Sessions as their callers see them, against an API server that answers from a script.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod apiserver;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apiserver::{Answer, place, refusal, talk};
use futures_util::StreamExt as _;
use kitbag_runner::Error;
use kitbag_runner::session::{self, Captured, Ended, Ending, Output, Place, SessionError, Streams, Wanted};
use serde_json::{Value, json};

const REPORT: &[u8] = br#"{"kitbag-init":"0.1.0","uid":7,"gid":0,"effective":"0","bounding":"0","no_new_privs":true,"seccomp":2,"yama":null,"raw_socket":true,"ping_socket":true,"target":null}
out"#;

const CAPTURED: Output = Output::Captured { limit: 1000 };

fn wanted() -> Wanted {
    Wanted::new(vec!["id".to_owned(), "-u".to_owned()], Streams { stdin: false, tty: false })
}

async fn run(place: &Place) -> Result<Ended, Error> {
    // A session can be run by any thread.
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    Ok(is_send(session::run(place, &wanted(), |_| Ok(()), CAPTURED)).await?)
}

async fn attach(place: &Place) -> Result<Ended, Error> {
    Ok(session::attach(place, &wanted(), |_| Ok(()), CAPTURED).await?)
}

/// What the session with this end makes of it.
fn with_hint(result: Result<Ended, Error>) -> String {
    let error = result.unwrap_err();
    format!("{error}\nhint: {}", error.hint().unwrap_or_default())
}

fn pod(state: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "shop", "resourceVersion": "7" },
        "spec": { "containers": [], "ephemeralContainers": [{ "name": "kitbag-b2c4d" }] },
        "status": { "ephemeralContainerStatuses": [{
            "name": "kitbag-b2c4d", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }] },
    })
}

fn running() -> Answer {
    Answer::Json(200, pod(&json!({ "running": {} })))
}

fn ended(code: i32) -> Value {
    pod(&json!({ "terminated": { "exitCode": code, "reason": "Error" } }))
}

/// A session that ends like this as soon as it has been heard of.
fn session_that_ends(code: i32) -> Answer {
    talk(move |mut wire| async move {
        let _ = wire.0.next().await;
        wire.say(1, REPORT).await;
        wire.end(code).await;
    })
}

/// A session that never ends properly.
fn session_that_breaks() -> Answer {
    talk(|mut wire| async move {
        wire.say(1, REPORT).await;
        let _ = wire.0.close(None).await;
    })
}

#[tokio::test]
async fn an_exec_has_an_input_and_no_terminal_and_its_exit_code_is_the_sessions() {
    let place = place(|asked| {
        assert_eq!(asked.subresource, "exec");
        assert_eq!(asked.all("command"), ["/usr/bin/kitbag-init", "session", "--", "id", "-u"]);
        assert_eq!((asked.all("stdin"), asked.all("stderr"), asked.all("tty")), (vec!["true"], vec!["true"], vec![]));
        assert_eq!(asked.all("container"), ["kitbag-b2c4d"]);
        session_that_ends(7)
    });
    let ended = run(&place.await).await.unwrap();
    assert_eq!((ended.code, ended.report.unwrap().uid), (7, 7));
    assert_eq!(ended.captured, Some(Captured { stdout: b"out".to_vec(), ..Captured::default() }));
}

#[tokio::test]
async fn a_lost_connection_comes_with_the_way_back() {
    let place = place(|asked| match asked.subresource.as_str() {
        "exec" => session_that_breaks(),
        _ => refusal(500, "etcd has no leader"),
    });
    insta::assert_snapshot!(with_hint(run(&place.await).await), @r"
    the connection to the cluster was lost during the session: it was closed without an exit code
    hint: the debug container stays until it is idle: `kubectl kitbag attach shop -n web -c kitbag-b2c4d` opens a new session in it
    ");
}

#[tokio::test]
async fn a_connection_that_is_lost_with_the_container_says_so() {
    let place = place(|asked| match asked.subresource.as_str() {
        "exec" => session_that_breaks(),
        _ => Answer::Json(200, ended(143)),
    });
    insta::assert_snapshot!(with_hint(run(&place.await).await), @r"
    the debug container `kitbag-b2c4d` has ended: exit code 143 (Error)
    hint: as long as the pod is there, `kubectl kitbag debug` adds another one
    ");
}

#[tokio::test]
async fn what_a_session_has_come_to_is_not_lost_with_it() {
    let place = place(|asked| match asked.subresource.as_str() {
        "exec" => session_that_breaks(),
        _ => refusal(500, "etcd has no leader"),
    });
    let failed = session::run(&place.await, &wanted(), |_| Ok(()), CAPTURED).await.unwrap_err();
    assert!(matches!(failed.error, Error::Session(SessionError::Lost { .. })));
    assert_eq!((failed.report.unwrap().uid, failed.captured.unwrap().stdout), (7, b"out".to_vec()));
}

#[tokio::test]
async fn a_killed_command_is_told_from_a_container_that_has_ended() {
    // Asked once: nobody waits for the end of a container that runs.
    let lives = place(|asked| match asked.subresource.as_str() {
        "exec" => session_that_ends(137),
        _ => {
            assert!(!asked.is_watch());
            running()
        }
    });
    assert_eq!(run(&lives.await).await.unwrap().code, 137);
    let gone = place(|asked| match asked.subresource.as_str() {
        "exec" => session_that_ends(137),
        _ => refusal(404, "pods \"shop\" not found"),
    });
    insta::assert_snapshot!(run(&gone.await).await.unwrap_err(), @"the debug container `kitbag-b2c4d` has ended: the pod is gone");
    let leaves = place(|asked| match asked.subresource.as_str() {
        "exec" => session_that_ends(129),
        _ => {
            let mut pod = pod(&json!({ "running": {} }));
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            Answer::Json(200, pod)
        }
    });
    insta::assert_snapshot!(run(&leaves.await).await.unwrap_err(), @"the debug container `kitbag-b2c4d` has ended: the pod is being deleted");
}

#[tokio::test]
async fn a_container_that_ends_before_the_report_is_gone() {
    let place = place(|asked| match asked.subresource.as_str() {
        "exec" => talk(|mut wire| async move { wire.end(137).await }),
        _ => Answer::Json(200, ended(137)),
    });
    insta::assert_snapshot!(run(&place.await).await.unwrap_err(), @"the debug container `kitbag-b2c4d` has ended: exit code 137 (Error)");
}

#[tokio::test]
async fn a_container_that_has_died_at_once_says_why() {
    let place = place(|asked| match asked.subresource.as_str() {
        "exec" | "attach" => refusal(500, "container not found (\"kitbag-b2c4d\")"),
        _ => {
            let state = json!({ "terminated": { "exitCode": 125, "reason": "Error", "message": "no memory\n" } });
            Answer::Json(200, pod(&state))
        }
    });
    let place = place.await;
    insta::assert_snapshot!(run(&place).await.unwrap_err(), @"the debug container `kitbag-b2c4d` has ended: exit code 125 (Error): no memory");
    insta::assert_snapshot!(attach(&place).await.unwrap_err(), @"the debug container `kitbag-b2c4d` has ended: exit code 125 (Error): no memory");
}

#[tokio::test]
async fn a_container_that_has_ended_before_is_gone() {
    let gone = place(|_| refusal(500, "container not found (\"kitbag-b2c4d\")"));
    assert!(matches!(run(&gone.await).await, Err(Error::Session(SessionError::Gone { .. }))));
    let denied = place(|_| refusal(403, "User \"jane\" cannot create resource \"pods/exec\" in API group \"\""));
    assert!(matches!(run(&denied.await).await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn the_exit_code_of_an_attached_session_is_its_containers() {
    let place = place(|asked| match (asked.subresource.as_str(), asked.is_watch()) {
        ("attach", _) => {
            assert_eq!((asked.all("command"), asked.all("stdin")), (vec![], vec!["true"]));
            session_that_ends(0)
        }
        (_, false) => running(),
        (_, true) => Answer::Json(200, json!({ "type": "MODIFIED", "object": ended(7) })),
    });
    let ended = attach(&place.await).await.unwrap();
    assert_eq!((ended.code, ended.captured.unwrap().stdout), (7, b"out".to_vec()));
}

#[tokio::test]
async fn an_attached_session_may_lose_its_status_but_not_its_connection() {
    let has_ended = place(|asked| match asked.subresource.as_str() {
        "attach" => session_that_breaks(),
        _ => Answer::Json(200, ended(7)),
    });
    assert_eq!(attach(&has_ended.await).await.unwrap().code, 7);
    let cannot_be_asked = place(|asked| match asked.subresource.as_str() {
        "attach" => session_that_breaks(),
        _ => refusal(500, "etcd has no leader"),
    });
    insta::assert_snapshot!(with_hint(attach(&cannot_be_asked.await).await), @r"
    the connection to the cluster was lost during the session: it was closed without an exit code
    hint: the debug container ends with its one session: run the command again
    ");
}

#[tokio::test]
async fn who_may_only_list_and_watch_pods_learns_the_exit_code_too() {
    const NO: &str = "pods \"shop\" is forbidden: User \"jane\" cannot get resource \"pods\" in API group \"\" in the namespace \"web\"";
    let lists = place(|asked| match (asked.subresource.as_str(), asked.all("fieldSelector")) {
        ("attach", _) => session_that_ends(0),
        (_, named) if named == ["metadata.name=shop"] && !asked.is_watch() => {
            let list = json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [ended(7)] });
            Answer::Json(200, list)
        }
        _ => refusal(403, NO),
    });
    assert_eq!(attach(&lists.await).await.unwrap().code, 7);
    let nothing = place(|asked| match asked.subresource.as_str() {
        "attach" => session_that_ends(0),
        _ => refusal(403, NO),
    });
    insta::assert_snapshot!(attach(&nothing.await).await.unwrap_err(), @"the exit code cannot be read: user `jane` may not get `pods` in namespace `web`");
}

#[tokio::test]
async fn who_may_not_watch_asks_again() {
    let times = AtomicUsize::new(0);
    let place = place(move |asked| match asked.is_watch() {
        true => refusal(403, "User \"jane\" cannot watch resource \"pods\""),
        false if times.fetch_add(1, Ordering::Relaxed) == 0 => running(),
        false => Answer::Json(200, ended(7)),
    });
    let found = session::ending(&place.await, Duration::from_secs(60)).await.unwrap();
    assert!(matches!(found, Some(Ending::Container { code: 7, .. })));
}

#[tokio::test]
async fn a_question_has_no_input_and_gets_the_answer() {
    let place = place(|asked| {
        assert_eq!(asked.all("command"), ["/usr/bin/kitbag-init", "status"]);
        assert_eq!(asked.all("stdin"), Vec::<&str>::new());
        talk(|mut wire| async move {
            wire.say(1, b"{\"sessions\":1}\n").await;
            wire.end(0).await;
        })
    });
    assert_eq!(session::ask(&place.await, &["status"]).await.unwrap(), "{\"sessions\":1}\n");
}
