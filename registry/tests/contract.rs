//! What a registry owes its clients, row by row: method, path and headers in, status, headers and body out. No socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../src/testing.rs"]
mod testing;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use kitbag_registry::auth::{Access, Files};
use kitbag_registry::exchange::Client;
use kitbag_registry::throttle::Throttle;
use kitbag_registry::{Registry, Service};
use kitbag_toolsets::canonical::{self, sha256_hex};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const NOWHERE: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
const REMOTE: Client = Client::Address(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

/// The codes of the distribution specification 1.1, and docker-registry's for what has none there.
const CODES: [&str; 12] = [
    "BLOB_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
    "PAGINATION_NUMBER_INVALID",
    "RANGE_INVALID",
    "UNKNOWN",
];

struct Server {
    dir: tempfile::TempDir,
    service: Service,
    ids: testing::Ids,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Server {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (_, ids) = testing::make(dir.path());
        let service = service(dir.path());
        Self { dir, service, ids }
    }

    /// Another replica over the same store, which was never asked for anything.
    fn replica(&self) -> Service {
        service(self.dir.path())
    }

    fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        ask(&self.service, REMOTE, method, target, headers)
    }

    fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[])
    }

    /// Every index, manifest and blob of an image, by digest: (target, digest).
    fn content(&self, image: &str, tag: &str) -> Vec<(String, String)> {
        let index = self.get(&format!("/v2/{image}/manifests/{tag}"));
        let mut all = vec![(format!("/v2/{image}/manifests/{}", index.digest()), index.digest())];
        let mut add = |kind: &str, descriptor: &Value| {
            let digest = text(&descriptor["digest"]).to_owned();
            all.push((format!("/v2/{image}/{kind}/{digest}"), digest.clone()));
            format!("/v2/{image}/{kind}/{digest}")
        };
        for descriptor in index.json()["manifests"].as_array().unwrap() {
            let manifest = self.get(&add("manifests", descriptor)).json();
            add("blobs", &manifest["config"]);
            manifest["layers"].as_array().unwrap().iter().for_each(|layer| drop(add("blobs", layer)));
        }
        all
    }

    /// A blob of more than a few bytes.
    fn blob(&self) -> (String, String) {
        self.content("strace", "latest").into_iter().rfind(|(target, _)| target.contains("/blobs/")).unwrap()
    }
}

fn service(store: &Path) -> Service {
    let metrics = Arc::default();
    Service::new(Arc::new(Registry::open(store, Arc::clone(&metrics)).unwrap()), metrics)
}

fn ask(service: &Service, client: Client, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (head, body) = service.exchange(client, &request.body(()).unwrap()).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    })
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        assert!(self.headers.get_all(name).iter().count() < 2, "{name} stands twice: {:?}", self.headers);
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn digest(&self) -> String {
        format!("sha256:{}", sha256_hex(&self.body))
    }

    /// Code and message of an error, which is as every error has to be.
    fn error(&self) -> (String, String) {
        let body = self.json();
        let [error] = body["errors"].as_array().unwrap().as_slice() else { panic!("one error: {body}") };
        let (code, message) = (text(&error["code"]), text(&error["message"]));
        assert!(CODES.contains(&code), "{code}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("content-length"), Some(&*self.body.len().to_string()));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        // The same text, for clients that show nothing else: quotes and what is not ASCII cannot stand there.
        let warning = self.header("warning").unwrap();
        let warned = warning.strip_prefix("299 - \"").unwrap().strip_suffix('"').unwrap();
        assert_eq!(warned, message.replace('"', "'").replace('\\', "/"));
        (code.to_owned(), message.to_owned())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

// Endpoints.

#[test]
fn row_base_is_200_and_an_empty_object() {
    let server = Server::new();
    for target in ["/v2/", "/v2"] {
        let answer = server.get(target);
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]), "{target}");
        assert_eq!(answer.header("docker-distribution-api-version"), Some("registry/2.0"));
    }
}

#[test]
fn row_manifests_have_exact_headers_by_tag_and_by_digest() {
    let server = Server::new();
    for tag in ["latest", server.ids.old.as_str(), server.ids.new.as_str()] {
        let answer = server.get(&format!("/v2/strace/sh/manifests/{tag}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(INDEX)), "{tag}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=30"), "a tag moves");
        assert_eq!(answer.header("vary"), Some("accept"));
        for (target, digest) in server.content("strace/sh", tag) {
            let answer = server.get(&target);
            assert_eq!((answer.status, answer.digest()), (200, digest.clone()), "{target}");
            assert_eq!(answer.header("docker-content-digest"), Some(&*digest));
            assert_eq!(answer.header("etag"), Some(&*format!("\"{digest}\"")));
            assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
            assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
            assert_eq!(answer.header("vary"), None, "a digest names its bytes, whatever is accepted");
            if target.contains("/manifests/") {
                assert_eq!(answer.header("content-type"), Some(text(&answer.json()["mediaType"])));
            }
        }
    }
}

#[test]
fn row_manifests_of_both_platforms_are_in_the_index_of_each_form() {
    let server = Server::new();
    let compression = |path: &str, descriptor: &Value| {
        let manifest = server.get(&format!("/v2/{path}/manifests/{}", text(&descriptor["digest"]))).json();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let kinds: BTreeSet<String> = layers.map(|layer| text(&layer["mediaType"]).to_owned()).collect();
        let kind = kinds.first().filter(|_| kinds.len() == 1).unwrap();
        (text(&descriptor["platform"]["architecture"]).to_owned(), kind.rsplit('+').next().unwrap().to_owned())
    };
    for (path, platforms) in [("strace", &["amd64", "arm64"][..]), ("tcpdump", &["amd64"])] {
        for (tag, form) in [("latest", "gzip"), ("latest-zstd", "zstd")] {
            let index = server.get(&format!("/v2/{path}/manifests/{tag}")).json();
            let found: Vec<_> =
                index["manifests"].as_array().unwrap().iter().map(|descriptor| compression(path, descriptor)).collect();
            let expected: Vec<_> = platforms.iter().map(|arch| ((*arch).to_owned(), form.to_owned())).collect();
            assert_eq!(found, expected, "one manifest for each platform: {path}:{tag}");
        }
    }
}

#[test]
fn row_every_digest_is_found_by_a_replica_that_never_saw_the_tag() {
    let server = Server::new();
    for tag in [server.ids.old.as_str(), server.ids.new.as_str()] {
        for (target, digest) in server.content("strace/blobs", tag) {
            let answer = ask(&server.replica(), REMOTE, "GET", &target, &[]);
            assert_eq!((answer.status, answer.digest()), (200, digest), "{target}");
        }
    }
}

#[test]
fn row_accept_decides_what_a_tag_is() {
    let server = Server::new();
    let manifest = text(&server.get("/v2/strace/manifests/latest").json()["manifests"][0]["digest"]).to_owned();
    let docker = format!("{DOCKER_MANIFEST}, {DOCKER_LIST}");
    let every = format!("{DOCKER_MANIFEST}, {DOCKER_LIST}, {MANIFEST}, {INDEX}, */*");
    for (accept, expected) in [
        (None, Some(INDEX)),
        (Some(""), Some(INDEX)),
        (Some("*/*"), Some(INDEX)),
        (Some("application/*"), Some(INDEX)),
        (Some(every.as_str()), Some(INDEX)),
        (Some(MANIFEST), Some(MANIFEST)),
        (
            Some("application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json;q=0"),
            Some(MANIFEST),
        ),
        (Some(docker.as_str()), None),
        (Some("text/html"), None),
    ] {
        let headers: Vec<_> = accept.into_iter().map(|accept| ("Accept", accept)).collect();
        let answer = server.ask("GET", "/v2/strace/manifests/latest", &headers);
        match expected {
            Some(kind) => {
                assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{accept:?}");
                assert_eq!(answer.digest() == manifest, kind == MANIFEST, "linux/amd64 with gzip: {accept:?}");
            }
            None => {
                let (code, message) = answer.error();
                assert_eq!((answer.status, code.as_str()), (404, "MANIFEST_UNKNOWN"), "{accept:?}");
                assert!(message.contains(INDEX), "it says what to accept: {message}");
            }
        }
        let by_digest = server.ask("GET", &format!("/v2/strace/manifests/{manifest}"), &headers);
        assert_eq!((by_digest.status, by_digest.header("content-type")), (200, Some(MANIFEST)), "{accept:?}");
    }
}

#[test]
fn row_head_is_get_in_every_header() {
    let server = Server::new();
    let mut targets: Vec<String> = [
        "/",
        "/v2/",
        "/v2/strace/manifests/latest",
        "/v2/strace/manifests/v1",
        "/v2/strac/manifests/latest",
        "/v2/strace/tags/list?n=1",
        "/v2/strace/tags/list?n=x",
        "/v2/_catalog?n=2",
        "/v2/a%2Fb/manifests/latest",
        "/v2/strace/blobs/sha256:0",
        "/v2/tcpdump/lsof/manifests/latest",
    ]
    .map(str::to_owned)
    .to_vec();
    targets.push(format!("/v2/strace/referrers/{NOWHERE}?artifactType=x"));
    targets.push(format!("/v2/strace/blobs/{NOWHERE}"));
    targets.extend(server.content("strace", "latest").into_iter().map(|(target, _)| target));
    for target in targets {
        for headers in [&[][..], &[("Accept", MANIFEST)], &[("Accept", "text/html")], &[("If-None-Match", "*")]] {
            let (get, head) = (server.ask("GET", &target, headers), server.ask("HEAD", &target, headers));
            assert_eq!((head.status, &head.headers), (get.status, &get.headers), "{target} {headers:?}");
            assert!(head.body.is_empty());
        }
    }
}

#[test]
fn row_304_for_who_has_the_bytes() {
    let server = Server::new();
    let mut targets = vec!["/v2/strace/manifests/latest".to_owned()];
    targets.extend(server.content("strace", "latest").into_iter().map(|(target, _)| target));
    for target in targets {
        let whole = server.get(&target);
        let etag = whole.header("etag").unwrap();
        for (condition, status) in [
            (etag.to_owned(), 304),
            (format!("W/{etag}"), 304),
            (format!("\"x\", {etag}"), 304),
            ("*".to_owned(), 304),
            ("\"x\"".to_owned(), 200),
        ] {
            let answer = server.ask("GET", &target, &[("If-None-Match", &condition)]);
            assert_eq!(answer.status, status, "{target} {condition}");
            if status == 304 {
                assert!(answer.body.is_empty() && answer.header("content-length").is_none());
                for name in ["etag", "cache-control", "vary", "docker-content-digest"] {
                    assert_eq!(answer.header(name), whole.header(name), "RFC 9110, section 15.4.5: {name}");
                }
            }
        }
    }
}

#[test]
fn row_blobs_come_in_ranges() {
    let server = Server::new();
    let (target, digest) = server.blob();
    let whole = server.get(&target).body;
    let (size, half) = (whole.len(), whole.len() / 2);
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 1),
        (format!("bytes=10-{half}"), 10, half + 1),
        (format!("bytes={half}-"), half, size),
        ("bytes=-500".to_owned(), size - 500, size),
        (format!("bytes=-{}", size * 2), 0, size),
        (format!("bytes={half}-{}", size * 9), half, size),
    ] {
        let answer = server.ask("GET", &target, &[("Range", &range)]);
        assert_eq!((answer.status, &answer.body), (206, &whole.slice(from..to)), "{range}");
        assert_eq!(answer.header("content-range"), Some(&*format!("bytes {from}-{}/{size}", to - 1)));
        assert_eq!(answer.header("content-length"), Some(&*(to - from).to_string()));
        assert_eq!(answer.header("docker-content-digest"), Some(&*digest), "of the whole");
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    }
    for range in ["bytes=500-0", &format!("bytes={size}-"), &format!("bytes={}-{}", size, size + 1), "bytes=-0"] {
        let answer = server.ask("GET", &target, &[("Range", range)]);
        assert_eq!((answer.status, answer.error().0.as_str()), (416, "RANGE_INVALID"), "{range}");
        assert_eq!(answer.header("content-range"), Some(&*format!("bytes */{size}")));
    }
    for range in ["bytes=0-1,5-6", "items=0-1", "bytes=x-y", ""] {
        assert_eq!(server.ask("GET", &target, &[("Range", range)]).body, whole, "{range}");
    }
    let etag = format!("\"{digest}\"");
    for (validator, status) in
        [(etag.as_str(), 206), (&format!("W/{etag}"), 200), ("\"x\"", 200), ("Sat, 1 Jan 2000 00:00:00 GMT", 200)]
    {
        let answer = server.ask("GET", &target, &[("Range", "bytes=0-0"), ("If-Range", validator)]);
        assert_eq!(answer.status, status, "{validator}");
    }
    let head = server.ask("HEAD", &target, &[("Range", "bytes=0-0")]);
    assert_eq!((head.status, head.header("content-length")), (200, Some(&*size.to_string())));
    assert_eq!(server.get(&target).header("accept-ranges"), Some("bytes"));
}

#[test]
fn row_never_a_content_encoding() {
    let server = Server::new();
    let mut targets = vec!["/v2/strace/manifests/latest".to_owned(), "/v2/_catalog".to_owned(), "/nothing".to_owned()];
    targets.extend(server.content("strace", "latest").into_iter().map(|(target, _)| target));
    for target in targets {
        for encodings in ["gzip", "zstd, gzip, deflate", "br;q=1, identity;q=0"] {
            let answer = server.ask("GET", &target, &[("Accept-Encoding", encodings)]);
            assert_eq!(answer.header("content-encoding"), None, "{target}");
            assert_eq!(answer.body, server.get(&target).body, "{target}");
        }
    }
}

#[test]
fn row_tags_are_sorted_and_paged() {
    let server = Server::new();
    let mut tags = ["latest", server.ids.old.as_str(), server.ids.new.as_str()];
    tags.sort_unstable();
    let [first, second, third] = tags;
    for (query, expected, next) in [
        (String::new(), &tags[..], None),
        ("?n=3".to_owned(), &tags, None),
        ("?n=99999999".to_owned(), &tags, None),
        ("?n=0".to_owned(), &[], None),
        (format!("?n=0&last={first}"), &[], None),
        ("?n=1".to_owned(), &tags[..1], Some(format!("n=1&last={first}"))),
        (format!("?n=1&last={first}"), &tags[1..2], Some(format!("n=1&last={second}"))),
        (format!("?last={second}"), &tags[2..], None),
        (format!("?n=2&last={third}"), &[], None),
        ("?last=0".to_owned(), if first > "0" { &tags } else { &tags[1..] }, None),
        ("?ns=docker.io".to_owned(), &tags, None),
    ] {
        let answer = server.get(&format!("/v2/strace/tags/list{query}"));
        assert_eq!(answer.status, 200, "{query}");
        assert_eq!(answer.json(), json!({ "name": "strace", "tags": expected }), "{query}");
        let link = next.map(|next| format!("</v2/strace/tags/list?{next}>; rel=\"next\""));
        assert_eq!(answer.header("link"), link.as_deref(), "{query}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=30"));
    }
    let unknown = server.get("/v2/strac/tags/list");
    assert_eq!((unknown.status, unknown.error().0.as_str()), (404, "NAME_UNKNOWN"));
    for n in ["x", "-1", "", "1.5", "99999999999999999999999"] {
        let answer = server.get(&format!("/v2/strace/tags/list?n={n}"));
        assert_eq!((answer.status, answer.error().0.as_str()), (400, "PAGINATION_NUMBER_INVALID"), "{n}");
    }
    assert_eq!(server.get("/v2/dig/tags/list").json()["tags"].as_array().unwrap().len(), 2, "the old has no `dig`");
}

#[test]
fn row_catalog_is_sorted_and_paged() {
    let server = Server::new();
    let all = ["blobs", "busybox", "dig", "lsof", "strace", "tags", "tcpdump"];
    let mut seen = Vec::new();
    let mut next = Some("/v2/_catalog?n=3".to_owned());
    while let Some(target) = next {
        let answer = server.get(&target);
        let page = answer.json()["repositories"].as_array().unwrap().clone();
        assert!(answer.status == 200 && page.len() <= 3, "{target}");
        seen.extend(page.iter().map(|name| text(name).to_owned()));
        let link =
            answer.header("link").map(|link| link.strip_prefix('<').unwrap().split_once(">; rel=\"next\"").unwrap());
        next = link.map(|(target, rest)| target.to_owned() + rest);
    }
    assert_eq!(seen, all);
    for name in seen {
        assert_eq!(server.get(&format!("/v2/{name}/manifests/latest")).status, 200, "what is listed can be pulled");
    }
}

#[test]
fn row_referrers_are_an_empty_index() {
    let server = Server::new();
    let known = server.get("/v2/strace/manifests/latest").digest();
    for (query, filtered) in [("", None), ("?artifactType=application%2Fx", Some("artifactType")), ("?ns=x", None)] {
        for digest in [known.as_str(), NOWHERE] {
            let answer = server.get(&format!("/v2/strace/referrers/{digest}{query}"));
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(INDEX)));
            assert_eq!(answer.json(), json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }));
            assert_eq!(answer.header("oci-filters-applied"), filtered);
            assert_eq!(answer.header("link"), None);
        }
    }
    for digest in ["latest", "sha256:0", "sha256:", &NOWHERE.to_uppercase()] {
        let answer = server.get(&format!("/v2/strace/referrers/{digest}"));
        assert_eq!((answer.status, answer.error().0.as_str()), (400, "DIGEST_INVALID"), "{digest}");
    }
}

#[test]
fn row_writes_are_405_unsupported() {
    let server = Server::new();
    let targets = [
        "/v2/strace/blobs/uploads/",
        "/v2/strace/manifests/latest",
        "/v2/strace/manifests/sha256:totallywrong",
        "/v2/",
        "/",
    ];
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PURGE", "get"] {
        for target in targets {
            let answer = server.ask(method, target, &[]);
            assert_eq!((answer.status, answer.error().0.as_str()), (405, "UNSUPPORTED"), "{method} {target}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
    }
}

#[test]
fn row_malformed_digests_are_400_and_unknown_ones_404() {
    let server = Server::new();
    let long = format!("sha256:{}", "0".repeat(65));
    let endless = format!("x:{}", "a".repeat(5000));
    let other = "sha512:".to_owned() + &"0".repeat(128);
    for (kind, unknown) in [("blobs", "BLOB_UNKNOWN"), ("manifests", "MANIFEST_UNKNOWN")] {
        for (digest, status, code) in [
            ("sha256:", 400, "DIGEST_INVALID"),
            ("sha256:abc", 400, "DIGEST_INVALID"),
            (":", 400, "DIGEST_INVALID"),
            ("sha256:..", 400, "DIGEST_INVALID"),
            ("SHA256:0000", 400, "DIGEST_INVALID"),
            (&NOWHERE.replace('0', "A"), 400, "DIGEST_INVALID"),
            (&NOWHERE.replace('0', "g"), 400, "DIGEST_INVALID"),
            (&long, 400, "DIGEST_INVALID"),
            (&endless, 400, "DIGEST_INVALID"),
            (NOWHERE, 404, unknown),
            (&other, 404, unknown),
            ("x+y:Az09=_-", 404, unknown),
        ] {
            let answer = server.get(&format!("/v2/strace/{kind}/{digest}"));
            assert_eq!((answer.status, answer.error().0.as_str()), (status, code), "{kind} {digest}");
            assert!(answer.body.len() < 1000, "what is quoted is bounded: {digest}");
        }
    }
    // Of another image, and of another kind.
    for (target, digest) in
        server.content("strace", "latest").into_iter().filter(|(target, _)| !target.contains("blobs"))
    {
        assert_eq!(server.get(&target.replace("strace", "dig")).status, 404);
        assert_eq!(server.get(&format!("/v2/strace/blobs/{digest}")).status, 404, "a manifest is no blob");
    }
}

// Names.

#[test]
fn row_names_are_in_the_grammar_of_the_specification() {
    let server = Server::new();
    let long = "a".repeat(256);
    let many = vec!["a"; 65].join("/");
    for (image, status, code) in [
        ("strace", 200, ""),
        ("shell/dig", 200, ""),
        ("strace/strace/dig", 200, ""),
        ("strace-6.2", 200, ""),
        ("nslookup", 200, ""),
        ("g++", 400, "NAME_INVALID"),
        ("Strace", 400, "NAME_INVALID"),
        ("a~b", 400, "NAME_INVALID"),
        ("a:b", 400, "NAME_INVALID"),
        ("a..b", 400, "NAME_INVALID"),
        ("-a", 400, "NAME_INVALID"),
        ("%73trace", 400, "NAME_INVALID"),
        ("strace%2Fdig", 400, "NAME_INVALID"),
        ("strace/../dig", 400, "NAME_INVALID"),
        ("strace//dig", 400, "NAME_INVALID"),
        (&long, 400, "NAME_INVALID"),
        (&many, 400, "NAME_INVALID"),
        // Clients refuse them, but the grammar does not.
        (&"0".repeat(64), 404, "NAME_UNKNOWN"),
        (&"a".repeat(255), 404, "NAME_UNKNOWN"),
    ] {
        for rest in ["manifests/latest", "tags/list", &format!("blobs/{NOWHERE}")] {
            let answer = server.get(&format!("/v2/{image}/{rest}"));
            let expected = if status == 200 && rest.starts_with("blobs") { 404 } else { status };
            assert_eq!(answer.status, expected, "{image} {rest}");
            if status != 200 {
                assert_eq!(answer.error().0, code, "{image} {rest}");
            }
        }
    }
}

#[test]
fn row_tools_may_be_called_like_endpoints() {
    let server = Server::new();
    for image in ["blobs", "tags", "tags/blobs", "blobs/tags", "tags/blobs/strace"] {
        for (target, digest) in server.content(image, "latest") {
            assert_eq!(server.get(&target).digest(), digest, "{target}");
        }
        assert_eq!(server.get(&format!("/v2/{image}/tags/list")).json()["name"], image);
        assert_eq!(server.get(&format!("/v2/{image}/referrers/{NOWHERE}")).status, 200);
    }
}

#[test]
fn row_only_latest_and_generations_are_tags() {
    let server = Server::new();
    let hex = &NOWHERE[7..];
    for tag in [
        "v1",
        "Latest",
        "latest.sig",
        &format!("sha256-{hex}"),
        &format!("sha256-{hex}.sig"),
        &format!("sha256-{hex}.att"),
        &server.ids.new.as_str()[..11],
        &server.ids.new.as_str().to_uppercase().replace(|c: char| c.is_ascii_digit(), "x"),
        ".INVALID_MANIFEST_NAME",
        "latest%20",
        &"a".repeat(129),
    ] {
        let answer = server.get(&format!("/v2/strace/manifests/{tag}"));
        assert_eq!((answer.status, answer.error().0.as_str()), (404, "MANIFEST_UNKNOWN"), "{tag}");
    }
}

#[test]
fn row_order_and_repetition_do_not_matter() {
    let server = Server::new();
    let digests: BTreeSet<String> =
        ["strace/dig/busybox", "busybox/dig/strace", "sh/nslookup/strace-6.2/strace", "dig/shell/strace"]
            .map(|image| server.get(&format!("/v2/{image}/manifests/latest")).digest())
            .into();
    assert_eq!(digests.len(), 1);
}

// Errors that tell a person what to do.

#[test]
fn row_errors_say_what_to_do() {
    let server = Server::new();
    let said: Vec<String> = [
        "/v2/strac/manifests/latest",
        "/v2/dig/nslokup/manifests/latest",
        "/v2/kubernetes/manifests/latest",
        "/v2/strace/lsof/tcpdump/manifests/latest",
        "/v2/strace/manifests/v1",
        "/v2/strace-6.1/manifests/latest",
        "/v2/strace",
        "/strace/manifests/latest",
    ]
    .map(|target| {
        let answer = server.get(target);
        let (code, message) = answer.error();
        let detail = canonical::to_string(&answer.json()["errors"][0]["detail"]);
        format!("{} {code} {message} {detail}", answer.status)
    })
    .to_vec();
    insta::assert_snapshot!(said.join("\n"), @r#"
    404 NAME_UNKNOWN unknown tool `strac`: did you mean `strace`? {"component":"strac","near":["strace"]}
    404 NAME_UNKNOWN unknown tool `nslokup`: did you mean `nslookup` (of `dig`)? {"component":"nslokup","near":["nslookup"]}
    404 NAME_UNKNOWN unknown tool `kubernetes`: nothing here has a name like it {"component":"kubernetes","near":[]}
    404 MANIFEST_UNKNOWN no platform has all of these tools: linux/amd64 lacks `lsof`; linux/arm64 lacks `tcpdump` [{"lacks":["lsof"],"platform":"linux/amd64"},{"lacks":["tcpdump"],"platform":"linux/arm64"}]
    404 MANIFEST_UNKNOWN `strace` has no tag `v1`: there are `latest` and the ids of generations, each also with `-zstd` (`/v2/strace/tags/list`) {"tag":"v1"}
    404 NAME_UNKNOWN unknown tool `strace-6.1`: did you mean `strace-6.2`? {"component":"strace-6.1","near":["strace-6.2"]}
    404 UNSUPPORTED nothing is served under `/v2/strace`: images are under `/v2/<tool>/<tool>/manifests/latest` null
    404 UNSUPPORTED nothing is served under `/strace/manifests/latest`: images are under `/v2/<tool>/<tool>/manifests/latest` null
    "#);
    let one = server.ask("GET", "/v2/lsof/manifests/latest", &[("Accept", MANIFEST)]);
    assert!(one.error().1.contains("linux/amd64, which lacks `lsof`"), "{one:?}");
}

// Who may, and how often.

#[test]
fn row_401_says_how_to_log_in() {
    let server = Server::new();
    let file = server.dir.path().join("tokens");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let access = Access::open(Files { tokens: Some(file), htpasswd: None }).unwrap().map(Arc::new);
    let service = Service { access, ..server.replica() };
    let blob = server.blob().0;
    for target in ["/v2/", "/v2/strace/manifests/latest", "/v2/_catalog", "/", &blob] {
        for method in ["GET", "HEAD", "PUT"] {
            let answer = ask(&service, REMOTE, method, target, &[]);
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Basic realm=\"kitbag\"")));
            assert!(answer.header("warning").unwrap().contains("log in"));
        }
        assert_eq!(ask(&service, REMOTE, "GET", target, &[]).error().0, "UNAUTHORIZED");
        for authorization in ["Bearer 0123456789abcdef", "Basic eDowMTIzNDU2Nzg5YWJjZGVm"] {
            let answer = ask(&service, REMOTE, "GET", target, &[("Authorization", authorization)]);
            let open = server.get(target);
            assert_eq!((answer.status, &answer.body), (open.status, &open.body), "{target} {authorization}");
            let public = open.header("cache-control").unwrap();
            assert_eq!(answer.header("cache-control"), Some(&*public.replace("public", "private")), "{target}");
        }
        assert_eq!(ask(&service, Client::Local, "GET", target, &[]).status, server.get(target).status);
    }
}

#[test]
fn row_429_says_when_to_come_back() {
    let server = Server::new();
    let service = server.replica();
    let throttle = Throttle::every(std::time::Duration::from_secs(3600), NonZeroU32::new(2).unwrap());
    service.throttle.store(Some(Arc::new(throttle)));
    let statuses = [(); 3].map(|()| ask(&service, REMOTE, "GET", "/v2/", &[]).status);
    assert_eq!(statuses, [200, 200, 429]);
    let answer = ask(&service, REMOTE, "GET", "/v2/strace/manifests/latest", &[]);
    assert_eq!((answer.status, answer.error().0.as_str()), (429, "TOOMANYREQUESTS"));
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&seconds), "{seconds}");
    assert_eq!(service.metrics.throttled.get(), 2);
    assert_eq!(ask(&service, Client::Local, "GET", "/v2/", &[]).status, 200);
}
