//! What `-o json` prints: one object for what happened.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::enter::Entered;
use super::errand::Errand;
use super::visit::Undone;
use crate::commands;
use crate::error::Error;
use crate::session::{Captured, Ended};
use crate::target::Target;

/// What happened. Times are of RFC 3339; names are those of the Kubernetes API where it has them.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    /// The container that was debugged.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// The debug container.
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    /// Whether it was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    reused: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<String>,
    /// `exact`, `fewer`, `baseline`, `restricted` or `chosen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    privileges: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
    /// What a person would have been told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    pub(super) exit_code: u8,
    #[serde(flatten)]
    stdout: Text<Stdout>,
    #[serde(flatten)]
    stderr: Text<Stderr>,
    /// The output was longer than what is kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault>,
}

/// Why nothing ran.
#[derive(Debug, Serialize)]
struct Fault {
    /// One word for the exit code.
    kind: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Output: text where it is UTF-8, else its bytes in Base64 under another name.
type Text<T> = Option<T>;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Stdout {
    Stdout(String),
    StdoutBase64(String),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Stderr {
    Stderr(String),
    StderrBase64(String),
}

impl Object {
    pub(super) fn of_session(
        errand: &Errand,
        target: &Target,
        entered: &Entered,
        began: Timestamp,
        ended: &Ended,
        notes: &[String],
    ) -> Self {
        let digest = entered.image.split_once('@').map(|(_, digest)| digest.to_owned());
        Self {
            namespace: Some(errand.namespace.clone()),
            pod: Some(target.pod.clone()),
            target: Some(target.container.clone()),
            container: Some(entered.place.container.clone()),
            reused: Some(entered.again),
            image: Some(entered.image.clone()),
            digest,
            tools: Some(entered.tools.clone()),
            privileges: Some(entered.candidate.level.to_string()),
            user: Some(errand.user.clone()),
            started_at: Some(began),
            finished_at: Some(Timestamp::now()),
            notes: notes.to_vec(),
            exit_code: ended.code,
            ..Self::default()
        }
        .with(ended.captured.clone().unwrap_or_default())
    }

    pub(super) fn of_error(error: &Error) -> Self {
        let (kind, message) = (error.kind(), error.to_string());
        let fault = Fault { kind: kind.as_str(), message, hint: error.hint() };
        Self { exit_code: kind.exit_code(), error: Some(fault), ..Self::default() }
    }

    /// The same, with what is known of the pod, and what the command had written until then.
    pub(super) fn of_visit(namespace: &str, pod: &Pod, undone: &Undone) -> Self {
        let object = Self {
            namespace: Some(namespace.to_owned()),
            pod: pod.metadata.name.clone(),
            container: undone.container.clone(),
            ..Self::of_error(&undone.error)
        };
        match undone.captured.clone() {
            Some(captured) => object.with(captured),
            None => object,
        }
    }

    fn with(self, captured: Captured) -> Self {
        Self {
            stdout: Some(text(captured.stdout, Stdout::Stdout, Stdout::StdoutBase64)),
            stderr: Some(text(captured.stderr, Stderr::Stderr, Stderr::StderrBase64)),
            truncated: captured.truncated,
            ..self
        }
    }
}

fn text<T>(bytes: Vec<u8>, text: fn(String) -> T, base64: fn(String) -> T) -> T {
    match String::from_utf8(bytes) {
        Ok(string) => text(string),
        Err(error) => base64(STANDARD.encode(error.as_bytes())),
    }
}

/// Prints it on standard output, which is nobody else's.
pub(super) fn print(object: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(object).map_err(|error| Error::Output(error.into()))?;
    commands::print(text + "\n").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TargetError;

    #[test]
    fn an_error_is_an_object_too() {
        let undone = Undone::from(TargetError::Finished { pod: "shop".to_owned(), phase: "Succeeded".to_owned() });
        let mut pod = Pod::default();
        pod.metadata.name = Some("shop".to_owned());
        insta::assert_snapshot!(serde_json::to_string_pretty(&Object::of_visit("web", &pod, &undone)).unwrap(), @r#"
        {
          "namespace": "web",
          "pod": "shop",
          "exitCode": 67,
          "error": {
            "kind": "unfit",
            "message": "pod `shop` has finished (Succeeded): no container can be added"
          }
        }
        "#);
    }

    #[test]
    fn output_is_text_or_base64() {
        let object = Object {
            stdout: Some(text(b"ok\n".to_vec(), Stdout::Stdout, Stdout::StdoutBase64)),
            stderr: Some(text(vec![0xff, 0], Stderr::Stderr, Stderr::StderrBase64)),
            ..Object::default()
        };
        insta::assert_snapshot!(serde_json::to_string(&object).unwrap(), @r#"{"exitCode":0,"stdout":"ok\n","stderrBase64":"/wA="}"#);
    }
}
