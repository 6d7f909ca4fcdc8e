use super::*;

#[path = "../../tests/api/catalog.rs"]
mod catalog;

fn told(inventory: &Inventory) -> String {
    let tool = |tool: &Tool| format!("{} {}: {}", tool.name, tool.version, tool.summary);
    let set = |set: &Set| {
        let tools: Vec<&str> = set.tools.iter().map(Name::as_str).collect();
        format!("{} ({}): {}", set.name, tools.join(" "), set.summary)
    };
    inventory.tools.iter().map(tool).chain(inventory.sets.iter().map(set)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_cluster_may_have_more_than_this_program_knows() {
    let inventory = Inventory::published(&catalog::published().0, &Catalog::builtin().unwrap());
    insta::assert_snapshot!(told(&inventory), @r"
    busybox 1.37.0: busybox, as this cluster has it
    dig 9.20.26: dig, as this cluster has it
    htop 3.4.1: htop, as this cluster has it
    newtool 1.0: newtool, as this cluster has it
    strace 6.1: strace, as this cluster has it
    tcpdump 4.99.6: tcpdump, as this cluster has it
    net (tcpdump dig): look at traffic and ask DNS
    shell (busybox): a shell and the common Unix commands
    trace (strace htop): look at processes and what they ask of the kernel
    ");
    let needs = inventory.needs(&"newer/strace".parse().unwrap()).unwrap();
    assert_eq!(needs.keys().map(Name::as_str).collect::<Vec<_>>(), ["newtool", "strace"]);
    let unknown = inventory.needs(&"newtol".parse().unwrap()).unwrap_err();
    assert_eq!(unknown.to_string(), "unknown tool `newtol`: did you mean `newtool`?");
}

#[tokio::test]
async fn where_the_cluster_says_nothing_this_program_does_and_says_why() {
    let nowhere = Whose::of_flags(&["--kubeconfig=/nonexistent".to_owned()]);
    let named = Whose::of_flags(&["--registry=ghcr.example/acme".to_owned()]);
    let mut lines = Vec::new();
    for whose in [nowhere, named] {
        let Stock { inventory, source, registry } = find(&whose, None).await.unwrap();
        assert_eq!(registry, whose.registry);
        assert_eq!(told(&inventory), told(&Inventory::of(&Catalog::builtin().unwrap())));
        lines.push(source);
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    the catalog of this program (no cluster to talk to: failed to read kubeconfig from '"/nonexistent"': No such file or directory (os error 2))
    the catalog of this program (what the registry at `ghcr.example/acme` has, only its images tell)
    "#);
}

#[tokio::test]
async fn what_is_not_to_be_guessed_is_not() {
    let nowhere = Whose::of_flags(&["--kubeconfig=/nonexistent".to_owned()]);
    assert!(find_surely(&nowhere, None).await.is_err());
    let named = Whose::of_flags(&["--registry=ghcr.example/acme".to_owned()]);
    assert_eq!(find_surely(&named, None).await.unwrap().registry, named.registry);
}
