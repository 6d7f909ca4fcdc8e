//! Asks the API server for what can be judged: first what may be asked, then all of it at once. Nothing is changed.

use http::header::{CONNECTION, DATE, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Request, StatusCode};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, ResourceQuota};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822::DateTimeParser;
use kube::api::{ListParams, PostParams};
use kube::client::Body;
use kube::{Api, Client};

use super::facts::{Facts, Fetched, Server, Who};
use super::fix;
use super::registry::NAME;
use crate::access::rules::Without;
use crate::access::{self, Answer, Permissions, Question};
use crate::discovery;
use crate::error::{Error, root_cause};
use crate::install::{NAMESPACE, find};
use crate::refusal::Refusal;

/// The answer to it is not looked at, so that it need not be a secret (RFC 6455, section 4.1).
const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The group of whoever the API server knows.
const EVERYBODY: &str = "system:authenticated";

/// All facts, for a user whom this machine calls `user`.
///
/// # Errors
/// [`Error::Unreachable`] where there is no API server to say anything, and [`Error::Refused`] where it knows nobody by that
/// name.
pub async fn facts(client: &Client, namespace: &str, user: Option<&str>) -> Result<Facts, Error> {
    let (server, user, permissions, discovery, nodes, daemonsets) = tokio::join!(
        server(client),
        access::whoami(client, user),
        permissions(client, namespace, in_namespace(namespace)),
        get::<ConfigMap>(Api::namespaced(client.clone(), discovery::NAMESPACE), discovery::NAME, true),
        access::ask(client, of_all(("list", "", "nodes")).attributes(None)),
        access::ask(client, of_all(("list", "apps", "daemonsets")).attributes(None)),
    );
    let [sees_nodes, sees_daemonsets] = [nodes, daemonsets].map(|answer| answer.is_none_or(|status| status.allowed));
    let registry_namespace = match discovery.got().and_then(fix::installed_in) {
        Some(namespace) => namespace.to_owned(),
        // Discovery may have been deleted, or written by something else than `install`.
        None if sees_daemonsets => find::labelled(client).await.ok().flatten().unwrap_or_else(|| NAMESPACE.to_owned()),
        None => NAMESPACE.to_owned(),
    };
    let home = registry_namespace.as_str();
    let registry_permissions = self::permissions(client, home, in_registry()).await;
    let there = |verb, group, resource| registry_permissions.may(verb, group, resource, None) != Answer::No;
    let here = |verb, resource, name| permissions.may(verb, "", resource, name) != Answer::No;
    let (sees_daemonset, sees_pods) = (there("get", "apps", "daemonsets"), there("list", "", "pods"));
    let of_the_daemonset = format!("involvedObject.kind=DaemonSet,involvedObject.name={NAME}");
    let (upgrade, everybody, daemonset, pods, events, nodes, own, quotas) = tokio::join!(
        upgrade(client, namespace, here("watch", "pods", None)),
        everybody(client, sees_nodes && discovery.got().is_some()),
        get::<DaemonSet>(Api::namespaced(client.clone(), home), NAME, sees_daemonset),
        list::<Pod>(Api::namespaced(client.clone(), home), "", sees_pods),
        list::<Event>(Api::namespaced(client.clone(), home), &of_the_daemonset, there("list", "", "events")),
        list::<Node>(Api::all(client.clone()), "", sees_nodes),
        get::<Namespace>(Api::all(client.clone()), namespace, here("get", "namespaces", Some(namespace))),
        list::<ResourceQuota>(Api::namespaced(client.clone(), namespace), "", here("list", "resourcequotas", None)),
    );
    let platform = sees_daemonset && sees_pods && !matches!(nodes, Fetched::Forbidden);
    let mut events = events.got().cloned().unwrap_or_default();
    events.sort_by_key(|event| event.last_timestamp.clone().or_else(|| event.first_timestamp.clone()));
    Ok(Facts {
        who: Who { user, namespace: namespace.to_owned(), platform },
        server: server?,
        upgrade,
        discovery,
        everybody,
        registry_namespace,
        daemonset,
        pods: of_daemonset(pods),
        events,
        nodes,
        namespace: own,
        quotas,
        permissions,
        registry_permissions,
    })
}

/// The API server's version, and what its clock said.
async fn server(client: &Client) -> Result<Server, Error> {
    let unreachable = |error: &dyn std::error::Error| Error::Unreachable(root_cause(error));
    let request = Request::get("/version").body(Body::empty()).map_err(|error| unreachable(&error))?;
    let before = Timestamp::now();
    let answer = client.send(request).await.map_err(|error| unreachable(&error))?;
    let after = Timestamp::now();
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
    let status = answer.status();
    let body = answer.into_body().collect_bytes().await.map_err(|error| unreachable(&error))?;
    if status == StatusCode::UNAUTHORIZED {
        return Err(Refusal::Unauthorized { message: format!("status {status}") }.into());
    }
    if status.is_server_error() {
        return Err(Error::Unreachable(format!("status {status}")));
    }
    // Who may not know the version gets an answer all the same.
    let version =
        if status.is_success() { serde_json::from_slice(&body).unwrap_or_default() } else { Default::default() };
    Ok(Server { version, date, asked: (before, after) })
}

/// A watch can be had over a WebSocket too, and changes nothing. Where something on the way takes the headers away that ask
/// for it, the API server answers as to any other question.
async fn upgrade(client: &Client, namespace: &str, permitted: bool) -> Fetched<bool> {
    if !permitted {
        return Fetched::Forbidden;
    }
    let request = Request::get(format!("/api/v1/namespaces/{namespace}/pods?watch=true&timeoutSeconds=1"))
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, WEBSOCKET_KEY)
        // Which the API server wants to have, whatever it says.
        .header(ORIGIN, "http://localhost")
        .body(Body::empty());
    let Ok(request) = request else { return Fetched::Failed(format!("`{namespace}` is no name of a namespace")) };
    match client.send(request).await.map(|answer| answer.status()) {
        Ok(StatusCode::SWITCHING_PROTOCOLS) => Fetched::Got(true),
        Ok(status) if status.is_success() => Fetched::Got(false),
        Ok(status) => Fetched::Failed(format!("status {status}")),
        Err(error) => Fetched::Failed(root_cause(&error)),
    }
}

/// Whether who has nothing but a name may read discovery.
async fn everybody(client: &Client, permitted: bool) -> Fetched<bool> {
    if !permitted {
        return Fetched::Forbidden;
    }
    let wanted = Question { verb: "get", group: "", resource: "configmaps", name: Some(discovery::NAME.to_owned()) };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            groups: Some(vec![EVERYBODY.to_owned()]),
            resource_attributes: Some(wanted.attributes(Some(discovery::NAMESPACE))),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = fetched(Api::all(client.clone()).create(&PostParams::default(), &review).await);
    answer.map(|review: SubjectAccessReview| review.status.is_some_and(|status| status.allowed))
}

/// What is looked at in the registries' namespace, and what a pull there takes.
fn in_registry() -> Vec<Question> {
    let wanted = [("get", "apps", "daemonsets"), ("list", "", "events")];
    wanted.into_iter().chain(super::PULLING).map(of_all).collect()
}

/// What commands need in the user's namespace, and what is looked at there.
fn in_namespace(namespace: &str) -> Vec<Question> {
    let rules = super::permissions::rules().into_iter().flat_map(|rule| match rule.without {
        Without::Takes(instead, _) => vec![rule, *instead],
        Without::Fails | Without::Loses(_) => vec![rule],
    });
    let verbs = rules.flat_map(|rule| rule.verbs.iter().map(move |verb| (*verb, rule.group, rule.resource)));
    let wanted = verbs.chain(super::PULLING).chain([("list", "", "resourcequotas")]);
    let own = Question { name: Some(namespace.to_owned()), ..of_all(("get", "", "namespaces")) };
    wanted.map(of_all).chain([own]).collect()
}

fn of_all((verb, group, resource): (&'static str, &'static str, &'static str)) -> Question {
    Question { verb, group, resource, name: None }
}

/// What the user may do in a namespace. Where one of the server's authorizers can't list that, as with many vendors, each
/// thing that is wanted is asked for by itself.
async fn permissions(client: &Client, namespace: &str, wanted: Vec<Question>) -> Permissions {
    let mut permissions = access::review(client, namespace).await;
    access::complete(client, namespace, wanted, &mut permissions).await;
    permissions
}

async fn get<K>(objects: Api<K>, name: &str, permitted: bool) -> Fetched<K>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    if permitted { fetched(objects.get(name).await) } else { Fetched::Forbidden }
}

async fn list<K>(objects: Api<K>, fields: &str, permitted: bool) -> Fetched<Vec<K>>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    if !permitted {
        return Fetched::Forbidden;
    }
    let parameters = if fields.is_empty() { ListParams::default() } else { ListParams::default().fields(fields) };
    fetched(objects.list(&parameters).await).map(|list| list.items)
}

fn fetched<T>(answer: kube::Result<T>) -> Fetched<T> {
    match answer {
        Ok(it) => Fetched::Got(it),
        Err(kube::Error::Api(status)) if status.code == 404 => Fetched::Absent,
        Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => Fetched::Forbidden,
        Err(error) => Fetched::Failed(root_cause(&error)),
    }
}

/// Those that the DaemonSet has made.
fn of_daemonset(pods: Fetched<Vec<Pod>>) -> Fetched<Vec<Pod>> {
    let ours = |pod: &Pod| {
        let owners = pod.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| owner.kind == "DaemonSet" && owner.name == NAME)
    };
    pods.map(|pods| pods.into_iter().filter(ours).collect())
}
