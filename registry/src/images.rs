//! Images: from a path and a reference to the documents and layers of a composed image.
//!
//! Composition is a function of a generation and a set, so nothing has to be remembered: the cache only saves work.
//! A digest is looked for in every generation, so that a replica which never saw the tag finds it too.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use kitbag_toolsets::generation::BlobRef;
use kitbag_toolsets::{Arch, Document, Generation, GenerationId, ImagePath, Layer, Name, PlatformImage, ToolSet};
use oci_spec::image::{Digest, MediaType};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::error::RequestError;
use crate::metrics::Metrics;
use crate::respond::Content;
use crate::route::Tag;

/// The tag of the newest generation.
pub(crate) const LATEST: &str = "latest";
/// How many bytes of composed images are kept: a few hundred images.
const CACHE_BYTES: u64 = 4 << 20;
/// Blobs are opaque: their type stands in the manifest.
pub(crate) const BLOB_TYPE: &str = "application/octet-stream";

/// Every image of the generations that are held.
#[derive(Debug)]
pub struct Images {
    generations: Vec<Arc<Generation>>,
    cache: Cache<Key, Arc<Image>, Weight>,
    metrics: Arc<Metrics>,
}

/// An image, as it is served.
#[derive(Debug)]
pub struct Image {
    index: Served,
    platforms: Vec<Platform>,
}

#[derive(Debug)]
struct Platform {
    arch: Arch,
    config: Served,
    gzip: Served,
    zstd: Served,
    layers: Vec<Arc<Layer>>,
}

/// A document, and what is sent of it: made when it is first asked for, since most are not.
#[derive(Debug)]
struct Served {
    document: Document,
    content: OnceLock<Content>,
}

/// What a blob's digest names.
#[derive(Clone, Debug)]
pub enum Blob {
    /// A config, which is composed.
    Config(Content),
    /// A layer, which is in the store.
    Layer(BlobRef),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    generation: GenerationId,
    set: ToolSet,
}

#[derive(Clone, Debug)]
struct Weight;

impl Images {
    /// The images of these generations, the newest first.
    #[must_use]
    pub fn new(generations: Vec<Arc<Generation>>, metrics: Arc<Metrics>) -> Self {
        let options = OptionsBuilder::new()
            // A single image must fit into a shard, on machines with many cores too.
            .shards(8)
            .estimated_items_capacity(256)
            .weight_capacity(CACHE_BYTES)
            .build()
            .expect("all that has no default is given");
        let cache = Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self { generations, cache, metrics }
    }

    /// The generations, the newest first.
    #[must_use]
    pub fn generations(&self) -> &[Arc<Generation>] {
        &self.generations
    }

    /// The index of the image that `path` and `tag` name.
    ///
    /// # Errors
    /// [`RequestError`]: no such tag, no such tool, no platform that has all of them.
    pub fn index_by_tag(&self, path: &ImagePath, tag: &Tag) -> Result<Content, RequestError> {
        Ok(self.image(self.tagged(path, tag)?, path)?.index.get())
    }

    /// The manifest of that image for linux/amd64, with gzip layers.
    ///
    /// # Errors
    /// As for the index; and when that platform lacks a tool.
    pub fn manifest_by_tag(&self, path: &ImagePath, tag: &Tag) -> Result<Content, RequestError> {
        let generation = self.tagged(path, tag)?;
        let image = self.image(generation, path)?;
        match image.platforms.iter().find(|platform| platform.arch == Arch::Amd64) {
            Some(platform) => Ok(platform.gzip.get()),
            None => Err(RequestError::DefaultPlatform(lacking(generation, path, Arch::Amd64)?)),
        }
    }

    /// The index or manifest that the digest names, if an image of this path has it in any generation.
    ///
    /// # Errors
    /// [`RequestError`]: no such tool, no such manifest.
    pub fn manifest_by_digest(&self, path: &ImagePath, digest: &Digest) -> Result<Content, RequestError> {
        self.find(path, |image| image.manifest(digest))?
            .ok_or_else(|| RequestError::UnknownManifest { path: path.clone(), digest: digest.clone() })
    }

    /// The config or layer that the digest names, if an image of this path has it in any generation.
    ///
    /// # Errors
    /// [`RequestError`]: no such tool, no such blob.
    pub fn blob(&self, path: &ImagePath, digest: &Digest) -> Result<Blob, RequestError> {
        self.find(path, |image| image.blob(digest))?
            .ok_or_else(|| RequestError::UnknownBlob { path: path.clone(), digest: digest.clone() })
    }

    /// The tags under which the image can be pulled, sorted.
    ///
    /// # Errors
    /// The newest generation's reason, when there are none.
    pub fn tags(&self, path: &ImagePath) -> Result<Vec<&str>, RequestError> {
        let mut tags = Vec::new();
        let mut refusal = None;
        for (age, generation) in self.generations.iter().enumerate() {
            match self.image(generation, path) {
                Ok(_) => {
                    tags.push(generation.id().as_str());
                    tags.extend((age == 0).then_some(LATEST));
                }
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        tags.sort_unstable();
        match refusal {
            Some(error) if tags.is_empty() => Err(error),
            _ => Ok(tags),
        }
    }

    /// The names of the newest generation's tools, sorted.
    #[must_use]
    pub fn repositories(&self) -> Vec<&str> {
        self.generations.first().into_iter().flat_map(|newest| newest.tools().keys().map(Name::as_str)).collect()
    }

    fn tagged(&self, path: &ImagePath, tag: &Tag) -> Result<&Generation, RequestError> {
        let mut generations = self.generations.iter().map(Arc::as_ref);
        let found = if tag.as_str() == LATEST {
            generations.next()
        } else {
            generations.find(|generation| generation.id().as_str() == tag.as_str())
        };
        found.ok_or_else(|| RequestError::UnknownTag { path: path.clone(), tag: tag.clone() })
    }

    /// The first thing that `pick` finds, the newest generation first. An error only when no generation has the image.
    fn find<T>(&self, path: &ImagePath, pick: impl Fn(&Image) -> Option<T>) -> Result<Option<T>, RequestError> {
        let mut refusal = None;
        let mut composed = false;
        for generation in &self.generations {
            match self.image(generation, path) {
                Ok(image) => {
                    composed = true;
                    if let Some(found) = pick(&image) {
                        return Ok(Some(found));
                    }
                }
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        match refusal {
            Some(error) if !composed => Err(error),
            _ => Ok(None),
        }
    }

    /// The image of `path` in this generation: from the cache, or composed, once for all who ask at the same time.
    fn image(&self, generation: &Generation, path: &ImagePath) -> Result<Arc<Image>, RequestError> {
        let set = generation.resolve(path).map_err(RequestError::UnknownName)?;
        let key = Key { generation: generation.id().clone(), set };
        let mut cached = true;
        let image = self.cache.get_or_insert_with(&key, || {
            cached = false;
            let begin = Instant::now();
            let image = Image::from(generation.compose(&key.set).map_err(RequestError::Compose)?);
            self.metrics.composed.inc();
            self.metrics.compose_seconds.observe(begin.elapsed().as_secs_f64());
            Ok::<_, RequestError>(Arc::new(image))
        })?;
        self.metrics.cache_hits.inc_by(u64::from(cached));
        Ok(image)
    }
}

/// The tools of `path` that this generation does not have for `arch`.
fn lacking(generation: &Generation, path: &ImagePath, arch: Arch) -> Result<Vec<Name>, RequestError> {
    let set = generation.resolve(path).map_err(RequestError::UnknownName)?;
    let has = |tool: &Name| generation.tools().get(tool).is_some_and(|platforms| platforms.contains_key(&arch));
    Ok(set.tools().iter().filter(|tool| !has(tool)).cloned().collect())
}

impl Image {
    fn manifest(&self, digest: &Digest) -> Option<Content> {
        let manifests = self.platforms.iter().flat_map(|platform| [&platform.gzip, &platform.zstd]);
        std::iter::once(&self.index).chain(manifests).find(|served| served.document.digest == *digest).map(Served::get)
    }

    fn blob(&self, digest: &Digest) -> Option<Blob> {
        let mut configs = self.platforms.iter().map(|platform| &platform.config);
        if let Some(config) = configs.find(|config| config.document.digest == *digest) {
            return Some(Blob::Config(config.get()));
        }
        let layers = self.platforms.iter().flat_map(|platform| &platform.layers);
        let mut blobs = layers.flat_map(|layer| [&layer.gzip, &layer.zstd]);
        blobs.find(|blob| blob.digest == *digest).cloned().map(Blob::Layer)
    }
}

impl From<kitbag_toolsets::Image> for Image {
    fn from(image: kitbag_toolsets::Image) -> Self {
        let platform = |platform: PlatformImage| Platform {
            arch: platform.arch,
            config: platform.config.into(),
            gzip: platform.gzip.into(),
            zstd: platform.zstd.into(),
            layers: platform.layers,
        };
        Self { index: image.index.into(), platforms: image.platforms.into_iter().map(platform).collect() }
    }
}

impl Served {
    fn get(&self) -> Content {
        let make = || {
            let Document { bytes, digest, media_type } = &self.document;
            match media_type {
                // A config is asked for as a blob.
                MediaType::ImageConfig => Content::new(bytes.clone(), BLOB_TYPE, digest.as_ref()),
                manifest => Content::new(bytes.clone(), manifest.as_ref(), digest.as_ref()),
            }
        };
        self.content.get_or_init(make).clone()
    }
}

impl From<Document> for Served {
    fn from(document: Document) -> Self {
        Self { document, content: OnceLock::new() }
    }
}

impl Weighter<Key, Arc<Image>> for Weight {
    /// Bytes of the documents, and about what is kept beside them: headers, keys, digests of layers.
    fn weight(&self, key: &Key, image: &Arc<Image>) -> u64 {
        const PER_DOCUMENT: usize = 512;
        const PER_LAYER: usize = 16;
        const PER_NAME: usize = 40;
        let documents = image.platforms.iter().flat_map(|platform| [&platform.config, &platform.gzip, &platform.zstd]);
        let documents = documents.chain([&image.index]).map(|served| served.document.bytes.len() + PER_DOCUMENT);
        let layers = image.platforms.iter().map(|platform| platform.layers.len()).sum::<usize>();
        let rest = layers * PER_LAYER + key.set.tools().len() * PER_NAME;
        (documents.sum::<usize>() + rest) as u64
    }
}

#[cfg(test)]
mod tests;
