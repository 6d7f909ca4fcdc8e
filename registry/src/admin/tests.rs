use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use http::{Method, StatusCode};
use kitbag_toolsets::Generation;
use kitbag_toolsets::generation::{sha256_digest, write_generation};

use super::{Admin, AdminError, Answer, Endpoint, Health, Question, ask, endpoint, listen, serve};
use crate::metrics::Metrics;

fn admin() -> Admin {
    Admin::new(Metrics::new().1)
}

fn health() -> Health {
    let empty = Generation::parse(&write_generation(&[], &BTreeMap::new())).unwrap();
    Health { generation: empty.id().clone(), since: SystemTime::UNIX_EPOCH, refusal: None, damaged: Vec::new() }
}

fn get(admin: &Admin, path: &str, query: Option<&str>) -> (u16, String) {
    let response = admin.answer(&Method::GET, path, query);
    let status = response.status().as_u16();
    let text = response.into_body().replace(health().generation.as_str(), "5c729eb85204");
    (status, text.replace(&"a".repeat(64), "0a").replace(&"b".repeat(64), "0b"))
}

#[test]
fn a_process_that_starts_lives_but_is_not_ready() {
    let admin = admin();
    assert_eq!(get(&admin, "/livez", None), (200, "ok".to_owned()));
    assert_eq!(get(&admin, "/startupz", None).0, 503);
    let (status, text) = get(&admin, "/readyz", None);
    assert_eq!(status, 503);
    insta::assert_snapshot!(text, @"
    [-]start the store is not open yet
    [+]serving ok
    readyz check failed
    ");
}

#[test]
fn a_process_that_serves_is_ready_until_it_ends() {
    let admin = admin();
    admin.started(health);
    for path in ["/livez", "/startupz", "/readyz"] {
        assert_eq!(get(&admin, path, None), (200, "ok".to_owned()), "{path}");
    }
    insta::assert_snapshot!(get(&admin, "/readyz", Some("verbose")).1, @"
    [+]start ok
    [+]serving ok
    [+]store generation 5c729eb85204
    [+]blobs ok
    readyz check passed
    ");
    admin.ending();
    assert_eq!((get(&admin, "/livez", None).0, get(&admin, "/startupz", None).0), (200, 200));
    let (status, text) = get(&admin, "/readyz", None);
    assert_eq!(status, 503);
    insta::assert_snapshot!(text, @"
    [+]start ok
    [-]serving it ends, and finishes what has begun
    [+]store generation 5c729eb85204
    [+]blobs ok
    readyz check failed
    ");
}

#[test]
fn a_damaged_blob_is_a_reason_to_go_elsewhere() {
    let admin = admin();
    admin.started(|| Health { damaged: ["a", "b"].map(|digit| sha256_digest(&digit.repeat(64))).to_vec(), ..health() });
    let (status, text) = get(&admin, "/readyz", None);
    assert_eq!(status, 503);
    insta::assert_snapshot!(text, @"
    [+]start ok
    [+]serving ok
    [+]store generation 5c729eb85204
    [-]blobs damaged: sha256:0a, sha256:0b
    readyz check failed
    ");
}

#[test]
fn a_refused_store_is_worth_knowing_but_the_one_before_is_served() {
    let admin = admin();
    admin.started(|| Health { refusal: Some("blob `sha256:0a` is missing".to_owned()), ..health() });
    assert_eq!(get(&admin, "/readyz", None), (200, "ok".to_owned()));
    insta::assert_snapshot!(get(&admin, "/readyz", Some("x&verbose")).1, @"
    [+]start ok
    [+]serving ok
    [!]store generation 5c729eb85204, because the store as it is was refused: blob `sha256:0a` is missing
    [+]blobs ok
    readyz check passed
    ");
}

#[test]
fn nothing_else_is_served() {
    let admin = admin();
    assert_eq!(get(&admin, "/v2/", None).0, 404);
    let refused = admin.answer(&Method::POST, "/readyz", None);
    assert_eq!(
        (refused.status(), &refused.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
    );
    let metrics = admin.answer(&Method::GET, "/metrics", None);
    assert_eq!(metrics.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(metrics.body().ends_with("# EOF\n"));
}

#[test]
fn endpoints_of_clients_are_none_for_questions() {
    for text in ["127.0.0.1:5006", "[::1]:5006", "unix:/run/kitbag/admin.sock", "unix:@kitbag-admin"] {
        assert_eq!(endpoint(text).unwrap().to_string(), text);
    }
    for text in ["localhost:5006", "tls:127.0.0.1:5006", "systemd"] {
        let error = endpoint(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{text}` is nothing for `admin`")), "{error}");
    }
    insta::assert_snapshot!(endpoint("systemd").unwrap_err(), @"`systemd` is nothing for `admin`, which answers in plain HTTP on sockets of its own: write `127.0.0.1:5006`, `[::1]:5006` or `unix:/run/kitbag/admin.sock`");
    insta::assert_snapshot!(endpoint("unix:admin.sock").unwrap_err(), @"`admin.sock` cannot be the path of a Unix socket: begin it with `/` or `@`, with at most 107 bytes");
    assert!(matches!(listen(&Endpoint::Systemd, false), Err(AdminError::Form(_))));
    assert!(matches!(ask(&Endpoint::Systemd, Question::Ready), Err(AdminError::Form(_))));
}

/// One runtime for the listeners, and questions from outside of it, as a probe asks.
#[test]
fn it_answers_on_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let unix = Endpoint::Unix(dir.path().join("admin.sock"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let admin = Arc::new(admin());
    let (address, older) = runtime.block_on(async {
        // What an instance before has left there, and one that still runs.
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("admin.sock")).unwrap());
        let older = listen(&unix, false).unwrap();
        assert_eq!(dir.path().join("admin.sock").metadata().unwrap().permissions().mode() & 0o777, 0o660);
        // The name is taken over only by who says so.
        assert!(listen(&unix, false).is_err());
        tokio::spawn(serve(listen(&unix, true).unwrap(), Arc::clone(&admin)));
        assert_eq!(dir.path().join("admin.sock").metadata().unwrap().permissions().mode() & 0o777, 0o660);
        let tcp = listen(&"127.0.0.1:0".parse().unwrap(), true).unwrap();
        let address = tcp.endpoint().address().unwrap();
        // Another one may have it too, if it says so.
        assert!(listen(&Endpoint::Tcp(address), false).is_err());
        drop(listen(&Endpoint::Tcp(address), true).unwrap());
        tokio::spawn(serve(tcp, Arc::clone(&admin)));
        (address, older)
    });
    // The older one takes only its own file with it.
    drop(older);
    let tcp = Endpoint::Tcp(address);
    for endpoint in [&unix, &tcp] {
        let reason = "start the store is not open yet".to_owned();
        assert_eq!(ask(endpoint, Question::Live).unwrap(), Answer { yes: true, reason: "ok".to_owned() });
        assert_eq!(ask(endpoint, Question::Ready).unwrap(), Answer { yes: false, reason });
    }
    admin.started(health);
    assert_eq!(ask(&unix, Question::Ready).unwrap(), Answer { yes: true, reason: "ok".to_owned() });
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("\r\n\r\n"), "{text}");
    // The file goes with its listener.
    drop(runtime);
    assert!(matches!(ask(&unix, Question::Ready), Err(AdminError::Unreachable { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn where_it_cannot_listen_it_says_so() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(async { listen(&Endpoint::Unix("/nowhere/admin.sock".into()), false) }).unwrap_err();
    insta::assert_snapshot!(error, @"cannot listen on `unix:/nowhere/admin.sock`: No such file or directory (os error 2); choose another endpoint with `--admin`");
}

#[test]
fn no_file_makes_way_but_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    std::fs::write(&path, "precious").unwrap();
    std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = |name: &str, shared| {
        let error = runtime.block_on(async { listen(&Endpoint::Unix(dir.path().join(name)), shared) }).unwrap_err();
        error.to_string().replace(&dir.path().display().to_string(), "DIR")
    };
    insta::assert_snapshot!(refused("precious", true), @"cannot listen on `unix:DIR/precious`: there is a file that is no socket; choose another endpoint with `--admin`");
    insta::assert_snapshot!(refused("precious", false), @"cannot listen on `unix:DIR/precious`: Address already in use (os error 98); choose another endpoint with `--admin`");
    refused("link", true);
    refused("link", false);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}
