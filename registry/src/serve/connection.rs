//! One connection: TLS if it is wanted, then HTTP/1.1 or HTTP/2, for as long as there is patience.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::accept::Accepted;
use super::patience::{Notes, Patience, Verdict};
use super::stream::{Noted, Stream};
use super::{Server, Stage};
use crate::exchange::Client;

/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 100;
/// Requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// HTTP/2 requests that a client may take back before anybody has seen them. One more, and the connection ends:
/// without a limit, asking and taking back costs the client next to nothing, and us a lot (CVE-2023-44487).
const MAX_TAKEN_BACK: usize = 20;
/// Faulty HTTP/2 requests of one connection, likewise.
const MAX_FAULTY: usize = 128;
/// Bytes that an HTTP/2 client may send before we have read them. No request here has a body, so it is the least that
/// the protocol allows without a round trip.
const WINDOW: u32 = 65_535;
/// Bytes of an HTTP/2 response that are held ready beside what the client has room for.
const MAX_SEND_BUFFER: usize = 256 << 10;
/// How often a silent HTTP/2 connection is asked whether it is still there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// How HTTP is spoken.
pub(super) type Http = auto::Builder<TokioExecutor>;

pub(super) fn http() -> Http {
    let mut http = Http::new(TokioExecutor::new());
    http.http1()
        // `Patience` has its own, which cost no timer for each request.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        // A client may say that it has nothing more to ask, and still wait for the answer.
        .half_close(true);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_TAKEN_BACK)
        .max_local_error_reset_streams(MAX_FAULTY)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    http
}

/// One connection's share of the server.
pub(super) struct Conversation {
    server: Arc<Server>,
    client: Client,
    pub(super) notes: Notes,
}

impl Conversation {
    pub(super) fn new(server: Arc<Server>, client: Client) -> Self {
        Self { server, client, notes: Notes::default() }
    }
}

/// Serves the connection until it ends.
pub(super) async fn run(server: &Arc<Server>, Accepted { stream, client, tls }: Accepted) {
    let begin = Instant::now();
    let stream = match tls {
        None => Stream::Plain(stream),
        Some(tls) => {
            let handshake = TlsAcceptor::from(tls.config()).accept(stream);
            // In a box, because it is large, and gone when the connection is at work.
            match timeout_at(begin + server.settings.head, Box::pin(handshake)).await {
                Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                Ok(Err(error)) => return tracing::debug!("a TLS handshake failed: {error}"),
                Err(_) => return tracing::debug!("a TLS handshake took too long"),
            }
        }
    };
    let conversation = Arc::new(Conversation::new(Arc::clone(server), client));
    let stream = TokioIo::new(Noted::new(stream, Arc::clone(&conversation)));
    let answering = service_fn(|request| {
        let asked = Asked::new(&conversation, &request);
        async move { Ok::<_, Infallible>(asked.answer(request).await) }
    });
    watch(pin!(server.http.serve_connection(stream, answering)), &conversation, begin).await;
}

/// A request of a conversation, until it is answered or taken back.
struct Asked(Arc<Conversation>);

impl Asked {
    fn new(conversation: &Arc<Conversation>, request: &Request<Incoming>) -> Self {
        conversation.notes.asked(request.version() == Version::HTTP_2);
        Self(Arc::clone(conversation))
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Conversation { server, client, .. } = &*self.0;
        let mut response = server.service.exchange(*client, &request).await;
        // HTTP/2 says it in its own way when the connection ends.
        if server.stage.is(Stage::LEAVING) && request.version() != Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.notes.answered();
    }
}

/// Drives the connection until it ends by itself or patience does.
async fn watch<C>(mut connection: Pin<&mut C>, conversation: &Conversation, begin: Instant)
where
    C: GracefulConnection<Error: Display>,
{
    let Conversation { server, notes, .. } = conversation;
    let mut patience = Patience::new(&server.settings, begin);
    let mut timer = pin!(sleep_until(begin + server.settings.head));
    let mut told = pin!(server.stage.told());
    let mut waker: Option<Waker> = None;
    poll_fn(|context| {
        // To be told costs a lock that all connections share, so it is asked for once and not each time.
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            let _ = told.as_mut().poll(context);
            waker = Some(context.waker().clone());
        }
        if server.stage.is(Stage::ENDING) && !patience.is_ending() {
            patience.end();
            connection.as_mut().graceful_shutdown();
        }
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(context) {
                if let Err(error) = result {
                    tracing::debug!("a connection ended: {error}");
                }
                return Poll::Ready(());
            }
            match patience.verdict(notes, Instant::now()) {
                Verdict::Open => return Poll::Pending,
                Verdict::Until(until) => {
                    // A timer that runs out too early is set again when it has; that is cheaper than to do it each time.
                    if until < timer.deadline() || timer.is_elapsed() {
                        timer.as_mut().reset(until);
                    }
                    if timer.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                }
                Verdict::End => {
                    patience.end();
                    connection.as_mut().graceful_shutdown();
                }
                Verdict::Cut => {
                    tracing::debug!("a connection was cut: the client took too long");
                    return Poll::Ready(());
                }
            }
        }
    })
    .await;
}
