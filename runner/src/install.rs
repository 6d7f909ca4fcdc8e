//! A registry on each node, and its discovery: put into a cluster and taken out of it again.
//!
//! What is put there is [`objects`], the same as under `registry/deploy`; [`choice`], [`diff`], [`rollout`] and [`permissions`] are
//! functions of values; [`find`], [`apply`], [`wait`], [`served`]
//! and [`remove`] ask the API server.

pub mod apply;
pub mod choice;
pub mod diff;
pub mod done;
pub mod error;
pub mod find;
mod hint;
pub mod objects;
pub mod permissions;
pub mod remove;
pub mod rollout;
pub mod served;
pub mod wait;
pub mod watch;

pub use apply::Outcome;
pub use choice::{Choice, Wanted};
pub use done::Done;
pub use error::InstallError;
pub use objects::{Object, Objects, Settings};

use crate::cluster::FIELD_MANAGER;

/// The label that says who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The namespace where nothing else is said.
pub const NAMESPACE: &str = "kitbag";
/// The port where nothing else is said.
pub const PORT: u16 = 5050;
/// The registry's image of this program's release; none where it was built by hand.
pub const IMAGE: Option<&str> = option_env!("KITBAG_SERVER_IMAGE");
