//! What is said to the API server, against one that answers from a script.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod access;
mod catalog;
mod discovery;
mod doctor;
mod inject;
mod install;
mod rollout;
mod script;
mod trace;
mod wait;
