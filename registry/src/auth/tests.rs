use super::*;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;

/// `open sesame` and `other`, with the lowest cost.
const SESAME: &str = "$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";
const OTHER: &str = "$2b$04$zyxwvutsrqponmlkjihgfeoEG75ieRiMxivbt62jo80oWmRUDHZ.e";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

const REMOTE: Client = Client::Address(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

fn access(dir: &Path) -> Access {
    fs::write(dir.join("users"), format!("ann:{SESAME}\n")).unwrap();
    fs::write(dir.join("tokens"), format!("{TOKEN} CI\n")).unwrap();
    let files = Files { htpasswd: Some(dir.join("users")), tokens: Some(dir.join("tokens")) };
    Access::open(files).unwrap().unwrap()
}

fn header(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
}

fn basic(user: &str, password: &str) -> HeaderMap {
    header(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

fn refusal(result: Result<(), RequestError>) -> Option<Refusal> {
    match result {
        Ok(()) => None,
        Err(RequestError::Unauthorized(refusal)) => Some(refusal),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn users_and_tokens_are_let_in_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let access = access(dir.path());
    for (headers, expected) in [
        (basic("ann", "open sesame"), None),
        (basic("anybody", TOKEN), None),
        (basic("", TOKEN), None),
        (header(&format!("Bearer {TOKEN}")), None),
        (HeaderMap::new(), Some(Refusal::Nothing)),
        (header("Negotiate abc"), Some(Refusal::Unreadable)),
        (basic("ann", "other"), Some(Refusal::Unknown)),
        (basic("bob", "open sesame"), Some(Refusal::Unknown)),
        (header("Bearer 0123456789abcdef"), Some(Refusal::Unknown)),
        (header("Bearer open sesame"), Some(Refusal::Unknown)),
    ] {
        assert_eq!(refusal(access.check(REMOTE, &headers).await), expected, "{headers:?}");
    }
}

#[tokio::test]
async fn a_unix_socket_needs_no_password() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(refusal(access(dir.path()).check(Client::Local, &HeaderMap::new()).await), None);
}

#[tokio::test]
async fn one_kind_of_file_is_enough_and_none_is_none() {
    let dir = tempfile::tempdir().unwrap();
    drop(access(dir.path()));
    let open = |htpasswd: Option<&str>, tokens: Option<&str>| {
        let path = |name: &str| dir.path().join(name);
        Access::open(Files { htpasswd: htpasswd.map(path), tokens: tokens.map(path) }).unwrap()
    };
    assert!(open(None, None).is_none());
    let users = open(Some("users"), None).unwrap();
    assert_eq!(refusal(users.check(REMOTE, &basic("ann", "open sesame")).await), None);
    assert_eq!(refusal(users.check(REMOTE, &header(&format!("Bearer {TOKEN}"))).await), Some(Refusal::Unknown));
    let tokens = open(None, Some("tokens")).unwrap();
    assert_eq!(refusal(tokens.check(REMOTE, &basic("x", TOKEN)).await), None);
    assert_eq!(refusal(tokens.check(REMOTE, &basic("ann", "open sesame")).await), Some(Refusal::Unknown));
}

#[tokio::test]
async fn a_changed_file_counts_and_a_broken_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let access = access(dir.path());
    let (old, new) = (basic("ann", "open sesame"), basic("ann", "other"));
    assert_eq!(refusal(access.check(REMOTE, &old).await), None);
    assert_eq!(refusal(access.check(REMOTE, &new).await), Some(Refusal::Unknown));

    fs::write(dir.path().join("users"), "ann:plain\n").unwrap();
    assert!(access.read().unwrap_err().to_string().contains("users`, line 1: "));
    assert_eq!(refusal(access.check(REMOTE, &old).await), None);

    fs::write(dir.path().join("next"), format!("ann:{OTHER}\n")).unwrap();
    fs::rename(dir.path().join("next"), dir.path().join("users")).unwrap();
    let renewed = access.read().unwrap();
    assert_eq!(refusal(access.check(REMOTE, &old).await), None, "not yet");
    access.renew(renewed);
    assert_eq!(refusal(access.check(REMOTE, &old).await), Some(Refusal::Unknown));
    assert_eq!(refusal(access.check(REMOTE, &new).await), None);

    fs::remove_file(dir.path().join("tokens")).unwrap();
    assert!(access.read().is_err());
    assert_eq!(refusal(access.check(REMOTE, &header(&format!("Bearer {TOKEN}"))).await), None);
}

#[tokio::test]
async fn who_guesses_is_stopped_and_who_knows_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let access = access(dir.path());
    assert_eq!(refusal(access.check(REMOTE, &basic("ann", "open sesame")).await), None);
    let attempts = ATTEMPTS.0.get();
    for number in 0..attempts {
        let guess = basic("ann", &format!("guess {number}"));
        assert_eq!(refusal(access.check(REMOTE, &guess).await), Some(Refusal::Unknown));
    }
    for one_more in [basic("ann", "one more"), header("Bearer 0123456789abcdef")] {
        let stopped = access.check(REMOTE, &one_more).await.unwrap_err();
        assert!(matches!(stopped, RequestError::TooMany(RetryAfter(1..=5))), "{stopped}");
    }
    // What is known costs nothing to say again.
    assert_eq!(refusal(access.check(REMOTE, &basic("ann", "guess 0")).await), Some(Refusal::Unknown));
    assert_eq!(refusal(access.check(REMOTE, &basic("ann", "open sesame")).await), None);
    assert_eq!(refusal(access.check(REMOTE, &header(&format!("Bearer {TOKEN}"))).await), None);
    let another = Client::Address("192.0.2.77".parse().unwrap());
    assert_eq!(refusal(access.check(another, &basic("ann", "one more")).await), Some(Refusal::Unknown));
}

#[tokio::test]
async fn one_password_of_many_requests_is_checked_once() {
    let dir = tempfile::tempdir().unwrap();
    let access = Arc::new(access(dir.path()));
    // More than a client has attempts, and more than may wait.
    let requests: Vec<_> = (0..200)
        .map(|_| {
            let access = Arc::clone(&access);
            tokio::spawn(async move { refusal(access.check(REMOTE, &basic("ann", "wrong")).await) })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), Some(Refusal::Unknown));
    }
    let outcomes = access.entitled.get();
    assert_eq!(outcomes.outcomes.len(), 1);
}
