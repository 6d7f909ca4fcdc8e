//! Images: from a path and a reference to the documents and layers of a composed image.
//!
//! Composition is a function of a generation and a set, so nothing has to be remembered: the cache only saves work.
//! A digest is looked for in every generation, so that a replica which never saw the tag finds it too.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use kitbag_toolsets::compose::{LATEST, ZSTD};
use kitbag_toolsets::generation::BlobRef;
use kitbag_toolsets::{Arch, Compression, Document, Generation, GenerationId, ImagePath, Name, ToolSet};
use oci_spec::image::{Digest, MediaType};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::error::RequestError;
use crate::metrics::Metrics;
use crate::respond::Content;
use crate::route::Tag;

const PLATFORMS: usize = Arch::ALL.len();
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
    image: kitbag_toolsets::Image,
    /// What is sent of each form's index and manifests, and of each config: made when it is first asked for, since most
    /// are not.
    forms: [[OnceLock<Box<Content>>; 1 + PLATFORMS]; Compression::ALL.len()],
    configs: [OnceLock<Box<Content>>; PLATFORMS],
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

    /// How many images are in the cache.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// The index of the image that `path` and `tag` name.
    ///
    /// # Errors
    /// [`RequestError`]: no such tag, no such tool, no platform that has all of them.
    pub fn index_by_tag(&self, path: &ImagePath, tag: &Tag) -> Result<Content, RequestError> {
        let (generation, form) = self.tagged(path, tag)?;
        Ok(self.image(generation, path)?.index(form))
    }

    /// The manifest of that image for linux/amd64.
    ///
    /// # Errors
    /// As for the index; and when that platform lacks a tool.
    pub fn manifest_by_tag(&self, path: &ImagePath, tag: &Tag) -> Result<Content, RequestError> {
        let (generation, form) = self.tagged(path, tag)?;
        let image = self.image(generation, path)?;
        match image.image.platforms().iter().position(|platform| platform.arch == Arch::Amd64) {
            Some(position) => Ok(image.platform_manifest(form, position)),
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

    /// The tags of the image, sorted: one for each generation, and `latest`. That each can be asked for with `-zstd` is
    /// not listed: who copies all tags should not have everything twice.
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

    fn tagged(&self, path: &ImagePath, tag: &Tag) -> Result<(&Generation, Compression), RequestError> {
        let (name, form) = match tag.as_str().strip_suffix(ZSTD) {
            Some(name) => (name, Compression::Zstd),
            None => (tag.as_str(), Compression::Gzip),
        };
        let mut generations = self.generations.iter().map(Arc::as_ref);
        let found = match name {
            LATEST => generations.next(),
            id => generations.find(|generation| generation.id().as_str() == id),
        };
        let generation = found.ok_or_else(|| RequestError::UnknownTag { path: path.clone(), tag: tag.clone() })?;
        Ok((generation, form))
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
    fn index(&self, form: Compression) -> Content {
        content(&self.forms[form as usize][0], &self.image.form(form).index)
    }

    fn platform_manifest(&self, form: Compression, position: usize) -> Content {
        content(&self.forms[form as usize][1 + position], &self.image.form(form).manifests[position])
    }

    fn manifest(&self, digest: &Digest) -> Option<Content> {
        // The one that most clients ask for comes first; the other may have to be composed.
        Compression::ALL.into_iter().find_map(|form| {
            let mut documents = self.image.form(form).documents().zip(&self.forms[form as usize]);
            documents.find(|(document, _)| document.digest == *digest).map(|(document, slot)| content(slot, document))
        })
    }

    fn blob(&self, digest: &Digest) -> Option<Blob> {
        let mut configs = self.image.platforms().iter().map(|platform| &platform.config).zip(&self.configs);
        match configs.find(|(config, _)| config.digest == *digest) {
            Some((config, slot)) => Some(Blob::Config(content(slot, config))),
            None => self.image.layer(digest).cloned().map(Blob::Layer),
        }
    }
}

fn content(slot: &OnceLock<Box<Content>>, document: &Document) -> Content {
    let make = || {
        let Document { bytes, digest, media_type } = document;
        Box::new(match media_type {
            // A config is asked for as a blob.
            MediaType::ImageConfig => Content::new(bytes.clone(), BLOB_TYPE, digest.as_ref()),
            manifest => Content::new(bytes.clone(), manifest.as_ref(), digest.as_ref()),
        })
    };
    Content::clone(slot.get_or_init(make))
}

impl From<kitbag_toolsets::Image> for Image {
    fn from(image: kitbag_toolsets::Image) -> Self {
        Self { image, forms: Default::default(), configs: Default::default() }
    }
}

impl Weighter<Key, Arc<Image>> for Weight {
    /// Bytes of the documents, and about what is kept beside them: headers, keys, digests of layers.
    fn weight(&self, key: &Key, image: &Arc<Image>) -> u64 {
        const PER_DOCUMENT: usize = 512;
        const PER_LAYER: usize = 16;
        const PER_NAME: usize = 40;
        let size = |document: &Document| document.bytes.len() + PER_DOCUMENT;
        let platforms = image.image.platforms();
        let configs = platforms.iter().map(|platform| size(&platform.config));
        // The forms have the same size, whether or not both are there.
        let form = image.image.form(Compression::Gzip).documents().map(size).sum::<usize>();
        let layers = platforms.iter().map(|platform| platform.layers.len()).sum::<usize>();
        let rest = 2 * form + layers * PER_LAYER + key.set.tools().len() * PER_NAME;
        (configs.sum::<usize>() + rest) as u64
    }
}

#[cfg(test)]
mod tests;
