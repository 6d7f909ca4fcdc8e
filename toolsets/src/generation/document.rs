//! The file of a generation, read. It is long, and a registry reads it before it can serve: only what composing needs is
//! taken out of it, and the JSON inside its strings is read where it stands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};

use super::{GENERATION_TYPE, GenerationError, SETS_ANNOTATION, TOOL_ANNOTATION, ToolRecord};
use crate::names::Name;

/// What the file of a generation says.
pub(super) struct Document {
    pub(super) records: Vec<ToolRecord>,
    pub(super) sets: BTreeMap<Name, Vec<Name>>,
}

/// The index (OCI image specification 1.1, "image index").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    #[serde(borrow, default)]
    artifact_type: Cow<'a, str>,
    #[serde(borrow)]
    manifests: Vec<Descriptor<'a>>,
    #[serde(default)]
    annotations: IndexAnnotations,
}

#[derive(Default, Deserialize)]
struct IndexAnnotations {
    #[serde(rename = "dev.kitbag.sets")]
    sets: Option<Embedded<BTreeMap<Name, Vec<Name>>>>,
}

#[derive(Deserialize)]
struct Descriptor<'a> {
    #[serde(borrow)]
    digest: Cow<'a, str>,
    #[serde(default)]
    annotations: DescriptorAnnotations,
}

#[derive(Default, Deserialize)]
struct DescriptorAnnotations {
    #[serde(rename = "dev.kitbag.tool")]
    record: Option<Embedded<ToolRecord>>,
}

/// A string that is JSON itself; `None` where it is not what it should be.
struct Embedded<T>(Option<T>);

impl Document {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, GenerationError> {
        let index: Index<'_> = serde_json::from_slice(bytes).map_err(GenerationError::Index)?;
        if index.artifact_type != GENERATION_TYPE {
            return Err(GenerationError::ArtifactType(index.artifact_type.into_owned()));
        }
        let sets = index.annotations.sets.and_then(|Embedded(sets)| sets);
        let sets =
            sets.ok_or_else(|| GenerationError::Annotation { key: SETS_ANNOTATION, of: "the generation".to_owned() })?;
        let record = |Descriptor { digest, annotations }: Descriptor<'_>| {
            let record = annotations.record.and_then(|Embedded(record)| record);
            record.ok_or_else(|| GenerationError::Annotation { key: TOOL_ANNOTATION, of: digest.into_owned() })
        };
        Ok(Self { records: index.manifests.into_iter().map(record).collect::<Result<_, _>>()?, sets })
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Embedded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);

        impl<T: DeserializeOwned> Visitor<'_> for Text<T> {
            type Value = Embedded<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Embedded<T>, E> {
                Ok(Embedded(serde_json::from_str(text).ok()))
            }
        }

        deserializer.deserialize_str(Text(PhantomData))
    }
}
