use super::*;
use proptest::prelude::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn get(url: &str) -> Result<Route, RouteError> {
    let url = url.replace("HEX", HEX);
    let (path, query) = url.split_once('?').map_or((url.as_str(), None), |(path, query)| (path, Some(query)));
    parse(&Method::GET, path, query)
}

fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

fn hex() -> Digest {
    format!("sha256:{HEX}").parse().unwrap()
}

#[test]
fn every_endpoint_has_its_route() {
    let tagged = |image, tag: &str| Route::Manifest { path: path(image), reference: Reference::Tag(Tag(tag.into())) };
    let page = |limit, after: Option<&str>| Page { limit, after: after.map(Into::into) };
    for (url, route) in [
        ("/v2/", Route::Base),
        ("/v2", Route::Base),
        ("/v2/strace/manifests/latest", tagged("strace", "latest")),
        ("/v2/strace/tcpdump/manifests/latest?ns=127.0.0.1:5005", tagged("strace/tcpdump", "latest")),
        (
            "/v2/strace/manifests/sha256:HEX",
            Route::Manifest { path: path("strace"), reference: Reference::Digest(hex()) },
        ),
        ("/v2/strace/blobs/sha256:HEX", Route::Blob { path: path("strace"), digest: hex() }),
        ("/v2/a/b/tags/list", Route::Tags { path: path("a/b"), page: Page::default() }),
        ("/v2/a/tags/list?n=3&last=x", Route::Tags { path: path("a"), page: page(Some(3), Some("x")) }),
        ("/v2/a/tags/list?n=0", Route::Tags { path: path("a"), page: page(Some(0), None) }),
        (
            "/v2/a/referrers/sha256:HEX?artifactType=application%2Fx",
            Route::Referrers { path: path("a"), digest: hex(), artifact_type: Some("application/x".into()) },
        ),
        ("/v2/_catalog?last=a%2Fb", Route::Catalog { page: page(None, Some("a/b")) }),
    ] {
        assert_eq!(get(url), Ok(route), "{url}");
    }
}

#[test]
fn tools_may_be_called_like_endpoints() {
    for image in ["blobs", "tags/list", "manifests/tags", "referrers/manifests/blobs", "v2", "catalog"] {
        for url in ["manifests/latest", "blobs/sha256:HEX", "tags/list", "referrers/sha256:HEX"] {
            let url = format!("/v2/{image}/{url}");
            let route = get(&url).unwrap_or_else(|error| panic!("{url}: {error}"));
            let (Route::Manifest { path, .. }
            | Route::Blob { path, .. }
            | Route::Tags { path, .. }
            | Route::Referrers { path, .. }) = route
            else {
                panic!("{url} has no image");
            };
            assert_eq!(path.to_string(), image, "{url}");
        }
    }
}

#[test]
fn what_has_no_route_is_told_why() {
    let long = format!("/v2/{}/manifests/latest", "a".repeat(256));
    let many = format!("/v2/{}/manifests/latest", ["a"; 65].join("/"));
    let urls = [
        "/",
        "/v1/strace",
        "/v2x/",
        "/v2/strace",
        "/v2/manifests/latest",
        "/v2/strace/tags/all",
        "/v2/strace/blobs/uploads/",
        "/v2/strace/manifests/",
        "/v2/strace/manifests/latest%20",
        "/v2/strace/manifests/.hidden",
        "/v2/strace/manifests/sha256:abc",
        "/v2/strace/blobs/latest",
        "/v2/strace/blobs/sha256:E3B0",
        "/v2/strace/referrers/sha256:",
        "/v2/Strace/manifests/latest",
        "/v2/strace/../dig/manifests/latest",
        "/v2/strace//dig/manifests/latest",
        "/v2//manifests/latest",
        "/v2/strace%2Fdig/manifests/latest",
        "/v2/strace/tags/list?n=-1",
        &long,
        &many,
    ];
    let errors: Vec<String> = urls.iter().map(|url| get(url).unwrap_err().to_string()).collect();
    insta::assert_snapshot!(errors.join("\n"), @r"
    nothing is served under `/`: images are under `/v2/<tool>/<tool>/manifests/latest`
    nothing is served under `/v1/strace`: images are under `/v2/<tool>/<tool>/manifests/latest`
    nothing is served under `/v2x/`: images are under `/v2/<tool>/<tool>/manifests/latest`
    nothing is served under `/v2/strace`: images are under `/v2/<tool>/<tool>/manifests/latest`
    nothing is served under `/v2/manifests/latest`: images are under `/v2/<tool>/<tool>/manifests/latest`
    nothing is served under `/v2/strace/tags/all`: images are under `/v2/<tool>/<tool>/manifests/latest`
    nothing is served under `/v2/strace/blobs/uploads/`: images are under `/v2/<tool>/<tool>/manifests/latest`
    `` is not a tag: write `latest` or the id of a generation
    `latest%20` is not a tag: write `latest` or the id of a generation
    `.hidden` is not a tag: write `latest` or the id of a generation
    `sha256:abc` is not a digest: write `sha256:` and 64 hexadecimal digits (0-9, a-f)
    `latest` is not a digest: write `sha256:` and 64 hexadecimal digits (0-9, a-f)
    `sha256:E3B0` is not a digest: write `sha256:` and 64 hexadecimal digits (0-9, a-f)
    `sha256:` is not a digest: write `sha256:` and 64 hexadecimal digits (0-9, a-f)
    component 1 of the image path: `Strace` is not a name: names are in small letters
    component 2 of the image path: `..` is not a name: it must begin and end with a letter or a digit
    component 2 of the image path: `` is not a name: it is empty
    component 1 of the image path: `` is not a name: it is empty
    component 1 of the image path: `strace%2Fdig` is not a name: percent-encoding has no place in a name
    `n=-1` is not a number of entries: write a whole number, or leave it out
    the image path has 256 characters; 255 are allowed: use a named set
    the image path has 65 names; 64 are allowed: use a named set
    ");
}

#[test]
fn only_reading_is_supported() {
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let error = parse(&method, "/v2/strace/blobs/uploads/", None).unwrap_err();
        assert_eq!(error, RouteError::Method(method.to_string()));
    }
    assert_eq!(parse(&Method::HEAD, "/v2/", None), Ok(Route::Base));
}

#[test]
fn long_and_strange_texts_are_quoted_in_short() {
    let RouteError::Tag(quoted) = get(&format!("/v2/a/manifests/\n\"é{}", "x".repeat(500))).unwrap_err() else {
        panic!("a tag without grammar");
    };
    assert!(quoted.is_ascii() && quoted.len() < 120, "{quoted}");
}

fn routes() -> impl Strategy<Value = Route> {
    let image = || "[a-z0-9]{1,6}([-._/][a-z0-9]{1,6}){0,5}|(blobs|tags|list|manifests|referrers)(/(tags|list))?";
    let image = move || image().prop_map(|text| text.parse::<ImagePath>().unwrap());
    let digest = || "sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|x[+]y:[a-zA-Z0-9=_-]{1,9}";
    let digest = move || digest().prop_map(|text| text.parse::<Digest>().unwrap());
    let page = || {
        (proptest::option::of(any::<usize>()), proptest::option::of("\\PC{0,9}"))
            .prop_map(|(limit, after)| Page { limit, after })
    };
    let reference = prop_oneof![
        "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}".prop_map(|text| Reference::Tag(Tag(text))),
        digest().prop_map(Reference::Digest),
    ];
    prop_oneof![
        Just(Route::Base),
        (image(), reference).prop_map(|(path, reference)| Route::Manifest { path, reference }),
        (image(), digest()).prop_map(|(path, digest)| Route::Blob { path, digest }),
        (image(), page()).prop_map(|(path, page)| Route::Tags { path, page }),
        (image(), digest(), proptest::option::of("\\PC{0,9}"))
            .prop_map(|(path, digest, artifact_type)| Route::Referrers { path, digest, artifact_type }),
        page().prop_map(|page| Route::Catalog { page }),
    ]
}

proptest! {
    #[test]
    fn printing_and_parsing_are_inverse(route in routes()) {
        prop_assert_eq!(get(&route.to_string()), Ok(route));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), query in "\\PC{0,40}") {
        let text = String::from_utf8_lossy(&bytes);
        let _ = parse(&Method::GET, &text, Some(&query));
        let _ = parse(&Method::GET, &format!("/v2/{text}"), Some(&query));
        let _ = parse(&Method::GET, &format!("/v2/a/manifests/{text}"), None);
        let _ = parse(&Method::GET, &format!("/v2/{text}/blobs/sha256:{HEX}"), None);
    }
}
