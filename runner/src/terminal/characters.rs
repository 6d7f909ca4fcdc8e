//! What a console takes: characters. It refuses bytes that are none, by which a session would end, as with `cat` of a
//! program; here they become `U+FFFD`, as with terminals elsewhere.

use std::char::REPLACEMENT_CHARACTER;
use std::io;
use std::pin::Pin;
use std::str;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Writes characters only.
pub(super) struct Characters<W> {
    to: W,
    /// What was taken and is to be written.
    taken: Vec<u8>,
    /// How much of it has been.
    written: usize,
    /// The beginning of a character.
    begun: Vec<u8>,
}

impl<W> Characters<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, taken: Vec::new(), written: 0, begun: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.begun);
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.taken.extend_from_slice(chunk.valid().as_bytes());
            let begins = |bytes| str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none());
            if chunks.peek().is_none() && begins(chunk.invalid()) {
                self.begun = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                self.taken.extend_from_slice(REPLACEMENT_CHARACTER.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
}

impl<W: AsyncWrite + Unpin> Characters<W> {
    /// Writes what was taken.
    fn pass_on(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.taken.len() {
            match ready!(Pin::new(&mut self.to).poll_write(context, &self.taken[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.written += length,
            }
        }
        self.taken.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Characters<W> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.pass_on(context))?;
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.pass_on(context))?;
        Pin::new(&mut self.to).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.pass_on(context))?;
        Pin::new(&mut self.to).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What becomes of these writes.
    fn written(chunks: &[&[u8]]) -> Vec<u8> {
        let mut all = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut characters = Characters::new(&mut all);
            for chunk in chunks {
                characters.write_all(chunk).await.unwrap();
            }
            characters.flush().await.unwrap();
        });
        all
    }

    #[test]
    fn what_is_no_character_is_said_to_be_unknown() {
        assert_eq!(written(&[b"a\xffb\xc3"]), "a\u{fffd}b".as_bytes());
        assert_eq!(written(&[b"\x7fELF\xe2\x82", b"x"]), "\x7fELF\u{fffd}x".as_bytes());
    }

    #[test]
    fn a_character_may_come_in_pieces() {
        assert_eq!(written(&[b"\xf0\x9f", b"\x94", b"\xa7!"]), "🔧!".as_bytes());
    }

    proptest! {
        #[test]
        fn text_is_left_alone_wherever_it_is_cut(text: String, size in 1..9_usize) {
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            prop_assert_eq!(written(&chunks), text.as_bytes());
        }
    }
}
