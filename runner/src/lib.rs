//! `kubectl kitbag`: from a pod's name to a prompt beside its process.
//!
//! The way of a command: [`target`] (what the user meant) → [`image`] (which tools, which digest, what they need) →
//! [`plan`] (the container, a pure function) → [`inject`] and [`wait`] (the API) → [`session`] (the terminal).
//! Nothing here knows how layers are made.

#![forbid(unsafe_code)]

pub mod access;
pub mod channel;
mod cli;
mod cluster;
mod commands;
mod completion;
pub mod discovery;
pub mod doctor;
pub mod error;
pub mod found;
mod home;
pub mod image;
pub mod inject;
pub mod install;
mod inventory;
mod kubernetes;
pub mod plan;
mod policy;
pub mod privileges;
pub mod progress;
pub mod rbac;
pub mod reentry;
pub mod refusal;
pub mod report;
mod requests;
pub mod sentences;
pub mod session;
mod shell;
mod signals;
pub mod target;
mod terminal;
pub mod tools;
pub mod trace;
pub mod user;
pub mod view;
pub mod wait;

pub use cli::{UsageError, run};
pub use error::{Error, Kind};
