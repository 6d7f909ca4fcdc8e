//! What is known before anything is judged. Nothing here asks for it: that is [`super::fetch`].

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::version::Info;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::access::Permissions;

/// What became of a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Fetched<T> {
    /// An answer.
    Got(T),
    /// There is no such thing.
    Absent,
    /// Who asks may not know.
    #[default]
    Forbidden,
    /// There was no answer, and why.
    Failed(String),
}

impl<T> Fetched<T> {
    /// The answer, if there is one.
    pub const fn got(&self) -> Option<&T> {
        match self {
            Self::Got(it) => Some(it),
            _ => None,
        }
    }

    /// Something else of the answer.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Fetched<U> {
        match self {
            Self::Got(it) => Fetched::Got(change(it)),
            Self::Absent => Fetched::Absent,
            Self::Forbidden => Fetched::Forbidden,
            Self::Failed(reason) => Fetched::Failed(reason),
        }
    }

    /// Why there is none, as the end of a sentence.
    #[must_use]
    pub fn why_not(&self, permission: &str) -> String {
        match self {
            Self::Got(_) | Self::Absent => "there is none".to_owned(),
            Self::Forbidden => format!("only who may {permission} can look at that"),
            Self::Failed(reason) => format!("the cluster does not say: {reason}"),
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// By the name that the API server has for the user.
    pub user: String,
    /// The namespace that the user works in.
    pub namespace: String,
    /// Whether nodes and the registry's own namespace may be looked at: then it is the platform team.
    pub platform: bool,
}

/// What the API server says of itself, and when.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// Its version.
    pub version: Info,
    /// Its clock, in whole seconds; none where something between takes the header away.
    pub date: Option<Timestamp>,
    /// This machine's clock when the question was asked and when it was answered.
    pub asked: (Timestamp, Timestamp),
}

impl Server {
    /// How far its clock is ahead of this machine's, to a second and the time of the answer; zero where it is not told.
    #[must_use]
    pub fn ahead(&self) -> SignedDuration {
        let (before, after) = self.asked;
        let Some(date) = self.date else { return SignedDuration::ZERO };
        // Halfway through the second that it told, and through the time that it took to tell.
        date.duration_since(before).saturating_sub(after.duration_since(before) / 2) + SignedDuration::from_millis(500)
    }
}

/// Everything but the pull.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Who asks.
    pub who: Who,
    /// The API server.
    pub server: Server,
    /// Whether the API server gives a WebSocket to who asks for one: false where it has not heard that one was wanted.
    pub upgrade: Fetched<bool>,
    /// The ConfigMap that says where nodes pull from.
    pub discovery: Fetched<ConfigMap>,
    /// Whether every user may read it, as the API server says to those who may ask for others.
    pub everybody: Fetched<bool>,
    /// The namespace of the registries.
    pub registry_namespace: String,
    /// The registry's DaemonSet.
    pub daemonset: Fetched<DaemonSet>,
    /// Its pods.
    pub pods: Fetched<Vec<Pod>>,
    /// What the API server's controllers say about the DaemonSet.
    pub events: Vec<Event>,
    /// The nodes.
    pub nodes: Fetched<Vec<Node>>,
    /// The user's namespace.
    pub namespace: Fetched<Namespace>,
    /// Its quotas.
    pub quotas: Fetched<Vec<ResourceQuota>>,
    /// What the user may do in it.
    pub permissions: Permissions,
    /// What the user may do in the registries' namespace.
    pub registry_permissions: Permissions,
}
