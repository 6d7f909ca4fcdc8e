use clap::Parser;
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    common: Common,
}

fn flags(line: &str) -> Common {
    Line::try_parse_from(std::iter::once("x").chain(line.split_whitespace())).unwrap().common
}

/// Two contexts, of two clusters and two users.
fn example() -> Kubeconfig {
    serde_json::from_value(json!({
        "current-context": "work",
        "contexts": [
            { "name": "work", "context": { "cluster": "c1", "user": "jane", "namespace": "web" } },
            { "name": "home", "context": { "cluster": "c2", "user": "root" } },
        ],
        "clusters": [
            { "name": "c1", "cluster": { "server": "https://c1.example:6443", "certificate-authority-data": "AAAA" } },
            { "name": "c2", "cluster": { "server": "https://c2.example:6443" } },
        ],
        "users": [
            { "name": "jane", "user": { "exec": { "apiVersion": "client.authentication.k8s.io/v1", "command": "login" } } },
            { "name": "root", "user": { "client-certificate-data": "BBBB", "client-key-data": "CCCC", "as": "audit" } },
        ],
    }))
    .unwrap()
}

/// What counts of the kubeconfig under a line of flags: cluster, user, and the user's name.
fn chosen(kubeconfig: Kubeconfig, line: &str) -> String {
    let (kubeconfig, choice) = overridden(kubeconfig, &flags(line));
    let context = kubeconfig.contexts.iter().find(|it| Some(&it.name) == choice.context.as_ref());
    let cluster = kubeconfig.clusters.iter().find(|it| Some(&it.name) == choice.cluster.as_ref());
    let user = kubeconfig.auth_infos.iter().find(|it| Some(&it.name) == choice.user.as_ref());
    let json = |value: Option<Value>| value.unwrap_or_default().to_string();
    let context = context.map_or("no such context", |it| it.name.as_str());
    let cluster = json(cluster.map(|it| serde_json::to_value(&it.cluster).unwrap()));
    let user = json(user.map(|it| serde_json::to_value(&it.auth_info).unwrap()));
    format!("{line}\n  {context} {cluster} {user} {:?}", user_name(&kubeconfig, &choice))
}

#[test]
fn flags_go_before_the_kubeconfig() {
    let lines = [
        "",
        "--context home",
        "--context gone",
        "--cluster c2 --user root",
        "--server https://other.example --certificate-authority ca.pem --tls-server-name kubernetes",
        "-s 127.0.0.1:8001",
        "--insecure-skip-tls-verify",
        "--insecure-skip-tls-verify=false",
        "--token secret",
        "--context home --client-certificate c.pem --client-key k.pem",
        "--as mallory --as-group a --as-group b --as-uid 7",
    ];
    insta::assert_snapshot!(lines.map(|line| chosen(example(), line)).join("\n"), @r#"
      work {"certificate-authority-data":"AAAA","server":"https://c1.example:6443"} {"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"login","provideClusterInfo":false}} Some("jane")
    --context home
      home {"server":"https://c2.example:6443"} {"as":"audit","client-certificate-data":"BBBB","client-key-data":"CCCC"} Some("audit")
    --context gone
      no such context null {} None
    --cluster c2 --user root
      work {"server":"https://c2.example:6443"} {"as":"audit","client-certificate-data":"BBBB","client-key-data":"CCCC"} Some("audit")
    --server https://other.example --certificate-authority ca.pem --tls-server-name kubernetes
      work {"certificate-authority":"ca.pem","server":"https://other.example","tls-server-name":"kubernetes"} {"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"login","provideClusterInfo":false}} Some("jane")
    -s 127.0.0.1:8001
      work {"certificate-authority-data":"AAAA","server":"http://127.0.0.1:8001"} {"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"login","provideClusterInfo":false}} Some("jane")
    --insecure-skip-tls-verify
      work {"insecure-skip-tls-verify":true,"server":"https://c1.example:6443"} {"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"login","provideClusterInfo":false}} Some("jane")
    --insecure-skip-tls-verify=false
      work {"certificate-authority-data":"AAAA","insecure-skip-tls-verify":false,"server":"https://c1.example:6443"} {"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"login","provideClusterInfo":false}} Some("jane")
    --token secret
      work {"certificate-authority-data":"AAAA","server":"https://c1.example:6443"} {"token":"secret"} Some("jane")
    --context home --client-certificate c.pem --client-key k.pem
      home {"server":"https://c2.example:6443"} {"as":"audit","client-certificate":"c.pem","client-key":"k.pem"} Some("audit")
    --as mallory --as-group a --as-group b --as-uid 7
      work {"certificate-authority-data":"AAAA","server":"https://c1.example:6443"} {"as":"mallory","as-groups":["a","b"],"as-uid":"7","exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"login","provideClusterInfo":false}} Some("mallory")
    "#);
}

#[test]
fn flags_alone_can_say_it_all() {
    let line = "--server https://c.example --token secret --as jane";
    insta::assert_snapshot!(chosen(Kubeconfig::default(), line), @r#"
    --server https://c.example --token secret --as jane
      kubectl-kitbag {"server":"https://c.example"} {"as":"jane","token":"secret"} None
    "#);
}

#[tokio::test]
async fn flags_reach_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    std::fs::write(&path, serde_json::to_string(&example()).unwrap()).unwrap();
    let line =
        format!("--kubeconfig {} --token t --as jane --as-group ops --as-uid 7 -s https://127.0.0.1", path.display());
    let (config, user) = config(&flags(&line)).await.unwrap();
    assert_eq!(config.cluster_url.to_string(), "https://127.0.0.1/");
    assert_eq!(config.default_namespace, "web");
    assert_eq!(config.auth_info.impersonate_groups, Some(vec!["ops".to_owned()]));
    assert_eq!(user.as_deref(), Some("jane"));
    let missing = flags(&format!("--kubeconfig {} --context gone", path.display()));
    insta::assert_snapshot!(super::config(&missing).await.unwrap_err(), @"no cluster to talk to: failed to load current context: gone");
}

#[test]
fn of_several_files_those_that_exist_count_and_the_first_wins() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, context: &str| {
        let path = directory.path().join(name);
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {context}\n\
                 contexts: [{{name: {context}, context: {{cluster: c, user: u, namespace: {name}}}}}]\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    };
    let paths = [directory.path().join("gone"), file("one", "a"), file("two", "b")];
    let merged = merge(&paths).unwrap().unwrap();
    assert_eq!(merged.current_context.as_deref(), Some("a"));
    assert_eq!(merged.contexts.iter().map(|context| context.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(merge(&paths[..1]).unwrap().is_none());
}
