//! What is served at one moment: the generations that the store's index lists, and those that it listed a short while
//! ago. Never changed; a change of the store makes a new one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kitbag_toolsets::Generation;
use kitbag_toolsets::generation::BlobRef;
use oci_spec::image::Digest;

use crate::images::Images;
use crate::metrics::Metrics;
use crate::root::Root;

/// How long a generation is still served after the store's index has dropped it, so that a pull that has begun finds
/// the rest. Shorter than the grace period of `kitbag-builder gc`, which keeps its blobs for an hour.
pub(crate) const LINGER: Duration = Duration::from_secs(600);
/// How many dropped generations are still served, however young: a store that changes every second must not fill the
/// memory.
const MAX_RETIRED: usize = 8;

/// Generations, their images, and where their blobs are.
#[derive(Debug)]
pub(crate) struct Held {
    /// The images of all generations that are held.
    pub(crate) images: Images,
    listed: Vec<Arc<Generation>>,
    retired: Vec<Retired>,
    roots: Vec<Arc<Root>>,
}

/// A generation that the index no longer lists.
#[derive(Clone, Debug)]
struct Retired {
    generation: Arc<Generation>,
    root: Arc<Root>,
    since: Instant,
}

impl Held {
    /// What a store has, the newest generation first.
    pub(crate) fn new(listed: Vec<Arc<Generation>>, root: Arc<Root>, metrics: &Arc<Metrics>) -> Self {
        Self::of(listed, root, Vec::new(), metrics)
    }

    /// What is held once the store has these generations, in this directory: `None` if that is what is held already.
    pub(crate) fn after(
        &self,
        listed: &[Arc<Generation>],
        root: &Arc<Root>,
        now: Instant,
        metrics: &Arc<Metrics>,
    ) -> Option<Self> {
        let is_listed = |generation: &Arc<Generation>| listed.iter().any(|other| other.id() == generation.id());
        let dropped = self.listed.iter().filter(|generation| !is_listed(generation)).map(|generation| Retired {
            generation: Arc::clone(generation),
            root: Arc::clone(self.root()),
            since: now,
        });
        let before = self.retired.iter().filter(|retired| !is_listed(&retired.generation));
        let lingers = |retired: &&Retired| now.saturating_duration_since(retired.since) < LINGER;
        let retired: Vec<Retired> = dropped.chain(before.filter(lingers).cloned()).take(MAX_RETIRED).collect();
        let ids = |generations: &[Arc<Generation>]| -> Vec<_> {
            generations.iter().map(|generation| generation.id().clone()).collect()
        };
        let same = ids(listed) == ids(&self.listed)
            && retired.len() == self.retired.len()
            && root.identity() == self.root().identity();
        (!same).then(|| Self::of(listed.to_vec(), Arc::clone(root), retired, metrics))
    }

    fn of(listed: Vec<Arc<Generation>>, root: Arc<Root>, retired: Vec<Retired>, metrics: &Arc<Metrics>) -> Self {
        let all = listed.iter().chain(retired.iter().map(|retired| &retired.generation));
        let images = Images::new(all.cloned().collect(), Arc::clone(metrics));
        let mut roots = vec![root];
        for Retired { root, .. } in &retired {
            if roots.iter().all(|known| known.identity() != root.identity()) {
                roots.push(Arc::clone(root));
            }
        }
        Self { images, listed, retired, roots }
    }

    /// The generations that the store's index lists, the newest first.
    pub(crate) fn listed(&self) -> &[Arc<Generation>] {
        &self.listed
    }

    /// Where blobs are looked for: in the store, then in the stores before it.
    pub(crate) fn roots(&self) -> &[Arc<Root>] {
        &self.roots
    }

    fn root(&self) -> &Arc<Root> {
        &self.roots[0]
    }

    /// Whether a generation that the store's index lists has this layer: then it must be there.
    pub(crate) fn lists(&self, digest: &Digest) -> bool {
        self.listed.iter().flat_map(|generation| generation.layers()).any(|layer| layer.digest == *digest)
    }

    /// Every layer of every generation. Those that generations share come more than once.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &BlobRef> {
        let retired = self.retired.iter().map(|retired| &retired.generation);
        self.listed.iter().chain(retired).flat_map(|generation| generation.layers())
    }

    /// The layers after this one, by digest, at most `count` of them: so all can be gone through while generations change,
    /// and not all have to be looked at for each.
    pub(crate) fn layers_after(&self, digest: Option<&Digest>, count: usize) -> Vec<BlobRef> {
        let order = |a: &&BlobRef, b: &&BlobRef| a.digest.as_ref().cmp(b.digest.as_ref());
        let is_after = |layer: &&BlobRef| digest.is_none_or(|digest| layer.digest.as_ref() > digest.as_ref());
        let mut layers: Vec<&BlobRef> = self.layers().filter(is_after).collect();
        if layers.len() > count {
            layers.select_nth_unstable_by(count, order);
            layers.truncate(count);
        }
        layers.sort_unstable_by(order);
        layers.dedup();
        layers.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
