use std::io;
use std::sync::Arc;

use super::*;
use crate::body::{BlobError, Damage};
use crate::route;
use http::Method;
use http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};
use kitbag_toolsets::{Arch, Name, Near, UnknownName};

const HASH: &str = "sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9";

fn content() -> Content {
    Content::new(Bytes::from_static(b"test data"), "application/x", HASH)
}

fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
}

/// Status, headers and body, as a person would write them down.
fn shown(response: &Response<Bytes>) -> String {
    let headers: String =
        response.headers().iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
    format!("{}\n{headers}\n{}", response.status(), std::str::from_utf8(response.body()).unwrap())
}

#[test]
fn a_manifest_has_all_the_headers() {
    insta::assert_snapshot!(shown(&manifest(&content(), &HeaderMap::new(), true)), @r#"
    200 OK
    content-type: application/x
    content-length: 9
    docker-content-digest: sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9
    etag: "sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9"
    cache-control: public, max-age=30
    vary: accept

    test data
    "#);
    let by_digest = manifest(&content(), &HeaderMap::new(), false);
    assert_eq!(by_digest.headers()[CACHE_CONTROL], "public, max-age=31536000, immutable");
    assert_eq!(by_digest.headers().get(VARY), None);
}

#[test]
fn who_has_it_already_gets_no_bytes() {
    let etag =
        headers(&[(IF_NONE_MATCH, "\"sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9\"")]);
    insta::assert_snapshot!(shown(&manifest(&content(), &etag, true)), @r#"
    304 Not Modified
    docker-content-digest: sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9
    etag: "sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9"
    cache-control: public, max-age=30
    vary: accept
    "#);
    let mut with_range = etag;
    with_range.insert(RANGE, HeaderValue::from_static("bytes=1-2"));
    insta::assert_snapshot!(shown(&blob(&content(), &with_range, true).unwrap()), @r#"
    304 Not Modified
    docker-content-digest: sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9
    etag: "sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9"
    accept-ranges: bytes
    cache-control: public, max-age=31536000, immutable
    "#);
}

#[test]
fn a_blob_is_served_whole_or_in_part() {
    insta::assert_snapshot!(shown(&blob(&content(), &HeaderMap::new(), true).unwrap()), @r#"
    200 OK
    content-type: application/x
    content-length: 9
    docker-content-digest: sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9
    etag: "sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9"
    accept-ranges: bytes
    cache-control: public, max-age=31536000, immutable

    test data
    "#);
    let range = headers(&[(RANGE, "bytes=5-")]);
    insta::assert_snapshot!(shown(&blob(&content(), &range, true).unwrap()), @r#"
    206 Partial Content
    content-type: application/x
    content-length: 4
    content-range: bytes 5-8/9
    docker-content-digest: sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9
    etag: "sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9"
    accept-ranges: bytes
    cache-control: public, max-age=31536000, immutable

    data
    "#);
    assert_eq!(blob(&content(), &range, false).unwrap().status(), StatusCode::OK);
    let of_another = headers(&[(RANGE, "bytes=5-"), (IF_RANGE, "\"sha256:00\"")]);
    assert_eq!(blob(&content(), &of_another, true).unwrap().status(), StatusCode::OK);
    let past = blob(&content(), &headers(&[(RANGE, "bytes=9-")]), true).unwrap_err();
    insta::assert_snapshot!(shown(&error(&past)), @r#"
    416 Range Not Satisfiable
    content-type: application/json
    content-length: 99
    warning: 299 - "the range has no byte in it: the blob has 9 bytes"
    cache-control: no-store
    content-range: bytes */9

    {"errors":[{"code":"RANGE_INVALID","message":"the range has no byte in it: the blob has 9 bytes"}]}
    "#);
}

#[test]
fn lists_say_where_they_go_on() {
    let next = route::parse(&Method::GET, "/v2/strace/tags/list", Some("n=1&last=a+b")).unwrap();
    insta::assert_snapshot!(shown(&list(&json!({ "name": "strace", "tags": ["a"] }), Some(&next))), @r#"
    200 OK
    content-type: application/json
    content-length: 30
    cache-control: public, max-age=30
    link: </v2/strace/tags/list?n=1&last=a+b>; rel="next"

    {"name":"strace","tags":["a"]}
    "#);
    insta::assert_snapshot!(shown(&base()), @r"
    200 OK
    content-type: application/json
    content-length: 2
    cache-control: public, max-age=30
    docker-distribution-api-version: registry/2.0

    {}
    ");
    insta::assert_snapshot!(shown(&referrers(true)), @r#"
    200 OK
    content-type: application/vnd.oci.image.index.v1+json
    content-length: 88
    cache-control: public, max-age=30
    oci-filters-applied: artifactType

    {"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}
    "#);
    assert_eq!(referrers(false).headers().get(FILTERS), None);
}

#[test]
fn no_response_has_a_content_encoding() {
    for response in [manifest(&content(), &HeaderMap::new(), true), blob(&content(), &HeaderMap::new(), true).unwrap()]
    {
        assert_eq!(response.headers().get(http::header::CONTENT_ENCODING), None);
    }
}

#[test]
fn every_error_is_oci_json_with_the_same_warning() {
    let name = |text| Name::parse(text).unwrap();
    let routed =
        |method: Method, path: &str| RequestError::Route(route::parse(&method, path, Some("n=x")).unwrap_err());
    let (path, digest) = ("strace".parse().unwrap(), HASH.parse::<oci_spec::image::Digest>().unwrap());
    let errors = [
        routed(Method::PUT, "/v2/strace/manifests/latest"),
        routed(Method::GET, "/metrics\"\\"),
        routed(Method::GET, "/v2/strace/../dig/manifests/latest"),
        routed(Method::GET, "/v2/strace%2Fdig/manifests/latest"),
        routed(Method::GET, &format!("/v2/{}/manifests/latest", ["a"; 65].join("/"))),
        routed(Method::GET, "/v2/strace/blobs/sha256:abc"),
        routed(Method::GET, "/v2/strace/manifests/-"),
        routed(Method::GET, "/v2/strace/tags/list"),
        RequestError::UnknownName(UnknownName {
            name: name("strac"),
            near: vec![Near { name: name("strace"), of: None }],
            ambiguous: false,
        }),
        RequestError::UnknownManifest { path, digest: digest.clone() },
        RequestError::UnknownBlob { path: "strace/dig".parse().unwrap(), digest: digest.clone() },
        RequestError::Compose(ComposeError::NoPlatform(vec![
            (Arch::Amd64, vec![name("lsof")]),
            (Arch::Arm64, vec![name("perf"), name("tcpdump")]),
        ])),
        RequestError::Compose(ComposeError::NoBase),
        RequestError::DefaultPlatform(vec![name("lsof")]),
        RequestError::NotAcceptable,
        RequestError::Blob(BlobError::Damaged { digest, damage: Damage::Size { found: 1, expected: 9 } }),
    ];
    let mut texts = String::new();
    for error in &errors {
        let response = super::error(error);
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let entry = &body["errors"][0];
        let message = entry["message"].as_str().unwrap();
        assert_eq!(response.headers()[WARNING], warning(message));
        assert_eq!(response.headers()[CONTENT_LENGTH], response.body().len().to_string());
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        texts += &format!("{} {} {message}\n", response.status().as_u16(), entry["code"].as_str().unwrap());
        if let Some(detail) = entry.get("detail") {
            texts += &format!("    {}\n", kitbag_toolsets::canonical::to_string(detail));
        }
    }
    insta::assert_snapshot!(texts, @r#"
    405 UNSUPPORTED `PUT` is not supported: this registry composes its images itself, and can only be read (GET, HEAD)
    404 UNSUPPORTED nothing is served under `/metrics\"\\`: images are under `/v2/<tool>/<tool>/manifests/latest`
    400 NAME_INVALID component 2 of the image path: `..` is not a name: it must begin and end with a letter or a digit
        {"component":"..","position":2}
    400 NAME_INVALID component 1 of the image path: `strace%2Fdig` is not a name: percent-encoding has no place in a name
        {"component":"strace%2Fdig","position":1}
    400 NAME_INVALID the image path has 65 names; 64 are allowed: use a named set
    400 DIGEST_INVALID `sha256:abc` is not a digest: write `sha256:` and 64 hexadecimal digits (0-9, a-f)
    404 MANIFEST_UNKNOWN `-` is not a tag: write `latest` or the id of a generation
    400 PAGINATION_NUMBER_INVALID `n=x` is not a number of entries: write a whole number, or leave it out
    404 NAME_UNKNOWN unknown tool `strac`: did you mean `strace`?
        {"component":"strac","near":["strace"]}
    404 MANIFEST_UNKNOWN `strace` has no manifest `sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9` in any generation that is held here: pull by tag again
        {"digest":"sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9"}
    404 BLOB_UNKNOWN `strace/dig` has no blob `sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9` in any generation that is held here: pull by tag again
        {"digest":"sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9"}
    404 MANIFEST_UNKNOWN no platform has all of these tools: linux/amd64 lacks `lsof`; linux/arm64 lacks `perf`, `tcpdump`
        [{"lacks":["lsof"],"platform":"linux/amd64"},{"lacks":["perf","tcpdump"],"platform":"linux/arm64"}]
    500 UNKNOWN the generation has no base layer: build `base`
    404 MANIFEST_UNKNOWN a client that accepts no image index gets linux/amd64, which lacks `lsof`; accept `application/vnd.oci.image.index.v1+json`
        [{"lacks":["lsof"],"platform":"linux/amd64"}]
    404 MANIFEST_UNKNOWN this is an OCI image, and `Accept` allows no OCI type: accept `application/vnd.oci.image.index.v1+json`
    500 UNKNOWN blob `sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9` is damaged in this registry's store: it has 1 bytes instead of 9; find out more with `kitbag-builder verify`
        {"digest":"sha256:916f0027a575074ce72a331777c3478d6513f786a591bd892da1a577bf2335f9"}
    "#);
}

#[test]
fn a_write_is_told_what_is_allowed() {
    let method = RequestError::Route(route::parse(&Method::DELETE, "/v2/a/manifests/latest", None).unwrap_err());
    assert_eq!(error(&method).headers()[ALLOW], "GET, HEAD");
}

#[test]
fn a_warning_can_hold_any_text() {
    assert_eq!(warning("say \"\\é\n\""), "299 - \"say '/??'\"");
}

#[test]
fn what_cannot_be_read_for_now_is_to_be_asked_for_again() {
    let source = Arc::new(io::Error::from_raw_os_error(24));
    let digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    let response = super::error(&RequestError::Blob(BlobError::Unreadable { digest, source }));
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
}
