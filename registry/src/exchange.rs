//! One request and its response: what is done for each, whatever kind of connection it came by.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use tracing::Level;

use crate::handlers::Registry;
use crate::metrics::Metrics;
use crate::respond;
use crate::route;

/// Target of the access log, for filters.
pub const ACCESS_LOG: &str = "kitbag_registry::access";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// A client that came by TCP.
    Address(IpAddr),
    /// One that came by a Unix socket: the file system says who may.
    Local,
}

/// Everything that an exchange needs.
#[derive(Debug)]
pub struct Service {
    /// The images and their blobs.
    pub registry: Arc<Registry>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Service {
    /// The response to a request, ready to be sent: that to `HEAD` has no body.
    pub async fn exchange<B>(&self, _client: Client, request: &Request<B>) -> Response<Full<Bytes>> {
        let logged = tracing::enabled!(target: ACCESS_LOG, Level::INFO);
        let begin = logged.then(Instant::now);
        let route = route::parse(request.method(), request.uri().path(), request.uri().query());
        let answer = match &route {
            Ok(route) => self.registry.answer(route, request.method(), request.headers()).await,
            Err(error) => Err(error.clone().into()),
        };
        let (head, mut body) = answer.unwrap_or_else(|error| respond::error(&error)).into_parts();
        if request.method() == Method::HEAD {
            body.clear();
        }
        if let Some(begin) = begin {
            tracing::info!(
                target: ACCESS_LOG,
                method = request.method().as_str(),
                path = request.uri().path(),
                status = head.status.as_u16(),
                bytes = body.len(),
                us = begin.elapsed().as_micros() as u64,
            );
        }
        Response::from_parts(head, Full::new(body))
    }
}
