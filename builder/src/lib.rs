//! Everything that makes bytes: sources, builds, layers, and the store that holds what came out.
//!
//! The library never reads the environment and never writes to a terminal: the program resolves the one into
//! [`engine::Settings`] and shows [`engine::Event`]s on the other.

#![forbid(unsafe_code)]

#[cfg(feature = "build")]
pub mod assemble;
#[cfg(feature = "build")]
pub mod build;
#[cfg(feature = "build")]
pub mod cargo;
#[cfg(feature = "build")]
pub mod cargo_env;
#[cfg(feature = "build")]
pub mod elf;
#[cfg(feature = "build")]
pub mod engine;
#[cfg(feature = "build")]
pub mod environment;
pub mod fs;
#[cfg(feature = "build")]
pub mod layer;
#[cfg(feature = "build")]
pub mod lock;
#[cfg(feature = "build")]
pub mod plan;
#[cfg(feature = "build")]
pub mod process;
#[cfg(feature = "build")]
pub mod publish;
#[cfg(feature = "build")]
pub mod results;
#[cfg(feature = "build")]
pub mod sbom;
#[cfg(feature = "build")]
pub mod server;
#[cfg(feature = "build")]
pub mod sources;
pub mod store;
#[cfg(feature = "build")]
pub mod toolchain;
#[cfg(feature = "build")]
pub mod unpack;
