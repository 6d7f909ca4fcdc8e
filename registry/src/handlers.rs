//! Requests answered: what a route names, looked up and made a response. Knows no sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use kitbag_toolsets::generation::BlobRef;
use kitbag_toolsets::{Generation, GenerationId, ImagePath};
use oci_spec::image::Digest;
use serde_json::json;

use crate::body::{BlobError, Blobs, Damage};
use crate::error::{Error, RequestError};
use crate::follow::{Followed, Served};
use crate::images::{Blob, Images};
use crate::listing::page_of;
use crate::metrics::Metrics;
use crate::negotiate::{Form, form};
use crate::respond::{self, Content};
use crate::route::{Page, Reference, Route};

/// A registry over one store, which may change.
#[derive(Debug)]
pub struct Registry {
    followed: Followed,
    blobs: Blobs,
    metrics: Arc<Metrics>,
}

/// How the registry and its store are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The newest generation that is served.
    pub generation: GenerationId,
    /// Since when it is.
    pub since: SystemTime,
    /// Why what is at the store's place is not what is served, where that is so.
    pub refusal: Option<String>,
    /// Blobs that are known to be damaged, sorted.
    pub damaged: Vec<Digest>,
}

impl Registry {
    /// The registry of the store at `dir`. [`follow`](crate::follow::follow) makes it see what changes there.
    ///
    /// # Errors
    /// [`Error::Store`]: there is no store, or it is not whole.
    pub fn open(dir: &Path, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let followed = Followed::open(dir, Arc::clone(&metrics))?;
        Ok(Self { followed, blobs: Blobs::new(Arc::clone(&metrics)), metrics })
    }

    /// The newest generation.
    ///
    /// # Panics
    /// Never: a store that has none cannot be opened.
    #[must_use]
    pub fn latest(&self) -> Arc<Generation> {
        Arc::clone(&self.served().held.listed()[0])
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        let served = self.served();
        Health {
            generation: served.held.listed()[0].id().clone(),
            since: served.since,
            refusal: self.followed.refusal(),
            damaged: self.blobs.damaged(),
        }
    }

    /// Sees whether the store has changed, and serves what it has then.
    pub async fn look(self: &Arc<Self>) {
        let registry = Arc::clone(self);
        let look = move || {
            if let Some(served) = registry.followed.look(Instant::now()) {
                registry.blobs.retain(&served.held);
            }
            // Here, because counting takes each of the cache's locks: a request should not.
            let cached = registry.served().held.images.cached();
            registry.metrics.cache_entries.set(i64::try_from(cached).unwrap_or(i64::MAX));
        };
        if let Err(error) = tokio::task::spawn_blocking(look).await {
            tracing::error!("a look at the store has failed: {error}");
        }
    }

    pub(crate) fn served(&self) -> Arc<Served> {
        self.followed.served()
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The response to a request. That to `HEAD` has the body of that to `GET`, which must not be sent.
    ///
    /// # Errors
    /// [`RequestError`], which `respond` turns into a response.
    pub async fn answer(
        self: &Arc<Self>,
        route: &Route,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response<Bytes>, RequestError> {
        let served = self.served();
        let images = &served.held.images;
        match route {
            Route::Base => Ok(respond::base()),
            Route::Manifest { path, reference } => manifest(images, path, reference, headers),
            Route::Blob { path, digest } => match images.blob(path, digest)? {
                Blob::Config(content) => respond::blob(&content, headers, *method == Method::GET),
                Blob::Layer(layer) => {
                    let content = self.layer(&served, path, &layer).await?;
                    respond::blob(&content, headers, *method == Method::GET)
                }
            },
            Route::Tags { path, page } => tags(images, path, page),
            Route::Referrers { artifact_type, .. } => Ok(respond::referrers(artifact_type.is_some())),
            Route::Catalog { page } => Ok(catalog(images, page)),
        }
    }

    /// A layer. Where its file is gone, that may be because the store has changed since it was looked at: then the
    /// layer is where the new store has it, or its generation has been dropped, and it is unknown.
    async fn layer(
        self: &Arc<Self>,
        served: &Served,
        path: &ImagePath,
        layer: &BlobRef,
    ) -> Result<Content, RequestError> {
        match self.blobs.open(&served.held, layer).await {
            Err(BlobError::Damaged { damage: Damage::Missing, .. }) => {}
            result => return result.map_err(RequestError::Blob),
        }
        self.look().await;
        let served = self.served();
        let result = self.blobs.open(&served.held, layer).await;
        if let Err(BlobError::Damaged { digest, damage: Damage::Missing }) = &result {
            if !served.held.lists(digest) {
                return Err(RequestError::UnknownBlob { path: path.clone(), digest: digest.clone() });
            }
            self.blobs.missing(&served.held, digest);
        }
        result.map_err(RequestError::Blob)
    }
}

fn manifest(
    images: &Images,
    path: &ImagePath,
    reference: &Reference,
    headers: &HeaderMap,
) -> Result<Response<Bytes>, RequestError> {
    let (content, by_tag) = match (reference, form(headers)) {
        (Reference::Digest(digest), _) => (images.manifest_by_digest(path, digest)?, false),
        (Reference::Tag(tag), Some(Form::Index)) => (images.index_by_tag(path, tag)?, true),
        (Reference::Tag(tag), Some(Form::Manifest)) => (images.manifest_by_tag(path, tag)?, true),
        (Reference::Tag(tag), None) => {
            // A name that nobody knows is the better reason.
            images.index_by_tag(path, tag)?;
            return Err(RequestError::NotAcceptable);
        }
    };
    Ok(respond::manifest(&content, headers, by_tag))
}

fn tags(images: &Images, path: &ImagePath, page: &Page) -> Result<Response<Bytes>, RequestError> {
    let tags = images.tags(path)?;
    let (tags, next) = page_of(&tags, page);
    let body = json!({ "name": path.to_string(), "tags": tags });
    Ok(respond::list(&body, next.map(|page| Route::Tags { path: path.clone(), page }).as_ref()))
}

fn catalog(images: &Images, page: &Page) -> Response<Bytes> {
    let repositories = images.repositories();
    let (repositories, next) = page_of(&repositories, page);
    respond::list(&json!({ "repositories": repositories }), next.map(|page| Route::Catalog { page }).as_ref())
}

#[cfg(test)]
mod tests;
