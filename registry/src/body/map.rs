//! Memory maps of the store's blobs: the one place of this crate where the compiler cannot vouch for memory.
//!
//! What a foreign program can still do to us: truncate a file while it is sent. Its size is looked at before each
//! response, so the window is that of one response. In the clear, the kernel copies from the map to the socket, and a
//! page that is gone is an error of that one connection (`EFAULT`). Under TLS the page is read by this process, which
//! then ends with SIGBUS. Reading into buffers instead would close that window and cost three times the CPU.
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
