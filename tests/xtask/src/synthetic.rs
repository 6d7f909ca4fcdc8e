//! Stores that are made up: as many tools as are wanted, of the sizes that are wanted. Their layers are noise behind the
//! magic number of gzip: everything that a registry does with a layer can be done with them, but no container starts.

use std::{collections::BTreeMap, path::Path, thread};

use kitbag_builder::{
    layer::{Blob, Layer},
    store::{StoreWriter, ToolParts},
};
use kitbag_toolsets::{Arch, GenerationId, Name, Needs, canonical::sha256_hex, generation::sha256_digest};

use crate::Result;

/// Threads that write: what takes long is waiting for the disk, blob by blob.
const WRITERS: usize = 16;
/// Any date will do.
const SOURCE_DATE: i64 = 1_700_000_000;

/// A tool that is to be in a store.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    /// Its name; `base` is the base layer.
    pub(crate) name: String,
    /// Its version, of which its bytes are a function.
    pub(crate) version: String,
    /// Bytes of each of its layers.
    pub(crate) bytes: usize,
}

impl Tool {
    pub(crate) fn new(name: &str, version: &str, bytes: usize) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), bytes }
    }
}

/// A base layer and `count` small tools with the names of [`name`].
pub(crate) fn many(count: usize) -> Vec<Tool> {
    let tools = (0..count).map(|number| Tool::new(&name(number), "1.0", 1 << 10));
    [Tool::new("base", "1.0", 64 << 10)].into_iter().chain(tools).collect()
}

/// The name of a tool among [`many`].
pub(crate) fn name(number: usize) -> String {
    format!("tool{number:04}")
}

/// Puts the tools into the store at `dir`, for both architectures, and makes a generation of it.
pub(crate) fn commit(dir: &Path, tools: &[Tool]) -> Result<GenerationId> {
    let mut writer = StoreWriter::open_or_create(dir)?;
    let chunk = tools.len().div_ceil(WRITERS).max(1);
    let mut members = Vec::new();
    thread::scope(|scope| -> Result {
        let writer = &writer;
        let put = |tools| move || put(writer, tools).map_err(|error| error.to_string());
        let writing: Vec<_> = tools.chunks(chunk).map(|tools| scope.spawn(put(tools))).collect();
        for thread in writing {
            members.extend(thread.join().map_err(|_| "a writer of the store panicked")??);
        }
        Ok(())
    })?;
    Ok(writer.commit(members, &BTreeMap::new())?)
}

type Member = (kitbag_toolsets::ToolRecord, oci_spec::image::Descriptor);

fn put(writer: &StoreWriter, tools: &[Tool]) -> Result<Vec<Member>> {
    let each = tools.iter().flat_map(|tool| Arch::ALL.map(|architecture| (tool, architecture)));
    let member = |(tool, architecture)| {
        let layer = writer.put_layer(&layer(tool, architecture))?;
        Ok(writer.put_tool(&parts(tool, architecture)?, &layer, b"{}")?)
    };
    each.map(member).collect()
}

fn parts(tool: &Tool, architecture: Arch) -> Result<ToolParts> {
    let base = tool.name == "base";
    let number: u32 = tool.name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or_default();
    Ok(ToolParts {
        name: Name::parse(&tool.name)?,
        base,
        version: tool.version.clone(),
        architecture,
        rank: if base { 0 } else { 100 + number },
        summary: format!("what {} would do if it were real", tool.name),
        license: "MIT".to_owned(),
        homepage: "https://tool.example/".to_owned(),
        commands: if base { Vec::new() } else { vec![tool.name.clone()] },
        needs: Needs::default(),
        source_date: SOURCE_DATE,
        input_hash: sha256_hex(format!("{tool:?} {architecture}").as_bytes()),
    })
}

/// A layer whose two forms have exactly the size that is asked for.
fn layer(tool: &Tool, architecture: Arch) -> Layer {
    let seed = format!("{} {} {architecture}", tool.name, tool.version);
    let blob = |form: &str| {
        let bytes = noise(&format!("{seed} {form}"), tool.bytes);
        Blob { digest: sha256_digest(&sha256_hex(&bytes)), bytes }
    };
    Layer {
        diff_id: sha256_digest(&sha256_hex(seed.as_bytes())),
        tar_size: tool.bytes as u64,
        gzip: blob("gzip"),
        zstd: blob("zstd"),
    }
}

/// Bytes that look random, are a function of the seed, and begin like a gzip file.
fn noise(seed: &str, length: usize) -> Vec<u8> {
    let start = sha256_hex(seed.as_bytes());
    let mut state = u64::from_str_radix(&start[..16], 16).unwrap_or_default() | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = [0x1f, 0x8b, 8].into_iter().chain((0..length / 8 + 1).flat_map(|_| next())).collect();
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use kitbag_builder::store::Store;

    use super::*;

    #[test]
    fn a_made_up_store_can_be_opened_and_composed_from() {
        let dir = tempfile::tempdir().unwrap();
        let id = commit(dir.path(), &many(5)).unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [generation] = store.generations() else { panic!("one generation") };
        assert_eq!(generation.id(), &id);
        let set = generation.resolve(&format!("{}/{}", name(0), name(4)).parse().unwrap()).unwrap();
        assert_eq!(generation.compose(&set).unwrap().platforms().len(), 2);
        assert!(store.verify().unwrap().faults.is_empty());
    }

    #[test]
    fn noise_has_the_length_that_is_asked_for() {
        assert_eq!([0, 1, 1000].map(|length| noise("a", length).len()), [0, 1, 1000]);
        assert_ne!(noise("a", 64), noise("b", 64));
    }
}
