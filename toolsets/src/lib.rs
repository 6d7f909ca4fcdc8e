//! The catalog of kitbag and its model: which tools there are, how each is made, what each needs, and how an image is
//! composed of them.
//!
//! Everything here is a pure function of values: no I/O, no clock, no environment. The builder makes the bytes, the
//! registry serves them and the plugin injects them, all by the same composition.

#![forbid(unsafe_code)]

pub mod canonical;
pub mod catalog;
pub mod compose;
pub mod generation;
pub mod loopback;
pub mod names;
pub mod needs;
pub mod path;
pub mod platform;
pub mod published;
pub mod recipe;
pub mod resolve;

pub use catalog::Catalog;
pub use compose::{Compression, Document, Form, Image, PlatformImage};
pub use generation::{Generation, GenerationId, Layer, ToolRecord};
pub use names::Name;
pub use needs::{Need, Needs};
pub use path::ImagePath;
pub use platform::Arch;
pub use published::{Published, PublishedError};
pub use recipe::Recipe;
pub use resolve::{NameIndex, Near, ToolSet, UnknownName};
