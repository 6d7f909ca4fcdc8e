//! Server-side apply: one object, and whether that changed it.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;

use super::diff::{cleaned, unified};
use super::{FIELD_MANAGER, Object};

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was there, and different.
    Changed,
    /// It was there as it should be.
    Unchanged,
}

/// What is there of an object; nothing where it is not there.
///
/// # Errors
/// What the API server refuses, or that it does not answer.
pub async fn get(client: &Client, object: &Object) -> Result<Option<Value>, kube::Error> {
    match api(client, object).get(&object.name).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        found => Ok(Some(serde_json::to_value(found?).unwrap_or_default())),
    }
}

/// Applies an object; `before` is what was there. What becomes of it, and as what the server has it then.
///
/// # Errors
/// What the API server refuses, or that it does not answer.
pub async fn apply(client: &Client, object: &Object, before: Option<Value>) -> Result<(Outcome, Value), kube::Error> {
    let after = patch(client, object, &PatchParams::apply(FIELD_MANAGER).force()).await?;
    let outcome = match before.map(cleaned) {
        None => Outcome::Created,
        Some(before) if before == cleaned(after.clone()) => Outcome::Unchanged,
        Some(_) => Outcome::Changed,
    };
    Ok((outcome, after))
}

/// What applying an object would change, as a diff; nothing where it would change nothing. The server is asked, unless the
/// object's namespace is yet to be made.
///
/// # Errors
/// What the API server refuses, or that it does not answer.
pub async fn preview(client: &Client, object: &Object, before: Option<Value>) -> Result<Option<String>, kube::Error> {
    let after = patch(client, object, &PatchParams::apply(FIELD_MANAGER).force().dry_run()).await;
    let after = match after {
        Err(kube::Error::Api(status)) if status.code == 404 && object.namespace.is_some() => object.body.clone(),
        after => after?,
    };
    Ok(unified(&object.to_string(), before, after))
}

/// Gives up every field of an object that was applied.
///
/// # Errors
/// What the API server refuses, or that it does not answer.
pub async fn release(client: &Client, object: &Object) -> Result<(), kube::Error> {
    let mut body = object.body.clone();
    body["metadata"] = serde_json::json!({ "name": object.name });
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata"));
    }
    let bare = Object { body, ..object.clone() };
    patch(client, &bare, &PatchParams::apply(FIELD_MANAGER).force()).await.map(drop)
}

async fn patch(client: &Client, object: &Object, parameters: &PatchParams) -> Result<Value, kube::Error> {
    let patched = api(client, object).patch(&object.name, parameters, &Patch::Apply(&object.body)).await?;
    Ok(serde_json::to_value(patched).unwrap_or_default())
}

/// The API of an object's kind, in its namespace.
pub(super) fn api(client: &Client, object: &Object) -> Api<DynamicObject> {
    match &object.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &object.resource),
        None => Api::all_with(client.clone(), &object.resource),
    }
}
