//! Sockets: accepting connections, HTTP on them, limits, and an end without a cut.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::error::Error;
use crate::exchange::{Client, Service};

/// Connections at a time. More wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// How long a client may take for the headers of a request, and how long it may say nothing between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's headers. Their number is limited by hyper, to 100.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// How often a silent HTTP/2 connection is asked whether it is still there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// Between the end of listening and the end of idle connections: what a client has sent on a connection that was
/// accepted last has arrived by then. (Without it, some of those requests are lost.)
const SETTLE: Duration = Duration::from_millis(500);
/// How long responses may take to be finished at the end.
const DRAIN: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted because the process has no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every response was finished.
    Drained,
    /// This many connections were cut.
    Cut(usize),
}

/// Listens on an address.
///
/// # Errors
/// [`Error::InUse`], [`Error::Listen`].
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::InUse(address),
        _ => Error::Listen { address, source },
    })
}

/// Serves until `stop` is there, then finishes what has begun.
pub async fn serve(listener: TcpListener, service: Arc<Service>, stop: impl Future<Output = ()>) -> Ending {
    let connections = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let http = Arc::new(http());
    let accepting = async {
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let (stream, client) = accept(&listener).await;
            let connection = connection(stream, client, Arc::clone(&http), Arc::clone(&service), connections.watcher());
            tokio::spawn(async move {
                connection.await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    drop(listener);
    sleep(SETTLE).await;
    // The permits tell how many are left: `shutdown` takes the connections with it.
    match timeout(DRAIN, connections.shutdown()).await {
        Ok(()) => Ending::Drained,
        Err(_) => Ending::Cut(MAX_CONNECTIONS - permits.available_permits()),
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        // A client may say that it has nothing more to ask, and still wait for the answer.
        .half_close(true);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    http
}

/// The next connection. Whatever keeps one from being accepted passes: the client gave up, or files are short.
async fn accept(listener: &TcpListener) -> (TcpStream, Client) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, Client::Address(address.ip())),
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!("cannot accept connections for now: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(
    stream: TcpStream,
    client: Client,
    http: Arc<auto::Builder<TokioExecutor>>,
    service: Arc<Service>,
    watcher: Watcher,
) {
    // Where this fails the connection is gone already, which is seen soon enough.
    let _ = stream.set_nodelay(true);
    let asked = AtomicBool::new(false);
    let answer = service_fn(|request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.exchange(client, &request).await) }
    });
    let serving = watcher.watch(http.serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        biased;
        result = pin!(serving) => {
            if let Err(error) = result {
                tracing::debug!("a connection ended: {error}");
            }
        }
        () = silence(&asked) => tracing::debug!("a connection asked for nothing"),
    }
}

/// Ends when there was no request at all in the time for headers. hyper's own timeout begins only when it knows which
/// version of HTTP the client speaks, that is after the first bytes.
async fn silence(asked: &AtomicBool) {
    sleep(HEADER_TIMEOUT).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
