use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, MediaType};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::generation::{BlobRef, ToolRecord, write_generation};
use crate::names::Name;
use crate::platform::Arch;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn record(tool: &str, version: &str, rank: u32, architecture: Arch) -> ToolRecord {
    let digest =
        |salt: &str| sha256_digest(&canonical::sha256_hex(format!("{tool}{version}{architecture}{salt}").as_bytes()));
    let needs = if tool == "strace" { r#"{"optional":["target-attach"]}"# } else { "{}" };
    let commands = match tool {
        "base" => Vec::new(),
        "busybox" => vec!["busybox".to_owned(), "sh".to_owned(), "[".to_owned()],
        _ => vec![tool.to_owned()],
    };
    ToolRecord {
        name: name(tool),
        base: tool == "base",
        version: version.to_owned(),
        architecture,
        rank,
        summary: format!("what {tool} is"),
        license: "MIT OR Apache-2.0".to_owned(),
        commands,
        needs: serde_json::from_str(needs).unwrap(),
        source_date: 1_700_000_000 + i64::from(rank),
        input_hash: "0".repeat(64),
        diff_id: digest("tar"),
        gzip: BlobRef { digest: digest("gzip"), size: 1000 },
        zstd: BlobRef { digest: digest("zstd"), size: 900 },
    }
}

fn generation_of(records: Vec<ToolRecord>) -> Generation {
    let described = records.into_iter().map(|record| {
        let descriptor = Descriptor::new(MediaType::ImageManifest, 7_u64, record.diff_id.clone());
        (record, descriptor)
    });
    let sets =
        BTreeMap::from([(name("all"), vec![name("strace"), name("dig")]), (name("shell"), vec![name("busybox")])]);
    Generation::parse(&write_generation(&described.collect::<Vec<_>>(), &sets)).unwrap()
}

/// Tools for both platforms; one that is older for one of them, and one that is missing there.
fn generation() -> Generation {
    let mut records = Vec::new();
    for arch in Arch::ALL {
        records.push(record("base", "1", 0, arch));
        records.push(record("busybox", "1.37.0", 100, arch));
        records.push(record("strace", "6.1", 200, arch));
    }
    records.push(record("dig", "9.20", 90, Arch::Amd64));
    records.push(record("dig", "9.18", 95, Arch::Arm64));
    records.push(record("odd", r#"1 "a\b" é"#, 300, Arch::Amd64));
    generation_of(records)
}

fn json() -> Value {
    serde_json::from_str(&Published::of(&generation()).to_json()).unwrap()
}

/// The text as whoever wrote it would have, had it stood there like this.
fn resealed(mut value: Value) -> String {
    let members = value.as_object_mut().unwrap();
    members.remove(CHECKSUM);
    seal(std::mem::take(members))
}

#[test]
fn people_read_it_and_it_stays_the_same() {
    let text = Published::of(&generation()).to_json();
    assert_eq!(canonical::to_string(&json()), text);
    insta::assert_snapshot!("catalog", serde_json::to_string_pretty(&json()).unwrap());
    insta::assert_snapshot!(canonical::sha256_hex(text.as_bytes()));
    assert_eq!(Published::parse(&text).unwrap().to_json(), text);
    assert_eq!(Published::of(Published::parse(&text).unwrap().generation()).to_json(), text);
}

#[test]
fn documents_are_the_registrys_byte_for_byte() {
    let (generation, published) = (generation(), Published::parse(&Published::of(&generation()).to_json()).unwrap());
    assert_eq!(published.generation().digest(), generation.digest());
    for path in ["strace", "strace/shell", "dig", "odd/strace", "all/busybox/odd", "busybox-1.37.0", "sh/dig-9.20"] {
        let path: ImagePath = path.parse().unwrap();
        let (ours, theirs) = (published.resolve(&path).unwrap(), generation.resolve(&path).unwrap());
        assert_eq!(ours, theirs, "{path}");
        let (ours, theirs) = (published.compose(&ours).unwrap(), generation.compose(&theirs).unwrap());
        for compression in Compression::ALL {
            assert_eq!(ours.form(compression), theirs.form(compression), "{path}");
        }
        let platforms = |image: &Image| -> Vec<_> {
            image.platforms().iter().map(|platform| (platform.arch, platform.config.clone())).collect()
        };
        assert_eq!(platforms(&ours), platforms(&theirs), "{path}");
    }
}

#[test]
fn names_mean_the_same() {
    let (generation, published) = (generation(), Published::of(&generation()));
    assert_eq!(published.generation().names(), generation.names());
    let unknown: ImagePath = "strace/busybx".parse().unwrap();
    assert_eq!(published.resolve(&unknown), generation.resolve(&unknown));
    assert_eq!(published.resolve(&unknown).unwrap_err().to_string(), "unknown tool `busybx`: did you mean `busybox`?");
}

#[test]
fn yaml_and_people_may_lay_it_out_otherwise() {
    let pretty = serde_json::to_string_pretty(&json()).unwrap();
    assert_eq!(Published::parse(&pretty).unwrap().to_json(), Published::of(&generation()).to_json());
}

#[test]
fn a_thousand_tools_fit() {
    let mut records: Vec<_> = Arch::ALL.map(|arch| record("base", "1", 0, arch)).to_vec();
    for (number, arch) in (0..1000).flat_map(|number| Arch::ALL.map(|arch| (number, arch))) {
        let tool = record(&format!("tool-{number:04}"), "1.37.0", number, arch);
        let summary = "a shell and the common Unix commands in one small program".to_owned();
        records.push(ToolRecord { summary, license: "GPL-2.0-or-later".to_owned(), ..tool });
    }
    let text = Published::of(&generation_of(records)).to_json();
    assert!(text.len() < MAX_SIZE, "{}", text.len());
    assert_eq!(Published::parse(&text).unwrap().generation().tools().len(), 1000);
}

#[test]
fn without_a_base_layer_it_can_be_read_and_nothing_composed() {
    let generation = generation_of(vec![record("strace", "6.1", 200, Arch::Amd64)]);
    let published = Published::parse(&Published::of(&generation).to_json()).unwrap();
    let set = published.resolve(&"strace".parse().unwrap()).unwrap();
    assert_eq!(published.compose(&set).unwrap_err(), ComposeError::NoBase);
}

/// What is wrong with the text; digests, which are long, at their beginning.
fn told(text: &str) -> String {
    let error = Published::parse(text).unwrap_err().to_string();
    let words = error.split(' ').map(|word| match word.char_indices().nth(20) {
        Some((end, _)) if word.contains(":") => format!("{}…", &word[..end]),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_no_catalog_is_named() {
    let edited = |edit: fn(&mut Value)| {
        let mut value = json();
        edit(&mut value);
        value
    };
    let text = Published::of(&generation()).to_json();
    let lines = [
        told(""),
        told("hello"),
        told("[]"),
        told(&text[..text.len() / 2]),
        told(&" ".repeat(MAX_SIZE + 1)),
        told("{}"),
        told(r#"{"version":"1"}"#),
        told(&edited(|it| it["version"] = json!(2)).to_string()),
        told(r#"{"version":1}"#),
        told(r#"{"version":1,"checksum":7}"#),
        told(&edited(|it| it["tools"][1]["rank"] = json!(5)).to_string()),
        told(&edited(|it| it["note"] = json!("mine")).to_string()),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r#"
    it is no JSON object: EOF while parsing a value at line 1 column 0
    it is no JSON object: expected value at line 1 column 1
    it is no JSON object: invalid type: sequence, expected a map at line 1 column 0
    it is no JSON object: EOF while parsing a string at line 1 column 2046
    it has 1048577 bytes; 1048576 are allowed
    it is no catalog: its `version` is no number
    it is no catalog: its `version` is no number
    it is of version 2; this program reads version 1
    it was changed after it was written: its checksum is `sha256:2430f1a2ad29… and `null` stands in it
    it was changed after it was written: its checksum is `sha256:2430f1a2ad29… and `7` stands in it
    it was changed after it was written: its checksum is `sha256:5366bfc913ee… and `sha256:823ad1156b96… stands in it
    it was changed after it was written: its checksum is `sha256:44d9b19df349… and `sha256:823ad1156b96… stands in it
    "#);
}

#[test]
fn what_another_version_wrote_is_named() {
    let edited = |edit: fn(&mut Value)| {
        let mut value = json();
        edit(&mut value);
        told(&resealed(value))
    };
    let lines = [
        edited(|it| drop(it.as_object_mut().unwrap().remove("tools"))),
        edited(|it| it["tools"][1]["needs"] = json!({ "required": ["telepathy"] })),
        edited(|it| it["tools"][1]["name"] = json!("Strace")),
        edited(|it| it["tools"][1]["platforms"]["amd64"]["gzip"]["digest"] = json!("sha256:00")),
        edited(|it| it["tools"][1]["platforms"]["amd64"]["gzip"]["size"] = json!(-1)),
        edited(|it| it["tools"][1]["platforms"]["riscv64"] = it["tools"][1]["platforms"]["amd64"].clone()),
        edited(|it| it["generation"] = json!("latest")),
        edited(|it| it["generation"] = json!(format!("sha512:{}", "0".repeat(128)))),
        edited(|it| it["tools"][2] = it["tools"][1].clone()),
        edited(|it| it["composed"] = json!(format!("sha256:{}", "0".repeat(64)))),
        edited(|it| drop(it.as_object_mut().unwrap().remove("composed"))),
        edited(|it| it["tools"][1]["platforms"]["amd64"]["gzip"]["size"] = json!(1)),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    this program does not understand it: missing field `tools`
    this program does not understand it: unknown variant `telepathy`, expected one of `see`, `target-read`, `target-attach`, `target-signal`, `target-chroot`, `raw-socket`, `ping`, `net-admin`, `low-port`, `perf`, `bpf`, `kernel-log`, `namespaces`, `scratch`
    this program does not understand it: `Strace` is not a name: names are in small letters
    this program does not understand it: Invalid digest length 2 expected 64
    this program does not understand it: invalid value: integer `-1`, expected u64
    this program does not understand it: unknown variant `riscv64`, expected `amd64` or `arm64`
    this program does not understand it: missing ':' in digest
    `sha512:000000000000… is not the digest of a generation: a `sha256:` is wanted
    `busybox` for `amd64` stands twice in the generation
    it was written by a kitbag that composes images otherwise: `sha256:000000000000… there is `sha256:0d0dfd03c59a… here
    it was written by a kitbag that composes images otherwise: `nothing` there is `sha256:0d0dfd03c59a… here
    it was written by a kitbag that composes images otherwise: `sha256:0d0dfd03c59a… there is `sha256:1130d9da41b8… here
    ");
}

#[test]
fn what_another_version_added_does_not_matter() {
    let mut value = json();
    value["tools"][1]["homepage"] = json!("https://example.org/");
    value["note"] = json!("of a later version");
    assert!(Published::parse(&resealed(value)).is_ok());
}

proptest! {
    #[test]
    fn any_generation_comes_back(
        tools in proptest::collection::btree_map(
            "[a-z]{1,4}(-[0-9])?",
            (0_u32..4, "\\PC{0,8}", "[A-Z]{1,3}( OR [A-Z]{1,3})?", proptest::collection::vec("\\PC{0,5}", 0..3), 0_u8..4),
            0..6,
        ),
        chosen in any::<prop::sample::Index>(),
    ) {
        let mut records: Vec<_> = Arch::ALL.map(|arch| record("base", "1", 0, arch)).to_vec();
        for (tool, (rank, version, license, commands, which)) in &tools {
            for (bit, arch) in Arch::ALL.into_iter().enumerate().filter(|(bit, _)| which & (1 << bit) != 0) {
                let version = if *rank == 3 { format!("{version}{bit}") } else { version.clone() };
                let shared = record(tool, &version, *rank, arch);
                records.push(ToolRecord { license: license.clone(), commands: commands.clone(), ..shared });
            }
        }
        prop_assume!(!tools.contains_key("base"));
        let generation = generation_of(records);
        let text = Published::of(&generation).to_json();
        let published = Published::parse(&text).unwrap();
        prop_assert_eq!(published.to_json(), text);
        prop_assert_eq!(published.generation().names(), generation.names());
        let names: Vec<&Name> = generation.tools().keys().collect();
        if !names.is_empty() {
            let first = chosen.index(names.len());
            let path = ImagePath::from_names(names[first..].iter().map(|name| name.as_str())).unwrap();
            let set = generation.resolve(&path).unwrap();
            match (published.compose(&set), generation.compose(&set)) {
                (Ok(ours), Ok(theirs)) => for compression in Compression::ALL {
                    prop_assert_eq!(ours.form(compression), theirs.form(compression));
                },
                (ours, theirs) => prop_assert_eq!(ours.err(), theirs.err()),
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}") {
        prop_assert!(Published::parse(&text).is_err());
    }

    #[test]
    fn no_single_change_goes_unnoticed(at in any::<prop::sample::Index>(), byte in 0x21_u8..0x7f) {
        let text = Published::of(&generation()).to_json();
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte && bytes[at].is_ascii_graphic());
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(Published::parse(&changed).is_err(), "{} at {}", changed, at);
    }
}
