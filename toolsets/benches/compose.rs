//! `cargo bench -p kitbag-toolsets`: what an image costs that nobody has asked for before, and what reading a
//! generation costs.

use std::collections::BTreeMap;

use divan::{Bencher, black_box};
use kitbag_toolsets::generation::{BlobRef, sha256_digest, write_generation};
use kitbag_toolsets::{Arch, Generation, ImagePath, Name, Needs, ToolRecord, canonical};
use oci_spec::image::{Descriptor, MediaType};

fn main() {
    divan::main();
}

/// From the text of a path to the documents for both platforms.
#[divan::bench(args = [1, 3, 12, 32])]
fn compose(bencher: Bencher, tools: usize) {
    let generation = Generation::parse(&generation(64)).expect("a generation");
    let path: Vec<String> = (0..tools).map(|number| name(number).to_string()).collect();
    let path = path.join("/");
    bencher.bench(|| {
        let path: ImagePath = black_box(&path).parse().expect("a path");
        let set = generation.resolve(&path).expect("tools of the generation");
        generation.compose(&set).expect("every platform has them")
    });
}

/// An index of so many tools for both platforms, read and made ready.
#[divan::bench(args = [5, 1000])]
fn parse(bencher: Bencher, tools: usize) {
    let bytes = generation(tools);
    bencher.bench(|| Generation::parse(black_box(&bytes)));
}

fn generation(tools: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for architecture in Arch::ALL {
        records.push(record("base", 0, architecture));
        records.extend((0..tools).map(|number| record(name(number).as_str(), 1 + number as u32, architecture)));
    }
    let described = records.into_iter().map(|record| {
        let descriptor = Descriptor::new(MediaType::ImageManifest, 1000_u64, record.diff_id.clone());
        (record, descriptor)
    });
    write_generation(&described.collect::<Vec<_>>(), &BTreeMap::new())
}

fn name(number: usize) -> Name {
    Name::parse(&format!("tool{number}")).expect("a name")
}

fn record(name: &str, rank: u32, architecture: Arch) -> ToolRecord {
    let digest = |salt: &str| sha256_digest(&canonical::sha256_hex(format!("{name}{architecture}{salt}").as_bytes()));
    ToolRecord {
        name: Name::parse(name).expect("a name"),
        base: name == "base",
        version: "1.2.3".to_owned(),
        architecture,
        rank,
        summary: "a tool that is here to be composed".to_owned(),
        license: "MIT".to_owned(),
        commands: vec![name.to_owned()],
        needs: Needs::default(),
        source_date: 1_700_000_000 + i64::from(rank),
        input_hash: "0".repeat(64),
        diff_id: digest("tar"),
        gzip: BlobRef { digest: digest("gzip"), size: 123_456 },
        zstd: BlobRef { digest: digest("zstd"), size: 98_765 },
    }
}
