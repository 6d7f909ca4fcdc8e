//! What the user may do, asked once and before anything is touched, so that a missing permission is named while nothing
//! has happened yet, and all of them at once. What each command needs is a table ([`rules`]); [`review`] and [`whoami`]
//! are the only two requests, but for [`settle`] where the first leaves open how sessions can be had.

use futures_util::future::join_all;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec, SubjectAccessReviewStatus, SubjectRulesReviewStatus,
};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::error::Kind;
use crate::kubernetes::minor;

pub mod rules;

use rules::{Rule, Without};

/// Whoever has no name.
const UNKNOWN: &str = "unknown";

/// The minor version of the first server that wants a `create` for what is a `get`.
const CREATE_WANTED: u32 = 35;

/// What the user may do in one namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Permissions {
    rules: Vec<ResourceRule>,
    /// What was asked for by itself, and is not permitted.
    denied: Vec<ResourceRule>,
    /// No authorizer has left anything out.
    complete: bool,
}

/// Whether something is permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// The server can't tell: trying it will.
    Unknown,
}

/// Something that may be permitted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The verb.
    pub verb: &'static str,
    /// The API group; the core one is empty.
    pub group: &'static str,
    /// The resource, `pods/exec`.
    pub resource: &'static str,
    /// The object, if it is about one.
    pub name: Option<String>,
}

impl Question {
    /// As it is asked, of a namespace or of the whole cluster.
    #[must_use]
    pub fn attributes(&self, namespace: Option<&str>) -> ResourceAttributes {
        attributes(self.verb, self.group, self.resource, namespace, self.name.as_deref())
    }

    fn rule(&self) -> ResourceRule {
        ResourceRule {
            verbs: vec![self.verb.to_owned()],
            api_groups: Some(vec![self.group.to_owned()]),
            resources: Some(vec![self.resource.to_owned()]),
            resource_names: self.name.clone().map(|name| vec![name]),
        }
    }
}

/// As the API server is asked: `resource` may be a part of one, `pods/exec`.
pub(crate) fn attributes(
    verb: &str,
    group: &str,
    resource: &str,
    namespace: Option<&str>,
    name: Option<&str>,
) -> ResourceAttributes {
    let (resource, subresource) =
        resource.split_once('/').map_or((resource, None), |(resource, part)| (resource, Some(part)));
    ResourceAttributes {
        namespace: namespace.map(str::to_owned),
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(str::to_owned),
        name: name.map(str::to_owned),
        ..ResourceAttributes::default()
    }
}

/// A pod's session, its start and its trace: which of the ways to have them the user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// Sessions are execs; where not, the one session is an attach.
    pub exec: bool,
    /// The start is watched; where not, the pod is asked for again and again.
    pub watch: bool,
    /// An event can be left on the pod.
    pub trace: bool,
    /// The pod's events can be read.
    pub events: bool,
    /// The pod's events can be watched, so that its start is seen sooner.
    pub starts: bool,
}

/// Permissions that a command can't do without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("user `{user}` lacks permissions in namespace `{namespace}`:{}", list(.missing))]
pub struct AccessError {
    /// Who asks.
    pub user: String,
    /// Where.
    pub namespace: String,
    /// All that is missing.
    pub missing: Vec<Rule>,
}

impl AccessError {
    pub(crate) const fn kind(&self) -> Kind {
        Kind::Forbidden
    }

    pub(crate) fn hint(&self) -> String {
        let rules: String = self.missing.iter().map(|rule| rule.yaml("  ")).collect();
        format!(
            "ask for a Role in `{}` with these rules (`kubectl kitbag rbac` prints all of it):\n{}",
            self.namespace,
            rules.trim_end()
        )
    }
}

fn list(missing: &[Rule]) -> String {
    let line = |rule: &Rule| format!("\n  {} `{}`: {}", rule.verbs.join(" and "), rule.resource, rule.why);
    missing.iter().map(line).collect()
}

impl Permissions {
    /// Of the server's answer; none is one that says nothing.
    #[must_use]
    pub fn new(status: Option<SubjectRulesReviewStatus>) -> Self {
        let Some(status) = status else { return Self::default() };
        let complete = !status.incomplete && status.evaluation_error.is_none_or(|error| error.is_empty());
        Self { rules: status.resource_rules, denied: Vec::new(), complete }
    }

    /// Whether `verb` on `resource` (`pods/exec`) of the API group is permitted; for the one object if it is named, else
    /// for all.
    #[must_use]
    pub fn may(&self, verb: &str, group: &str, resource: &str, name: Option<&str>) -> Answer {
        if self.rules.iter().any(|rule| matches(rule, verb, group, resource, name)) {
            Answer::Yes
        } else if self.complete || self.denied.iter().any(|rule| matches(rule, verb, group, resource, name)) {
            Answer::No
        } else {
            Answer::Unknown
        }
    }

    fn learn(&mut self, allowed: bool, question: &Question) {
        if allowed { &mut self.rules } else { &mut self.denied }.push(question.rule());
    }

    /// Whether nothing says that `rule` is not permitted in full.
    fn allow(&self, rule: &Rule, pod: Option<&str>) -> bool {
        let name = pod.filter(|_| rule.of_the_pod);
        rule.verbs.iter().all(|verb| self.may(verb, rule.group, rule.resource, name) != Answer::No)
    }
}

/// Which of `wanted` are not permitted, and neither is what would do instead. What only loses something is not among them.
#[must_use]
pub fn missing(permissions: &Permissions, wanted: &[Rule], pod: Option<&str>) -> Vec<Rule> {
    let is_missing = |rule: &&Rule| {
        !permissions.allow(rule, pod)
            && match rule.without {
                Without::Fails => true,
                Without::Loses(_) => false,
                // Where that is wanted anyway, it is named by itself.
                Without::Takes(instead, _) => !wanted.contains(instead) && !permissions.allow(instead, pod),
            }
    };
    wanted.iter().filter(is_missing).copied().collect()
}

/// What is lost for want of a permission, a sentence each.
#[must_use]
pub fn losses(permissions: &Permissions, wanted: &[Rule], pod: Option<&str>) -> Vec<String> {
    let lost = wanted.iter().filter(|rule| !permissions.allow(rule, pod));
    let sentence = |rule: &Rule| match rule.without {
        Without::Fails => None,
        Without::Loses(what) | Without::Takes(_, what) => {
            Some(format!("without permission to {} `{}` {what}", rule.verbs.join(" and "), rule.resource))
        }
    };
    lost.filter_map(sentence).collect()
}

/// Whether the command can be done at all.
///
/// # Errors
/// [`AccessError`] with everything that is missing.
pub fn check(
    permissions: &Permissions,
    wanted: &[Rule],
    pod: Option<&str>,
    namespace: &str,
    user: &str,
) -> Result<(), AccessError> {
    let missing = missing(permissions, wanted, pod);
    if missing.is_empty() {
        return Ok(());
    }
    Err(AccessError { user: user.to_owned(), namespace: namespace.to_owned(), missing })
}

/// Which ways are open.
#[must_use]
pub fn means(permissions: &Permissions, pod: Option<&str>) -> Means {
    let open = |rule: &Rule| permissions.allow(rule, pod);
    Means {
        exec: open(&rules::EXEC),
        watch: open(&rules::WATCH),
        trace: open(&rules::TRACE),
        events: open(&rules::EVENTS),
        starts: open(&rules::STARTED),
    }
}

/// As Kubernetes' RBAC: a resource covers none of its subresources, a star covers everything, and a list of names only
/// those.
fn matches(rule: &ResourceRule, verb: &str, group: &str, resource: &str, name: Option<&str>) -> bool {
    let has = |list: &[String], word: &str| list.iter().any(|it| it == word || it == "*");
    let any_parent = resource.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
    let resources = rule.resources.as_deref().unwrap_or_default();
    let names = rule.resource_names.as_deref().unwrap_or_default();
    has(&rule.verbs, verb)
        && has(rule.api_groups.as_deref().unwrap_or_default(), group)
        && (has(resources, resource) || any_parent.is_some_and(|it| resources.contains(&it)))
        && (names.is_empty() || name.is_some_and(|name| has(names, name)) || names.iter().any(|it| it == "*"))
}

/// Asks what the user may do. A server that doesn't say is one that can't tell.
pub async fn review(client: &Client, namespace: &str) -> Permissions {
    let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) };
    let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    Permissions::new(answer.ok().and_then(|review| review.status))
}

/// How sessions can be had, in earnest: what an authorizer beside RBAC leaves open is asked for, so that no container is
/// added whose sessions are then refused; and what a server does not ask for counts as granted. `pod` is the one pod that
/// it is about, if it is one. Asks nothing where it is known that execs are permitted.
pub async fn settle(client: &Client, namespace: &str, pod: Option<&str>, mut permissions: Permissions) -> Permissions {
    for way in [&rules::EXEC, &rules::ATTACH] {
        settle_one(client, namespace, pod, way, &mut permissions).await;
        if permissions.allow(way, pod) {
            break;
        }
    }
    permissions
}

async fn settle_one(client: &Client, namespace: &str, pod: Option<&str>, way: &Rule, permissions: &mut Permissions) {
    let question = |verb| Question { verb, group: way.group, resource: way.resource, name: pod.map(str::to_owned) };
    complete(client, namespace, ["get", "create"].map(question).into(), permissions).await;
    let may = |verb: &str| permissions.may(verb, way.group, way.resource, pod);
    if may("get") != Answer::No
        && may("create") != Answer::Yes
        && client.apiserver_version().await.is_ok_and(|version| takes_get_alone(&version))
    {
        permissions.learn(true, &question("create"));
    }
}

/// Whether a WebSocket is permitted by the `get` that it is.
pub(crate) fn takes_get_alone(version: &Info) -> bool {
    version.major == "1" && minor(&version.minor).is_some_and(|minor| minor < CREATE_WANTED)
}

/// Asks by itself for each of `questions` that the review has left open, all at once. What the server does not say stays
/// open.
pub async fn complete(client: &Client, namespace: &str, questions: Vec<Question>, permissions: &mut Permissions) {
    let open = |it: &Question| permissions.may(it.verb, it.group, it.resource, it.name.as_deref()) == Answer::Unknown;
    let questions: Vec<Question> = questions.into_iter().filter(open).collect();
    let answers = join_all(questions.iter().map(|question| ask(client, question.attributes(Some(namespace))))).await;
    for (question, answer) in questions.iter().zip(answers) {
        if let Some(status) = answer {
            permissions.learn(status.allowed, question);
        }
    }
}

/// Asks whether one thing is permitted. None where the server does not say.
pub async fn ask(client: &Client, attributes: ResourceAttributes) -> Option<SubjectAccessReviewStatus> {
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    answer.ok().and_then(|review: SelfSubjectAccessReview| review.status)
}

/// Asks who the user is. Where the server doesn't say (before 1.28) it is `fallback`, the kubeconfig's name for the user.
pub async fn whoami(client: &Client, fallback: Option<&str>) -> String {
    let answer = Api::all(client.clone()).create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let user = answer.ok().and_then(|review| review.status?.user_info?.username);
    user.filter(|user| !user.is_empty()).or_else(|| fallback.map(str::to_owned)).unwrap_or_else(|| UNKNOWN.to_owned())
}

#[cfg(test)]
mod tests;
