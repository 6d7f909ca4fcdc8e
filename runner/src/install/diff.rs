//! What would change: one object before and after, as a person would write them.

use kitbag_toolsets::canonical::sha256_hex;
use serde_json::Value;
use similar::TextDiff;

use crate::discovery;
use crate::kubernetes::TEMPLATES;

/// What the server adds, and nobody writes.
const ADDED: [&str; 6] = ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];
/// How much of a digest tells two catalogs apart.
const DIGITS: usize = 12;
/// Lines around a change.
const CONTEXT: usize = 3;

/// Without what the server adds.
#[must_use]
pub fn cleaned(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        ADDED.iter().for_each(|field| drop(metadata.remove(*field)));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(TEMPLATES);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    object
}

/// A unified diff of the object as YAML; nothing where nothing changes.
#[must_use]
pub fn unified(name: &str, before: Option<Value>, after: Value) -> Option<String> {
    let before = before.map(|object| yaml(cleaned(object))).unwrap_or_default();
    let after = yaml(cleaned(after));
    if before == after {
        return None;
    }
    let diff = TextDiff::from_lines(&before, &after);
    let (old, new) = if before.is_empty() { ("nothing", name) } else { (name, name) };
    Some(diff.unified_diff().context_radius(CONTEXT).header(old, new).to_string())
}

fn yaml(mut object: Value) -> String {
    // Nobody reads the catalog in a diff.
    if let Some(Value::String(catalog)) = object["data"].get_mut(discovery::CATALOG) {
        *catalog = format!("({} bytes, sha256:{}…)", catalog.len(), &sha256_hex(catalog.as_bytes())[..DIGITS]);
    }
    if object["data"].is_null()
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("data");
    }
    // Of JSON, which is YAML.
    serde_saphyr::to_string(&object).unwrap_or_else(|_| object.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(generation: &str, catalog: &str, version: u32) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "kitbag", "resourceVersion": version.to_string(), "uid": "1", "managedFields": [{}],
                "creationTimestamp": "2026-11-21T00:00:00Z",
            },
            "data": { "generation": generation, "catalog.json": catalog },
        })
    }

    #[test]
    fn what_the_server_counts_is_no_change() {
        assert_eq!(unified("x", Some(map("a", "{}", 1)), map("a", "{}", 2)), None);
        let set = |templates: &str, ready: u32| json!({ "metadata": { "name": "registry", "generation": ready, "annotations": { TEMPLATES: templates } }, "status": { "numberReady": ready } });
        assert_eq!(unified("x", Some(set("1", 1)), set("2", 2)), None);
        let bare = json!({ "metadata": { "name": "registry" } });
        assert_eq!(unified("x", Some(set("1", 1)), bare), None);
    }

    #[test]
    fn a_change_is_shown_with_what_is_around_it() {
        let before = map("5c729eb85204", r#"{"generation":"5c729eb85204"}"#, 1);
        let after = map("0f23d17aa001", r#"{"generation":"0f23d17aa001"}"#, 2);
        insta::assert_snapshot!(unified("ConfigMap `kitbag`", Some(before), after).unwrap(), @r"
        --- ConfigMap `kitbag`
        +++ ConfigMap `kitbag`
        @@ -1,7 +1,7 @@
         apiVersion: v1
         data:
        -  catalog.json: (29 bytes, sha256:54d508183148…)
        -  generation: 5c729eb85204
        +  catalog.json: (29 bytes, sha256:191ff7952d3e…)
        +  generation: 0f23d17aa001
         kind: ConfigMap
         metadata:
           name: kitbag
        ");
    }

    #[test]
    fn what_is_new_is_shown_in_full() {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kitbag" }});
        insta::assert_snapshot!(unified("Namespace `kitbag`", None, namespace).unwrap(), @r"
        --- nothing
        +++ Namespace `kitbag`
        @@ -0,0 +1,4 @@
        +apiVersion: v1
        +kind: Namespace
        +metadata:
        +  name: kitbag
        ");
    }
}
