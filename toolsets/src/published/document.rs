//! The form of a published catalog. What a tool's architectures have in common, which is most, stands there once.

use std::collections::BTreeMap;

use oci_spec::image::{Digest, DigestAlgorithm};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{PublishedError, VERSION, composed};
use crate::generation::{BlobRef, Generation, ToolRecord};
use crate::names::Name;
use crate::needs::Needs;
use crate::platform::Arch;

#[derive(Serialize, Deserialize)]
pub(super) struct Document {
    version: u64,
    /// Of the generation's index.
    generation: Digest,
    /// Of the image of all tools, by who wrote this; without a base layer there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) composed: Option<Digest>,
    tools: Vec<Tool>,
    sets: BTreeMap<Name, Vec<Name>>,
}

/// One tool, or the base layer, for the architectures for which it is the same. Those of a store in which not all were
/// built anew make two of one tool.
#[derive(Serialize, Deserialize)]
struct Tool {
    #[serde(flatten)]
    description: Description,
    platforms: BTreeMap<Arch, Platform>,
}

/// What does not depend on the architecture.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    name: Name,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    base: bool,
    version: String,
    rank: u32,
    summary: String,
    license: String,
    commands: Vec<String>,
    needs: Needs,
    source_date: i64,
}

/// What does.
#[derive(Serialize, Deserialize)]
struct Platform {
    #[serde(rename = "diffID")]
    diff_id: Digest,
    gzip: BlobRef,
    zstd: BlobRef,
}

impl Document {
    pub(super) fn of(generation: &Generation) -> Self {
        let mut tools: Vec<Tool> = Vec::new();
        for record in generation.records() {
            let (description, platform) = (Description::of(record), Platform::of(record));
            match tools.last_mut().filter(|last| last.description == description) {
                Some(tool) => drop(tool.platforms.insert(record.architecture, platform)),
                None => {
                    tools.push(Tool { description, platforms: BTreeMap::from([(record.architecture, platform)]) });
                }
            }
        }
        let sets = generation.names().sets().map(|(name, tools)| (name.clone(), tools.to_vec())).collect();
        let (digest, composed) = (generation.digest().clone(), composed(generation));
        Self { version: VERSION, generation: digest, composed, tools, sets }
    }

    pub(super) fn parse(members: Map<String, Value>) -> Result<Self, serde_json::Error> {
        serde_json::from_value(Value::Object(members))
    }

    pub(super) fn to_members(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => members,
            other => unreachable!("a document is an object: {other:?}"),
        }
    }

    /// The generation that is described.
    pub(super) fn generation(&self) -> Result<Generation, PublishedError> {
        if *self.generation.algorithm() != DigestAlgorithm::Sha256 {
            return Err(PublishedError::Digest(self.generation.clone()));
        }
        let records = self.tools.iter().flat_map(Tool::records);
        Generation::assemble(self.generation.clone(), records, &self.sets).map_err(PublishedError::Generation)
    }
}

impl Tool {
    fn records(&self) -> impl Iterator<Item = ToolRecord> {
        self.platforms.iter().map(|(arch, platform)| {
            let Description { name, base, version, rank, summary, license, commands, needs, source_date } =
                &self.description;
            ToolRecord {
                name: name.clone(),
                base: *base,
                version: version.clone(),
                architecture: *arch,
                rank: *rank,
                summary: summary.clone(),
                license: license.clone(),
                commands: commands.clone(),
                needs: needs.clone(),
                source_date: *source_date,
                input_hash: String::new(),
                diff_id: platform.diff_id.clone(),
                gzip: platform.gzip.clone(),
                zstd: platform.zstd.clone(),
            }
        })
    }
}

impl Description {
    fn of(record: &ToolRecord) -> Self {
        Self {
            name: record.name.clone(),
            base: record.base,
            version: record.version.clone(),
            rank: record.rank,
            summary: record.summary.clone(),
            license: record.license.clone(),
            commands: record.commands.clone(),
            needs: record.needs.clone(),
            source_date: record.source_date,
        }
    }
}

impl Platform {
    fn of(record: &ToolRecord) -> Self {
        Self { diff_id: record.diff_id.clone(), gzip: record.gzip.clone(), zstd: record.zstd.clone() }
    }
}
