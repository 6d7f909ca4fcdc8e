//! A document in the making: its text, and the state of its hash.
//!
//! Documents of one image begin alike. A draft can be forked after what they share, so that it is hashed once.

use bytes::Bytes;
use oci_spec::image::MediaType;
use sha2::{Digest as _, Sha256};

use super::Document;
use crate::canonical;
use crate::generation::sha256_digest;

/// Room for what follows a fork: more than most documents need.
const ROOM: usize = 2048;

/// Text that grows at its end.
pub(super) struct Draft {
    text: String,
    hash: Sha256,
    /// How much of the text is in the hash.
    hashed: usize,
}

impl Draft {
    pub(super) fn new() -> Self {
        Self { text: String::with_capacity(ROOM), hash: Sha256::new(), hashed: 0 }
    }

    /// Adds text as it is. Texts from outside have been quoted: see `fragments`.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a number.
    pub(super) fn number(&mut self, number: usize) -> &mut Self {
        self.push(itoa::Buffer::new().format(number))
    }

    /// Adds texts with `separator` between them.
    pub(super) fn join<'a>(&mut self, separator: &str, texts: impl IntoIterator<Item = &'a str>) -> &mut Self {
        for (index, text) in texts.into_iter().enumerate() {
            self.push(if index == 0 { "" } else { separator }).push(text);
        }
        self
    }

    /// Another document that begins with the same text.
    pub(super) fn fork(&mut self) -> Self {
        self.catch_up();
        let mut text = String::with_capacity(self.text.len() + ROOM);
        text.push_str(&self.text);
        Self { text, hash: self.hash.clone(), hashed: self.hashed }
    }

    /// The document.
    pub(super) fn finish(mut self, media_type: MediaType) -> Document {
        self.catch_up();
        let digest = sha256_digest(&canonical::hex(&self.hash.finalize()));
        Document { bytes: Bytes::from(self.text), digest, media_type }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn catch_up(&mut self) {
        self.hash.update(&self.text.as_bytes()[self.hashed..]);
        self.hashed = self.text.len();
    }
}
