//! The program as people run it: what it says, and its exit codes. Nothing here needs a network or a compiler.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use kitbag_builder::layer::Tree;
use kitbag_builder::store::{Store, StoreWriter, ToolParts};
use kitbag_toolsets::{Arch, Compression, Name, Needs, Published};
use tempfile::TempDir;

/// Runs the program in a house of its own; gives exit code, standard output and standard error.
fn run(house: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    run_with(house, arguments, &[])
}

/// The same with more of an environment.
fn run_with(house: &TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let home = house.path().to_str().expect("temporary paths are text");
    let output = Command::new(env!("CARGO_BIN_EXE_kitbag-builder"))
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .envs(environment.iter().copied())
        .output()
        .expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it says text").replace(home, "~");
    (output.status.code().expect("no signal ends it"), text(output.stdout), text(output.stderr))
}

fn house() -> TempDir {
    tempfile::tempdir().expect("there is room for a directory")
}

/// What was said, without the times of progress.
fn error_of((code, _, said): (i32, String, String)) -> String {
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with('[')).collect();
    format!("{}\nexit {code}", lines.join("\n"))
}

#[test]
fn an_unknown_tool_stops_everything_and_near_names_are_told() {
    let house = house();
    insta::assert_snapshot!(error_of(run(&house, &["build", "strcae", "--offline"])), @"
        error: unknown tool `strcae`: did you mean `strace` or `trace`?
        exit 2
        ");
    insta::assert_snapshot!(error_of(run(&house, &["show", "strcae"])), @"
        error: there is no recipe `strcae`
        hint: `kitbag-builder list` shows the tools
        exit 2
        ");
}

#[test]
fn a_source_that_is_not_there_names_every_origin() {
    let house = house();
    let wheel = house
        .path()
        .join("ziglang-0.17.0-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl");
    std::fs::write(wheel, "not a wheel").unwrap();
    let home = house.path().to_str().unwrap();
    let said = run(&house, &["build", "strace", "--arch", "amd64", "--offline", "--sources", home]);
    insta::assert_snapshot!(error_of(said), @"
        error: cannot get `strace_6.1.orig.tar.xz` (SHA-256 2579e9cec37dbb786f6ea0bebd15f40dd561ef2bde2a2a2ecdce5963b01859fd):
            directory `~`: it is not there
            download cache `~/.cache/kitbag/sources`: it is not there
            https://github.com/strace/strace/releases/download/v6.1/strace-6.1.tar.xz: not asked, because of --offline
            https://strace.io/files/6.1/strace-6.1.tar.xz: not asked, because of --offline
            apt's mirror, `pool/main/s/strace/strace_6.1.orig.tar.xz`: not asked, because of --offline
        cannot get `certifi-2026.10.18-py3-none-any.whl` (SHA-256 73191c47aaa79da394e8fee2dbc2ec827432cab56311122c9e47abf79e390f62):
            directory `~`: it is not there
            download cache `~/.cache/kitbag/sources`: it is not there
            pip, `certifi==2026.10.18`: not asked, because of --offline
        cannot get `ziglang-0.17.0-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl` (SHA-256 97079827064a7492cce5541ceb438ae8003ce1e54e399676da2d62fb7a5dc08b):
            directory `~`: it has SHA-256 e7dc6be13be0055dd03d1fe10caf78db0daa6327eb1f5b08c3e2dc8c06431cd2
            download cache `~/.cache/kitbag/sources`: it is not there
            pip, `ziglang==0.17.0`: not asked, because of --offline
        hint: a file with another hash is never used: compare it with upstream's signature
        exit 3
        ");
    assert!(!house.path().join(".local").exists(), "no store is made");
}

#[test]
fn a_store_that_is_not_there_does_not_verify() {
    let house = house();
    insta::assert_snapshot!(error_of(run(&house, &["verify"])), @"
        error: there is no store at `~/.local/share/kitbag/store`: make one with `kitbag-builder build --store ~/.local/share/kitbag/store`
        exit 5
        ");
}

#[test]
fn garbage_is_collected_only_from_a_store_and_one_generation_stays() {
    let house = house();
    let mistake = |arguments: &[&str]| error_of(run(&house, &[&["gc"], arguments].concat()));
    insta::assert_snapshot!(mistake(&["--keep", "2"]), @"
        error: there is no store at `~/.local/share/kitbag/store`: make one with `kitbag-builder build --store ~/.local/share/kitbag/store`
        exit 5
        ");
    insta::assert_snapshot!(mistake(&["--keep", "0"]), @"
        error: invalid value '0' for '--keep <N>': 0 is not in 1..=4294967295

        For more information, try '--help'.
        exit 2
        ");
    insta::assert_snapshot!(mistake(&["--keep", "1", "--grace", "soon"]), @"
        error: invalid value 'soon' for '--grace <TIME>': expected number at 0

        For more information, try '--help'.
        exit 2
        ");
}

#[test]
fn a_lock_must_be_readable() {
    let house = house();
    insta::assert_snapshot!(error_of(run(&house, &["build", "--locked", "--lock", "/nowhere"])), @"
        error: cannot read `/nowhere`: No such file or directory (os error 2)
        exit 6
        ");
    insta::assert_snapshot!(error_of(run(&house, &["build", "--arch", "mips"])), @"
        error: invalid value 'mips' for '--arch <ARCH,...>': unknown architecture `mips`: `amd64` and `arm64` are known

        For more information, try '--help'.
        exit 2
        ");
}

#[test]
fn an_image_needs_a_store_and_a_place() {
    let house = house();
    insta::assert_snapshot!(error_of(run(&house, &["image", "strace", "--to", "oci:out"])), @"
        error: there is no store at `~/.local/share/kitbag/store`: make one with `kitbag-builder build --store ~/.local/share/kitbag/store`
        exit 5
        ");
    insta::assert_snapshot!(error_of(run(&house, &["image", "strace", "--to", "tools/strace"])), @"
        error: invalid value 'tools/strace' for '--to <DESTINATION>': `tools/strace` names no registry: write `HOST/tools/strace`, or for a file `oci:`, `oci-archive:` or `docker-archive:` and its path

        For more information, try '--help'.
        exit 2
        ");
    insta::assert_snapshot!(error_of(run(&house, &["image", "strace", "--to", "oci:out", "--platform", "amd64"])), @"
        error: invalid value 'amd64' for '--platform <linux/ARCH>': images are for `linux/amd64` and `linux/arm64`

        For more information, try '--help'.
        exit 2
        ");
}

/// A store in the house.
fn store(house: &TempDir) -> String {
    let dir = house.path().join("store");
    write_store(&dir);
    dir.to_str().expect("temporary paths are text").to_owned()
}

#[test]
fn an_image_is_the_same_wherever_it_goes() {
    let house = house();
    let (store, home) = (store(&house), house.path().to_str().unwrap());
    let [layout, archive, docker] =
        ["oci:", "oci-archive:", "docker-archive:"].map(|kind| format!("{kind}{home}/{}", &kind[..4]));
    let flags = ["--platform", "linux/amd64", "--to", &layout, "--to", &archive, "--to", &docker];
    let (code, printed, said) = run(&house, &[&["image", "strace", "--store", &store], &flags[..]].concat());
    assert_eq!((code, said.as_str()), (0, ""));
    let printed: Vec<_> = printed.lines().map(|line| line.rsplit_once(' ').unwrap()).collect();
    let places: Vec<_> = printed.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, ["oci:~/oci:", "oci-archive:~/oci-", "docker-archive:~/dock"]);
    assert_eq!(printed[0].1, printed[1].1);
    assert!(printed.iter().all(|(_, digest)| digest.starts_with("sha256:")), "{printed:?}");
}

#[test]
fn a_helper_is_asked_for_credentials_and_its_secret_is_not_shown() {
    let house = house();
    let (store, home) = (store(&house), house.path().to_str().unwrap());
    // Nobody listens there; what the helper says is read before.
    let push = ["image", "strace", "--store", &store, "--to", "127.0.0.1:1/strace"];
    fs::create_dir(house.path().join(".docker")).unwrap();
    fs::write(house.path().join(".docker/config.json"), r#"{"credHelpers":{"127.0.0.1:1":"mine"}}"#).unwrap();
    let told = |script: Option<&str>| {
        if let Some(script) = script {
            // Written by another process: a file that this one has open for writing can't be run.
            let helper = format!("{home}/docker-credential-mine");
            let write = "printf '#!/bin/sh\n%s\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
            assert!(Command::new("sh").args(["-c", write, "sh", script, &helper]).status().unwrap().success());
        }
        error_of(run_with(&house, &push, &[("PATH", &format!("{home}:/usr/bin:/bin"))]))
    };
    insta::assert_snapshot!(told(None), @"
        error: `docker-credential-mine`, which `~/.docker/config.json` names for `127.0.0.1:1`, cannot be asked: is it on `PATH`?
        exit 6
        ");
    let fails = "cat >/dev/null; echo its secret is hunter2; echo the key ring is locked >&2; exit 1";
    insta::assert_snapshot!(told(Some(fails)), @"
        error: `docker-credential-mine`, which `~/.docker/config.json` names for `127.0.0.1:1`, fails: the key ring is locked
        exit 6
        ");
    insta::assert_snapshot!(told(Some("cat >/dev/null; echo its secret is hunter2")), @"
        error: `docker-credential-mine`, which `~/.docker/config.json` names for `127.0.0.1:1`, does not answer as helpers do
        exit 6
        ");
    let answers = r#"[ "$1 $(cat)" = "get 127.0.0.1:1" ] && echo '{"Username":"u","Secret":"hunter2"}'"#;
    let reached = told(Some(answers));
    insta::assert_snapshot!(reached, @"
        error: the registry at `127.0.0.1:1` does not answer: Connection refused (os error 111)
        hint: a registry without TLS that is not on this machine wants --insecure
        exit 7
        ");
    assert_eq!(
        told(Some("cat >/dev/null; echo credentials not found in native keychain; exit 1")),
        reached,
        "then it is nobody"
    );
}

#[test]
fn tools_are_listed_without_a_store() {
    let house = house();
    let (code, table, said) = run(&house, &["list"]);
    assert_eq!((code, said.as_str()), (0, ""));
    insta::assert_snapshot!(table, @"
        TOOL         VERSION      LICENCE                          SIZE  COMMANDS
        busybox      1.37.0       GPL-2.0-only                not built  busybox sh ash vi wget nc telnet ls and 43 more
        dig          9.20.26      MPL-2.0                     not built  dig
        htop         3.4.1        GPL-2.0-or-later            not built  htop
        strace       6.1          LGPL-2.1-or-later           not built  strace
        tcpdump      4.99.6       BSD-3-Clause                not built  tcpdump
        ");
}

/// A store with two tools for both architectures.
fn write_store(dir: &Path) {
    let mut writer = StoreWriter::open_or_create(dir).expect("it can be written");
    let mut tools = Vec::new();
    for (architecture, tool) in Arch::ALL.into_iter().flat_map(|arch| ["base", "dig", "strace"].map(|it| (arch, it))) {
        let parts = ToolParts {
            name: Name::parse(tool).expect("a name"),
            base: tool == "base",
            version: "6.1".to_owned(),
            architecture,
            rank: 10,
            summary: "a tool".to_owned(),
            license: "MIT".to_owned(),
            homepage: "https://example.org/".to_owned(),
            commands: vec![tool.to_owned()],
            needs: Needs::default(),
            source_date: 1_700_000_000,
            input_hash: "0".repeat(64),
        };
        let mut tree = Tree::new();
        tree.file("/usr/bin/tool", 0o755, format!("{tool} {architecture}").into_bytes()).expect("a path");
        let layer = writer.put_layer(&tree.pack(1_700_000_000)).expect("there is room");
        tools.push(writer.put_tool(&parts, &layer, b"{\"spdxVersion\":\"SPDX-2.3\"}").expect("there is room"));
    }
    writer.commit(tools, &BTreeMap::new()).expect("there is room");
}

#[test]
fn the_catalog_of_a_store_gives_its_digests() {
    let house = house();
    let store = house.path().join(".local/share/kitbag/store");
    write_store(&store);
    let (code, printed, said) = run(&house, &["catalog"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let published = Published::parse(&printed).expect("a catalog is printed");
    let read = Store::open(&store).expect("a store");
    let generation = &read.generations()[0];
    let set = generation.resolve(&"strace/dig".parse().expect("a path")).expect("known tools");
    let (ours, theirs) = (published.compose(&set).expect("an image"), generation.compose(&set).expect("an image"));
    assert_eq!(theirs.platforms().len(), 2);
    for compression in Compression::ALL {
        assert_eq!(ours.form(compression), theirs.form(compression));
    }
    let file = house.path().join("catalog.json");
    let (code, said, _) = run(&house, &["catalog", "--output", file.to_str().expect("temporary paths are text")]);
    assert_eq!((code, said.as_str(), std::fs::read_to_string(file).expect("it is written")), (0, "", printed));
}

#[test]
fn a_catalog_takes_a_store_and_a_place_to_write_to() {
    let house = house();
    insta::assert_snapshot!(error_of(run(&house, &["catalog"])), @r"
    error: there is no store at `~/.local/share/kitbag/store`: make one with `kitbag-builder build --store ~/.local/share/kitbag/store`
    exit 5
    ");
    write_store(&house.path().join("store"));
    let store = house.path().join("store");
    let arguments = ["catalog", "--store", store.to_str().expect("temporary paths are text"), "--output", "/nowhere/x"];
    let (code, _, said) = run(&house, &arguments);
    assert!(code == 6 && said.starts_with("error: cannot create `/nowhere/"), "{code} {said}");
}
