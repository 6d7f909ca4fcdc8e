//! An OCI registry that composes the image from the URL path: `/v2/strace/tcpdump/manifests/latest`.
//!
//! `route` reads the request, `images` composes, `body` has the layers, `respond` makes the response; `exchange` is what
//! happens for each request, with `auth` and `throttle` before and `access` (its line in the `log`) after. `listen`, `tls`
//! and `handover` have the sockets, and `serve` the connections on them. `follow` sees what changes in the store, and
//! `scrub` reads it again. `admin` shows health and `metrics` on a listener of its own. It knows nothing of Kubernetes and
//! links nothing of the compiler driver.

pub mod access;
pub mod admin;
pub mod auth;
pub mod body;
pub mod conditional;
pub mod error;
pub mod exchange;
pub mod follow;
pub mod handlers;
pub mod handover;
mod held;
pub mod images;
pub mod listen;
mod listing;
pub mod log;
pub mod metrics;
pub mod negotiate;
pub mod respond;
mod root;
pub mod route;
mod scrub;
pub mod serve;
#[cfg(test)]
mod testing;
pub mod throttle;
pub mod tls;
mod watched;

pub use error::{Error, RequestError};
pub use exchange::Service;
pub use handlers::{Health, Registry};
pub use metrics::Metrics;
