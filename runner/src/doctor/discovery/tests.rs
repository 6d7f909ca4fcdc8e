use std::collections::BTreeMap;

use kitbag_toolsets::generation::{BlobRef, sha256_digest, write_generation};
use kitbag_toolsets::{Generation, Name, ToolRecord, canonical};
use oci_spec::image::{Descriptor, MediaType};
use serde_json::json;

use super::*;
use crate::doctor::testing::{jane, nothing, told};

fn record(name: &str) -> ToolRecord {
    let digest = |salt: &str| sha256_digest(&canonical::sha256_hex(format!("{name}{salt}").as_bytes()));
    ToolRecord {
        name: Name::parse(name).unwrap(),
        base: name == "base",
        version: "1.0".to_owned(),
        architecture: Arch::Amd64,
        rank: 100,
        summary: "a tool".to_owned(),
        license: "MIT".to_owned(),
        commands: Vec::new(),
        needs: kitbag_toolsets::Needs::default(),
        source_date: 1_700_000_000,
        input_hash: String::new(),
        diff_id: digest("tar"),
        gzip: BlobRef { digest: digest("gzip"), size: 1000 },
        zstd: BlobRef { digest: digest("zstd"), size: 900 },
    }
}

fn data(tools: &[&str]) -> BTreeMap<String, String> {
    let described = tools.iter().map(|tool| record(tool)).map(|record| {
        let descriptor = Descriptor::new(MediaType::ImageManifest, 7_u64, record.diff_id.clone());
        (record, descriptor)
    });
    let generation = write_generation(&described.collect::<Vec<_>>(), &BTreeMap::new());
    let published = Published::of(&Generation::parse(&generation).unwrap());
    let data = [
        ("registry", "127.0.0.1:5050".to_owned()),
        ("generation", published.id().to_string()),
        ("catalog.json", published.to_json()),
    ];
    data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn map(data: &BTreeMap<String, String>) -> Fetched<ConfigMap> {
    Fetched::Got(serde_json::from_value(json!({ "data": data })).unwrap())
}

#[test]
fn what_is_pulled_has_the_digest_that_the_plugin_computes() {
    let data = data(&["base", "busybox"]);
    let (findings, found) = judge(&map(&data), &Fetched::Got(true), &Installed::of(&nothing()), &jane());
    let found = found.unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].text, format!("nodes pull from `127.0.0.1:5050`, generation {}", data["generation"]));
    assert!(found.image.unwrap().starts_with("127.0.0.1:5050/busybox@sha256:"));
    assert_eq!((found.per_node, found.architectures), (true, vec![Arch::Amd64]));
}

#[test]
fn a_catalog_without_a_shell_is_found_all_the_same() {
    let (_, found) = judge(&map(&data(&["base", "strace"])), &Fetched::Forbidden, &Installed::of(&nothing()), &jane());
    assert_eq!(found.unwrap().image, None);
}

#[test]
fn each_fault_has_its_own_fix() {
    let edited = |key: &str, value: Option<&str>| {
        let mut data = data(&["base", "busybox"]);
        match value {
            Some(value) => drop(data.insert(key.to_owned(), value.to_owned())),
            None => drop(data.remove(key)),
        }
        map(&data)
    };
    let newer = data(&["base"])["catalog.json"].replace("\"version\":1}", "\"version\":2}");
    assert!(newer.contains("\"version\":2"), "{newer}");
    let facts = [
        Fetched::Absent,
        Fetched::Forbidden,
        Fetched::Failed("timed out".to_owned()),
        edited("registry", None),
        edited("registry", Some("https://registry.example")),
        edited("generation", Some("000000000000")),
        edited("catalog.json", Some("nonsense")),
        edited("catalog.json", Some(&newer)),
    ];
    let findings = facts.map(|fact| judge(&fact, &Fetched::Forbidden, &Installed::of(&nothing()), &jane()).0);
    let text = told(&findings.concat()).replace(&data(&["base", "busybox"])["generation"], "GENERATION");
    insta::assert_snapshot!(text, @r"
    FAILURE  discovery     kitbag is not installed in this cluster: there is no ConfigMap `kube-public/kitbag`
                             # for the platform team:
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  discovery     `jane` may not read ConfigMap `kube-public/kitbag`: kitbag is not installed, or the Role or RoleBinding that lets everybody read it is missing
                             # for the platform team, to whom it tells which, and what to do:
                             kubectl kitbag doctor
    warning  discovery     the cluster does not say: timed out
    FAILURE  discovery     `registry` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: it is missing
                             # for the platform team:
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  discovery     `registry` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: `https://registry.example`: the scheme is not part of a registry's name: HOST[:PORT][/PREFIX] is wanted
                             # for the platform team:
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  discovery     `generation` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: it is `000000000000`, and `catalog.json` is of `GENERATION`
                             # for the platform team:
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  discovery     `catalog.json` in the ConfigMap `kube-public/kitbag` is not as kitbag writes it: it is no JSON object: expected ident at line 1 column 2
                             # for the platform team:
                             # the image is one that kitbag-builder image --server has made:
                             kubectl kitbag install --image REGISTRY/kitbag-registry@sha256:…
    FAILURE  discovery     the cluster's kitbag is of another version than this program: `catalog.json`: it is of version 2; this program reads version 1
                             # take the kubectl-kitbag of the cluster's version (this one is 0.1.0), or do without the catalog:
                             export KITBAG_REGISTRY=127.0.0.1:5050
    ");
}

#[test]
fn what_only_some_may_read_is_told_to_the_platform_team() {
    let data = data(&["base", "busybox"]);
    let (findings, found) = judge(&map(&data), &Fetched::Got(false), &Installed::of(&nothing()), &jane());
    assert!(found.is_some());
    insta::assert_snapshot!(told(&findings[1..]), @r"
    FAILURE  discovery     not everybody may read ConfigMap `kube-public/kitbag`: the Role or RoleBinding is missing, without which the plugin finds no registry
                             # for the platform team:
                             kubectl create role kitbag -n kube-public --verb=get --resource=configmaps --resource-name=kitbag --dry-run=client -o yaml | kubectl apply -f -
                             kubectl create rolebinding kitbag -n kube-public --role=kitbag --group=system:authenticated --dry-run=client -o yaml | kubectl apply -f -
    ");
}
