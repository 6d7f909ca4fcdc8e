//! Clients that are slow, silent, greedy or hostile, and TLS. The limits are small here, so that a test need not wait.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod server;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kitbag_registry::listen::Options;
use kitbag_registry::serve::{Ending, Settings};
use kitbag_registry::tls::{Tls, TlsFiles};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use server::{Answer, Server, everything, http2_client, http2_request, store};

/// Longer than any limit that a test waits for, and shorter than what it must not wait for.
const GUARD: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

fn short() -> Settings {
    Settings { head: SHORT, keep_alive: SHORT, stall: SHORT, settle: Duration::ZERO, ..Settings::default() }
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream
}

/// What comes until the end, however the end comes.
fn rest(stream: &mut impl std::io::Read) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    all
}

/// One answer with a length, on a connection that stays.
fn answer(stream: &mut impl std::io::Read) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let mut answer = Answer::parse(&head);
    answer.body = vec![0; answer.header("content-length").parse().unwrap()];
    stream.read_exact(&mut answer.body).unwrap();
    answer
}

const GET: &[u8] = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn who_says_nothing_or_says_it_too_slowly_is_closed() {
    let (_dir, store, _ids) = store();
    let server = Server::with(&store, short());
    let mut silent: Vec<TcpStream> = (0..100).map(|_| connect(&server)).collect();
    let mut slow = connect(&server);
    slow.write_all(b"GET /v2/ HT").unwrap();
    let mut slow_later = connect(&server);
    slow_later.write_all(GET).unwrap();
    assert_eq!(answer(&mut slow_later).status, 200);
    slow_later.write_all(b"G").unwrap();
    let mut idle = connect(&server);
    idle.write_all(GET).unwrap();
    assert_eq!(answer(&mut idle).status, 200);
    for stream in silent.iter_mut().chain([&mut slow, &mut slow_later, &mut idle]) {
        assert!(rest(stream).is_empty());
    }
    let begin = Instant::now();
    let mut dripping = connect(&server);
    while dripping.write_all(b"X").is_ok() && begin.elapsed() < GUARD {
        sleep(SHORT / 20);
    }
    assert!(begin.elapsed() < GUARD, "a byte now and then is no reason to wait longer");
}

#[test]
fn who_asks_now_and_then_may_stay() {
    let (_dir, store, _ids) = store();
    let server = Server::with(&store, Settings { head: SHORT, keep_alive: GUARD, ..Settings::default() });
    let mut stream = connect(&server);
    for _ in 0..3 {
        stream.write_all(GET).unwrap();
        assert_eq!(answer(&mut stream).status, 200);
        sleep(SHORT * 2);
    }
}

/// Waits until no connection is left.
fn all_gone(server: &Server) {
    let begin = Instant::now();
    while server.metrics.connections_open.get() > 0 {
        assert!(begin.elapsed() < GUARD, "a connection has stayed");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_takes_nothing_of_a_response_is_cut() {
    let (_dir, store, _ids) = store();
    let server = Server::with(&store, short());
    let (target, _, size) = everything(&server, "strace", "latest").into_iter().max_by_key(|(.., size)| *size).unwrap();
    let mut stream = connect(&server);
    // As many as do not fit into what the kernel holds for a client.
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let many = (64 << 20) / size as usize;
    stream.write_all(request.repeat(many).as_bytes()).unwrap();
    // It is being served.
    stream.read_exact(&mut [0]).unwrap();
    all_gone(&server);
    assert!(rest(&mut stream).len() < many * size as usize);
}

#[tokio::test]
async fn who_takes_nothing_of_an_http2_response_is_cut() {
    let (_dir, store, _ids) = store();
    let server = Server::with(&store, short());
    let all = everything(&server, "strace", "latest");
    let (target, ..) = all.into_iter().max_by_key(|(.., size)| *size).unwrap();
    let mut client = http2_client(server.address).await;
    let response = client.send_request(http2_request(&server, http::Method::GET, &target)).await.unwrap();
    tokio::task::spawn_blocking(move || all_gone(&server)).await.unwrap();
    drop(response);
}

#[test]
fn heads_have_a_limit_and_the_client_is_told() {
    let (_dir, store, _ids) = store();
    let server = Server::with(&store, short());
    let with = |bytes: usize| server.ask("GET", "/v2/", &[("X-Padding", &"x".repeat(bytes))]).status;
    assert_eq!(with(10_000), 200);
    assert_eq!(with(20_000), 431);
    // More than the server reads before it answers: what is not read must not cut the answer off.
    assert_eq!(with(100_000), 431);
    let many: Vec<(String, &str)> = (0..200).map(|number| (format!("X-{number}"), "x")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(server.ask("GET", "/v2/", &many).status, 431);
}

#[test]
fn a_body_that_nobody_wants_does_no_harm() {
    let (_dir, store, _ids) = store();
    let server = Server::with(&store, short());
    let mut stream = connect(&server);
    let body = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
    for _ in 0..2 {
        stream.write_all(body).unwrap();
        assert_eq!(answer(&mut stream).status, 200, "with a body, and then again on the same connection");
    }
    drop(stream);

    // One that never comes, and one that is too much.
    let answer = server.raw(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(Answer::parse(&answer).status, 200);
    let mut stream = connect(&server);
    stream.write_all(b"PUT /v2/strace/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    let _ = stream.write_all(&vec![0; 200_000]);
    assert_eq!(Answer::parse(&rest(&mut stream)).status, 405);
    all_gone(&server);
}

#[test]
fn a_body_that_waits_to_be_wanted_is_not_asked_for() {
    let (_dir, store, _ids) = store();
    let server = Server::with(&store, short());
    let request =
        "POST /v2/strace/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(Answer::parse(&server.raw(request.as_bytes())).status, 405);
}

#[test]
fn old_and_short_requests_are_answered_and_the_connection_closed() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    let old = server.raw(b"GET /v2/ HTTP/1.0\r\n\r\n");
    assert!(old.starts_with(b"HTTP/1.0 200 "), "{}", String::from_utf8_lossy(&old));
    assert_eq!(Answer::parse(&old).body, b"{}");
    let asterisk = server.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(Answer::parse(&asterisk).status, 405);
    let absolute = server.raw(b"HEAD http://x/v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(Answer::parse(&absolute).status, 200);
    let mut stream = connect(&server);
    stream.write_all(&GET.repeat(50)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(String::from_utf8(rest(&mut stream)).unwrap().matches("HTTP/1.1 200 OK").count(), 50);
}

/// The beginning of an HTTP/2 connection, with empty settings.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Pings until the connection ends, and gives back what came meanwhile.
fn pings_until_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let (begin, mut all, mut some) = (Instant::now(), Vec::new(), [0; 64 << 10]);
    while stream.write_all(&frame(6, 0, 0, b"anybody?")).is_ok() {
        match stream.read(&mut some) {
            Ok(0) | Err(_) => break,
            Ok(count) => all.extend(&some[..count]),
        }
        assert!(begin.elapsed() < GUARD, "pings keep a connection");
    }
    all
}

/// Types of the frames, apart from the answers to pings.
fn kinds(mut frames: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [high, middle, low, kind, ..] = *frames {
        kinds.extend(Some(kind).filter(|kind| *kind != 6));
        frames = frames.get(9 + u32::from_be_bytes([0, high, middle, low]) as usize..).unwrap_or_default();
    }
    kinds
}

#[test]
fn pings_are_no_requests_and_no_reason_to_wait_for_a_client_that_takes_nothing() {
    let (_dir, store, _ids) = store();
    let server = Server::with(&store, short());
    let (target, ..) = everything(&server, "strace", "latest").into_iter().max_by_key(|(.., size)| *size).unwrap();
    let mut stream = connect(&server);
    stream.write_all(HTTP2).unwrap();
    assert_eq!(kinds(&pings_until_the_end(&mut stream)), [4, 4], "settings, and that the client's are there");

    // `:method: GET`, `:scheme: http`, and `:path:` with a literal, the length of which goes into one byte.
    let head = |path: &str| [&[0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    // The answer to the one is taken; that to the other does not fit into the window, which stays as it is.
    for target in ["/v2/", &target] {
        let mut stream = connect(&server);
        stream.write_all(HTTP2).unwrap();
        stream.write_all(&frame(1, 5, 1, &head(target))).unwrap();
        let kinds = kinds(&pings_until_the_end(&mut stream));
        assert!(kinds.contains(&0) && kinds.ends_with(&[7]), "DATA, and GOAWAY at the end: {kinds:?}");
    }
    all_gone(&server);
}

#[test]
fn who_asks_and_takes_back_without_end_is_sent_away() {
    let (_dir, store, _ids) = store();
    let server = Server::with(&store, short());
    let mut stream = connect(&server);
    stream.write_all(HTTP2).unwrap();
    // `:method: GET`, `:scheme: http`, `:path: /`, of HPACK's static table.
    let head = [0x82, 0x86, 0x84];
    let mut attack = Vec::new();
    for number in 0..20_000 {
        attack.extend(frame(1, 5, 2 * number + 1, &head));
        attack.extend(frame(3, 0, 2 * number + 1, &8_u32.to_be_bytes()));
    }
    let _ = stream.write_all(&attack);
    let said = rest(&mut stream);
    // GOAWAY, with the error that means "enough".
    let goaway = |window: &[u8]| window[0] == 7 && window[1..6] == [0; 5] && window[10..14] == [0, 0, 0, 11];
    assert!(said.windows(14).any(goaway), "{} bytes", said.len());
    all_gone(&server);
    assert_eq!(server.get("/v2/").status, 200);
}

#[test]
fn a_client_has_its_share_of_connections() {
    let (dir, store, _ids) = store();
    let path = dir.path().join("socket");
    let endpoints = ["127.0.0.1:0".parse().unwrap(), format!("unix:{}", path.display()).parse().unwrap()];
    let settings = Settings { connections_per_client: 3, ..Settings::default() };
    let server = Server::on(&endpoints, &Options::default(), &store, settings);
    let mut held: Vec<TcpStream> = (0..3).map(|_| connect(&server)).collect();
    for stream in &mut held {
        stream.write_all(GET).unwrap();
        assert_eq!(answer(stream).status, 200);
    }
    let refused = server.get("/v2/");
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    let error = &refused.json()["errors"][0];
    assert_eq!(error["code"], "TOOMANYREQUESTS");
    assert_eq!(refused.header("warning"), format!("299 - \"{}\"", error["message"].as_str().unwrap()));
    assert_eq!(server.metrics.connections_refused.get(), 1);
    let mut local = UnixStream::connect(&path).unwrap();
    local.write_all(GET).unwrap();
    assert_eq!(answer(&mut local).status, 200, "who is on this machine is not counted");
    held[0].write_all(GET).unwrap();
    assert_eq!(answer(&mut held[0]).status, 200, "and who has a connection keeps it");
    drop(held);
    drop(local);
    all_gone(&server);
    assert_eq!(server.get("/v2/").status, 200);
    drop(server);
}

#[test]
fn more_connections_than_there_may_be_wait() {
    let (_dir, store, _ids) = store();
    let server = Server::with(&store, Settings { connections: 2, keep_alive: SHORT, ..Settings::default() });
    let mut all: Vec<TcpStream> = (0..6).map(|_| connect(&server)).collect();
    for stream in &mut all {
        stream.write_all(GET).unwrap();
    }
    for stream in &mut all {
        assert_eq!(answer(stream).status, 200);
    }
}

#[test]
fn who_comes_while_it_is_leaving_is_answered_and_told_to_go() {
    let (_dir, store, _ids) = store();
    let mut server = Server::with(&store, Settings { settle: GUARD / 10, ..Settings::default() });
    let mut stream = connect(&server);
    stream.write_all(GET).unwrap();
    assert_eq!(answer(&mut stream).status, 200);
    let queued: Vec<TcpStream> = (0..20).map(|_| connect(&server)).collect();
    server.stop();
    while TcpStream::connect(server.address).is_ok() {}
    for mut stream in queued.into_iter().chain([stream]) {
        stream.write_all(GET).unwrap();
        let answer = String::from_utf8(rest(&mut stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"), "{answer}");
    }
    assert_eq!(server.ended(), Ending::Drained);
}

#[test]
fn who_does_not_take_what_it_asked_for_is_cut_in_the_end() {
    let (_dir, store, _ids) = store();
    let server = Server::with(&store, Settings { drain: SHORT, settle: SHORT, ..Settings::default() });
    let (target, _, size) = everything(&server, "strace", "latest").into_iter().max_by_key(|(.., size)| *size).unwrap();
    let mut stream = connect(&server);
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.repeat((64 << 20) / size as usize).as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    sleep(SHORT);
    assert_eq!(server.ended(), Ending::Cut(1));
}

fn tls(dir: &std::path::Path) -> (TlsFiles, RootCertStore) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: dir.join("tls.crt"), key: dir.join("tls.key") };
    std::fs::write(&files.certificate, cert.pem()).unwrap();
    std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
    (files, roots)
}

fn tls_client(roots: RootCertStore, protocols: &[&[u8]]) -> ClientConnection {
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

#[test]
fn tls_speaks_what_the_client_prefers_and_shows_the_certificate_of_the_day() {
    let (dir, store, _ids) = store();
    let (files, roots) = tls(dir.path());
    let certificate = Arc::new(Tls::new(files).unwrap());
    let options = Options { tls: Some(Arc::clone(&certificate)), ..Options::default() };
    let server = Server::on(&["tls:127.0.0.1:0".parse().unwrap()], &options, &store, short());
    let ask = |roots: &RootCertStore| {
        let mut stream = StreamOwned::new(tls_client(roots.clone(), &[b"http/1.1"]), connect(&server));
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        Ok::<_, std::io::Error>(Answer::parse(&all).status)
    };
    assert_eq!(ask(&roots).unwrap(), 200);
    let mut http2 = StreamOwned::new(tls_client(roots.clone(), &[b"h2", b"http/1.1"]), connect(&server));
    http2.write_all(HTTP2).unwrap();
    let mut settings = [0; 9];
    http2.read_exact(&mut settings).unwrap();
    assert_eq!((http2.conn.alpn_protocol(), settings[3]), (Some(&b"h2"[..]), 4), "settings are the first frame");

    let (_, renewed) = tls(dir.path());
    assert_eq!(ask(&roots).unwrap(), 200);
    certificate.renew(certificate.read().unwrap());
    assert!(ask(&roots).is_err());
    assert_eq!(ask(&renewed).unwrap(), 200);

    let mut silent = connect(&server);
    assert!(rest(&mut silent).is_empty(), "a handshake has the time of a head");
}

#[test]
fn a_plain_port_answers_a_tls_hello_in_http() {
    let (dir, store, _ids) = store();
    let (_, roots) = tls(dir.path());
    let server = Server::start(&store);
    let mut hello = Vec::new();
    tls_client(roots, &[b"h2", b"http/1.1"]).write_tls(&mut hello).unwrap();
    let mut stream = connect(&server);
    stream.write_all(&hello).unwrap();
    assert!(rest(&mut stream).starts_with(b"HTTP/1.1 400 "));
}
