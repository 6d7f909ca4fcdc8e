//! `kubectl kitbag list`: the debug containers that pods have.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::error::Error;
use crate::found::{self, Found, table};
use crate::reentry::Condition;
use crate::refusal::{Asked, explain};

/// What is listed.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// Where.
    pub(crate) scope: Scope,
    /// Those that have ended, too.
    pub(crate) ended: bool,
    /// For programs.
    pub(crate) json: bool,
}

/// Where to look.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// In every namespace.
    Everywhere,
    /// In all pods of one.
    Namespace(String),
    /// In these pods.
    Pods(Vec<Pod>),
}

/// Runs the command. Returns what is to be printed.
pub(crate) async fn run(client: &Client, list: List) -> Result<String, Error> {
    let (namespaces, json) = (matches!(list.scope, Scope::Everywhere), list.json);
    let mut found = found::of(&pods(client, list.scope).await?);
    found.retain(|it| list.ended || !matches!(it.debugger.state, Condition::Ended(_)));
    found::ask_activity(client, &mut found).await;
    Ok(text(&found, Timestamp::now(), namespaces, json))
}

fn text(found: &[Found], now: Timestamp, namespaces: bool, json: bool) -> String {
    if json {
        return format!("{:#}\n", table::json(found, now));
    }
    if found.is_empty() { "no debug containers\n".to_owned() } else { table::table(found, now, namespaces) }
}

async fn pods(client: &Client, scope: Scope) -> Result<Vec<Pod>, Error> {
    let (pods, namespace): (Api<Pod>, _) = match scope {
        Scope::Pods(pods) => return Ok(pods),
        Scope::Everywhere => (Api::all(client.clone()), String::new()),
        Scope::Namespace(namespace) => (Api::namespaced(client.clone(), &namespace), namespace),
    };
    let asked = Asked { namespace: &namespace, verb: "list", resource: "pods", container: "", reasons: "" };
    let listed = pods.list(&ListParams::default()).await.map_err(|error| explain(&error, asked))?;
    Ok(listed.items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_to_be_nothing_and_is_an_empty_array() {
        let text = |json| text(&[], Timestamp::UNIX_EPOCH, false, json);
        assert_eq!((text(false).as_str(), text(true).as_str()), ("no debug containers\n", "[]\n"));
    }
}
