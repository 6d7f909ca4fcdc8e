//! The sockets of the admin listeners: HTTP/1.1, few connections, short patience.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Admin, AdminError};
use crate::listen::{self, Endpoint, Options};
use crate::serve::Acceptor;

/// Connections at a time, on each listener.
pub const MAX_CONNECTIONS: usize = 32;
/// How long the head of a request may take, and how long a connection may be silent.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last, so that nobody can keep one from others.
const MAX_LIFE: Duration = Duration::from_secs(120);
/// Bytes of a request's head.
const MAX_HEADER_BYTES: usize = 8 << 10;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket on which questions are answered. A Unix socket's file goes with it.
#[derive(Debug)]
pub struct Listener {
    acceptor: Acceptor,
    endpoint: Endpoint,
}

/// Listens. An endpoint can be had by two instances only where both are told that it is `shared`, as while one takes
/// over from the other: a Unix socket takes the name over, so of two instances the newer one answers.
///
/// # Errors
/// [`AdminError::Form`], [`AdminError::Listen`].
pub fn listen(endpoint: &Endpoint, shared: bool) -> Result<Listener, AdminError> {
    let options = Options { reuse_port: shared, replace: shared, backlog: BACKLOG, ..Options::default() };
    let opened = match endpoint {
        Endpoint::Tcp(address) => listen::tcp(*address, &options),
        Endpoint::Unix(path) => listen::unix(path, &options),
        Endpoint::Tls(_) | Endpoint::Systemd => return Err(AdminError::Form(endpoint.to_string())),
    };
    let listener = opened.and_then(|opened| {
        let endpoint = opened.endpoint();
        Ok(Listener { acceptor: Acceptor::new(vec![opened])?, endpoint })
    });
    listener.map_err(|source| AdminError::Listen { endpoint: endpoint.clone(), source })
}

impl Listener {
    /// Where it listens, with the port that the kernel has chosen if it was left to choose.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }
}

/// Answers for ever.
pub async fn serve(mut listener: Listener, admin: Arc<Admin>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.acceptor.next().await {
            Ok(accepted) => {
                let admin = Arc::clone(&admin);
                tokio::spawn(async move {
                    connection(accepted.stream, admin).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!("cannot accept an admin connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, admin: Arc<Admin>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let response = admin.answer(request.method(), request.uri().path(), request.uri().query());
        let bodyless = request.method() == Method::HEAD;
        async move { Ok::<_, Infallible>(sent(response, bodyless)) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEADER_BYTES).half_close(true);
    match timeout(MAX_LIFE, http.serve_connection(TokioIo::new(stream), answer)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("an admin connection ended: {error}"),
        Err(_) => tracing::debug!("an admin connection lasted too long"),
    }
}

fn sent(response: Response<String>, bodyless: bool) -> Response<Full<Bytes>> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(http::header::CONTENT_LENGTH, body.len().into());
    Response::from_parts(head, Full::new(if bodyless { Bytes::new() } else { body.into() }))
}
