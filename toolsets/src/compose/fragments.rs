//! The parts of documents that depend on one layer alone, as JSON: written once, then copied into each image that has the
//! layer.

use serde::Serialize;
use serde_json::json;

use super::{Compression, rfc3339};
use crate::canonical;
use crate::generation::ToolRecord;

/// What one layer contributes to the documents of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fragments {
    /// Descriptors of the layer, in manifests.
    pub(super) gzip: Box<str>,
    pub(super) zstd: Box<str>,
    /// Its diff ID, in quotes.
    pub(super) diff_id: Box<str>,
    /// Its entry in the history.
    pub(super) history: Box<str>,
    /// Its source date, in quotes.
    pub(super) created: Box<str>,
    /// The inside of strings: `strace=6.1`, and `"strace":{"optional":["target-attach"]}` with its quotes escaped.
    pub(super) version: Box<str>,
    pub(super) needs: Box<str>,
    /// The licence, also as part of a larger expression.
    pub(super) license: Box<str>,
    /// What the image runs where this is its first tool, in quotes; empty for a layer without commands.
    pub(super) command: Box<str>,
    /// Whether there is a shell in it.
    pub(super) shell: bool,
}

impl Fragments {
    pub(crate) fn new(record: &ToolRecord) -> Self {
        let needs = format!("{}:{}", quoted(&record.name), canonical::to_string(&record.needs));
        let license = if record.license.contains(' ') { &*format!("({})", record.license) } else { &record.license };
        Self {
            gzip: descriptor(record, Compression::Gzip),
            zstd: descriptor(record, Compression::Zstd),
            diff_id: quoted(&record.diff_id),
            history: canonical::to_string(&json!({
                "created": rfc3339(record.source_date),
                "created_by": format!("kitbag: {} {}", record.name, record.version),
            }))
            .into(),
            created: quoted(&rfc3339(record.source_date)),
            version: escaped(&format!("{}={}", record.name, record.version)),
            needs: escaped(&needs),
            license: escaped(license),
            command: record.commands.first().map(quoted).unwrap_or_default(),
            shell: record.commands.iter().any(|command| command == "sh"),
        }
    }

    /// The descriptor of the layer in one of its compressions.
    pub(super) fn descriptor(&self, compression: Compression) -> &str {
        match compression {
            Compression::Gzip => &self.gzip,
            Compression::Zstd => &self.zstd,
        }
    }
}

fn descriptor(record: &ToolRecord, compression: Compression) -> Box<str> {
    let blob = record.blob(compression);
    let descriptor = json!({ "mediaType": compression.media_type(), "digest": blob.digest, "size": blob.size });
    canonical::to_string(&descriptor).into()
}

/// A JSON string.
fn quoted(text: &impl Serialize) -> Box<str> {
    canonical::to_string(text).into()
}

/// The inside of a JSON string.
fn escaped(text: &str) -> Box<str> {
    let quoted = quoted(&text);
    quoted[1..quoted.len() - 1].into()
}
