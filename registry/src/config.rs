//! Settings: each is declared once, in [`Config`], and has the same name as a flag (`--max-connections`), in the
//! environment (`KITBAG_MAX_CONNECTIONS`) and in the file (`max-connections`).
//!
//! The first of these that says something wins, then the default. The file's values are given to clap as defaults, so
//! that one parser reads all of them. What the settings do is the affair of
//! whoever is given them, in the form that they want.

mod file;
mod load;
mod print;
#[cfg(test)]
mod tests;
mod value;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kitbag_registry::listen::{Endpoint, unix_path};
use kitbag_registry::log::{Format, Sample};
use kitbag_registry::throttle::Throttle;
use kitbag_registry::{admin, follow, log, serve};

pub(crate) use file::File;
pub(crate) use load::{Setting, load};
pub(crate) use print::{Output, print};

/// Settings that SIGHUP changes in a running instance. Files that settings name are read again too.
pub(crate) const RELOADED: &[&str] =
    &["access-log", "access-log-sample", "log", "request-burst", "requests-per-client"];

/// Every setting.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Config {
    /// A TOML file with settings, named as the flags are
    #[arg(long, env = "KITBAG_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The store that `kitbag-builder build` has made
    #[arg(long, env = "KITBAG_STORE", value_name = "DIR", help_heading = "Store")]
    pub(crate) store: Option<PathBuf>,
    /// How often to look whether the store has a new generation
    #[arg(long, env = "KITBAG_FOLLOW_INTERVAL", value_name = "DURATION", help_heading = "Store")]
    #[arg(value_parser = value::some_time, default_value = "500ms")]
    pub(crate) follow_interval: Duration,
    /// Bytes per second that are read in the background to find damaged blobs; 0 for none
    #[arg(long, env = "KITBAG_SCRUB_RATE", value_name = "SIZE", help_heading = "Store")]
    #[arg(value_parser = value::size, default_value = "4MiB")]
    pub(crate) scrub_rate: u64,
    /// Pause after all of the store was read in the background
    #[arg(long, env = "KITBAG_SCRUB_PAUSE", value_name = "DURATION", help_heading = "Store")]
    #[arg(value_parser = value::time, default_value = "1h")]
    pub(crate) scrub_pause: Duration,

    /// Where clients come in: `127.0.0.1:5005`, `[::1]:5005`, `tls:0.0.0.0:5443`, `unix:/run/kitbag/registry.sock`,
    /// `systemd`; several with commas
    #[arg(long, env = "KITBAG_LISTEN", value_name = "ENDPOINT", help_heading = "Listeners")]
    #[arg(value_delimiter = ',', default_value = "127.0.0.1:5005")]
    pub(crate) listen: Vec<Endpoint>,
    /// Where health and metrics are asked for: `127.0.0.1:5006`, `unix:/run/kitbag/admin.sock`; several with commas
    #[arg(long, env = "KITBAG_ADMIN", value_name = "ENDPOINT", help_heading = "Listeners")]
    #[arg(value_parser = admin::endpoint, value_delimiter = ',')]
    pub(crate) admin: Vec<Endpoint>,
    /// Share the port with other instances (SO_REUSEPORT)
    #[arg(long, env = "KITBAG_REUSE_PORT", value_name = "on|off", help_heading = "Listeners")]
    #[arg(value_parser = value::switch, default_value = "off", num_args = 0..=1, default_missing_value = "on")]
    #[arg(require_equals = true)]
    pub(crate) reuse_port: bool,
    /// Where an instance hands its listening sockets over to the next one: a Unix socket's path, or `@` and a name
    #[arg(long, env = "KITBAG_HANDOVER", value_name = "SOCKET", help_heading = "Listeners")]
    #[arg(value_parser = unix_path)]
    pub(crate) handover: Option<PathBuf>,

    /// Certificate chain in PEM, for `tls:` endpoints
    #[arg(long, env = "KITBAG_TLS_CERTIFICATE", value_name = "FILE", help_heading = "TLS and access")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// Private key in PEM, for `tls:` endpoints
    #[arg(long, env = "KITBAG_TLS_KEY", value_name = "FILE", help_heading = "TLS and access")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Users who may pull, with bcrypt hashes, as `htpasswd -B` writes them
    #[arg(long, env = "KITBAG_HTPASSWD", value_name = "FILE", help_heading = "TLS and access")]
    pub(crate) htpasswd: Option<PathBuf>,
    /// Bearer tokens that may pull, one on a line
    #[arg(long, env = "KITBAG_TOKEN_FILE", value_name = "FILE", help_heading = "TLS and access")]
    pub(crate) token_file: Option<PathBuf>,

    /// Connections at a time; more wait in the kernel's queue
    #[arg(long, env = "KITBAG_MAX_CONNECTIONS", value_name = "COUNT", help_heading = "Limits")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), default_value = "4096")]
    pub(crate) max_connections: u32,
    /// Connections at a time of one client address; 0 for no limit
    #[arg(long, env = "KITBAG_CONNECTIONS_PER_CLIENT", value_name = "COUNT", help_heading = "Limits")]
    #[arg(default_value = "1024")]
    pub(crate) connections_per_client: u32,
    /// Requests per second of one client address, before it gets 429; 0 for no limit
    #[arg(long, env = "KITBAG_REQUESTS_PER_CLIENT", value_name = "COUNT", help_heading = "Limits")]
    #[arg(default_value = "0")]
    pub(crate) requests_per_client: u32,
    /// Requests that a client may make at once, if it was quiet before
    #[arg(long, env = "KITBAG_REQUEST_BURST", value_name = "COUNT", help_heading = "Limits")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), default_value = "100")]
    pub(crate) request_burst: u32,
    /// How long a client may take for the head of a request, TLS included
    #[arg(long, env = "KITBAG_HEADER_TIMEOUT", value_name = "DURATION", help_heading = "Limits")]
    #[arg(value_parser = value::some_time, default_value = "10s")]
    pub(crate) header_timeout: Duration,
    /// How long a client may keep a connection on which it asks for nothing
    #[arg(long, env = "KITBAG_KEEP_ALIVE_TIMEOUT", value_name = "DURATION", help_heading = "Limits")]
    #[arg(value_parser = value::some_time, default_value = "75s")]
    pub(crate) keep_alive_timeout: Duration,
    /// How long a client may read nothing of its response
    #[arg(long, env = "KITBAG_STALL_TIMEOUT", value_name = "DURATION", help_heading = "Limits")]
    #[arg(value_parser = value::some_time, default_value = "60s")]
    pub(crate) stall_timeout: Duration,

    /// At the end: how long idle connections are kept after the listeners are closed
    #[arg(long, env = "KITBAG_SETTLE", value_name = "DURATION", help_heading = "Ending")]
    #[arg(value_parser = value::time, default_value = "500ms")]
    pub(crate) settle: Duration,
    /// At the end: how long responses may take to be finished
    #[arg(long, env = "KITBAG_DRAIN", value_name = "DURATION", help_heading = "Ending")]
    #[arg(value_parser = value::time, default_value = "10s")]
    pub(crate) drain: Duration,

    /// What is logged besides requests, as for RUST_LOG: `warn,kitbag_registry=debug`
    #[arg(long, env = "KITBAG_LOG", value_name = "FILTER", help_heading = "Log")]
    #[arg(value_parser = value::filter, default_value = "warn,kitbag_registry=info")]
    pub(crate) log: String,
    /// How the log is written
    #[arg(long, env = "KITBAG_LOG_FORMAT", value_name = "text|json", help_heading = "Log")]
    #[arg(default_value = "text", hide_possible_values = true)]
    pub(crate) log_format: Format,
    /// Whether requests are logged
    #[arg(long, env = "KITBAG_ACCESS_LOG", value_name = "on|off", help_heading = "Log")]
    #[arg(value_parser = value::switch, default_value = "on", num_args = 0..=1, default_missing_value = "on")]
    #[arg(require_equals = true)]
    pub(crate) access_log: bool,
    /// The part of the requests that is logged: `0.1`, `1/100`; those that fail here (status 500 and above) always are
    #[arg(long, env = "KITBAG_ACCESS_LOG_SAMPLE", value_name = "PART", help_heading = "Log")]
    #[arg(default_value = "1")]
    pub(crate) access_log_sample: Sample,
}

/// Why there are no settings to go by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// Flags or environment. The text is clap's.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// A variable of the environment.
    #[error("`{name}` in the environment: {reason}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be read.
    #[error("cannot read the settings in `{path}`: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("`{path}`, line {line}: {reason}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What TOML's parser says.
        reason: String,
    },
    /// A key that is no setting.
    #[error("`{path}`, line {line}: there is no setting `{key}`{}", near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default(), path = path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The setting that is probably meant.
        near: Option<String>,
    },
    /// A value that the setting cannot have.
    #[error("`{path}`, line {line}: {reason}", path = path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Settings that make no sense together.
    #[error("`{given}` without `{missing}`: give both, or neither")]
    Pair {
        /// The setting that is there.
        given: &'static str,
        /// The one that has to be with it.
        missing: &'static str,
    },
    /// A certificate that nobody would be shown.
    #[error("`tls-certificate` without an endpoint of TLS: write for example `tls:0.0.0.0:5443` in `listen`")]
    NoTlsEndpoint,
    /// TLS without a certificate.
    #[error("`{0}` in `listen` needs a certificate: give `tls-certificate` and `tls-key`")]
    NoCertificate(Endpoint),
    /// A name that no two instances can have, where there are two for a while.
    #[error(
        "`{0}` cannot go over from one instance to the next, as `handover` and `reuse-port` ask: give `admin` a path, \
         like `unix:/run/kitbag/admin.sock`"
    )]
    AdminName(Endpoint),
}

impl Config {
    fn check(&self) -> Result<(), ConfigError> {
        let pair = |given, missing| Err(ConfigError::Pair { given, missing });
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => return pair("tls-certificate", "tls-key"),
            (None, Some(_)) => return pair("tls-key", "tls-certificate"),
            _ => {}
        }
        match (self.tls_certificate.is_some(), self.listen.iter().find(|endpoint| endpoint.is_tls())) {
            (true, None) => return Err(ConfigError::NoTlsEndpoint),
            (false, Some(endpoint)) => return Err(ConfigError::NoCertificate(endpoint.clone())),
            _ => {}
        }
        match self.admin.iter().find(|endpoint| self.shared() && endpoint.is_abstract()) {
            Some(endpoint) => Err(ConfigError::AdminName(endpoint.clone())),
            None => Ok(()),
        }
    }

    /// What is logged, and how.
    pub(crate) fn log(&self) -> log::Settings {
        log::Settings {
            filter: self.log.clone(),
            format: self.log_format,
            access: self.access_log,
            sample: self.access_log_sample,
        }
    }

    /// The limits of connections.
    pub(crate) fn limits(&self) -> serve::Settings {
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let unless_zero = |limit: u32| if limit == 0 { usize::MAX } else { count(limit) };
        serve::Settings {
            connections: count(self.max_connections),
            connections_per_client: unless_zero(self.connections_per_client),
            head: self.header_timeout,
            keep_alive: self.keep_alive_timeout,
            stall: self.stall_timeout,
            settle: self.settle,
            drain: self.drain,
            spare_files: serve::Settings::default().spare_files + self.admin.len() * admin::MAX_CONNECTIONS,
        }
    }

    /// How often one client may ask.
    pub(crate) fn throttle(&self) -> Option<Arc<Throttle>> {
        let rate = NonZeroU32::new(self.requests_per_client)?;
        Some(Arc::new(Throttle::per_second(rate, NonZeroU32::new(self.request_burst)?)))
    }

    /// How the store is followed.
    pub(crate) fn following(&self) -> follow::Settings {
        follow::Settings { poll: self.follow_interval, scrub_rate: self.scrub_rate, scrub_pause: self.scrub_pause }
    }

    /// Whether another instance may run beside this one, until it takes over or for good.
    pub(crate) fn shared(&self) -> bool {
        self.reuse_port || self.handover.is_some()
    }
}
