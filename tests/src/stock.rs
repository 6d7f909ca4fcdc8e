//! A store of twelve tools, for tests of the registry with its clients: real layers in both forms for both
//! architectures, some of them large, and nothing that takes a compiler. What is in the programs is noise.
//!
//! And what a client must get from a registry over it: composed here, by the function that the registry calls, and
//! read from the store's files.

use std::{collections::BTreeMap, fs, path::Path};

use kitbag_builder::store::Store;
use kitbag_toolsets::{Arch, Compression, GenerationId, Image, ImagePath};

use crate::{
    error::{Result, file},
    synthetic::{self, Tool},
};

/// The path of an image of one tool.
pub const ONE: &str = "strace";
/// Of three.
pub const THREE: &str = "strace/tcpdump/dig";
/// Of all twelve; those come last whose names are endpoints of registries.
pub const TWELVE: &str = "strace/tcpdump/dig/htop/busybox/lsof/gdb/curl/manifests/blobs/tags/referrers";

/// Bytes of the base's program.
const BASE: usize = 300_000;
/// Versions of the tools in the two generations; the second is of one tool.
const OLD: &str = "1.0";
const NEW: &str = "1.1";
/// The rank of that tool: strace.
const RENEWED: usize = 2;
/// The tools, by rank from 1, with the bytes of their programs. The large one is fetched in pieces by those who do that;
/// the empty one is the same layer on both platforms.
const TOOLS: [(&str, usize); 12] = [
    ("busybox", 1_000_000),
    ("strace", 1_500_000),
    ("tcpdump", 2_500_000),
    ("dig", 700_000),
    ("htop", 300_000),
    ("lsof", 150_000),
    ("gdb", 20_000_000),
    ("curl", 4_000_000),
    ("manifests", 20_000),
    ("blobs", 5_000),
    ("tags", 1_000),
    ("referrers", 0),
];

/// The store.
#[derive(Debug)]
pub struct Stock {
    store: Store,
}

impl Stock {
    /// Makes the store in `dir`, or completes it. It has two generations; in the older one, strace is another.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn make(dir: &Path) -> Result<Self> {
        let base = Tool { name: "base".to_owned(), version: OLD.to_owned(), rank: 0, bytes: BASE };
        let old: Vec<Tool> = [base].into_iter().chain((1..=TOOLS.len()).map(|rank| tool(rank, OLD))).collect();
        for tools in [&old[..], &[tool(RENEWED, NEW)]] {
            synthetic::commit(dir, tools, synthetic::real_layer)?;
        }
        Ok(Self { store: Store::open(dir)? })
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        self.store.dir()
    }

    /// The ids of the generations, the newest first: the tags besides `latest`.
    pub fn generations(&self) -> Vec<&GenerationId> {
        self.store.generations().iter().map(|generation| generation.id()).collect()
    }

    /// The newest generation's image at this path.
    ///
    /// # Panics
    /// When there is none.
    pub fn image(&self, path: &str) -> Image {
        self.image_of(0, path)
    }

    /// The older generation's image at this path.
    ///
    /// # Panics
    /// When there is none.
    pub fn older_image(&self, path: &str) -> Image {
        self.image_of(1, path)
    }

    fn image_of(&self, generation: usize, path: &str) -> Image {
        let generation = &self.store.generations()[generation];
        let path: ImagePath = path.parse().expect("a path");
        generation
            .compose(&generation.resolve(&path).expect("tools of the store"))
            .expect("every tool has both platforms")
    }

    /// What a client that has the whole image in one form has, by digest.
    pub fn content(&self, image: &Image, compression: Compression) -> BTreeMap<String, Vec<u8>> {
        let platforms =
            (0..image.platforms().len()).map(|position| self.platform_content(image, position, compression));
        let index = &image.form(compression).index;
        platforms.flatten().chain([(index.digest.to_string(), index.bytes.to_vec())]).collect()
    }

    /// What a client that has one manifest of the image has, by digest: the manifest, its config and its layers.
    /// `position` is that of the platform.
    ///
    /// # Panics
    /// When there is no such platform, or a file of the store can't be read.
    pub fn platform_content(
        &self,
        image: &Image,
        position: usize,
        compression: Compression,
    ) -> BTreeMap<String, Vec<u8>> {
        let platform = &image.platforms()[position];
        let layers = platform.layers.iter().map(|layer| {
            let digest = &layer.blob(compression).digest;
            let path = self.store.blob_path(digest);
            (digest.to_string(), fs::read(&path).map_err(file("read", path)).expect("the store is whole"))
        });
        let documents = [&image.form(compression).manifests[position], &platform.config];
        let documents = documents.map(|document| (document.digest.to_string(), document.bytes.to_vec()));
        layers.chain(documents).collect()
    }
}

/// The program of a tool of the newest generation, as it stands in `/usr/bin` of an image.
pub fn program_of(name: &str, architecture: Arch) -> Option<Vec<u8>> {
    let rank = 1 + TOOLS.iter().position(|(tool, _)| *tool == name)?;
    Some(synthetic::program(&tool(rank, if rank == RENEWED { NEW } else { OLD }), architecture))
}

/// The tool of that rank.
fn tool(rank: usize, version: &str) -> Tool {
    let (name, bytes) = TOOLS[rank - 1];
    Tool { name: name.to_owned(), version: version.to_owned(), rank: rank as u32, bytes }
}
