//! A small store for tests: real layers, two generations, tools with the names of endpoints.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use kitbag_builder::layer::Tree;
use kitbag_builder::store::{Store, StoreWriter, ToolParts};
use kitbag_toolsets::{Arch, GenerationId, Name, Needs};

/// Bytes of the base layer's program, which do not compress.
const BASE_BYTES: usize = 400_000;
/// Bytes of a tool's program.
const TOOL_BYTES: usize = 8_000;

/// The ids of the two generations, the older one first.
#[allow(dead_code, reason = "this file is part of several test programs, and not each asks for both")]
#[derive(Clone)]
pub(crate) struct Ids {
    pub(crate) old: GenerationId,
    pub(crate) new: GenerationId,
}

/// Makes a store whose newer generation has another `strace` than the older one, and `dig` besides. `tcpdump` is there
/// for amd64 only, `lsof` for arm64 only.
pub(crate) fn make(dir: &Path) -> (Store, Ids) {
    // Compressed once, then only copied.
    static FILES: LazyLock<(Files, Ids)> = LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        let ids = write(dir.path());
        (files(dir.path(), Path::new("")), ids)
    });
    let (files, ids) = &*FILES;
    for (path, bytes) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    (Store::open(dir).unwrap(), ids.clone())
}

/// Files, by their paths.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// Every file below a directory.
fn files(dir: &Path, below: &Path) -> Files {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(dir, &path));
        } else {
            found.push((path, fs::read(entry.path()).unwrap()));
        }
    }
    found
}

fn write(dir: &Path) -> Ids {
    const BOTH: &[Arch] = &Arch::ALL;
    let old = commit(
        dir,
        &[
            ("base", "1", 0, BOTH, &[]),
            ("busybox", "1.37.0", 100, BOTH, &["busybox", "sh"]),
            ("strace", "6.1", 200, BOTH, &["strace"]),
            ("tcpdump", "4.99.6", 210, &[Arch::Amd64], &["tcpdump"]),
            ("lsof", "4.99", 230, &[Arch::Arm64], &["lsof"]),
            ("blobs", "1.0", 300, BOTH, &["blobs"]),
            ("tags", "1.0", 310, BOTH, &["tags"]),
        ],
    );
    let new =
        commit(dir, &[("strace", "6.2", 200, BOTH, &["strace"]), ("dig", "9.20", 220, BOTH, &["dig", "nslookup"])]);
    Ids { old, new }
}

/// Adds a generation with this version of `strace`.
#[allow(dead_code, reason = "this file is part of several test programs, and not each changes the store")]
pub(crate) fn add(dir: &Path, version: &str) -> GenerationId {
    commit(dir, &[("strace", version, 200, &Arch::ALL, &["strace"])])
}

type Tool<'a> = (&'a str, &'a str, u32, &'a [Arch], &'a [&'a str]);

fn commit(dir: &Path, tools: &[Tool]) -> GenerationId {
    let mut writer = StoreWriter::open_or_create(dir).unwrap();
    let mut members = Vec::new();
    for &(name, version, rank, platforms, commands) in tools {
        for &architecture in platforms {
            let seed = format!("{name} {version} {architecture}");
            let mut tree = Tree::new();
            tree.file(
                &format!("/usr/bin/{name}"),
                0o755,
                noise(&seed, if rank == 0 { BASE_BYTES } else { TOOL_BYTES }),
            )
            .unwrap();
            let layer = writer.put_layer(&tree.pack(1_700_000_000)).unwrap();
            let parts = ToolParts {
                name: Name::parse(name).unwrap(),
                base: name == "base",
                version: version.to_owned(),
                architecture,
                rank,
                summary: format!("the {name}"),
                license: "MIT".to_owned(),
                homepage: "https://tool.example/".to_owned(),
                commands: commands.iter().map(ToString::to_string).collect(),
                needs: Needs::default(),
                source_date: 1_700_000_000,
                input_hash: "0".repeat(64),
            };
            members.push(writer.put_tool(&parts, &layer, b"{}").unwrap());
        }
    }
    let shell = (Name::parse("shell").unwrap(), vec![Name::parse("busybox").unwrap()]);
    writer.commit(members, &BTreeMap::from([shell])).unwrap()
}

/// Bytes that look random, and are a function of the seed.
fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut state = seed
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length / 8).flat_map(|_| next()).collect()
}
