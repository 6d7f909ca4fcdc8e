//! What the registries serve, as one of them says itself: all run the same image, so one is enough. It is an exec in its
//! container, because nothing outside a node reaches its registry.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kitbag_toolsets::published::{MAX_SIZE, Published, PublishedError};
use kube::api::{AttachParams, AttachedProcess, ListParams};
use kube::core::ApiResource;
use kube::{Api, Client, ResourceExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, sleep, timeout_at};

use super::objects::{CONTAINER, REGISTRY};
use super::permissions::Permission;
use super::rollout::is_of;
use super::wait::selector;
use crate::channel;
use crate::error::root_cause;
use crate::refusal::is_passing;

/// What prints the catalog there.
const COMMAND: [&str; 2] = ["/usr/bin/kitbag-registry", "catalog"];
/// How much of a complaint is of use.
const COMPLAINT: u64 = 4096;
/// Between two tries, where an API server is away.
const PAUSE: Duration = Duration::from_millis(500);
/// The exit code of a program that does not know what it was asked for.
const USAGE: u8 = 2;

/// A catalog, and what has been read of it.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The document, to the byte.
    pub text: String,
    /// What stands in it.
    pub published: Published,
}

/// Why no registry says what it serves.
#[derive(Debug, thiserror::Error)]
pub enum ServedError {
    /// None is ready.
    #[error("no node has a registry that is ready")]
    Nobody,
    /// The API server refuses to ask, or the kubelet to be asked.
    #[error("pod `{pod}` cannot be asked: {message}")]
    Refused {
        /// Which.
        pod: String,
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The connection is no good.
    #[error("pod `{pod}` cannot be asked: {reason}")]
    Lost {
        /// Which.
        pod: String,
        /// What happened.
        reason: String,
    },
    /// The image has an older registry, which does not tell.
    #[error("pod `{pod}` does not know what it is asked for: its registry is older than this program")]
    Older {
        /// Which.
        pod: String,
    },
    /// It has not told.
    #[error("pod `{pod}` does not say (exit code {code}): {said}")]
    Failed {
        /// Which.
        pod: String,
        /// Its exit code.
        code: u8,
        /// Its complaint.
        said: String,
    },
    /// What it told is no catalog that this program reads.
    #[error("pod `{pod}` has a catalog that is of no use: {fault}")]
    Catalog {
        /// Which.
        pod: String,
        /// What is wrong with it.
        #[source]
        fault: PublishedError,
    },
}

/// What it takes to ask.
#[must_use]
pub fn permissions(namespace: &str) -> Vec<Permission> {
    let resource = ApiResource::erase::<Pod>(&());
    let permission = |suffix: &str, verb: &'static str| Permission {
        group: resource.group.clone(),
        resource: format!("{}{suffix}", resource.plural),
        verb,
        namespace: Some(namespace.to_owned()),
        name: None,
    };
    // Over a WebSocket an exec is a `get`, which servers since 1.35 want to be permitted as a `create` too.
    vec![permission("", "list"), permission("/exec", "get"), permission("/exec", "create")]
}

/// Asks one registry of `set`, until `deadline` where the API server is away.
///
/// # Errors
/// [`ServedError`].
pub async fn catalog(client: &Client, set: &DaemonSet, deadline: Instant) -> Result<Catalog, ServedError> {
    loop {
        match try_catalog(client, set, deadline).await {
            Err((_, Some(error))) if is_passing(&error) && Instant::now() < deadline => sleep(PAUSE).await,
            result => return result.map_err(|(fault, _)| fault),
        }
    }
}

async fn try_catalog(
    client: &Client,
    set: &DaemonSet,
    deadline: Instant,
) -> Result<Catalog, (ServedError, Option<kube::Error>)> {
    let namespace = set.namespace().unwrap_or_default();
    let of = |pod: &str, error: kube::Error| {
        let pod = pod.to_owned();
        let fault = match &error {
            kube::Error::Api(status) => {
                ServedError::Refused { pod, code: status.code, message: status.message.clone() }
            }
            error => ServedError::Lost { pod, reason: root_cause(error) },
        };
        (fault, Some(error))
    };
    let current = Api::<DaemonSet>::namespaced(client.clone(), &namespace).get(REGISTRY).await;
    let current = current.map_err(|error| of("", error))?;
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let all = pods.list(&ListParams::default().labels(&selector(set))).await.map_err(|error| of("", error))?;
    let pod = all.items.iter().find(|pod| is_of(&current, pod) && is_ready(pod));
    let name = pod.map(|pod| pod.name_any()).ok_or((ServedError::Nobody, None))?;
    let parameters = AttachParams::default().container(CONTAINER);
    let process = pods.exec(&name, COMMAND, &parameters).await.map_err(|error| of(&name, error))?;
    let said = timeout_at(deadline, heard(process)).await;
    let lost = |reason: String| (ServedError::Lost { pod: name.clone(), reason }, None);
    let (text, complaint, code) = said.map_err(|_| lost("it does not answer".to_owned()))?.map_err(lost)?;
    match code {
        0 => {}
        USAGE => return Err((ServedError::Older { pod: name }, None)),
        code => return Err((ServedError::Failed { pod: name, code, said: complaint.trim().to_owned() }, None)),
    }
    match Published::parse(&text) {
        Ok(published) => Ok(Catalog { text, published }),
        Err(fault) => Err((ServedError::Catalog { pod: name, fault }, None)),
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Output, complaint, and exit code.
async fn heard(mut process: AttachedProcess) -> Result<(String, String, u8), String> {
    let (stdout, stderr, status) = (process.stdout(), process.stderr(), process.take_status());
    // One more than is allowed tells that there is more.
    let limit = MAX_SIZE as u64 + 1;
    let (text, complaint) = tokio::join!(read(stdout, limit), read(stderr, COMPLAINT));
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    let status = status.ok_or("the connection was lost")?;
    let code = channel::exit_code(&status).map_err(|error| error.to_string())?;
    Ok((text, complaint, code))
}

/// Reads to the end, and keeps the beginning.
async fn read(from: Option<impl AsyncRead + Unpin>, limit: u64) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut kept = Vec::new();
    // What breaks off in the middle is told by the status, or by the catalog's checksum.
    let _ = (&mut from).take(limit).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}
