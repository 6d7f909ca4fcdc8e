//! `catalog.lock`: what every layer came out as, so that anyone can tell whether theirs is the same. Pure.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use kitbag_toolsets::{Arch, ToolRecord};
use oci_spec::image::Digest;
use serde::{Deserialize, Serialize};

use crate::layer::Layer;

/// First lines of the file.
const HEADER: &str = "# The layers of toolsets/catalog, as they came out. Written by `kitbag-builder build --update-lock FILE`;\n\
                      # `--locked` fails where a build comes out otherwise.\n";

/// The lock: by tool and architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock(BTreeMap<(String, Arch), Locked>);

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Locked {
    /// Hash of everything that went into it.
    pub input: String,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Digest of the layer as gzip.
    pub gzip: Digest,
    /// Digest of the layer as zstd.
    pub zstd: Digest,
}

/// A lock that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lock is not readable: {0}")]
pub struct LockError(pub String);

/// A layer that is not as the lock has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The tool.
    pub tool: String,
    /// Its architecture.
    pub arch: Arch,
    /// What the lock has; `None` if the tool does not stand in it.
    pub expected: Option<Locked>,
    /// What came out.
    pub actual: Locked,
}

type File = BTreeMap<String, BTreeMap<Arch, Locked>>;

impl Lock {
    /// Reads a lock.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let file: File = toml::from_str(text).map_err(|error| LockError(error.to_string().trim().to_owned()))?;
        let entries = file
            .into_iter()
            .flat_map(|(tool, archs)| archs.into_iter().map(move |(arch, locked)| ((tool.clone(), arch), locked)));
        Ok(Self(entries.collect()))
    }

    /// The file's text: sorted, so that a change is a small difference.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = HEADER.to_owned();
        for ((tool, arch), Locked { input, diff_id, gzip, zstd }) in &self.0 {
            // Writing into a string does not fail.
            let _ = write!(
                text,
                "\n[{tool}.{arch}]\ninput = \"{input}\"\ndiff-id = \"{diff_id}\"\ngzip = \"{gzip}\"\nzstd = \"{zstd}\"\n"
            );
        }
        text
    }

    /// Puts `record` in place of what stood there.
    pub fn insert(&mut self, record: &ToolRecord) {
        self.0.insert((record.name.to_string(), record.architecture), Locked::of(record));
    }

    /// Drops what is not among `tools`.
    pub fn retain(&mut self, tools: impl Fn(&str) -> bool) {
        self.0.retain(|(tool, _), _| tools(tool));
    }

    /// Where what came out is not what the lock has.
    #[must_use]
    pub fn difference(&self, tool: &str, arch: Arch, actual: Locked) -> Option<Difference> {
        let expected = self.0.get(&(tool.to_owned(), arch)).cloned();
        let differs = expected.as_ref() != Some(&actual);
        differs.then(|| Difference { tool: tool.to_owned(), arch, expected, actual })
    }
}

impl Locked {
    /// A layer that was just packed.
    #[must_use]
    pub fn of_layer(input_hash: &str, layer: &Layer) -> Self {
        Self {
            input: input_hash.to_owned(),
            diff_id: layer.diff_id.clone(),
            gzip: layer.gzip.digest.clone(),
            zstd: layer.zstd.digest.clone(),
        }
    }

    /// A layer that is in a store.
    #[must_use]
    pub fn of(record: &ToolRecord) -> Self {
        Self {
            input: record.input_hash.clone(),
            diff_id: record.diff_id.clone(),
            gzip: record.gzip.digest.clone(),
            zstd: record.zstd.digest.clone(),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` for {}: ", self.tool, self.arch)?;
        let Some(expected) = &self.expected else { return f.write_str("it does not stand in the lock") };
        let actual = &self.actual;
        let digests = [
            ("files", &expected.diff_id, &actual.diff_id),
            ("gzip", &expected.gzip, &actual.gzip),
            ("zstd", &expected.zstd, &actual.zstd),
        ];
        let differing: Vec<String> = digests
            .iter()
            .filter(|(_, expected, actual)| expected != actual)
            .map(|(what, expected, actual)| format!("{what} should be {expected}, came out as {actual}"))
            .collect();
        let reason = match (expected.input == actual.input, differing.is_empty()) {
            (true, _) => "from the same inputs came other bytes",
            (false, true) => "its inputs have changed, the layer has not",
            (false, false) => "its inputs have changed",
        };
        f.write_str(reason)?;
        differing.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

#[cfg(test)]
mod tests {
    use kitbag_toolsets::generation::{BlobRef, sha256_digest};
    use kitbag_toolsets::{Name, Needs, canonical};
    use proptest::prelude::*;

    use super::*;

    fn digest(text: &str) -> Digest {
        sha256_digest(&canonical::sha256_hex(text.as_bytes()))
    }

    fn record(name: &str, architecture: Arch, input: &str, content: &str) -> ToolRecord {
        let blob = |form: &str| BlobRef { digest: digest(&format!("{form}{content}")), size: 1 };
        ToolRecord {
            name: Name::parse(name).unwrap(),
            base: false,
            version: "1".to_owned(),
            architecture,
            rank: 1,
            summary: String::new(),
            license: "MIT".to_owned(),
            commands: Vec::new(),
            needs: Needs::default(),
            source_date: 0,
            input_hash: input.to_owned(),
            diff_id: digest(content),
            gzip: blob("gzip"),
            zstd: blob("zstd"),
        }
    }

    fn lock() -> Lock {
        let mut lock = Lock::default();
        lock.insert(&record("strace", Arch::Arm64, "11", "b"));
        lock.insert(&record("strace", Arch::Amd64, "10", "a"));
        lock
    }

    #[test]
    fn the_text_reads_back() {
        let text = lock().to_text();
        assert_eq!(Lock::parse(&text), Ok(lock()));
        insta::assert_snapshot!(text, @r#"
        # The layers of toolsets/catalog, as they came out. Written by `kitbag-builder build --update-lock FILE`;
        # `--locked` fails where a build comes out otherwise.

        [strace.amd64]
        input = "10"
        diff-id = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
        gzip = "sha256:c596cca983569b3b054a6752e08c195100d91d5efb96fec5199e8ffdf776d363"
        zstd = "sha256:f99e969b20b27cdc51bb3761a0bfabb71b6ca747cba98d37edefd88d612f9a7d"

        [strace.arm64]
        input = "11"
        diff-id = "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
        gzip = "sha256:567398954a31aca0eee3eebc59eb6c040b01564092b20bc5162e474a96b11f20"
        zstd = "sha256:64ba3f98957943b8949e48cd0ceb42f31f9be295cf91be8cf463a6aae3883908"
        "#);
    }

    #[test]
    fn what_differs_is_named_with_both_digests() {
        let difference = |record: &ToolRecord| {
            lock()
                .difference(record.name.as_str(), record.architecture, Locked::of(record))
                .map(|d| d.to_string())
                .unwrap_or_default()
        };
        assert_eq!(difference(&record("strace", Arch::Amd64, "10", "a")), "");
        insta::assert_snapshot!(difference(&record("strace", Arch::Amd64, "10", "z")), @"
        `strace` for amd64: from the same inputs came other bytes
            files should be sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb, came out as sha256:594e519ae499312b29433b7dd8a97ff068defcba9755b6d5d00e84c524d67b06
            gzip should be sha256:c596cca983569b3b054a6752e08c195100d91d5efb96fec5199e8ffdf776d363, came out as sha256:7176fc25a8492c00acd68657c68dae4fb6d1c0064b6e023eb3883f829b76828a
            zstd should be sha256:f99e969b20b27cdc51bb3761a0bfabb71b6ca747cba98d37edefd88d612f9a7d, came out as sha256:065513cc5223ba2d390054acdcbd138010cb69303e5f20042c19b9f63be0962b
        ");
        insta::assert_snapshot!(difference(&record("strace", Arch::Amd64, "99", "a")), @"`strace` for amd64: its inputs have changed, the layer has not");
        insta::assert_snapshot!(difference(&record("dig", Arch::Amd64, "10", "a")), @"`dig` for amd64: it does not stand in the lock");
    }

    #[test]
    fn a_lock_that_is_none_is_refused() {
        insta::assert_snapshot!(Lock::parse("[strace.mips]\ninput = '1'").unwrap_err().to_string(), @"
        the lock is not readable: TOML parse error at line 1, column 9
          |
        1 | [strace.mips]
          |         ^^^^
        unknown variant `mips`, expected `amd64` or `arm64`
        ");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = Lock::parse(&text);
        }
    }
}
