//! Images that leave the store without a registry of ours: as files that other programs import, or into a registry of
//! somebody else's.
//!
//! What is written is what a registry over the same store would serve, byte for byte. What an image is made of is the
//! affair of `kitbag_toolsets::compose` and of [`crate::server`]; here it is only carried.

pub mod content;
pub mod credentials;
mod destination;
mod docker;
mod layout;
pub mod push;
mod tarball;

use std::path::PathBuf;

use kitbag_toolsets::Arch;
use oci_spec::image::Digest;

use crate::fs::FsError;
use crate::store::StoreError;
pub use content::Content;
pub use destination::{Destination, DestinationError};
pub use docker::write_docker_archive;
pub use layout::{write_archive, write_layout};

/// Why an image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A platform that the image does not have.
    #[error("there is no such image for linux/{wanted}: it exists for {}", platforms(.has))]
    NoPlatform {
        /// What was asked for.
        wanted: Arch,
        /// What there is.
        has: Vec<Arch>,
    },
    /// More platforms than the format holds.
    #[error("a docker-archive holds one platform, and the image has {}: name one with --platform", platforms(.0))]
    SeveralPlatforms(Vec<Arch>),
    /// The target is a store of the builder's.
    #[error("`{}` is a store of kitbag, not a place for images: name another directory", .0.display())]
    IsStore(PathBuf),
    /// The target is a device, a pipe, a directory.
    #[error("`{}` is there and is no ordinary file: name another one", .0.display())]
    NotAFile(PathBuf),
    /// Another process writes to the layout.
    #[error("another program is writing to `{}`: wait until it has ended", .0.display())]
    Busy(PathBuf),
    /// A layer whose content is not what the config says.
    #[error("the layer `{digest}` does not unpack to `{diff_id}`: {reason}; run `kitbag-builder verify`")]
    Layer {
        /// The layer as zstd.
        digest: Digest,
        /// What its content should be.
        diff_id: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// The store is not what it should be.
    #[error(transparent)]
    Store(StoreError),
    /// The file system says no.
    #[error(transparent)]
    Fs(FsError),
}

fn platforms(archs: &[Arch]) -> String {
    archs.iter().map(|arch| format!("linux/{arch}")).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
pub(crate) mod tests;
