//! `--custom FILE`: a part of a container, as JSON or YAML, that is laid over ours as a strategic merge patch: variables by
//! name, mounts by path, objects field by field; anything else is replaced. As kubectl's, and stricter with what would be
//! passed over or refused later.

use k8s_openapi::DeepMerge as _;
use k8s_openapi::api::core::v1::EphemeralContainer;
use serde_json::Value;

/// What may stand in it.
const FIELDS: [&str; 8] = [
    "env",
    "envFrom",
    "imagePullPolicy",
    "securityContext",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeMounts",
    "workingDir",
];

/// What kubectl refuses, and what a session needs as it is.
const OURS: [&str; 9] =
    ["args", "command", "image", "name", "stdin", "stdinOnce", "targetContainerName", "tty", "volumeDevices"];

/// What the API takes in no debug container.
const FORBIDDEN: [&str; 8] = [
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "startupProbe",
];

/// How variables begin by which a debug container is found again.
const OWN_PREFIX: &str = "KITBAG_";

/// A part of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom(EphemeralContainer);

/// Why a text is not a [`Custom`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomError {
    /// Neither JSON nor YAML.
    #[error("neither JSON nor YAML: {0}")]
    Syntax(String),
    /// Not an object.
    #[error("a part of a container is wanted: fields like `env` or `securityContext`")]
    NotAnObject,
    /// A field that is not the user's to set.
    #[error("`{0}` is not for a custom container to set: it is what makes sessions work")]
    Ours(String),
    /// A field that the API refuses.
    #[error("`{0}` cannot be set in a debug container: the API refuses it")]
    Forbidden(String),
    /// A field that containers do not have.
    #[error("a container has no field `{0}`")]
    Unknown(String),
    /// A value of the wrong kind.
    #[error("not a part of a container: {0}")]
    Type(String),
}

impl Custom {
    /// Reads JSON or YAML.
    ///
    /// # Errors
    /// [`CustomError`].
    pub fn parse(text: &str) -> Result<Self, CustomError> {
        let value: Value = serde_json::from_str(text)
            .or_else(|_| serde_saphyr::from_str(text))
            .map_err(|error| CustomError::Syntax(first_line(&error.to_string())))?;
        let Value::Object(mut fields) = without_nulls(value) else { return Err(CustomError::NotAnObject) };
        for field in fields.keys() {
            let field = || field.clone();
            match field().as_str() {
                name if FIELDS.contains(&name) => {}
                name if OURS.contains(&name) => return Err(CustomError::Ours(field())),
                name if FORBIDDEN.contains(&name) => return Err(CustomError::Forbidden(field())),
                _ => return Err(CustomError::Unknown(field())),
            }
        }
        fields.insert("name".to_owned(), Value::from(""));
        let given = Value::Object(fields);
        let custom: EphemeralContainer =
            serde_json::from_value(given.clone()).map_err(|error| CustomError::Type(error.to_string()))?;
        let known = serde_json::to_value(&custom).map_err(|error| CustomError::Type(error.to_string()))?;
        if let Some(path) = beyond(&given, &known) {
            return Err(CustomError::Unknown(path));
        }
        let own = custom.env.iter().flatten().find(|variable| variable.name.starts_with(OWN_PREFIX));
        own.map_or(Ok(()), |variable| Err(CustomError::Ours(variable.name.clone())))?;
        Ok(Self(custom))
    }

    /// Lays it over `container`.
    #[must_use]
    pub fn onto(&self, mut container: EphemeralContainer) -> EphemeralContainer {
        let Self(mut custom) = self.clone();
        custom.name.clone_from(&container.name);
        // A variable has a value or a source: the old one of either kind goes.
        for variable in container.env.iter_mut().flatten() {
            if custom.env.iter().flatten().any(|new| new.name == variable.name) {
                (variable.value, variable.value_from) = (None, None);
            }
        }
        container.merge_from(custom);
        container
    }
}

/// A field without a value is a field that is not there.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        value => value,
    }
}

/// The path of the first field of `given` that `known` does not have.
fn beyond(given: &Value, known: &Value) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(name, value)| match known.get(name) {
            None => Some(name.clone()),
            Some(known) => beyond(value, known).map(|path| match path.starts_with('[') {
                true => format!("{name}{path}"),
                false => format!("{name}.{path}"),
            }),
        }),
        (Value::Array(given), Value::Array(known)) => given.iter().zip(known).enumerate().find_map(|(index, pair)| {
            let path = beyond(pair.0, pair.1)?;
            Some(format!("[{index}].{path}"))
        }),
        _ => None,
    }
}

/// YAML's faults come with a drawing of the place.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn custom(value: &Value) -> Custom {
        Custom::parse(&value.to_string()).unwrap()
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = "env:\n- {name: A, value: b}\n# a comment\nsecurityContext:\n  runAsUser: 5\n  capabilities:\n    add: [NET_ADMIN]\n";
        let json = json!({
            "env": [{ "name": "A", "value": "b" }],
            "securityContext": { "runAsUser": 5, "capabilities": { "add": ["NET_ADMIN"] } },
            "workingDir": null,
        });
        assert_eq!(Custom::parse(yaml).unwrap(), custom(&json));
    }

    #[test]
    fn variables_merge_by_name_mounts_by_path_objects_by_field_and_the_rest_is_replaced() {
        let container = serde_json::from_value(json!({
            "name": "kitbag-b2c4d",
            "workingDir": "/a",
            "env": [
                { "name": "KEPT", "value": "1" },
                { "name": "CHANGED", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            ],
            "envFrom": [{ "secretRef": { "name": "old" } }],
            "volumeMounts": [{ "name": "data", "mountPath": "/data", "readOnly": true }],
            "securityContext": { "runAsUser": 0, "runAsNonRoot": false, "capabilities": { "drop": ["ALL"], "add": ["NET_RAW"] } },
        }));
        let custom = custom(&json!({
            "workingDir": "/b",
            "env": [{ "name": "CHANGED", "value": "2" }, { "name": "NEW", "value": "3" }],
            "envFrom": [{ "secretRef": { "name": "new" } }],
            "volumeMounts": [{ "name": "other", "mountPath": "/data" }, { "name": "data", "mountPath": "/more" }],
            "securityContext": { "runAsUser": 5, "capabilities": { "add": ["NET_ADMIN"] } },
        }));
        insta::assert_snapshot!(serde_json::to_string_pretty(&custom.onto(container.unwrap())).unwrap(), @r#"
        {
          "env": [
            {
              "name": "KEPT",
              "value": "1"
            },
            {
              "name": "CHANGED",
              "value": "2"
            },
            {
              "name": "NEW",
              "value": "3"
            }
          ],
          "envFrom": [
            {
              "secretRef": {
                "name": "new"
              }
            }
          ],
          "name": "kitbag-b2c4d",
          "securityContext": {
            "capabilities": {
              "add": [
                "NET_ADMIN"
              ],
              "drop": [
                "ALL"
              ]
            },
            "runAsNonRoot": false,
            "runAsUser": 5
          },
          "volumeMounts": [
            {
              "mountPath": "/data",
              "name": "other",
              "readOnly": true
            },
            {
              "mountPath": "/more",
              "name": "data"
            }
          ],
          "workingDir": "/b"
        }
        "#);
    }

    #[test]
    fn what_would_be_refused_or_passed_over_is_refused_at_once() {
        let faults = [
            "name: x",
            "command: [sh]",
            "image: busybox",
            "volumeDevices: []",
            "lifecycle: {}",
            "tty: true",
            "resources: {limits: {cpu: 1}}",
            "securitycontext: {}",
            "securityContext: {runAsuser: 5}",
            "env: [{name: A, value: a}, {name: B, valueFrom: {file: x}}]",
            "securityContext: {runAsUser: root}",
            "env: {A: b}",
            "env: [{name: KITBAG_TARGET, value: b}]",
            "[]",
            "a: [",
            "",
        ];
        let lines = faults.map(|text| format!("{text}: {}", Custom::parse(text).unwrap_err()));
        insta::assert_snapshot!(lines.join("\n"), @r#"
        name: x: `name` is not for a custom container to set: it is what makes sessions work
        command: [sh]: `command` is not for a custom container to set: it is what makes sessions work
        image: busybox: `image` is not for a custom container to set: it is what makes sessions work
        volumeDevices: []: `volumeDevices` is not for a custom container to set: it is what makes sessions work
        lifecycle: {}: `lifecycle` cannot be set in a debug container: the API refuses it
        tty: true: `tty` is not for a custom container to set: it is what makes sessions work
        resources: {limits: {cpu: 1}}: `resources` cannot be set in a debug container: the API refuses it
        securitycontext: {}: a container has no field `securitycontext`
        securityContext: {runAsuser: 5}: a container has no field `securityContext.runAsuser`
        env: [{name: A, value: a}, {name: B, valueFrom: {file: x}}]: a container has no field `env[1].valueFrom.file`
        securityContext: {runAsUser: root}: not a part of a container: invalid type: string "root", expected i64
        env: {A: b}: not a part of a container: invalid type: map, expected a sequence
        env: [{name: KITBAG_TARGET, value: b}]: `KITBAG_TARGET` is not for a custom container to set: it is what makes sessions work
        []: a part of a container is wanted: fields like `env` or `securityContext`
        a: [: neither JSON nor YAML: line 1 column 4: unclosed bracket '['
        : a part of a container is wanted: fields like `env` or `securityContext`
        "#);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}|[\\[\\]{}:,a-z&*!|> \\n-]{0,60}") {
            let _ = Custom::parse(&text);
        }
    }
}
