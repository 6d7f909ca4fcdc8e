//! The program as it runs in a container: exit codes, frames, terminals, what it leaves behind, when it ends.
//!
//! $KITBAG_INIT names another build of it, such as the one without the standard library that is in images.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod container;
mod first;
mod session;
mod target;
mod terminal;
