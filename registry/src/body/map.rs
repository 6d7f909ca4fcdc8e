//! Memory maps of the store's blobs: the one place of this crate where the compiler cannot vouch for memory.
#![allow(unsafe_code, reason = "what is mapped must not change, which the store promises and the compiler cannot know")]

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::Mmap;

/// The file's content, mapped for as long as anything holds these bytes.
pub(super) fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: nobody writes to the file while it is mapped. A store never changes or truncates a blob: it writes it
    // under another name, renames it, and at most unlinks it, which leaves the mapped file as it is.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
