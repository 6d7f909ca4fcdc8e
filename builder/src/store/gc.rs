//! Garbage collection: old generations leave the index, and what nothing reaches leaves the disk.
//!
//! A registry may be serving the store meanwhile, and a client may be in the middle of a pull of a generation that is
//! dropped here. So a blob is removed only when it has been out of reach for a grace period. What says since when is
//! its modification time: of a blob that this run puts out of reach it is set to the time of the run, and a run after
//! the grace period removes it. A blob that an unfinished writer has left has the time at which it was written.
//!
//! Stopped at any moment, it leaves a sound store: `index.json` is replaced as a whole before anything is removed.

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kitbag_toolsets::canonical;
use kitbag_toolsets::generation::TOOL_ANNOTATION;
use oci_spec::image::{Descriptor, Digest, DigestAlgorithm, MediaType};
use serde_json::{Value, json};

use super::index::{self, BLOBS, INDEX, Index, SHA256};
use super::{StoreError, blob_path, half_written, writer};
use crate::fs::{self, FsError};

/// Other documents that name blobs: what Docker and earlier drafts of OCI call manifests.
const FOREIGN_MANIFESTS: [&str; 3] = [
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.artifact.manifest.v1+json",
];

/// What is to go.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How many generations stay, the newest ones.
    pub keep: NonZeroUsize,
    /// How long a blob must have been out of reach. Longer than a registry goes on serving a dropped generation, which
    /// is ten minutes. Zero is for a store that nobody serves.
    pub grace: Duration,
}

/// What a collection does, or has done.
#[derive(Debug, Default)]
pub struct Collection {
    /// Generations that leave the index, oldest first.
    pub dropped: Vec<Digest>,
    /// How many generations stay.
    pub kept: usize,
    /// Blobs that go.
    pub removed: Amount,
    /// Blobs that nothing reaches, and that stay until they have been out of reach for the grace period.
    pub waiting: Amount,
    /// Unfinished files of stopped writers, which go.
    pub unfinished: usize,
}

/// A number of blobs, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub blobs: usize,
    /// Their size in bytes.
    pub bytes: u64,
}

/// A collection, with what is to be done for it.
#[derive(Debug, Default)]
struct Plan {
    collection: Collection,
    index: Option<Vec<u8>>,
    retire: Vec<PathBuf>,
    remove: Vec<PathBuf>,
}

/// Removes what the policy lets go of the store at `dir`.
///
/// # Errors
/// [`StoreError`]: a builder is writing to the store, or what is kept is damaged. Then nothing is removed.
pub fn collect(dir: &Path, policy: Policy, now: SystemTime) -> Result<Collection, StoreError> {
    index::read_whole(dir)?;
    let _lock = writer::lock(dir)?;
    let plan = Plan::new(dir, policy, now)?;
    plan.carry_out(dir, now).map_err(StoreError::Fs)?;
    Ok(plan.collection)
}

/// What [`collect`] would do. Changes nothing and takes no lock.
///
/// # Errors
/// As for [`collect`].
pub fn plan(dir: &Path, policy: Policy, now: SystemTime) -> Result<Collection, StoreError> {
    Ok(Plan::new(dir, policy, now)?.collection)
}

impl Plan {
    fn new(dir: &Path, policy: Policy, now: SystemTime) -> Result<Self, StoreError> {
        let index = index::read_whole(dir)?;
        let generations: Vec<&Descriptor> = index.generations().collect();
        let (dropped, kept) = generations.split_at(generations.len().saturating_sub(policy.keep.get()));
        let stays = |descriptor: &&Descriptor| !dropped.contains(descriptor);
        let reached = reached_by_kept(dir, &index, stays)?;
        let retired = reach(dir, dropped.iter().copied(), Missing::Refused);

        let mut plan = Self::default();
        plan.collection.dropped = dropped.iter().map(|descriptor| descriptor.digest().clone()).collect();
        plan.collection.kept = kept.len();
        if !dropped.is_empty() {
            let manifests: Vec<Value> = index.descriptors.iter().filter(stays).map(|kept| json!(kept)).collect();
            plan.index = Some(writer::index_json(&manifests));
        }
        let blobs = dir.join(BLOBS).join(SHA256);
        for place in [dir, &blobs] {
            let names = fs::list(place).map_err(StoreError::Fs)?;
            plan.remove
                .extend(names.iter().filter(|name| name.starts_with(fs::TEMPORARY)).map(|name| place.join(name)));
        }
        plan.collection.unfinished = plan.remove.len();
        for name in fs::list(&blobs).map_err(StoreError::Fs)? {
            let Some(digest) = digest_of(&name).filter(|digest| !reached.contains(digest)) else { continue };
            // Where a dropped generation cannot be read, everything out of reach may have been its own.
            let retired_now = retired.as_ref().map_or(!dropped.is_empty(), |retired| retired.contains(&digest));
            plan.consider(blobs.join(name), retired_now, policy.grace, now).map_err(StoreError::Fs)?;
        }
        Ok(plan)
    }

    /// Decides about a blob that nothing reaches.
    fn consider(&mut self, path: PathBuf, retired_now: bool, grace: Duration, now: SystemTime) -> Result<(), FsError> {
        let (bytes, modified) = fs::size_and_time(&path)?;
        let out_of_reach = if retired_now { Duration::ZERO } else { now.duration_since(modified).unwrap_or_default() };
        let amount = if out_of_reach >= grace {
            self.remove.push(path);
            &mut self.collection.removed
        } else {
            self.retire.extend(retired_now.then_some(path));
            &mut self.collection.waiting
        };
        amount.blobs += 1;
        amount.bytes += bytes;
        Ok(())
    }

    fn carry_out(&self, dir: &Path, now: SystemTime) -> Result<(), FsError> {
        self.retire.iter().try_for_each(|path| fs::set_time(path, now))?;
        if let Some(index) = &self.index {
            fs::write_atomic(&dir.join(INDEX), index)?;
        }
        self.remove.iter().try_for_each(|path| fs::remove_file(path))
    }
}

/// Every blob that stays: of kept generations and their tools, and of what others have put into the layout.
fn reached_by_kept<'a>(
    dir: &Path,
    index: &'a Index,
    stays: impl Fn(&&'a Descriptor) -> bool,
) -> Result<HashSet<Digest>, StoreError> {
    let ours = index.ours().filter(stays);
    let mut reached = reach(dir, ours, Missing::Refused)?;
    reached.extend(reach(dir, index.foreign(), Missing::Allowed)?);
    Ok(reached)
}

/// Whether a document may be missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Others may have layouts that lack parts (image specification, "Image Layout", `blobs` directory).
    Allowed,
    /// What would be reached through it is unknown, so nothing may be removed.
    Refused,
}

/// The blobs to which descriptors lead, in whatever way. Documents are read and their hashes checked, layers not.
fn reach<'a>(
    dir: &Path,
    descriptors: impl Iterator<Item = &'a Descriptor>,
    missing: Missing,
) -> Result<HashSet<Digest>, StoreError> {
    let mut reached = HashSet::new();
    let mut queue: VecDeque<(Digest, bool)> = descriptors
        .map(|descriptor| (descriptor.digest().clone(), names_blobs(descriptor.media_type().as_ref())))
        .collect();
    while let Some((digest, follow)) = queue.pop_front() {
        if !reached.insert(digest.clone()) || !follow {
            continue;
        }
        let path = blob_path(dir, &digest);
        match fs::read(&path) {
            Err(error) if error.is_not_found() && missing == Missing::Allowed => {}
            Err(error) if error.is_not_found() => return Err(half_written(dir, format!("blob `{digest}` is missing"))),
            Err(error) => return Err(StoreError::Fs(error)),
            Ok(bytes) => {
                let known = *digest.algorithm() == DigestAlgorithm::Sha256;
                if known && canonical::sha256_hex(&bytes) != digest.digest() {
                    return Err(StoreError::Damaged(path));
                }
                let document: Value = index::parse(&path, &bytes)?;
                named_in(&document, &mut |digest, follow| queue.push_back((digest, follow)));
            }
        }
    }
    Ok(reached)
}

fn names_blobs(media_type: &str) -> bool {
    media_type == MediaType::ImageIndex.as_ref()
        || media_type == MediaType::ImageManifest.as_ref()
        || FOREIGN_MANIFESTS.contains(&media_type)
}

/// Every descriptor in a document, wherever it stands, and those in the records of tools.
fn named_in(value: &Value, name: &mut impl FnMut(Digest, bool)) {
    match value {
        Value::Object(members) => {
            let text = |key: &str| members.get(key).and_then(Value::as_str);
            if let Some(digest) = text("digest").and_then(|digest| digest.parse().ok()) {
                name(digest, text("mediaType").is_some_and(names_blobs));
            }
            let record = text(TOOL_ANNOTATION).and_then(|record| serde_json::from_str::<Value>(record).ok());
            if let Some(record) = record {
                named_in(&record, name);
            }
            members.values().for_each(|member| named_in(member, name));
        }
        Value::Array(members) => members.iter().for_each(|member| named_in(member, name)),
        _ => {}
    }
}

/// The digest whose blob has this file name. Whatever else lies there is none of ours.
fn digest_of(name: &str) -> Option<Digest> {
    format!("{SHA256}:{name}").parse().ok().filter(|digest: &Digest| digest.digest() == name)
}

#[cfg(test)]
mod tests;
