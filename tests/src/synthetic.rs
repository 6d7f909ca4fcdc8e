//! Stores that are made up, and take no compiler: as many tools as are wanted, of the sizes that are wanted, for both
//! architectures. What is in the layers is noise, a function of what the tool is.

use std::{collections::BTreeMap, panic::resume_unwind, path::Path, thread};

use kitbag_builder::{
    layer::{Blob, Layer, Tree},
    store::{StoreError, StoreWriter, ToolParts},
};
use kitbag_toolsets::{Arch, GenerationId, Name, Needs, canonical::sha256_hex, generation::sha256_digest};

use crate::error::Result;

/// When everything was made, in seconds since 1970.
const DATE: i64 = 1_700_000_000;
/// Threads that write: large layers take long to compress, and many small ones to wait for the disk.
const WRITERS: usize = 16;

/// A tool that is to be in a store.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name; `base` is the base layer.
    pub name: String,
    /// Its version, of which its bytes are a function.
    pub version: String,
    /// Its place among the layers of an image.
    pub rank: u32,
    /// Bytes of its program, or of each form of its layer: whoever makes the layer decides.
    pub bytes: usize,
}

/// Puts the tools into the store at `dir`, with the layers that `layer` makes, and makes a generation of it.
///
/// # Errors
/// When it can't be written.
///
/// # Panics
/// When a tool's name is none.
pub fn commit(dir: &Path, tools: &[Tool], layer: impl Fn(&Tool, Arch) -> Layer + Sync) -> Result<GenerationId> {
    let mut writer = StoreWriter::open_or_create(dir)?;
    let each: Vec<_> = tools.iter().flat_map(|tool| Arch::ALL.map(|architecture| (tool, architecture))).collect();
    let put = |&(tool, architecture): &(&Tool, Arch)| {
        let layer = writer.put_layer(&layer(tool, architecture))?;
        writer.put_tool(&parts(tool, architecture), &layer, b"{}")
    };
    let put_all = |some| -> std::result::Result<Vec<_>, StoreError> { <[_]>::iter(some).map(put).collect() };
    let written: Vec<_> = thread::scope(|scope| {
        let chunks = each.chunks(each.len().div_ceil(WRITERS).max(1));
        let threads: Vec<_> = chunks.map(|some| scope.spawn(move || put_all(some))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let members = written.into_iter().collect::<std::result::Result<Vec<_>, _>>()?.concat();
    Ok(writer.commit(members, &BTreeMap::new())?)
}

/// A layer that containers can start from: the tool's program in `/usr/bin`.
///
/// # Panics
/// Never: nothing else is in the layer.
pub fn real_layer(tool: &Tool, architecture: Arch) -> Layer {
    let mut tree = Tree::new();
    tree.file(&format!("/usr/bin/{}", tool.name), 0o755, program(tool, architecture)).expect("no other file is there");
    tree.pack(DATE)
}

/// A layer whose two forms have exactly the size that is asked for, and that takes no time to make: noise behind the
/// magic number of gzip. Everything that a registry does with a layer can be done with it, but no container starts.
pub fn opaque_layer(tool: &Tool, architecture: Arch) -> Layer {
    let blob = |form: &str| {
        let mut bytes = noise(&format!("{} {form}", seed(tool, architecture)), tool.bytes);
        bytes.iter_mut().zip([0x1f, 0x8b, 8]).for_each(|(byte, magic)| *byte = magic);
        Blob { digest: sha256_digest(&sha256_hex(&bytes)), bytes }
    };
    Layer {
        diff_id: sha256_digest(&sha256_hex(seed(tool, architecture).as_bytes())),
        tar_size: tool.bytes as u64,
        gzip: blob("gzip"),
        zstd: blob("zstd"),
    }
}

/// The tool's program, as [`real_layer`] has it.
pub fn program(tool: &Tool, architecture: Arch) -> Vec<u8> {
    noise(&seed(tool, architecture), tool.bytes)
}

fn seed(tool: &Tool, architecture: Arch) -> String {
    format!("{} {} {architecture}", tool.name, tool.version)
}

/// Bytes that do not compress, a function of the seed.
fn noise(seed: &str, length: usize) -> Vec<u8> {
    // FNV-1a to begin with, and then xorshift, which must not begin with 0.
    let hash = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, hash) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn parts(tool: &Tool, architecture: Arch) -> ToolParts {
    let base = tool.name == "base";
    ToolParts {
        name: Name::parse(&tool.name).expect("a name"),
        base,
        version: tool.version.clone(),
        architecture,
        rank: tool.rank,
        summary: format!("what {} would do if it were real", tool.name),
        license: "MIT".to_owned(),
        homepage: "https://tool.example/".to_owned(),
        commands: if base { Vec::new() } else { vec![tool.name.clone()] },
        needs: Needs::default(),
        source_date: DATE,
        input_hash: sha256_hex(format!("{tool:?} {architecture}").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use kitbag_builder::store::Store;

    use super::*;

    fn tool(name: &str, rank: u32) -> Tool {
        Tool { name: name.to_owned(), version: "1.0".to_owned(), rank, bytes: 1000 }
    }

    #[test]
    fn a_made_up_store_can_be_opened_and_composed_from() {
        for layer in [opaque_layer, real_layer] {
            let dir = tempfile::tempdir().unwrap();
            let id = commit(dir.path(), &[tool("base", 0), tool("strace", 1), tool("dig", 2)], layer).unwrap();
            let store = Store::open(dir.path()).unwrap();
            let [generation] = store.generations() else { panic!("one generation") };
            assert_eq!(generation.id(), &id);
            let set = generation.resolve(&"dig/strace".parse().unwrap()).unwrap();
            assert_eq!(generation.compose(&set).unwrap().platforms().len(), 2);
            assert!(store.verify().unwrap().faults.is_empty());
        }
    }

    #[test]
    fn noise_has_the_length_that_is_asked_for() {
        assert_eq!([0, 1, 1000].map(|length| noise("a", length).len()), [0, 1, 1000]);
        assert_ne!(noise("a", 64), noise("b", 64));
    }
}
