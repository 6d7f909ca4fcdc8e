//! A digest is a function of the set: any order of it gives one digest, and any other set another.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use kitbag_toolsets::canonical::sha256_hex;
use kitbag_toolsets::compose::{Compression, Image};
use kitbag_toolsets::generation::{BlobRef, ToolRecord, sha256_digest, write_generation};
use kitbag_toolsets::{Arch, Generation, ImagePath, Name, Needs};
use oci_spec::image::{Descriptor, MediaType};
use proptest::prelude::*;

/// Names of which some are made of others: what joins them must not be lost.
const TOOLS: [&str; 10] = ["a", "b", "ab", "a-b", "a.b", "aa", "c", "bc", "a-1", "tags"];

static GENERATION: LazyLock<Generation> = LazyLock::new(|| {
    let mut records = Vec::new();
    for arch in Arch::ALL {
        records.push(record("base", 0, arch));
        records.extend(TOOLS.iter().zip(1..).map(|(name, rank)| record(name, rank % 4, arch)));
    }
    let descriptors = records.into_iter().map(|record| {
        let descriptor = Descriptor::new(MediaType::ImageManifest, 7_u64, record.diff_id.clone());
        (record, descriptor)
    });
    let set = (Name::parse("few").unwrap(), ["a", "bc"].map(|name| Name::parse(name).unwrap()).to_vec());
    Generation::parse(&write_generation(&descriptors.collect::<Vec<_>>(), &BTreeMap::from([set]))).unwrap()
});

fn record(name: &str, rank: u32, architecture: Arch) -> ToolRecord {
    let digest = |salt: &str| sha256_digest(&sha256_hex(format!("{name} {architecture} {salt}").as_bytes()));
    ToolRecord {
        name: Name::parse(name).unwrap(),
        base: name == "base",
        version: "1.0".to_owned(),
        architecture,
        rank,
        summary: String::new(),
        license: "MIT".to_owned(),
        commands: vec![format!("{name}-command")],
        needs: Needs::default(),
        source_date: 1_700_000_000,
        input_hash: "0".repeat(64),
        diff_id: digest("tar"),
        gzip: BlobRef { digest: digest("gzip"), size: 1000 },
        zstd: BlobRef { digest: digest("zstd"), size: 900 },
    }
}

fn compose(names: &[&str]) -> Image {
    let path = ImagePath::from_names(names.iter().copied()).unwrap();
    GENERATION.compose(&GENERATION.resolve(&path).unwrap()).unwrap()
}

/// The digests of all that an image has but its layers.
fn digests(names: &[&str]) -> Vec<String> {
    let image = compose(names);
    let forms = Compression::ALL.into_iter().flat_map(|compression| image.form(compression).documents());
    let configs = image.platforms().iter().map(|platform| &platform.config);
    forms.chain(configs).map(|document| document.digest.to_string()).collect()
}

/// A set of tools, not empty.
fn sets() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(TOOLS.to_vec(), 1..=TOOLS.len())
}

proptest! {
    #[test]
    fn any_two_orders_of_one_set_give_one_digest(
        (straight, shuffled) in sets().prop_flat_map(|set| (Just(set.clone()), Just(set).prop_shuffle())),
        again in any::<prop::sample::Index>(),
    ) {
        let mut repeated = shuffled.clone();
        repeated.push(*again.get(&shuffled));
        prop_assert_eq!(digests(&shuffled), digests(&straight));
        prop_assert_eq!(digests(&repeated), digests(&straight));
    }

    #[test]
    fn any_two_sets_give_different_digests(one in sets(), other in sets()) {
        prop_assume!(one != other);
        let (one, other) = (digests(&one), digests(&other));
        prop_assert!(one.iter().zip(&other).all(|(one, other)| one != other), "{:?} {:?}", one, other);
    }

    #[test]
    fn another_name_of_a_tool_changes_nothing(set in sets(), renamed in any::<prop::sample::Index>()) {
        let at = renamed.index(set.len());
        for other in [format!("{}-command", set[at]), format!("{}-1.0", set[at])] {
            let mut names = set.clone();
            names[at] = &other;
            prop_assert_eq!(digests(&names), digests(&set));
        }
    }
}

#[test]
fn every_set_has_its_own_digest() {
    let chosen =
        |set: u32| TOOLS.iter().enumerate().filter(move |(bit, _)| set & (1 << bit) != 0).map(|(_, name)| *name);
    let all: BTreeSet<String> =
        (1_u32..1 << TOOLS.len()).map(|set| digests(&chosen(set).collect::<Vec<_>>())[0].clone()).collect();
    assert_eq!(all.len(), (1 << TOOLS.len()) - 1);
}

#[test]
fn a_named_set_is_its_tools() {
    assert_eq!(digests(&["few"]), digests(&["bc", "a"]));
    assert_eq!(digests(&["few", "a", "c"]), digests(&["c", "bc", "a"]));
}
