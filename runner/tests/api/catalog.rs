//! A catalog as a cluster publishes it: the tools of the one that is compiled in, with layers that nobody has built.

use std::collections::BTreeMap;

use kitbag_toolsets::generation::{BlobRef, sha256_digest, write_generation};
use kitbag_toolsets::{Arch, Catalog, Generation, Name, Published, ToolRecord, canonical};
use oci_spec::image::{Descriptor, MediaType};

/// The catalog, and the generation that it is of: `htop` is there for amd64 alone, and a tool that this program does not
/// know for all.
pub(crate) fn published() -> (Published, Generation) {
    let catalog = Catalog::builtin().unwrap();
    let mut records = Vec::new();
    for arch in Arch::ALL {
        records.push(record("base", &[], arch));
        records.push(record("newtool", &["newtool".to_owned(), "newer".to_owned()], arch));
        for tool in catalog.tools().filter(|tool| arch == Arch::Amd64 || tool.name.as_str() != "htop") {
            let known = ToolRecord {
                version: tool.version.clone(),
                rank: tool.rank,
                needs: tool.needs.clone(),
                ..record(tool.name.as_str(), &tool.commands, arch)
            };
            records.push(known);
        }
    }
    let described = records.into_iter().map(|record| {
        let descriptor = Descriptor::new(MediaType::ImageManifest, 7_u64, record.diff_id.clone());
        (record, descriptor)
    });
    let sets: BTreeMap<Name, Vec<Name>> =
        catalog.sets().iter().map(|(name, set)| (name.clone(), set.tools.clone())).collect();
    let generation = Generation::parse(&write_generation(&described.collect::<Vec<_>>(), &sets)).unwrap();
    (Published::of(&generation), generation)
}

fn record(name: &str, commands: &[String], architecture: Arch) -> ToolRecord {
    let digest = |salt: &str| sha256_digest(&canonical::sha256_hex(format!("{name}{architecture}{salt}").as_bytes()));
    ToolRecord {
        name: Name::parse(name).unwrap(),
        base: name == "base",
        version: "1.0".to_owned(),
        architecture,
        rank: 500,
        summary: format!("{name}, as this cluster has it"),
        license: "MIT".to_owned(),
        commands: commands.to_vec(),
        needs: kitbag_toolsets::Needs::default(),
        source_date: 1_700_000_000,
        input_hash: String::new(),
        diff_id: digest("tar"),
        gzip: BlobRef { digest: digest("gzip"), size: 1000 },
        zstd: BlobRef { digest: digest("zstd"), size: 900 },
    }
}
