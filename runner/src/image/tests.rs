use super::*;
use crate::error::Kind;
use kitbag_toolsets::Need;
use oci_client::errors::OciDistributionError;

fn catalog() -> Catalog {
    Catalog::builtin().unwrap()
}

fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

fn registry() -> Registry {
    "127.0.0.1:5005".parse().unwrap()
}

fn composed<'a>(registry: &'a Registry, path: &'a ImagePath) -> Wanted<'a> {
    Wanted::Composed { registry: Some(registry), path, tag: None, plain_http: false }
}

#[test]
fn needs_come_from_the_annotations_else_from_the_catalog() {
    let (catalog, registry, strace) = (catalog(), registry(), path("strace"));
    let wanted = composed(&registry, &strace);
    let annotated = br#"{"annotations":{"dev.kitbag.tools":"strace=6.1","dev.kitbag.needs":"{\"strace\":{\"optional\":[\"perf\"]}}"}}"#;
    let (tools, needs) = describe(annotated, wanted, &catalog).unwrap();
    assert_eq!(tools, "strace=6.1");
    assert_eq!(needs.values().flat_map(Needs::all).collect::<Vec<_>>(), [Need::Perf]);
    let (tools, needs) = describe(b"{}", wanted, &catalog).unwrap();
    assert_eq!(tools, "strace");
    assert!(needs.values().flat_map(Needs::all).any(|need| need == Need::TargetAttach));
    let unknown = path("no-such-tool");
    insta::assert_snapshot!(describe(b"{}", composed(&registry, &unknown), &catalog).unwrap_err(), @"the registry at `127.0.0.1:5005` answers with something else than an image: it has no annotation `dev.kitbag.needs`");
    assert!(describe(br#"{"annotations":{"dev.kitbag.needs":"[]"}}"#, wanted, &catalog).is_err());
}

#[test]
fn an_image_of_ones_own_needs_what_the_named_tools_need_else_what_it_says_else_nothing() {
    let (catalog, dig) = (catalog(), path("dig"));
    let annotated = br#"{"annotations":{"dev.kitbag.tools":"strace=6.1","dev.kitbag.needs":"{\"strace\":{\"optional\":[\"perf\"]}}"}}"#;
    let described = |bytes: &[u8], tools| {
        let wanted = Wanted::Own { reference: "ghcr.example/acme/tools", tools, plain_http: false };
        let (tools, needs) = describe(bytes, wanted, &catalog).unwrap();
        (tools, needs.into_keys().map(String::from).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(described(annotated, Some(&dig)), ("dig".to_owned(), "dig".to_owned()));
    assert_eq!(described(annotated, None), ("strace=6.1".to_owned(), "strace".to_owned()));
    assert_eq!(described(b"{}", None), (String::new(), String::new()));
}

#[test]
fn without_the_registry_the_catalog_is_asked_and_the_tag_is_taken() {
    let catalog = catalog();
    let prefixed: Registry = "ghcr.example/acme".parse().unwrap();
    let told = |wanted: Wanted<'_>, text: &str| {
        let image = by_catalog(&parse(text).unwrap(), "timed out", wanted, &catalog);
        image.map_or_else(
            |error| format!("{error}\n  hint: {}", error.hint().unwrap()),
            |image| format!("{} [{}] {:?} {}", image.reference, image.tools, image.digest, image.resolved),
        )
    };
    let (net, wrong) = (path("net/strace"), path("net/strac"));
    let own = |tools| Wanted::Own { reference: "", tools, plain_http: false };
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let lines = [
        told(composed(&prefixed, &net), "ghcr.example/acme/net/strace:latest"),
        told(composed(&prefixed, &wrong), "ghcr.example/acme/net/strac:latest"),
        told(own(Some(&net)), "ghcr.example/mine:1"),
        told(own(None), &format!("ghcr.example/mine@{digest}")),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r#"
    ghcr.example/acme/net/strace:latest [strace tcpdump dig] None by the catalog of this program (timed out)
    unknown tool `strac`: did you mean `strace` or `stat` (of `busybox`) or `trace`?
      hint: asked was the catalog of this program, `kubectl kitbag tools` (timed out); the pod was not touched
    ghcr.example/mine:1 [strace tcpdump dig] None by the catalog of this program (timed out)
    ghcr.example/mine@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 [] Some("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") by the catalog of this program (timed out)
    "#);
}

#[test]
fn the_registrys_words_are_passed_on() {
    let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"unknown tool `strac`: did you mean `strace`?"}]}"#;
    let error =
        OciDistributionError::RegistryError { envelope: serde_json::from_str(body).unwrap(), url: String::new() };
    let error = ask::explain(error, "127.0.0.1:5005");
    assert_eq!(error.to_string(), "unknown tool `strac`: did you mean `strace`?");
    assert_eq!(error.kind(), Kind::UnknownTool);
    let error = OciDistributionError::ServerError { code: 502, url: String::new(), message: "Bad Gateway\n".into() };
    let error = ask::explain(error, "127.0.0.1:5005");
    assert_eq!(
        error.to_string(),
        "the registry at `127.0.0.1:5005` answers with something else than an image: status 502 Bad Gateway"
    );
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_not_waited_for() {
    // A port that was free a moment ago: nobody listens on it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (registry, path) = (format!("127.0.0.1:{port}").parse().unwrap(), path("dig"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let image = asked(composed(&registry, &path), "kitbag is not installed; ", &catalog()).await.unwrap();
    assert_eq!(image.reference, format!("127.0.0.1:{port}/dig:latest"));
    assert!(
        matches!(&image.resolved, How::ByCatalog(reason) if reason.starts_with("kitbag is not installed; the registry at") && reason.contains("Connection refused")),
        "{image:?}"
    );
}
