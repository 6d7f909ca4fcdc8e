//! Objects that are not Kubernetes' own have the fields that their CustomResourceDefinitions know (those of the Gateway API
//! 1.3 and of the Prometheus operator 0.82), and those that they require. Of them, here stands what ours use.

use std::collections::BTreeSet;

use serde_json::Value;

/// Maps whose keys are anybody's choice.
const MAPS: [&str; 3] = ["labels", "annotations", "matchLabels"];

struct Shape {
    api: &'static str,
    kind: &'static str,
    /// Without these it is refused, or does nothing.
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const SHAPES: [Shape; 3] = [
    Shape {
        api: "gateway.networking.k8s.io/v1",
        kind: "HTTPRoute",
        required: &[
            "/parentRefs/-/name: string",
            "/rules/-/matches/-/path/type: string",
            "/rules/-/matches/-/path/value: string",
            "/rules/-/backendRefs/-/name: string",
            // Of a Service.
            "/rules/-/backendRefs/-/port: number",
        ],
        optional: &["/hostnames/-: string", "/parentRefs/-/namespace: string", "/parentRefs/-/sectionName: string"],
    },
    Shape {
        api: "monitoring.coreos.com/v1",
        kind: "PodMonitor",
        required: &["/selector/matchLabels: strings"],
        optional: &[
            "/podMetricsEndpoints/-/port: string",
            "/podMetricsEndpoints/-/relabelings/-/sourceLabels/-: string",
            "/podMetricsEndpoints/-/relabelings/-/targetLabel: string",
            "/podMetricsEndpoints/-/relabelings/-/replacement: string",
        ],
    },
    Shape {
        api: "monitoring.coreos.com/v1",
        kind: "PrometheusRule",
        required: &["/groups/-/name: string", "/groups/-/rules/-/expr: string"],
        optional: &[
            "/groups/-/rules/-/alert: string",
            "/groups/-/rules/-/for: string",
            "/groups/-/rules/-/labels: strings",
            "/groups/-/rules/-/annotations: strings",
        ],
    },
];

/// What is wrong with an object, if it is a foreign one.
pub(crate) fn faults(object: &Value) -> Option<Vec<String>> {
    let shape = SHAPES.iter().find(|shape| object["kind"] == shape.kind)?;
    let mut found = BTreeSet::new();
    fields("", &object["spec"], &mut found);
    let known = |field: &&String| shape.required.iter().chain(shape.optional).all(|it| it != field);
    let unknown = found.iter().filter(known).map(|field| format!("{field} is unknown"));
    let missing = shape.required.iter().filter(|field| !found.contains(**field));
    let missing = missing.map(|field| format!("{field} is missing"));
    let api = (object["apiVersion"] != shape.api).then(|| format!("{} is another API", object["apiVersion"]));
    Some(unknown.chain(missing).chain(api).collect())
}

fn fields(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if MAPS.iter().any(|name| path.ends_with(&format!("/{name}"))) => {
            let what = if map.values().all(Value::is_string) { "strings" } else { "not only strings" };
            found.insert(format!("{path}: {what}"));
        }
        Value::Object(map) => map.iter().for_each(|(key, value)| fields(&format!("{path}/{key}"), value, found)),
        Value::Array(items) => items.iter().for_each(|item| fields(&format!("{path}/-"), item, found)),
        Value::String(_) => drop(found.insert(format!("{path}: string"))),
        Value::Number(_) => drop(found.insert(format!("{path}: number"))),
        Value::Bool(_) | Value::Null => drop(found.insert(format!("{path}: {value}"))),
    }
}
