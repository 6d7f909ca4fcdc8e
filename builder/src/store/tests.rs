use std::path::Path;

use kitbag_toolsets::{Arch, GenerationId, Name, Needs};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::layer::{Layer, Tree};

type Sets = std::collections::BTreeMap<Name, Vec<Name>>;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn parts(tool: &str, arch: Arch, input: &str) -> ToolParts {
    ToolParts {
        name: name(tool),
        base: tool == "base",
        version: "6.1+a".to_owned(),
        architecture: arch,
        rank: 10,
        summary: "a tool".to_owned(),
        license: "MIT".to_owned(),
        homepage: "https://example.org/".to_owned(),
        commands: vec![tool.to_owned()],
        needs: Needs::default(),
        source_date: 1_700_000_000,
        input_hash: input.repeat(64),
    }
}

fn layer(content: &str) -> Layer {
    let mut tree = Tree::new();
    tree.file("/usr/bin/tool", 0o755, content.into()).unwrap();
    tree.pack(1_700_000_000)
}

/// What one run of the builder does: the same tools every time, made of `content`.
pub(super) struct Run {
    tools: Vec<(ToolParts, Layer)>,
}

impl Run {
    pub(super) fn new(tools: &[&str], content: &str) -> Self {
        let tool = |tool: &&str| (parts(tool, Arch::Amd64, &content[..1]), layer(&format!("{tool} {content}")));
        Self { tools: tools.iter().map(tool).collect() }
    }

    pub(super) fn write(&self, dir: &Path) -> Result<GenerationId, StoreError> {
        let mut writer = StoreWriter::open_or_create(dir)?;
        let mut tools = Vec::new();
        for (parts, layer) in &self.tools {
            let layer = match writer.find(&parts.name, parts.architecture, &parts.input_hash) {
                Some((record, _)) => LayerRef::from(&record),
                None => writer.put_layer(layer)?,
            };
            tools.push(writer.put_tool(parts, &layer, b"{\"spdxVersion\":\"SPDX-2.3\"}")?);
        }
        writer.commit(tools, &Sets::from([(name("all"), vec![name("strace")])]))
    }
}

fn store(tools: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    Run::new(tools, "a").write(dir.path()).unwrap();
    dir
}

fn index(dir: &Path) -> ImageIndex {
    serde_json::from_slice(&fs::read(&dir.join("index.json")).unwrap()).unwrap()
}

fn ids(store: &Store) -> Vec<GenerationId> {
    store.generations().iter().map(|generation| generation.id().clone()).collect()
}

fn references(dir: &Path) -> Vec<String> {
    let name = |descriptor: &Descriptor| descriptor.annotations().as_ref().unwrap()[index::REF_NAME].clone();
    index(dir).manifests().iter().map(name).collect()
}

fn pretty(bytes: &[u8]) -> String {
    serde_json::to_string_pretty(&serde_json::from_slice::<serde_json::Value>(bytes).unwrap()).unwrap()
}

/// Every blob, as the file system has it.
fn blobs(dir: &Path) -> Vec<std::path::PathBuf> {
    let blobs = dir.join("blobs/sha256");
    fs::list(&blobs).unwrap().into_iter().map(|name| blobs.join(name)).collect()
}

pub(super) fn flip(path: &Path, at: usize, with: u8) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= with;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_store_is_an_image_layout() {
    let dir = store(&["strace"]);
    let store = Store::open(dir.path()).unwrap();
    let names = references(dir.path());
    assert_eq!(names, [store.generations()[0].id().to_string(), "strace-6.1-a-amd64".to_owned()]);

    let index = index(dir.path());
    let read = |digest| fs::read(&store.blob_path(digest)).unwrap();
    let manifest = read(index.manifests()[1].digest());
    let config = read(serde_json::from_slice::<ImageManifest>(&manifest).unwrap().config().digest());
    serde_json::from_slice::<ImageConfiguration>(&config).unwrap();
    insta::assert_snapshot!("index", pretty(&fs::read(&dir.path().join("index.json")).unwrap()));
    insta::assert_snapshot!("manifest", pretty(&manifest));
    insta::assert_snapshot!("config", pretty(&config));
}

#[test]
fn layers_are_read_back() {
    let dir = store(&["strace", "base"]);
    let store = Store::open(dir.path()).unwrap();
    let generation = &store.generations()[0];
    assert_eq!(generation.base().len(), 1);
    let record = &generation.tools()["strace"][&Arch::Amd64];
    let expected = layer("strace a");
    assert_eq!(record.diff_id, expected.diff_id);
    assert_eq!(fs::read(&store.blob_path(&record.gzip.digest)).unwrap(), expected.gzip.bytes);
    assert_eq!(fs::read(&store.blob_path(&record.zstd.digest)).unwrap(), expected.zstd.bytes);
}

#[test]
fn a_generation_keeps_what_was_not_built_again() {
    let dir = store(&["base", "strace"]);
    let first = Store::open(dir.path()).unwrap().generations()[0].clone();
    let second = Run::new(&["dig", "strace"], "b").write(dir.path()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(ids(&store), [second, first.id().clone()]);
    let inputs = |generation: &Generation| {
        let input = |record: &ToolRecord| format!("{}={}", record.name, &record.input_hash[..1]);
        generation.records().map(input).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(inputs(&store.generations()[0]), "base=a dig=b strace=b");
    assert_eq!(inputs(&store.generations()[1]), "base=a strace=a");
}

#[test]
fn the_same_content_is_the_same_generation() {
    let dir = store(&["strace"]);
    let before = fs::read(&dir.path().join("index.json")).unwrap();
    let id = Run::new(&["strace"], "a").write(dir.path()).unwrap();
    assert_eq!(fs::read(&dir.path().join("index.json")).unwrap(), before);

    // Going back to an earlier content makes the earlier generation the newest one again.
    let other = Run::new(&["strace"], "b").write(dir.path()).unwrap();
    assert_eq!(Run::new(&["strace"], "a").write(dir.path()).unwrap(), id);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(ids(&store).iter().collect::<Vec<_>>(), [&id, &other]);
}

#[test]
fn a_tool_is_found_by_its_inputs_while_it_is_intact() {
    let dir = store(&["strace"]);
    let find = |input: &str| {
        let writer = StoreWriter::open_or_create(dir.path()).unwrap();
        writer.find(&name("strace"), Arch::Amd64, &input.repeat(64))
    };
    assert!(find("b").is_none());
    let (record, _) = find("a").unwrap();
    let path = Store::open(dir.path()).unwrap().blob_path(&record.zstd.digest);
    flip(&path, 20, 1);
    assert!(find("a").is_none());

    // So the builder packs it again, and the store is healed.
    assert_eq!(verify(dir.path()).unwrap().faults.len(), 1);
    Run::new(&["strace"], "a").write(dir.path()).unwrap();
    assert!(verify(dir.path()).unwrap().faults.is_empty());
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_sound_store() {
    let first = Run::new(&["base"], "a");
    let second = Run::new(&["strace"], "b");
    for fresh in [true, false] {
        let prepare = || {
            let dir = tempfile::tempdir().unwrap();
            let before = if fresh { None } else { Some(first.write(dir.path()).unwrap()) };
            (dir, before)
        };
        let after = second.write(prepare().0.path()).unwrap();
        for steps in 0.. {
            let (dir, before) = prepare();
            let dir = dir.path();
            let (result, stopped) = fs::faults::after(steps, || second.write(dir));

            match Store::open(dir) {
                Ok(store) => {
                    let newest = store.generations()[0].id();
                    assert!(*newest == after || before.is_some_and(|before| *newest == before), "step {steps}");
                }
                Err(StoreError::Missing(_) | StoreError::NoGeneration(_)) if fresh => {}
                Err(error) => panic!("step {steps}: {error}"),
            }
            match verify(dir) {
                Ok(found) => assert!(found.faults.is_empty(), "step {steps}: {:?}", found.faults),
                Err(StoreError::Missing(_)) if fresh => {}
                Err(error) => panic!("step {steps}: {error}"),
            }

            assert_eq!(second.write(dir).unwrap(), after);
            assert_eq!(*Store::open(dir).unwrap().generations()[0].id(), after);
            let found = verify(dir).unwrap();
            assert!(found.faults.is_empty() && found.leftovers.is_empty(), "step {steps}: {found:?}");
            if !stopped {
                assert_eq!(result.unwrap(), after);
                assert!(steps > 30, "only {steps} steps: is anything written?");
                break;
            }
        }
    }
}

#[test]
fn one_writer_at_a_time() {
    let dir = store(&["strace"]);
    let writer = StoreWriter::open_or_create(dir.path()).unwrap();
    assert!(matches!(StoreWriter::open_or_create(dir.path()), Err(StoreError::Locked(_))));
    Store::open(dir.path()).unwrap();
    drop(writer);
    StoreWriter::open_or_create(dir.path()).unwrap();
}

#[test]
fn blobs_may_be_put_from_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    let writer = StoreWriter::open_or_create(dir.path()).unwrap();
    let layer = layer("same");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| writer.put_layer(&layer).unwrap());
        }
    });
    assert_eq!(blobs(dir.path()).len(), 2);
}

#[test]
fn what_others_have_put_into_the_layout_stays() {
    let dir = store(&["strace"]);
    let writer = StoreWriter::open_or_create(dir.path()).unwrap();
    let blob = writer.put_blob(MediaType::Other("text/plain".to_owned()), b"mine").unwrap();
    drop(writer);
    let mut index = index(dir.path());
    index.set_manifests([std::slice::from_ref(&blob), index.manifests()].concat());
    std::fs::write(dir.path().join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();

    Run::new(&["strace"], "b").write(dir.path()).unwrap();
    assert_eq!(self::index(dir.path()).manifests().last(), Some(&blob));
    let found = verify(dir.path()).unwrap();
    assert!(found.faults.is_empty() && found.leftovers.is_empty(), "{found:?}");
}

#[test]
fn leftovers_are_no_faults_and_the_next_writer_removes_the_unfinished() {
    let dir = store(&["strace"]);
    let blobs = dir.path().join("blobs/sha256");
    let places = [dir.path().join(".tmp-1-1"), blobs.join(".tmp-1-2"), blobs.join("0".repeat(64))];
    for path in &places {
        std::fs::write(path, "half").unwrap();
    }
    let found = verify(dir.path()).unwrap();
    assert!(found.faults.is_empty());
    assert_eq!(found.leftovers, places);
    StoreWriter::open_or_create(dir.path()).unwrap();
    assert_eq!(verify(dir.path()).unwrap().leftovers, places[2..]);
}

#[test]
fn verify_names_what_is_damaged() {
    let dir = store(&["strace"]);
    let sound = verify(dir.path()).unwrap();
    assert_eq!((sound.blobs, sound.faults.len()), (6, 0));
    let mut lines = Vec::new();
    for path in blobs(dir.path()) {
        let bytes = fs::read(&path).unwrap();
        let digest = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut fault = || {
            let found = verify(dir.path()).unwrap();
            let faults: Vec<String> = found.faults.iter().map(|fault| fault.to_string()).collect();
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].contains(&digest));
            lines.push(faults[0].clone());
        };
        flip(&path, bytes.len() / 2, 0x40);
        fault();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        fault();
        fs::remove_file(&path).unwrap();
        fault();
        std::fs::write(&path, bytes).unwrap();
    }
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"), @r"
    SBOM of `strace` 6.1+a for amd64 has 25 bytes instead of 26 (blob `sha256:d4f269605ffe72fbe7a3021d68284798ec364111376ee2eace17688bb52a9e1d`)
    SBOM of `strace` 6.1+a for amd64 has other content than its digest says (blob `sha256:d4f269605ffe72fbe7a3021d68284798ec364111376ee2eace17688bb52a9e1d`)
    SBOM of `strace` 6.1+a for amd64 is missing (blob `sha256:d4f269605ffe72fbe7a3021d68284798ec364111376ee2eace17688bb52a9e1d`)
    config of `strace` 6.1+a for amd64 has 566 bytes instead of 567 (blob `sha256:5689203ee57a65d2115b63860cf1583ded0fb21a99cc46ffdb9f192be789a9eb`)
    config of `strace` 6.1+a for amd64 has other content than its digest says (blob `sha256:5689203ee57a65d2115b63860cf1583ded0fb21a99cc46ffdb9f192be789a9eb`)
    config of `strace` 6.1+a for amd64 is missing (blob `sha256:5689203ee57a65d2115b63860cf1583ded0fb21a99cc46ffdb9f192be789a9eb`)
    gzip layer of `strace` 6.1+a for amd64 has 121 bytes instead of 122 (blob `sha256:55db5706d992f434d2bc774ad082aacf15c85ed0827d7954079ee61cb90a3f8b`)
    gzip layer of `strace` 6.1+a for amd64 has other content than its digest says (blob `sha256:55db5706d992f434d2bc774ad082aacf15c85ed0827d7954079ee61cb90a3f8b`)
    gzip layer of `strace` 6.1+a for amd64 is missing (blob `sha256:55db5706d992f434d2bc774ad082aacf15c85ed0827d7954079ee61cb90a3f8b`)
    index of generation `ead595a34d94` has 1079 bytes instead of 1080 (blob `sha256:ead595a34d941b18d24e3f020c498d1595da7fc05be504e9b064c4a54f7b6a36`)
    index of generation `ead595a34d94` has other content than its digest says (blob `sha256:ead595a34d941b18d24e3f020c498d1595da7fc05be504e9b064c4a54f7b6a36`)
    index of generation `ead595a34d94` is missing (blob `sha256:ead595a34d941b18d24e3f020c498d1595da7fc05be504e9b064c4a54f7b6a36`)
    manifest of `strace` 6.1+a for amd64 has 1644 bytes instead of 1645 (blob `sha256:f21ea581bd827027c23649f6dcf22e56527b98f9f225116614d88bfccc6a1cc8`)
    manifest of `strace` 6.1+a for amd64 has other content than its digest says (blob `sha256:f21ea581bd827027c23649f6dcf22e56527b98f9f225116614d88bfccc6a1cc8`)
    manifest of `strace` 6.1+a for amd64 is missing (blob `sha256:f21ea581bd827027c23649f6dcf22e56527b98f9f225116614d88bfccc6a1cc8`)
    zstd layer of `strace` 6.1+a for amd64 has 109 bytes instead of 110 (blob `sha256:ea20c264217c16b826e584d49dc809e4f731f2afd5d849d6a1b9cc34758f79f8`)
    zstd layer of `strace` 6.1+a for amd64 has other content than its digest says (blob `sha256:ea20c264217c16b826e584d49dc809e4f731f2afd5d849d6a1b9cc34758f79f8`)
    zstd layer of `strace` 6.1+a for amd64 is missing (blob `sha256:ea20c264217c16b826e584d49dc809e4f731f2afd5d849d6a1b9cc34758f79f8`)
    ");
}

#[test]
fn what_is_no_whole_store_is_not_opened() {
    let error = |damage: &dyn Fn(&Path)| {
        let dir = store(&["strace"]);
        damage(dir.path());
        let text = Store::open(dir.path()).unwrap_err().to_string();
        text.replace(&dir.path().display().to_string(), "DIR")
    };
    let blob = |dir: &Path, pick: fn(&ToolRecord) -> &BlobRef| {
        let store = Store::open(dir).unwrap();
        store.blob_path(&pick(&store.generations()[0].tools()["strace"][&Arch::Amd64]).digest)
    };
    let generation = |dir: &Path| blob_path(dir, index(dir).manifests()[0].digest());
    let remove = |path: &Path| std::fs::remove_file(path).unwrap();
    let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
    let lines = [
        error(&|dir| std::fs::remove_dir_all(dir).unwrap()),
        error(&|dir| {
            std::fs::remove_dir_all(dir).unwrap();
            std::fs::create_dir(dir).unwrap();
        }),
        error(&|dir| {
            std::fs::remove_dir_all(dir).unwrap();
            std::fs::create_dir(dir).unwrap();
            write(&dir.join("letter.txt"), "dear");
        }),
        error(&|dir| remove(&dir.join("oci-layout"))),
        error(&|dir| remove(&dir.join("index.json"))),
        error(&|dir| write(&dir.join("index.json"), "{\"schemaVersion\":2,\"mani")),
        error(&|dir| write(&dir.join("oci-layout"), "{\"imageLayoutVersion\":\"2.0.0\"}")),
        error(&|dir| write(&dir.join("index.json"), "{\"schemaVersion\":2,\"manifests\":[]}")),
        error(&|dir| remove(&generation(dir))),
        error(&|dir| flip(&generation(dir), 100, 1)),
        error(&|dir| remove(&blob(dir, |record| &record.gzip))),
        error(&|dir| write(&blob(dir, |record| &record.zstd), "short")),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    there is no store at `DIR`: make one with `kitbag-builder build --store DIR`
    there is no store at `DIR`: make one with `kitbag-builder build --store DIR`
    `DIR` is no store: it has no `oci-layout`, but other files; name an empty or a new directory
    the store at `DIR` is half written: `oci-layout` is missing; copy it again, or make a new one with `kitbag-builder build`
    the store at `DIR` is half written: `index.json` is missing; copy it again, or make a new one with `kitbag-builder build`
    `DIR/index.json` is damaged: EOF while parsing a string at line 1 column 24; copy the store again
    the store at `DIR` has layout version `2.0.0`; this program knows `1.0.0`
    the store at `DIR` holds no generation yet: build into it with `kitbag-builder build`
    the store at `DIR` is half written: the index of generation `sha256:ead595a34d941b18d24e3f020c498d1595da7fc05be504e9b064c4a54f7b6a36` is missing; copy it again, or make a new one with `kitbag-builder build`
    blob `DIR/blobs/sha256/ead595a34d941b18d24e3f020c498d1595da7fc05be504e9b064c4a54f7b6a36` is damaged: its content has another hash than its name; run `kitbag-builder verify`
    the store at `DIR` is half written: a layer of `strace` for `amd64` (blob `sha256:55db5706d992f434d2bc774ad082aacf15c85ed0827d7954079ee61cb90a3f8b`) is missing; copy it again, or make a new one with `kitbag-builder build`
    the store at `DIR` is half written: a layer of `strace` for `amd64` (blob `sha256:ea20c264217c16b826e584d49dc809e4f731f2afd5d849d6a1b9cc34758f79f8`) has 5 bytes instead of 110; copy it again, or make a new one with `kitbag-builder build`
    ");
}

#[test]
fn a_generation_of_another_make_is_named() {
    let dir = store(&["strace"]);
    let writer = StoreWriter::open_or_create(dir.path()).unwrap();
    let strange = writer.put_blob(MediaType::ImageIndex, b"{\"schemaVersion\":2,\"manifests\":[]}").unwrap();
    drop(writer);
    let mut index = index(dir.path());
    let mut descriptor = index.manifests()[0].clone();
    descriptor.set_digest(strange.digest().clone());
    index.set_manifests(vec![descriptor]);
    std::fs::write(dir.path().join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::UnreadableGeneration { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn every_flipped_bit_of_a_blob_is_found(which in any::<usize>(), at in any::<usize>(), bit in 0_u8..8) {
        let dir = store(&["strace"]);
        let blobs = blobs(dir.path());
        let path = &blobs[which % blobs.len()];
        flip(path, at, 1 << bit);
        let faults = verify(dir.path()).unwrap().faults;
        prop_assert_eq!(faults.len(), 1);
        prop_assert!(path.ends_with(faults[0].digest.digest()));
    }

    #[test]
    fn no_damage_to_the_index_makes_it_panic(at in any::<usize>(), with in 1_u8..) {
        let dir = store(&["strace"]);
        flip(&dir.path().join("index.json"), at, with);
        let _ = (Store::open(dir.path()), verify(dir.path()));
    }
}
