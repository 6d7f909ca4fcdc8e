//! The registry on a real socket, asked by raw HTTP/1.1 and by an HTTP/2 client.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod server;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use http::Method;
use http_body_util::BodyExt as _;
use kitbag_builder::store::Store;
use kitbag_registry::serve::Ending;
use kitbag_toolsets::canonical::sha256_hex;
use serde_json::Value;
use server::{Answer, Server, everything, http2_client, http2_request, store, text};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[test]
fn a_pull_by_tag_brings_what_the_digests_promise() {
    let (_dir, store, ids) = store();
    let server = Server::start(&store);
    assert_eq!(server.get("/v2/").body, b"{}");
    let old_zstd = format!("{}-zstd", ids.old);
    for tag in ["latest", "latest-zstd", ids.old.as_str(), &old_zstd, ids.new.as_str()] {
        let index = server.get(&format!("/v2/strace/sh/manifests/{tag}"));
        assert_eq!((index.status, index.header("content-type")), (200, INDEX));
        assert_eq!(index.header("docker-content-digest"), index.digest());
        assert_eq!(index.header("etag"), format!("\"{}\"", index.digest()));
        let all = everything(&server, "strace/sh", tag);
        assert_eq!(all.len(), 2 * (1 + 1 + 3));
        for (target, digest, size) in all {
            let answer = server.get(&target);
            assert_eq!((answer.status, answer.digest(), answer.body.len() as u64), (200, digest, size), "{target}");
            assert_eq!(answer.header("content-length"), size.to_string());
            assert_eq!(answer.header("docker-content-digest"), answer.digest());
            assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        }
    }
}

#[test]
fn head_is_get_without_a_body() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    let mut targets: Vec<String> = [
        "/",
        "/v2/",
        "/v2/strace/manifests/latest",
        "/v2/strace/manifests/nothing",
        "/v2/strac/manifests/latest",
        "/v2/strace/tags/list?n=1",
        "/v2/_catalog",
        "/v2/..//manifests/latest",
        "/v2/strace/blobs/sha256:0",
    ]
    .map(str::to_owned)
    .to_vec();
    targets.push(format!("/v2/strace/referrers/sha256:{}?artifactType=x", "0".repeat(64)));
    targets.extend(everything(&server, "strace", "latest").into_iter().map(|(target, ..)| target));
    for target in targets {
        let get = server.get(&target);
        let head = server.ask("HEAD", &target, &[]);
        assert_eq!((head.status, &head.headers), (get.status, &get.headers), "{target}");
        assert!(head.body.is_empty() && !get.body.is_empty(), "{target}");
    }
}

#[test]
fn a_replica_that_never_saw_the_tag_serves_by_digest() {
    let (dir, store, ids) = store();
    let one = Server::start(&store);
    for (target, digest, _) in everything(&one, "strace/blobs", ids.old.as_str()) {
        let other = Server::start(&Store::open(dir.path()).unwrap());
        let answer = other.get(&target);
        assert_eq!((answer.status, answer.digest()), (200, digest), "{target}");
    }
}

#[test]
fn tools_named_like_endpoints_are_tools() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    let index = server.get("/v2/tags/blobs/manifests/latest");
    assert_eq!(index.status, 200);
    assert_eq!(index.body, server.get("/v2/blobs/tags/manifests/latest").body);
    assert_eq!(server.get("/v2/blobs/tags/tags/list").json()["name"], "blobs/tags");
}

#[test]
fn clients_get_the_form_that_they_read() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    let get = |accept: &str| server.ask("GET", "/v2/strace/manifests/latest", &[("Accept", accept)]);
    assert_eq!(get(&format!("{MANIFEST}, {INDEX}")).header("content-type"), INDEX);
    assert_eq!(get("*/*").header("vary"), "accept");
    let manifest = get(MANIFEST);
    assert_eq!(manifest.header("content-type"), MANIFEST);
    assert_eq!(manifest.digest(), text(&get(INDEX).json()["manifests"][0]["digest"]));
    let docker = get("application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!((docker.status, text(&docker.json()["errors"][0]["code"])), (404, "MANIFEST_UNKNOWN"));
    let digest = manifest.digest();
    let by_digest = server.ask("GET", &format!("/v2/strace/manifests/{digest}"), &[("Accept", INDEX)]);
    assert_eq!((by_digest.status, by_digest.body), (200, manifest.body));
}

#[test]
fn blobs_come_in_parts() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    let (target, digest, size) =
        everything(&server, "strace", "latest").into_iter().max_by_key(|(.., size)| *size).unwrap();
    let part = |range: &str| server.ask("GET", &target, &[("Range", range)]);
    let whole = server.get(&target).body;
    let half = whole.len() / 2;
    for (range, expected) in [
        (format!("bytes=0-{}", half - 1), &whole[..half]),
        (format!("bytes={half}-"), &whole[half..]),
        (format!("bytes={half}-{}", size * 2), &whole[half..]),
        ("bytes=-500".to_owned(), &whole[whole.len() - 500..]),
    ] {
        let answer = part(&range);
        assert_eq!((answer.status, &answer.body[..]), (206, expected), "{range}");
        assert!(answer.header("content-range").ends_with(&format!("/{size}")));
    }
    for range in ["bytes=500-0", &format!("bytes={size}-")] {
        let answer = part(range);
        assert_eq!((answer.status, answer.header("content-range")), (416, &*format!("bytes */{size}")));
    }
    assert_eq!(part("bytes=0-1,5-6").body, whole);
    let etag = format!("\"{digest}\"");
    let conditional = |validator| server.ask("GET", &target, &[("Range", "bytes=0-0"), ("If-Range", validator)]);
    assert_eq!(conditional(&etag).body, whole[..1]);
    assert_eq!(conditional("\"sha256:other\"").body, whole);
    let head = server.ask("HEAD", &target, &[("Range", "bytes=0-0")]);
    assert_eq!((head.status, head.header("content-length")), (200, &*size.to_string()));
    let encoding = server.ask("GET", &target, &[("Accept-Encoding", "zstd, gzip, deflate")]);
    assert!(encoding.headers.iter().all(|(name, _)| name != "content-encoding"));
}

#[test]
fn who_has_the_bytes_gets_304() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    let mut targets = vec!["/v2/strace/manifests/latest".to_owned()];
    targets.extend(everything(&server, "strace", "latest").into_iter().map(|(target, ..)| target));
    for target in targets {
        let etag = server.get(&target).header("etag").to_owned();
        for method in ["GET", "HEAD"] {
            let answer = server.ask(method, &target, &[("If-None-Match", &etag)]);
            assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (304, 0, &*etag), "{target}");
            assert_eq!(server.ask(method, &target, &[("If-None-Match", "\"other\"")]).status, 200);
        }
    }
}

#[test]
fn errors_name_the_component_and_what_is_near() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    let long = "a".repeat(256);
    let many = ["strace"; 65].map(|_| "a").join("/");
    for (path, status, code, message, detail) in [
        (
            "strac",
            404,
            "NAME_UNKNOWN",
            "unknown tool `strac`: did you mean `strace`?",
            r#"{"component":"strac","near":["strace"]}"#,
        ),
        ("strace/%2e%2e", 400, "NAME_INVALID", "`%2e%2e` is not a name", r#"{"component":"%2e%2e","position":2}"#),
        ("strace/..", 400, "NAME_INVALID", "`..` is not a name", r#"{"component":"..","position":2}"#),
        ("strace//dig", 400, "NAME_INVALID", "it is empty", r#"{"component":"","position":2}"#),
        ("Strace", 400, "NAME_INVALID", "`Strace` is not a name", r#"{"component":"Strace","position":1}"#),
        (&many, 400, "NAME_INVALID", "65 names", "null"),
        (&long, 400, "NAME_INVALID", "256 characters", "null"),
        (
            "tcpdump/lsof",
            404,
            "MANIFEST_UNKNOWN",
            "linux/amd64 lacks `lsof`",
            r#"[{"lacks":["lsof"],"platform":"linux/amd64"},{"lacks":["tcpdump"],"platform":"linux/arm64"}]"#,
        ),
    ] {
        let answer = server.get(&format!("/v2/{path}/manifests/latest"));
        let error = answer.json()["errors"][0].clone();
        assert_eq!((answer.status, text(&error["code"])), (status, code), "{path}");
        assert!(text(&error["message"]).contains(message), "{error}");
        assert_eq!(error["detail"], serde_json::from_str::<Value>(detail).unwrap(), "{path}");
        assert_eq!(answer.header("warning"), format!("299 - \"{}\"", text(&error["message"])));
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[test]
fn lists_are_sorted_and_paged() {
    let (_dir, store, ids) = store();
    let server = Server::start(&store);
    let mut tags = [ids.old.as_str(), ids.new.as_str(), "latest"];
    tags.sort_unstable();
    let list = server.get("/v2/strace/tags/list");
    assert_eq!(list.json()["tags"], serde_json::json!(tags));
    let first = server.get("/v2/strace/tags/list?n=2");
    assert_eq!(first.json()["tags"], serde_json::json!(tags[..2]));
    let next = first.header("link").strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    let second = server.get(next);
    assert_eq!(second.json()["tags"], serde_json::json!(tags[2..]));
    assert!(second.headers.iter().all(|(name, _)| name != "link"));
    assert_eq!(server.get("/v2/strac/tags/list").status, 404);
    assert_eq!(server.get("/v2/_catalog?n=2&last=blobs").json()["repositories"], serde_json::json!(["busybox", "dig"]));
}

#[test]
fn what_would_write_is_refused() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    for (method, target) in [
        ("POST", "/v2/strace/blobs/uploads/"),
        ("PUT", "/v2/strace/manifests/latest"),
        ("PATCH", "/v2/strace/blobs/uploads/1"),
        ("DELETE", "/v2/strace/manifests/latest"),
        ("OPTIONS", "*"),
    ] {
        let answer = server.ask(method, target, &[("Content-Length", "0")]);
        let error = &answer.json()["errors"][0];
        assert_eq!((answer.status, text(&error["code"]), answer.header("allow")), (405, "UNSUPPORTED", "GET, HEAD"));
    }
}

#[test]
fn a_damaged_blob_is_never_served() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    let image = store.generations()[0].resolve(&"strace".parse().unwrap()).unwrap();
    let image = store.generations()[0].compose(&image).unwrap();
    let blob = &image.platforms()[0].layers[1].gzip;
    let path = store.blob_path(&blob.digest);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let target = format!("/v2/strace/blobs/{}", blob.digest);
    for (method, headers) in [("GET", &[][..]), ("HEAD", &[]), ("GET", &[("Range", "bytes=0-9")])] {
        let answer = server.ask(method, &target, headers);
        assert_eq!(answer.status, 500, "{method} {headers:?}");
        assert!(answer.header("warning").contains(blob.digest.as_ref()), "{answer:?}");
        assert!(answer.header("warning").contains("kitbag-builder verify"), "{answer:?}");
    }
    assert_eq!(server.get(&target).json()["errors"][0]["detail"]["digest"], blob.digest.as_ref());
}

#[test]
fn a_tls_hello_is_answered_in_http() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    // A record of type handshake, TLS 1.0, 200 bytes: what a client hello begins with.
    let mut hello = vec![0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03];
    hello.resize(205, 0x5a);
    assert!(server.raw(&hello).starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn unusual_requests_are_answered_too() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    let absolute = server.raw(b"GET http://elsewhere:80/v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(Answer::parse(&absolute).body, b"{}");
    let pipelined = server
        .raw(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\nHEAD /v2/a%2e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let pipelined = String::from_utf8(pipelined).unwrap();
    assert_eq!(pipelined.matches("HTTP/1.1 ").count(), 2, "{pipelined}");

    let mut half_closed = TcpStream::connect(server.address).unwrap();
    half_closed.write_all(b"GET /v2/_catalog HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    half_closed.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    half_closed.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer).status, 200);

    let padding = "x".repeat(10_000);
    assert_eq!(server.ask("GET", "/v2/", &[("X-Padding", &padding)]).status, 200);
    let many: Vec<(String, &str)> = (0..200).map(|number| (format!("X-{number}"), "x")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(server.ask("GET", "/v2/", &many).status, 431);
}

#[tokio::test]
async fn http2_says_the_same_as_http1() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    let mut client = http2_client(server.address).await;
    let mut targets = vec!["/v2/strace/manifests/latest".to_owned(), "/v2/strac/manifests/latest".to_owned()];
    targets.extend(everything(&server, "strace", "latest").into_iter().map(|(target, ..)| target));
    for target in targets {
        for method in [Method::GET, Method::HEAD] {
            let expected = server.ask(method.as_str(), &target, &[]);
            let response = client.send_request(http2_request(&server, method, &target)).await.unwrap();
            let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                (name.to_string(), value.to_str().unwrap().to_owned())
            };
            let headers = response.headers().iter().map(header).filter(|(name, _)| name != "date").collect();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes().to_vec();
            assert_eq!(Answer { status, headers, body }, expected, "{target}");
        }
    }
}

#[tokio::test]
async fn a_response_that_has_begun_is_finished_when_the_registry_stops() {
    let (_dir, store, _ids) = store();
    let mut server = Server::start(&store);
    let all = everything(&server, "strace", "latest");
    let (target, digest, size) = all.into_iter().max_by_key(|(.., size)| *size).unwrap();
    assert!(size > 5 * 65_535, "it must not fit into what the client takes at once");
    let mut client = http2_client(server.address).await;
    let response = client.send_request(http2_request(&server, Method::GET, &target)).await.unwrap();
    server.stop();
    // It takes no new requests when it is stopping.
    while client.send_request(http2_request(&server, Method::HEAD, "/v2/")).await.is_ok() {}
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(format!("sha256:{}", sha256_hex(&body)), digest);
    let ending = tokio::task::spawn_blocking(|| server.ended()).await.unwrap();
    assert_eq!(ending, Ending::Drained);
}
