//! Images of a cluster that says what it has.

use http::Method;
use kitbag_runner::Error;
use kitbag_runner::discovery::{DiscoveryError, discover};
use kitbag_runner::image::{How, Image, Registry, Wanted, resolve};
use kitbag_toolsets::{Catalog, Compression, ImagePath};
use serde_json::{Value, json};

use crate::catalog::published;
use crate::script::{Answer, server};

const MAP: &str = "/api/v1/namespaces/kube-public/configmaps/kitbag";

/// The ConfigMap as `kubectl kitbag install` writes it.
fn config_map() -> Value {
    let (published, generation) = published();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "kitbag", "namespace": "kube-public" },
        "data": {
            "registry": "127.0.0.1:5050",
            "generation": generation.id().as_str(),
            "catalog.json": published.to_json(),
        },
    })
}

fn edited(key: &str, value: Option<&str>) -> Answer {
    let mut map = config_map();
    let data = map["data"].as_object_mut().unwrap();
    match value {
        Some(value) => drop(data.insert(key.to_owned(), value.into())),
        None => drop(data.remove(key)),
    }
    Answer::get(MAP, &map)
}

fn refused(code: u16) -> Answer {
    let message = r#"configmaps "kitbag" is forbidden: User "jane" cannot get resource "configmaps" in API group "" in the namespace "kube-public""#;
    Answer::refused(Method::GET, MAP, code, message)
}

/// The image, where the API server answers so and is asked for nothing else.
async fn image(
    path: &str,
    tag: Option<&str>,
    registry: Option<&Registry>,
    script: Vec<Answer>,
) -> Result<Image, Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (client, server) = server(script);
    let path: ImagePath = path.parse().unwrap();
    let wanted = Wanted::Composed { registry, path: &path, tag, plain_http: false };
    let image = resolve(&client, wanted, &Catalog::builtin().unwrap()).await;
    drop(client);
    server.await.unwrap();
    image
}

async fn composed(path: &str, tag: Option<&str>) -> Result<Image, Error> {
    image(path, tag, None, vec![Answer::get(MAP, &config_map())]).await
}

fn told(error: &Error) -> String {
    let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    format!("{error} [{}]{hint}", error.kind().exit_code())
}

#[tokio::test]
async fn an_image_takes_one_request_and_has_the_registrys_digest() {
    let (_, generation) = published();
    let id = generation.id().as_str();
    for (path, tag, compression) in [
        ("strace/tcpdump", None, Compression::Gzip),
        ("tcpdump/strace", Some("latest"), Compression::Gzip),
        ("trace/shell", Some(id), Compression::Gzip),
        ("newer/htop", None, Compression::Gzip),
        ("strace", Some("latest-zstd"), Compression::Zstd),
        ("sh", Some(&format!("{id}-zstd")), Compression::Zstd),
    ] {
        let image = composed(path, tag).await.unwrap();
        let set = generation.resolve(&path.parse().unwrap()).unwrap();
        let theirs = generation.compose(&set).unwrap();
        let index = &theirs.form(compression).index;
        assert_eq!(image.reference, format!("127.0.0.1:5050/{set}@{}", index.digest));
        assert_eq!(image.digest, Some(index.digest.to_string()));
        assert_eq!(image.resolved, How::ByCluster(generation.id().clone()));
        // What the image itself says, to those who ask its registry.
        let annotations = &serde_json::from_slice::<Value>(&index.bytes).unwrap()["annotations"];
        assert_eq!(annotations["dev.kitbag.tools"], image.tools);
        let needs: Value = serde_json::from_str(annotations["dev.kitbag.needs"].as_str().unwrap()).unwrap();
        assert_eq!(serde_json::to_value(&image.needs).unwrap(), needs);
    }
}

#[tokio::test]
async fn the_digest_stays_the_same() {
    let image = composed("strace/tcpdump", None).await.unwrap();
    insta::assert_snapshot!(format!("{} {} {}", image.reference, image.tools, image.resolved), @"127.0.0.1:5050/strace/tcpdump@sha256:836eb26588ca954f2359b8aa1fbdd29878c2965d7c34a94b714830fb3891e1e0 strace=6.1 tcpdump=4.99.6 by the cluster's catalog (generation `687e362e2777`)");
}

#[tokio::test]
async fn what_the_cluster_has_not_is_refused_with_what_is_near() {
    let lines = [
        told(&composed("strac", None).await.unwrap_err()),
        told(&composed("newtol", None).await.unwrap_err()),
        told(&composed("strace", Some("0123456789ab")).await.unwrap_err()),
        told(&composed("strace", Some("0123456789ab-zstd")).await.unwrap_err()),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    unknown tool `strac`: did you mean `strace` or `stat` (of `busybox`) or `trace`? [65]
      hint: asked was the cluster's catalog, `kubectl kitbag tools` (generation `687e362e2777`); the pod was not touched
    unknown tool `newtol`: did you mean `newtool`? [65]
      hint: asked was the cluster's catalog, `kubectl kitbag tools` (generation `687e362e2777`); the pod was not touched
    the cluster's generation is `687e362e2777`, not `0123456789ab` [65]
      hint: leave --tag out, or try whether nodes have it still: --registry 127.0.0.1:5050 --tag 0123456789ab; the pod was not touched
    the cluster's generation is `687e362e2777`, not `0123456789ab-zstd` [65]
      hint: leave --tag out, or try whether nodes have it still: --registry 127.0.0.1:5050 --tag 0123456789ab-zstd; the pod was not touched
    ");
}

#[tokio::test]
async fn a_map_that_makes_no_sense_is_named_with_what_to_do() {
    let newer = published().0.to_json().replace(r#""version":1}"#, r#""version":2}"#);
    let changed = published().0.to_json().replace(r#""rank":500"#, r#""rank":501"#);
    let mut lines = Vec::new();
    for (key, value) in [
        ("registry", None),
        ("registry", Some("http://127.0.0.1:5050")),
        ("registry", Some("")),
        ("generation", None),
        ("generation", Some("0123456789ab")),
        ("catalog.json", None),
        ("catalog.json", Some("hello")),
        ("catalog.json", Some(&changed)),
        ("catalog.json", Some(&newer)),
    ] {
        lines.push(told(&image("strace", None, None, vec![edited(key, value)]).await.unwrap_err()));
    }
    let empty = Answer::get(MAP, &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {} }));
    lines.push(told(&image("strace", None, None, vec![empty]).await.unwrap_err()));
    let lines: Vec<String> = lines.iter().map(|line| shortened(line)).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    `registry` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: it is missing [68]
      hint: tell the platform team: `kubectl kitbag install` writes it anew; --registry or $KITBAG_REGISTRY does without it
    `registry` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: `http://127.0.0.1:5050`: the scheme is not part of a registry's name: HOST[:PORT][/PREFIX] is wanted [68]
      hint: tell the platform team: `kubectl kitbag install` writes it anew; --registry or $KITBAG_REGISTRY does without it
    `registry` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: ``: that is not a host: HOST[:PORT][/PREFIX] is wanted [68]
      hint: tell the platform team: `kubectl kitbag install` writes it anew; --registry or $KITBAG_REGISTRY does without it
    `generation` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: it is missing [68]
      hint: tell the platform team: `kubectl kitbag install` writes it anew; --registry or $KITBAG_REGISTRY does without it
    `generation` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: it is `0123456789ab`, and `catalog.json` is of `687e362e2777` [68]
      hint: tell the platform team: `kubectl kitbag install` writes it anew; --registry or $KITBAG_REGISTRY does without it
    `catalog.json` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: it is missing [68]
      hint: tell the platform team: `kubectl kitbag install` writes it anew; --registry or $KITBAG_REGISTRY does without it
    `catalog.json` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: it is no JSON object: expected value at line 1 column 1 [68]
      hint: tell the platform team: `kubectl kitbag install` writes it anew; --registry or $KITBAG_REGISTRY does without it
    `catalog.json` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: it was changed after it was written: its checksum is `sha256:46d6…`, and `sha256:8b5b…` stands in it [68]
      hint: tell the platform team: `kubectl kitbag install` writes it anew; --registry or $KITBAG_REGISTRY does without it
    the cluster's kitbag is of another version than this program: `catalog.json`: it is of version 2; this program reads version 1 [68]
      hint: get the kubectl-kitbag of the cluster's version, or ask the platform team for `kubectl kitbag install` by this one; --registry 127.0.0.1:5050 does without the catalog
    `registry` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: it is missing [68]
      hint: tell the platform team: `kubectl kitbag install` writes it anew; --registry or $KITBAG_REGISTRY does without it
    ");
}

/// Digests at their beginning.
fn shortened(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.map(|part| format!("sha256:{}…{}", &part[..4], &part[64..])).collect::<String>()
}

/// A port where nobody listens: it was free a moment ago.
fn nobody() -> Registry {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("127.0.0.1:{port}").parse().unwrap()
}

#[tokio::test]
async fn who_names_a_registry_does_not_ask_the_cluster() {
    let registry = nobody();
    let image = image("strace", None, Some(&registry), Vec::new()).await.unwrap();
    assert_eq!(image.reference, format!("{registry}/strace:latest"));
}

#[tokio::test]
async fn a_cluster_that_says_nothing_leaves_the_default() {
    for (code, reason) in [(404, "kitbag is not installed in this cluster"), (403, "this user may not read")] {
        let image = image("no-such-tool", None, None, vec![refused(code)]).await.unwrap_err();
        let told = told(&image);
        // Whatever answers on this machine's port, the reason stands in what is said, or it was asked.
        assert!(told.contains(reason) || told.contains("asked was the registry at `127.0.0.1:5005`"), "{told}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_told_as_ever() {
    let down = image("strace", None, None, vec![Answer::broken(Method::GET, MAP)]).await.unwrap_err();
    let unknown = image("strace", None, None, vec![Answer::refused(Method::GET, MAP, 401, "Unauthorized")]).await;
    insta::assert_snapshot!([told(&down), told(&unknown.unwrap_err())].join("\n"), @r"
    the cluster does not answer: connection refused [69]
      hint: check the cluster's address: `kubectl config view --minify`
    the cluster does not know who asks: Unauthorized [77]
      hint: log in to the cluster again
    ");
}

#[tokio::test]
async fn each_way_to_know_nothing_has_its_remedy() {
    let mut lines = Vec::new();
    for code in [404, 403] {
        let (client, server) = server(vec![refused(code)]);
        let error: DiscoveryError = discover(&client).await.unwrap_err();
        assert!(error.is_nothing());
        lines.push(told(&error.into()));
        drop(client);
        server.await.unwrap();
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    kitbag is not installed in this cluster: there is no ConfigMap `kube-public/kitbag` [68]
      hint: a platform team installs it: `kubectl kitbag install`
    this user may not read what the cluster says of its kitbag, the ConfigMap `kube-public/kitbag` [77]
      hint: `kubectl kitbag install`, by the platform team, lets every user read it (Role `kitbag` in `kube-public`)
    ");
}
