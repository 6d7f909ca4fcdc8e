//! The next connection, from whichever listener.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::stream::Plain;
use crate::exchange::Client;
use crate::listen::Listener;
use crate::tls::Tls;

/// A connection that was accepted.
pub(crate) struct Accepted {
    pub(crate) stream: Plain,
    pub(super) client: Client,
    /// What to show before anything else is spoken.
    pub(super) tls: Option<Arc<Tls>>,
}

/// All listeners, in turn.
#[derive(Debug)]
pub(crate) struct Acceptor {
    sockets: Vec<Socket>,
    next: usize,
}

#[derive(Debug)]
struct Socket {
    kind: Kind,
    /// For what is to be done when it is closed.
    listener: Listener,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    pub(crate) fn new(listeners: Vec<Listener>) -> io::Result<Self> {
        let sockets = listeners.into_iter().map(Socket::new).collect::<io::Result<_>>()?;
        Ok(Self { sockets, next: 0 })
    }

    /// The next connection. An error is about the process, and passes.
    pub(crate) async fn next(&mut self) -> io::Result<Accepted> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// The connections that are there already. The kernel is asked, because the runtime may not know of them yet.
    pub(super) fn queued(&self) -> impl Iterator<Item = Accepted> {
        self.sockets.iter().flat_map(|socket| std::iter::from_fn(|| socket.queued().ok()))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        for _ in 0..self.sockets.len() {
            // Each begins once in a row, so that none waits for the others to have nothing to do.
            let socket = &self.sockets[self.next];
            self.next = (self.next + 1) % self.sockets.len();
            if let ready @ Poll::Ready(_) = socket.poll(context) {
                return ready;
            }
        }
        Poll::Pending
    }
}

impl Socket {
    fn new(listener: Listener) -> io::Result<Self> {
        let socket = listener.socket.try_clone()?;
        let kind = if listener.is_unix() {
            Kind::Unix(UnixListener::from_std(socket.into())?)
        } else {
            Kind::Tcp(TcpListener::from_std(socket.into())?)
        };
        Ok(Self { kind, listener })
    }

    fn queued(&self) -> io::Result<Accepted> {
        let (stream, address) = self.listener.socket.accept()?;
        stream.set_nonblocking(true)?;
        let (stream, client) = match address.as_socket() {
            Some(address) => {
                (Plain::Tcp(TcpStream::from_std(stream.into())?), Client::Address(address.ip().to_canonical()))
            }
            None => (Plain::Unix(UnixStream::from_std(stream.into())?), Client::Local),
        };
        Ok(Accepted { stream, client, tls: self.listener.tls.clone() })
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        loop {
            let accepted = match &self.kind {
                Kind::Tcp(listener) => listener
                    .poll_accept(context)
                    .map_ok(|(stream, address)| (Plain::Tcp(stream), Client::Address(address.ip().to_canonical()))),
                Kind::Unix(listener) => {
                    listener.poll_accept(context).map_ok(|(stream, _)| (Plain::Unix(stream), Client::Local))
                }
            };
            return match accepted {
                Poll::Ready(Err(error)) if is_about_one_connection(&error) => continue,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok((stream, client))) => {
                    Poll::Ready(Ok(Accepted { stream, client, tls: self.listener.tls.clone() }))
                }
                Poll::Pending => Poll::Pending,
            };
        }
    }
}

/// The client gave up before it was accepted.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
