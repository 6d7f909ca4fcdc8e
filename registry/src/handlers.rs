//! Requests answered: what a route names, looked up and made a response. Knows no sockets.

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use kitbag_builder::store::Store;
use kitbag_toolsets::{Generation, ImagePath};
use oci_spec::image::Digest;
use serde_json::json;

use crate::body::Blobs;
use crate::error::RequestError;
use crate::images::{Blob, Images};
use crate::listing::page_of;
use crate::negotiate::{Form, form};
use crate::respond;
use crate::route::{Page, Reference, Route};

/// A registry over one store.
#[derive(Debug)]
pub struct Registry {
    images: Images,
    blobs: Blobs,
}

impl Registry {
    /// The registry of what the store holds now.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { images: Images::new(store.generations().to_vec()), blobs: Blobs::new(store) }
    }

    /// The newest generation.
    ///
    /// # Panics
    /// Never: a store that has none cannot be opened.
    #[must_use]
    pub fn latest(&self) -> &Generation {
        self.images.generations().first().expect("a store has a generation")
    }

    /// The response to a request. That to `HEAD` has the body of that to `GET`, which must not be sent.
    ///
    /// # Errors
    /// [`RequestError`], which `respond` turns into a response.
    pub async fn answer(
        &self,
        route: &Route,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response<Bytes>, RequestError> {
        match route {
            Route::Base => Ok(respond::base()),
            Route::Manifest { path, reference } => self.manifest(path, reference, headers),
            Route::Blob { path, digest } => self.blob(path, digest, method, headers).await,
            Route::Tags { path, page } => self.tags(path, page),
            Route::Referrers { artifact_type, .. } => Ok(respond::referrers(artifact_type.is_some())),
            Route::Catalog { page } => Ok(self.catalog(page)),
        }
    }

    fn manifest(
        &self,
        path: &ImagePath,
        reference: &Reference,
        headers: &HeaderMap,
    ) -> Result<Response<Bytes>, RequestError> {
        let (content, by_tag) = match (reference, form(headers)) {
            (Reference::Digest(digest), _) => (self.images.manifest_by_digest(path, digest)?, false),
            (Reference::Tag(tag), Some(Form::Index)) => (self.images.index_by_tag(path, tag)?, true),
            (Reference::Tag(tag), Some(Form::Manifest)) => (self.images.manifest_by_tag(path, tag)?, true),
            (Reference::Tag(tag), None) => {
                // A name that nobody knows is the better reason.
                self.images.index_by_tag(path, tag)?;
                return Err(RequestError::NotAcceptable);
            }
        };
        Ok(respond::manifest(&content, headers, by_tag))
    }

    async fn blob(
        &self,
        path: &ImagePath,
        digest: &Digest,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response<Bytes>, RequestError> {
        let content = match self.images.blob(path, digest)? {
            Blob::Config(content) => content,
            Blob::Layer(layer) => self.blobs.open(&layer).await.map_err(RequestError::Blob)?,
        };
        respond::blob(&content, headers, *method == Method::GET)
    }

    fn tags(&self, path: &ImagePath, page: &Page) -> Result<Response<Bytes>, RequestError> {
        let tags = self.images.tags(path)?;
        let (tags, next) = page_of(&tags, page);
        let body = json!({ "name": path.to_string(), "tags": tags });
        Ok(respond::list(&body, next.map(|page| Route::Tags { path: path.clone(), page }).as_ref()))
    }

    fn catalog(&self, page: &Page) -> Response<Bytes> {
        let repositories = self.images.repositories();
        let (repositories, next) = page_of(&repositories, page);
        respond::list(&json!({ "repositories": repositories }), next.map(|page| Route::Catalog { page }).as_ref())
    }
}
