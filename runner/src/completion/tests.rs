use k8s_openapi::api::core::v1::Pod;
use kitbag_toolsets::Catalog;
use serde_json::json;

use super::question::{Question, What, question};
use super::*;
use crate::cli;
use crate::inventory::Inventory;

/// The words of a line after `kubectl kitbag`; a space at the end begins a new one.
fn asked(line: &str) -> Question {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    question(&cli::definition(), &words)
}

fn what(line: &str) -> String {
    let Question { what, before, prefix, flags } = asked(line);
    let what = match what {
        What::Words(words) => {
            words.iter().map(|candidate| candidate.word.as_str()).take(4).collect::<Vec<_>>().join(" ")
        }
        what => format!("{what:?}"),
    };
    format!("{line}| {what} {before:?} {prefix:?} {}", flags.join(" ")).trim_end().to_owned()
}

#[test]
fn what_is_wanted_follows_from_the_words() {
    let lines = [
        "",
        "de",
        "debug ",
        "debug sh",
        "debug deploy/sh",
        "debug cronjob/x",
        "debug shop ",
        "debug shop strace tc",
        "debug shop net/st",
        "debug -l app=shop ",
        "debug -l app=shop strace ",
        "debug -n web --context work shop -c ",
        "debug -n=web -c ",
        "debug -itnweb sh",
        "debug deploy/shop --container=ap",
        "debug -l app=shop -c ",
        "attach shop -c ",
        "debug --namespace w",
        "debug --namespace=w",
        "debug --context ",
        "debug --cluster ",
        "debug --user ",
        "debug --kubeconfig ",
        "debug --custom=",
        "debug --reason ",
        "debug --profile ",
        "debug --dry-run=",
        "debug --dry-run ",
        "debug shop strace -- ",
        "debug shop -- st",
        "debug shop -- strace -",
        "list ",
        "list shop ",
        "needs ",
        "needs strace ",
        "tools ",
        "completion ",
        "rbac ",
        "rbac debug deploy/shop st",
        "nonsense ",
        "debug --nonsense ",
    ];
    insta::assert_snapshot!(lines.map(what).join("\n"), @r#"
    | debug list attach end "" ""
    de| debug list attach end "" "de"
    debug | Targets "" ""
    debug sh| Targets "" "sh"
    debug deploy/sh| Objects(Deployment) "deploy/" "sh"
    debug cronjob/x| Nothing "cronjob/" "x"
    debug shop | Tools([]) "" ""
    debug shop strace tc| Tools(["strace"]) "" "tc"
    debug shop net/st| Tools([]) "net/" "st"
    debug -l app=shop | Tools([]) "" "" --selector=app=shop
    debug -l app=shop strace | Tools(["strace"]) "" "" --selector=app=shop
    debug -n web --context work shop -c | Containers { reference: Object { kind: Pod, name: "shop" }, debug: false } "" "" --namespace=web --context=work
    debug -n=web -c | Nothing "" "" --namespace=web
    debug -itnweb sh| Targets "" "sh" --stdin --tty --namespace=web
    debug deploy/shop --container=ap| Containers { reference: Object { kind: Deployment, name: "shop" }, debug: false } "--container=" "ap"
    debug -l app=shop -c | Containers { reference: Selector("app=shop"), debug: false } "" "" --selector=app=shop
    attach shop -c | Containers { reference: Object { kind: Pod, name: "shop" }, debug: true } "" ""
    debug --namespace w| Namespaces "" "w"
    debug --namespace=w| Namespaces "--namespace=" "w"
    debug --context | Contexts "" ""
    debug --cluster | Clusters "" ""
    debug --user | Users "" ""
    debug --kubeconfig | Files "" ""
    debug --custom=| Files "--custom=" ""
    debug --reason | Nothing "" ""
    debug --profile | general baseline restricted netadmin "" ""
    debug --dry-run=| none client server "--dry-run=" ""
    debug --dry-run | Targets "" "" --dry-run
    debug shop strace -- | Commands(["strace"]) "" ""
    debug shop -- st| Commands([]) "" "st"
    debug shop -- strace -| Nothing "" "-"
    list | Targets "" ""
    list shop | Nothing "" ""
    needs | Tools([]) "" ""
    needs strace | Tools(["strace"]) "" ""
    tools | Nothing "" ""
    completion | kubectl bash zsh fish "" ""
    rbac | debug list attach end "" ""
    rbac debug deploy/shop st| Tools([]) "" "st"
    nonsense | debug list attach end "" ""
    debug --nonsense | Targets "" ""
    "#);
}

#[test]
fn flags_are_offered_once_unless_they_repeat() {
    let words = |line: &str| match asked(line).what {
        What::Words(words) => words.into_iter().map(|candidate| candidate.word).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let offered = words("debug shop --cap-add KILL --all -");
    for flag in ["--namespace", "--cap-add", "--registry", "--tty"] {
        assert!(offered.iter().any(|word| word == flag), "{flag}");
    }
    assert!(!offered.iter().any(|word| word == "--all"));
}

#[test]
fn an_answer_is_in_the_protocols_form() {
    let told = |line: &str, words: &[&str]| {
        answer(&asked(line), words.iter().map(|word| Candidate::new(*word, "about. more")).collect())
    };
    assert_eq!(told("debug sh", &["shop", "web", "shell"]), "shell\tabout. more\nshop\tabout. more\n:4\n");
    assert_eq!(told("debug dep", &["shop", "deploy/"]), "deploy/\tabout. more\n:6\n");
    assert_eq!(told("debug deploy/s", &["shop", "web"]), "deploy/shop\tabout. more\n:4\n");
    assert_eq!(told("debug --custom ", &[]), ":0\n");
    assert_eq!(told("debug --reason ", &[]), ":4\n");
    let about =
        answer(&asked("debug "), vec![Candidate::new("shop", "A sentence.\nAnd another."), Candidate::new("web", "")]);
    assert_eq!(about, "shop\tA sentence\nweb\n:4\n");
}

#[test]
fn words_come_from_the_catalog_and_the_pod() {
    let inventory = Inventory::of(&Catalog::builtin().unwrap());
    let names = |candidates: Vec<Candidate>| candidates.into_iter().map(|it| it.word).collect::<Vec<_>>().join(" ");
    let named = ["strace".to_owned()];
    assert!(!names(sources::tools(&inventory, &named, false)).contains("strace"));
    assert!(names(sources::tools(&inventory, &[], false)).contains("net"));
    assert!(!names(sources::tools(&inventory, &[], false)).contains("grep"));
    assert!(names(sources::tools(&inventory, &[], true)).contains("grep"));
    assert_eq!(names(sources::commands(&inventory, &named)), "strace");
    assert!(names(sources::commands(&inventory, &[])).contains("grep"));
    assert_eq!(names(sources::kinds().collect()), "deploy/ sts/ ds/ rs/ job/ svc/");
    let pod: Pod = serde_json::from_value(json!({ "spec": {
        "containers": [{ "name": "app", "image": "shop:1" }],
        "initContainers": [{ "name": "setup" }],
        "ephemeralContainers": [{ "name": "kitbag-b2c4d", "targetContainerName": "app" }],
    } }))
    .unwrap();
    assert_eq!(names(sources::containers(&pod, false)), "app setup");
    assert_eq!(names(sources::containers(&pod, true)), "kitbag-b2c4d");
}

#[tokio::test]
async fn who_does_not_answer_knows_nothing() {
    let question = asked("debug --kubeconfig /nonexistent -n web -c ");
    assert_eq!(sources::candidates(&question).await, Vec::new());
    let question = asked("debug --kubeconfig /nonexistent shop -c ");
    assert_eq!(answer(&question, sources::candidates(&question).await), ":4\n");
    let question = asked("debug --kubeconfig /nonexistent d");
    let known = "deploy/\ta pod of a Deployment\nds/\ta pod of a DaemonSet\n:4\n";
    assert_eq!(answer(&question, sources::candidates(&question).await), known);
}
