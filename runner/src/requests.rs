//! What is asked of the API server, told line by line to those who want to know (`--verbose`).

use std::task::{Context, Poll};
use std::time::Instant;

use http::Request;
use tower::{Layer, Service};

use crate::progress::line;

/// Tells of each request when it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tell {
    /// Since when times count; nobody is told without.
    pub(crate) since: Option<Instant>,
}

/// A client that tells.
#[derive(Clone, Debug)]
pub(crate) struct Telling<S> {
    inner: S,
    tell: Tell,
}

impl<S> Layer<S> for Tell {
    type Service = Telling<S>;

    fn layer(&self, inner: S) -> Telling<S> {
        Telling { inner, tell: *self }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Telling<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        if let Some(since) = self.tell.since {
            let now = since.elapsed();
            eprintln!("{}", line(now, None, &format!("api: {} {}", request.method(), request.uri())));
        }
        self.inner.call(request)
    }
}
