//! One request and its response: what is done for each, whatever kind of connection it came by.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;

use crate::access::{Asked, Record};
use crate::error::RequestError;
use crate::handlers::Registry;
use crate::metrics::Metrics;
use crate::respond;
use crate::route;

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
    pub async fn exchange<B>(&self, client: Client, request: &Request<B>) -> Response<Full<Bytes>> {
        let record = Record::begin();
        let route = route::parse(request.method(), request.uri().path(), request.uri().query());
        let answer = match &route {
            Ok(route) => self.registry.answer(route, request.method(), request.headers()).await,
            Err(error) => Err(error.clone().into()),
        };
        let (mut head, mut body) = answer.unwrap_or_else(|error| self.refuse(&error)).into_parts();
        if request.method() == Method::HEAD {
            body.clear();
        }
        let asked = Asked { client, request, route: route.as_ref().ok() };
        record.end(&self.metrics, &asked, &mut head, body.len());
        Response::from_parts(head, Full::new(body))
    }

    fn refuse(&self, error: &RequestError) -> Response<Bytes> {
        if let RequestError::Blob(_) = error {
            self.metrics.store_errors.inc();
        }
        respond::error(error)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Local => f.write_str("local"),
        }
    }
}
