//! Health and metrics, on listeners of their own, so that they answer when clients use up everything else, and so that
//! no client of the registry sees them.

mod client;
mod server;

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::handlers::Health;
use crate::listen::{Endpoint, EndpointError};
use crate::metrics::{self, Names};

pub use client::{Answer, Question, ask};
pub use server::{Listener, MAX_CONNECTIONS, listen, serve};

/// Why there is no admin listener, or no answer of one.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// It is no endpoint, or one that clients of the registry have for themselves.
    #[error(
        "`{0}` is nothing for `admin`, which answers in plain HTTP on sockets of its own: write `127.0.0.1:5006`, \
         `[::1]:5006` or `unix:/run/kitbag/admin.sock`"
    )]
    Form(String),
    /// The path of the Unix socket cannot be one.
    #[error(transparent)]
    UnixPath(EndpointError),
    /// It cannot be listened there.
    #[error("cannot listen on `{endpoint}`: {source}; choose another endpoint with `--admin`")]
    Listen {
        /// Where.
        endpoint: Endpoint,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Nobody is there.
    #[error("no instance answers on `{endpoint}`: {source}")]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It takes too long, or what answers speaks no HTTP.
    #[error("what listens on `{0}` gives no answer within {TIMEOUT} s", TIMEOUT = client::TIMEOUT.as_secs())]
    Silent(Endpoint),
}

/// The endpoint that a person names for `admin`.
///
/// # Errors
/// [`AdminError::Form`], [`AdminError::UnixPath`].
pub fn endpoint(text: &str) -> Result<Endpoint, AdminError> {
    match text.parse() {
        Ok(endpoint @ (Endpoint::Tcp(_) | Endpoint::Unix(_))) => Ok(endpoint),
        Ok(Endpoint::Tls(_) | Endpoint::Systemd) | Err(EndpointError::Form(_)) => {
            Err(AdminError::Form(text.to_owned()))
        }
        Err(error @ EndpointError::UnixPath(_)) => Err(AdminError::UnixPath(error)),
    }
}

/// What is asked about: where this process stands.
pub struct Admin {
    names: Names,
    health: OnceLock<Box<dyn Fn() -> Health + Send + Sync>>,
    ending: AtomicBool,
}

/// One thing that has to be well, or that is worth knowing.
#[derive(Debug)]
struct Check {
    name: &'static str,
    state: State,
}

#[derive(Debug)]
enum State {
    Well(String),
    /// Not as it should be, but no reason to ask somebody else.
    Odd(String),
    Failed(String),
}

impl Admin {
    /// A process that is starting.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self { names, health: OnceLock::new(), ending: AtomicBool::new(false) }
    }

    /// Clients are served from here on; `health` tells how the store is. Only the first call counts.
    pub fn started(&self, health: impl Fn() -> Health + Send + Sync + 'static) {
        let _ = self.health.set(Box::new(health));
    }

    /// Clients should go elsewhere from here on.
    pub fn ending(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// The response to a request.
    #[must_use]
    pub fn answer(&self, method: &Method, path: &str, query: Option<&str>) -> Response<String> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let verbose = query.is_some_and(|query| query.split('&').any(|word| matches!(word, "verbose" | "verbose=")));
        match path {
            // That this is answered at all is the check.
            "/livez" => report("livez", &[Check { name: "ping", state: State::Well("ok".to_owned()) }], verbose),
            "/startupz" => report("startupz", &[self.start()], verbose),
            "/readyz" => report("readyz", &self.checks(), verbose),
            "/metrics" => {
                let mut response = text(StatusCode::OK, metrics::render(&self.names));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::MEDIA_TYPE));
                response
            }
            _ => text(StatusCode::NOT_FOUND, "there are `/livez`, `/readyz`, `/startupz` and `/metrics`\n".to_owned()),
        }
    }

    fn start(&self) -> Check {
        let state = match self.health.get() {
            Some(_) => State::Well("ok".to_owned()),
            None => State::Failed("the store is not open yet".to_owned()),
        };
        Check { name: "start", state }
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.start()];
        let ending = match self.ending.load(Ordering::Acquire) {
            true => State::Failed("it ends, and finishes what has begun".to_owned()),
            false => State::Well("ok".to_owned()),
        };
        checks.push(Check { name: "serving", state: ending });
        if let Some(health) = self.health.get() {
            let Health { generation, refusal, damaged, .. } = health();
            let store = match refusal {
                Some(reason) => {
                    State::Odd(format!("generation {generation}, because the store as it is was refused: {reason}"))
                }
                None => State::Well(format!("generation {generation}")),
            };
            checks.push(Check { name: "store", state: store });
            let blobs = match &damaged[..] {
                [] => State::Well("ok".to_owned()),
                digests => {
                    let digests: Vec<&str> = digests.iter().map(AsRef::as_ref).collect();
                    State::Failed(format!("damaged: {}", digests.join(", ")))
                }
            };
            checks.push(Check { name: "blobs", state: blobs });
        }
        checks
    }
}

/// As Kubernetes' own servers answer: `ok`, or a line for each check where it is asked for or something has failed.
fn report(name: &str, checks: &[Check], verbose: bool) -> Response<String> {
    let failed = checks.iter().any(|check| matches!(check.state, State::Failed(_)));
    let status = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    if !failed && !verbose {
        return text(status, "ok".to_owned());
    }
    let mut body: String = checks.iter().map(|check| format!("{check}\n")).collect();
    body.push_str(&format!("{name} check {}\n", if failed { "failed" } else { "passed" }));
    text(status, body)
}

fn text(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, text) = match &self.state {
            State::Well(text) => ('+', text),
            State::Odd(text) => ('!', text),
            State::Failed(text) => ('-', text),
        };
        write!(f, "[{sign}]{} {text}", self.name)
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("checks", &self.checks()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
