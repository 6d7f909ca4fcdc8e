//! Targets for tests.

use k8s_openapi::api::core::v1::Container;
use kitbag_toolsets::{Name, Needs};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::target::Target;

/// A target with this security context, in a pod with this spec beside its containers.
pub(crate) fn target(security_context: Value, pod_spec: Value) -> Target {
    let mut spec = json!({ "containers": [] });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), pod_spec) {
        spec.extend(more);
    }
    Target {
        pod: "shop".into(),
        container: "app".into(),
        spec: Container {
            name: "app".into(),
            security_context: serde_json::from_value(security_context).unwrap(),
            ..Container::default()
        },
        pod_spec: serde_json::from_value(spec).unwrap(),
        status: None,
        names: Vec::new(),
        warning: None,
    }
}

/// `strace?target-attach tcpdump!raw-socket,see dig`: `!` before required needs, `?` before optional ones.
pub(crate) fn needs(text: &str) -> BTreeMap<Name, Needs> {
    let words = |text: &str| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
    let tool = |text: &str| {
        let (rest, optional) = text.split_once('?').map_or((text, vec![]), |(rest, needs)| (rest, words(needs)));
        let (tool, required) = rest.split_once('!').map_or((rest, vec![]), |(tool, needs)| (tool, words(needs)));
        let needs = json!({ "required": required, "optional": optional });
        (Name::parse(tool).unwrap(), serde_json::from_value(needs).unwrap())
    };
    text.split_whitespace().map(tool).collect()
}
