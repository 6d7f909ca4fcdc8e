//! What can go wrong: at the start ([`Error`]) and with a request ([`RequestError`]).
//!
//! Texts only. How a request's error becomes a status and JSON is `respond`'s affair.

use std::io;

use kitbag_builder::store::StoreError;
use kitbag_toolsets::compose::ComposeError;
use kitbag_toolsets::{ImagePath, Name, UnknownName};
use oci_spec::image::Digest;

use crate::auth::credentials::Refusal;
use crate::auth::files::AccessError;
use crate::body::BlobError;
use crate::handover::HandoverError;
use crate::listen::Endpoint;
use crate::negotiate::INDEX;
use crate::route::{RouteError, Tag};
use crate::throttle::RetryAfter;
use crate::tls::TlsError;

/// Why the registry cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no store that could be served.
    #[error(transparent)]
    Store(StoreError),
    /// The files that say who may pull cannot be used.
    #[error("cannot tell who may pull: {0}")]
    Access(#[source] AccessError),
    /// Another program listens on the address.
    #[error("cannot listen on `{0}`: it is in use; stop what listens there, or choose another with `--listen`")]
    InUse(Endpoint),
    /// The address cannot be listened on.
    #[error("cannot listen on `{endpoint}`: {source}; choose another address with `--listen`")]
    Listen {
        /// What was asked for.
        endpoint: Endpoint,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// An endpoint is for TLS, and there is no certificate.
    #[error("`{0}` is for TLS: name a certificate and its key with `--tls-certificate` and `--tls-key`")]
    NoCertificate(Endpoint),
    /// Sockets should have been there at the start, and were not.
    #[error("no listening sockets were inherited: start this by a systemd socket unit, or listen on an address")]
    NothingInherited,
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(TlsError),
    /// The listening sockets of the instance that runs could not be taken over.
    #[error(transparent)]
    Handover(HandoverError),
    /// Threads, timers or signal handlers could not be had.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    /// The filter of the log is not one.
    #[error("`{text}` is no filter for the log: {reason}; write for example `warn,kitbag_registry=info`")]
    LogFilter {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a request does not get what it asks for.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The client is not one of those who may pull.
    #[error(transparent)]
    Unauthorized(Refusal),
    /// The client asks too often, or guesses passwords.
    #[error("too many requests: ask again in {} s", .0.0)]
    TooMany(RetryAfter),
    /// The client has as many connections as it may have.
    #[error("this client has too many connections: close some, or wait until they have ended")]
    TooManyConnections,
    /// The request means nothing here.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A name of the image path means nothing.
    #[error(transparent)]
    UnknownName(UnknownName),
    /// The image has no such tag.
    #[error(
        "`{path}` has no tag `{tag}`: there are `latest` and the ids of generations, each also with `-zstd` (`/v2/{path}/tags/list`)"
    )]
    UnknownTag {
        /// The image.
        path: ImagePath,
        /// The tag.
        tag: Tag,
    },
    /// No generation gives the image this digest.
    #[error("`{path}` has no manifest `{digest}` in any generation that is held here: pull by tag again")]
    UnknownManifest {
        /// The image.
        path: ImagePath,
        /// The digest.
        digest: Digest,
    },
    /// The image has no such blob, in any generation.
    #[error("`{path}` has no blob `{digest}` in any generation that is held here: pull by tag again")]
    UnknownBlob {
        /// The image.
        path: ImagePath,
        /// The digest.
        digest: Digest,
    },
    /// No platform has the image.
    #[error(transparent)]
    Compose(ComposeError),
    /// The client must be given one platform's manifest, and there is none for that platform.
    #[error("a client that accepts no image index gets linux/amd64, which lacks {}; accept `{INDEX}`", quoted(.0))]
    DefaultPlatform(Vec<Name>),
    /// The client can read no form of the image.
    #[error("this is an OCI image, and `Accept` allows no OCI type: accept `{INDEX}`")]
    NotAcceptable,
    /// No byte is in the range.
    #[error("the range has no byte in it: the blob has {size} bytes")]
    Range {
        /// Size of the blob in bytes.
        size: u64,
    },
    /// The store cannot give the blob.
    #[error(transparent)]
    Blob(BlobError),
}

fn quoted(names: &[Name]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "a base layer".to_owned() } else { names.join(", ") }
}
