//! The sockets of the admin listeners: HTTP/1.1, few connections, short patience.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Admin, AdminError, Endpoint};

/// Connections at a time, on each listener.
pub const MAX_CONNECTIONS: usize = 32;
/// How long the head of a request may take, and how long a connection may be silent.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last, so that nobody can keep one from others.
const MAX_LIFE: Duration = Duration::from_secs(120);
/// Bytes of a request's head.
const MAX_HEADER_BYTES: usize = 8 << 10;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that is listened on. A Unix socket's file goes with it.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, and its file.
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket that is ours.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// Listens. A Unix socket takes the name over from whoever had it, in one step: of two instances the newer one answers.
/// An address can be had by two instances only where both are told that it is `shared`, as while one takes over from
/// the other.
///
/// # Errors
/// [`AdminError::Listen`].
pub fn listen(endpoint: &Endpoint, shared: bool) -> Result<Listener, AdminError> {
    let listener = match endpoint {
        Endpoint::Tcp(address) => bind_tcp(*address, shared).map(Listener::Tcp),
        Endpoint::Unix(path) => bind(path).map(|(socket, file)| Listener::Unix(socket, file)),
    };
    listener.map_err(|source| AdminError::Listen { endpoint: endpoint.clone(), source })
}

/// Answers for ever.
pub async fn serve(listener: Listener, admin: Arc<Admin>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let admin = Arc::clone(&admin);
        match &listener {
            Listener::Tcp(listener) => match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(async move {
                    connection(stream, admin).await;
                    drop(permit);
                })),
                Err(error) => pause(&error).await,
            },
            Listener::Unix(listener, _) => match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(async move {
                    connection(stream, admin).await;
                    drop(permit);
                })),
                Err(error) => pause(&error).await,
            },
        }
    }
}

async fn pause(error: &io::Error) {
    tracing::debug!("cannot accept an admin connection: {error}");
    sleep(ACCEPT_PAUSE).await;
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

fn bind_tcp(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(new);
    // What is left there is of a process that had our number, and is gone.
    let _ = fs::remove_file(&new);
    let socket = UnixListener::bind(&new)?;
    let inode = fs::symlink_metadata(&new)?.ino();
    fs::rename(&new, path).inspect_err(|_| drop(fs::remove_file(&new)))?;
    Ok((socket, SocketFile { path: path.to_owned(), inode }))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another instance may have taken the name over.
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
