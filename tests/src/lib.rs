//! What the end-to-end tests and the demonstration stand on: a real Kubernetes of one node or more in private namespaces,
//! a workload that is hard to debug, a registry, a DNS server, and a terminal to type on. No test lives here.
//!
//! A program that starts a [`Node`] calls [`machine::enter`] first thing in `main`: the node's own processes are that
//! same program, started again.
#![forbid(unsafe_code)]

pub mod cache;
mod cgroups;
pub mod clients;
pub mod containerd;
pub mod deploy_tools;
pub mod dns;
mod error;
mod go;
pub mod http;
pub mod image;
pub mod ingress;
pub mod machine;
mod member;
pub mod node;
pub mod packages;
mod pki;
pub mod printed;
pub mod programs;
pub mod registry;
pub mod server;
mod services;
mod state;
pub mod stock;
pub mod swarm;
pub mod synthetic;
pub mod term;
pub mod workload;

pub use error::{Error, Result};
pub use node::{Node, Options};
