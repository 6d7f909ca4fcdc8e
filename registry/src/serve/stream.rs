//! A connection's bytes, with a note of what the client does.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::connection::Conversation;
use super::frames::Written;

/// Bytes that are read and thrown away at the end, so that the client can read the last response. A client that sends
/// more has not asked for what it is told.
const MAX_LINGER: usize = 256 << 10;

/// A connection as it was accepted.
pub(crate) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsFd for Plain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A connection on which HTTP is spoken.
pub(super) enum Stream {
    Plain(Plain),
    /// In a box, because it is large and most connections have none.
    Tls(Box<TlsStream<Plain>>),
}

/// Does the same with whichever stream it is.
macro_rules! either {
    ($self:expr, $first:ident | $second:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::$first($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Self::$second($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
        }
    };
}

macro_rules! delegate {
    ($stream:ty, $first:ident | $second:ident) => {
        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                either!(self, $first | $second, stream => stream.poll_read(context, buffer))
            }
        }

        impl AsyncWrite for $stream {
            fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                either!(self, $first | $second, stream => stream.poll_write(context, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                parts: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                either!(self, $first | $second, stream => stream.poll_write_vectored(context, parts))
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    Self::$first(stream) => stream.is_write_vectored(),
                    Self::$second(stream) => stream.is_write_vectored(),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                either!(self, $first | $second, stream => stream.poll_flush(context))
            }

            fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                either!(self, $first | $second, stream => stream.poll_shutdown(context))
            }
        }
    };
}

delegate!(Plain, Tcp | Unix);
delegate!(Stream, Plain | Tls);

/// A connection that notes in its conversation what the client says and takes.
pub(super) struct Noted {
    stream: Stream,
    conversation: Arc<Conversation>,
    written: Written,
    closed: bool,
    /// Bytes that came after the end.
    lingered: usize,
}

impl Noted {
    pub(super) fn new(stream: Stream, conversation: Arc<Conversation>) -> Self {
        Self { stream, conversation, written: Written::default(), closed: false, lingered: 0 }
    }

    fn wrote(&mut self, result: Poll<io::Result<usize>>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match result {
            Poll::Pending => self.conversation.notes.no_room(),
            Poll::Ready(Ok(mut left)) => {
                let mut responses = 0;
                for part in parts {
                    let written = &part[..left.min(part.len())];
                    responses += self.written.responses(written);
                    left -= written.len();
                }
                self.conversation.notes.took(responses);
            }
            Poll::Ready(Err(_)) => {}
        }
        result
    }
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.conversation.notes.said();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(result, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.wrote(result, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        match result {
            Poll::Pending => self.conversation.notes.no_room(),
            // With TLS, what was written before may go out without another write.
            Poll::Ready(Ok(())) => self.conversation.notes.flushed(),
            Poll::Ready(Err(_)) => {}
        }
        result
    }

    /// Says that nothing more comes. If the client has sent what nobody has read, the kernel would cut the connection
    /// when it is closed, and the last response with it: so the rest is read first, until the client closes its end.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.closed {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            this.closed = true;
        }
        let mut space = [MaybeUninit::uninit(); 4096];
        while this.lingered < MAX_LINGER {
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    this.lingered += buffer.filled().len();
                    this.conversation.notes.lingers();
                }
                Poll::Pending if this.lingered > 0 => return Poll::Pending,
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
