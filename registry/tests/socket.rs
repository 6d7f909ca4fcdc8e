//! The registry on a real socket, asked by raw HTTP/1.1 and by an HTTP/2 client. What it owes them apart from sockets is
//! in `contract.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod server;

use http::Method;
use http_body_util::BodyExt as _;
use kitbag_registry::serve::Ending;
use kitbag_toolsets::canonical::sha256_hex;
use server::{Answer, Server, everything, http2_client, http2_request, store};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

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

#[tokio::test]
async fn http2_says_the_same_as_http1_and_head_the_same_as_get() {
    let (_dir, store, _ids) = store();
    let server = Server::start(&store);
    let mut client = http2_client(server.address).await;
    let mut targets = vec!["/v2/strace/manifests/latest".to_owned(), "/v2/strac/manifests/latest".to_owned()];
    targets.extend(everything(&server, "strace", "latest").into_iter().map(|(target, ..)| target));
    for target in targets {
        let get = server.get(&target);
        let head = server.ask("HEAD", &target, &[]);
        assert_eq!((head.status, &head.headers, head.body.len()), (get.status, &get.headers, 0), "{target}");
        for (method, name, value) in [
            (Method::GET, "accept", "*/*"),
            (Method::HEAD, "accept", "*/*"),
            (Method::GET, "if-none-match", "*"),
            (Method::GET, "range", "bytes=5-99"),
            (Method::PUT, "accept", "*/*"),
        ] {
            let expected = server.ask(method.as_str(), &target, &[(name, value)]);
            let mut request = http2_request(&server, method, &target);
            request.headers_mut().insert(name, value.parse().unwrap());
            let response = client.send_request(request).await.unwrap();
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
