//! What the registries serve, as one of them says itself: all run the same image, so one is enough. It is an exec in its
//! container, because nothing outside a node reaches its registry.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::version::Info;
use kitbag_toolsets::published::{MAX_SIZE, Published, PublishedError};
use kube::api::{AttachParams, AttachedProcess, ListParams};
use kube::core::ApiResource;
use kube::{Api, Client, ResourceExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::objects::{CONTAINER, REGISTRY};
use super::permissions::Permission;
use super::rollout::{chosen, is_numbered, is_ready, template};
use super::wait::selector;
use crate::access::takes_get_alone;
use crate::channel;
use crate::error::root_cause;
use crate::refusal::is_passing_code;

/// What prints the catalog there.
const COMMAND: [&str; 2] = ["/usr/bin/kitbag-registry", "catalog"];
/// How much of a complaint is of use.
const COMPLAINT: u64 = 4096;
/// Between two tries, where an API server is away.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the way to a pod may take to open. What is further away is asked later than others.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// What is told of who says nothing.
const SILENT: &str = "it does not answer";
/// The exit code of a program that does not know what it was asked for.
const USAGE: u8 = 2;
/// That of a registry whose store does not have the generation.
const NO_SUCH_GENERATION: u8 = 3;

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
    /// The API server does not say which pods there are.
    #[error("the API server does not say which pods there are: {message}")]
    Unlisted {
        /// HTTP status, where it has given an answer.
        code: Option<u16>,
        /// Its words, or what happened.
        message: String,
    },
    /// Another image than what was installed is to run there.
    #[error("somebody else has changed DaemonSet `{REGISTRY}` meanwhile")]
    Overtaken,
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
    /// No WebSocket gets through.
    #[error(
        "pod `{pod}` cannot be asked: a proxy between this machine and the API server takes away the headers `Connection` and `Upgrade` ({message})"
    )]
    NoUpgrade {
        /// Which.
        pod: String,
        /// How it shows.
        message: String,
    },
    /// The image has an older registry, which does not tell.
    #[error("pod `{pod}` does not know what it is asked for: its registry is older than this program")]
    Older {
        /// Which.
        pod: String,
    },
    /// The image does not have the generation.
    #[error("pod `{pod}` does not serve it: {said}")]
    NoSuchGeneration {
        /// Which.
        pod: String,
        /// Its words.
        said: String,
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

impl ServedError {
    /// Whether it may be well in a moment.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unlisted { code, .. } => code.is_none_or(is_passing_code),
            Self::Refused { code, .. } => is_passing_code(*code),
            Self::Lost { .. } => true,
            _ => false,
        }
    }

    /// Whether it says nothing of the other nodes' registries.
    fn is_of_one_node(&self) -> bool {
        match self {
            // The pod has ended meanwhile.
            Self::Refused { code: 404, .. } | Self::Failed { .. } => true,
            fault => fault.may_pass(),
        }
    }

    fn unlisted(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Unlisted { code: Some(status.code), message: status.message.clone() },
            error => Self::Unlisted { code: None, message: root_cause(error) },
        }
    }

    fn unasked(pod: &str, error: &kube::Error) -> Self {
        let pod = pod.to_owned();
        match error {
            kube::Error::UpgradeConnection(error) => Self::NoUpgrade { pod, message: error.to_string() },
            // The API server's own words for a session that was not asked for as one.
            kube::Error::Api(status) if status.message.contains("Upgrade request required") => {
                Self::NoUpgrade { pod, message: status.message.clone() }
            }
            kube::Error::Api(status) => Self::Refused { pod, code: status.code, message: status.message.clone() },
            error => Self::Lost { pod, reason: root_cause(error) },
        }
    }
}

/// What it takes to ask an API server of this version; none is one that does not say.
#[must_use]
pub fn permissions(namespace: &str, version: Option<&Info>) -> Vec<Permission> {
    let resource = ApiResource::erase::<Pod>(&());
    let permission = |suffix: &str, verb: &'static str| Permission {
        group: resource.group.clone(),
        resource: format!("{}{suffix}", resource.plural),
        verb,
        namespace: Some(namespace.to_owned()),
        name: None,
    };
    let mut wanted = vec![permission("", "list"), permission("/exec", "get")];
    if !version.is_some_and(takes_get_alone) {
        wanted.push(permission("/exec", "create"));
    }
    wanted
}

/// Asks one registry of `set` for this generation, or else for the newest that it serves, until `deadline` where nobody
/// answers.
///
/// # Errors
/// [`ServedError`].
pub async fn catalog(
    client: &Client,
    set: &DaemonSet,
    generation: Option<&str>,
    deadline: Instant,
) -> Result<Catalog, ServedError> {
    let mut last = ServedError::Unlisted { code: None, message: SILENT.to_owned() };
    loop {
        match timeout_at(deadline, ask_each(client, set, generation, deadline)).await {
            Err(_) => return Err(last),
            Ok(Err(fault)) if fault.may_pass() && Instant::now() < deadline => last = fault,
            Ok(result) => return result,
        }
        sleep(PAUSE).await;
    }
}

/// One after the other, until one says it: a node may be out of the API server's reach.
async fn ask_each(
    client: &Client,
    set: &DaemonSet,
    generation: Option<&str>,
    deadline: Instant,
) -> Result<Catalog, ServedError> {
    let namespace = set.namespace().unwrap_or_default();
    let current = Api::<DaemonSet>::namespaced(client.clone(), &namespace).get(REGISTRY).await;
    let current = current.map_err(|error| ServedError::unlisted(&error))?;
    if template(&current).map(chosen) != template(set).map(chosen) {
        return Err(ServedError::Overtaken);
    }
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let all = pods.list(&ListParams::default().labels(&selector(set))).await;
    let all = all.map_err(|error| ServedError::unlisted(&error))?.items;
    let mut fault = ServedError::Nobody;
    for name in candidates(&current, &all) {
        match ask(&pods, &name, generation, deadline).await {
            Err(of_one) if of_one.is_of_one_node() => fault = of_one,
            result => return result,
        }
    }
    Err(fault)
}

/// The pods that serve what the set's image has. Those with the number of its template come first: behind a tag there may
/// have been something else.
fn candidates(set: &DaemonSet, pods: &[Pod]) -> Vec<String> {
    let image = template(set).and_then(|template| chosen(template).image);
    let has_image = |pod: &Pod| image.is_some() && pod.spec.as_ref().and_then(|spec| chosen(spec).image) == image;
    let ready = |pod: &&Pod| is_ready(pod) && (is_numbered(set, pod) || has_image(pod));
    let mut ready: Vec<&Pod> = pods.iter().filter(ready).collect();
    ready.sort_by_key(|pod| !is_numbered(set, pod));
    ready.into_iter().map(kube::ResourceExt::name_any).collect()
}

async fn ask(pods: &Api<Pod>, name: &str, generation: Option<&str>, deadline: Instant) -> Result<Catalog, ServedError> {
    let lost = |reason: &str| ServedError::Lost { pod: name.to_owned(), reason: reason.to_owned() };
    let parameters = AttachParams::default().container(CONTAINER);
    let command = COMMAND.map(str::to_owned).into_iter().chain(generation.map(|id| format!("--generation={id}")));
    let process = timeout(HANDSHAKE, pods.exec(name, command, &parameters)).await;
    let process = process.map_err(|_| lost(SILENT))?.map_err(|error| ServedError::unasked(name, &error))?;
    let said = timeout_at(deadline, heard(process)).await;
    let (text, complaint, code) = said.map_err(|_| lost(SILENT))?.map_err(|reason| lost(&reason))?;
    let pod = name.to_owned();
    match code {
        0 => {}
        USAGE => return Err(ServedError::Older { pod }),
        NO_SUCH_GENERATION => return Err(ServedError::NoSuchGeneration { pod, said: complaint.trim().to_owned() }),
        code => return Err(ServedError::Failed { pod, code, said: complaint.trim().to_owned() }),
    }
    match Published::parse(&text) {
        Ok(published) => Ok(Catalog { text, published }),
        Err(fault) => Err(ServedError::Catalog { pod, fault }),
    }
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
    let status = status.ok_or("the connection was lost, which a proxy on the way may have cut off")?;
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
