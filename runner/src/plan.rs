//! The debug container: a pure function of the image, the target and what the user asked for.

use std::time::Duration;

use k8s_openapi::api::core::v1::{EnvVar, EphemeralContainer};
use serde_json::{Value, json};

use crate::image::Image;
use crate::privileges;
use crate::target::Target;

/// The first process of the container, and the wrapper of every session.
pub const INIT: &str = "/usr/bin/kitbag-init";

/// Letters and digits that make no words and are not taken for each other, as Kubernetes has them.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The container to add.
#[must_use]
pub fn container(name: &str, image: &Image, target: &Target, idle: Duration) -> EphemeralContainer {
    let variable =
        |name: &str, value: &str| EnvVar { name: name.to_owned(), value: Some(value.to_owned()), ..EnvVar::default() };
    let add = privileges::union(image.all_needs());
    EphemeralContainer {
        name: name.to_owned(),
        image: Some(image.reference.clone()),
        // By digest: what is there is what is wanted.
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some([INIT, "--idle", &idle.as_secs().to_string()].map(str::to_owned).to_vec()),
        env: Some(vec![
            variable("KITBAG_TARGET", &target.container),
            variable("KITBAG_TOOLS", &image.tools),
            variable("KITBAG_VERSION", env!("CARGO_PKG_VERSION")),
        ]),
        target_container_name: Some(target.container.clone()),
        security_context: Some(privileges::exact(&add, target.spec.security_context.as_ref())),
        // The last words of a start that failed then stand in the pod's status.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..EphemeralContainer::default()
    }
}

/// The strategic merge patch that adds it, and leaves earlier ones alone.
#[must_use]
pub fn patch(container: &EphemeralContainer) -> Value {
    json!({ "spec": { "ephemeralContainers": [container] } })
}

/// A name that no container of the pod has: `kitbag-` and five characters.
pub fn name(taken: &[String], mut random: impl FnMut() -> u64) -> String {
    loop {
        let name = format!("kitbag-{}", word(random()));
        if !taken.contains(&name) {
            return name;
        }
    }
}

/// Five characters out of a random number.
#[must_use]
pub fn word(mut random: u64) -> String {
    let mut character = || {
        let index = random % ALPHABET.len() as u64;
        random /= ALPHABET.len() as u64;
        char::from(ALPHABET[usize::try_from(index).unwrap_or_default()])
    };
    (0..5).map(|_| character()).collect()
}

/// What is asked for and by which tool, for people: `NET_RAW, SYS_PTRACE (strace: target-attach; tcpdump: raw-socket)`.
#[must_use]
pub fn reasons(image: &Image) -> String {
    let capabilities: Vec<&str> = privileges::union(image.all_needs()).into_iter().collect();
    let with_needs = image.needs.iter().filter_map(|(tool, needs)| {
        let words: Vec<&str> =
            needs.all().filter(|need| !privileges::capabilities(*need).is_empty()).map(|need| need.as_str()).collect();
        (!words.is_empty()).then(|| format!("{tool}: {}", words.join(", ")))
    });
    let tools: Vec<String> = with_needs.collect();
    if capabilities.is_empty() {
        "no capability".to_owned()
    } else {
        format!("{} ({})", capabilities.join(", "), tools.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Container, PodSpec, SecurityContext};

    fn image() -> Image {
        let needs = r#"{"dig":{},"strace":{"optional":["target-attach"]},"tcpdump":{"required":["raw-socket","see"]}}"#;
        Image {
            reference: "127.0.0.1:5005/dig/strace/tcpdump@sha256:00".to_owned(),
            tools: "strace=6.1 tcpdump=4.99.6 dig=9.20.26".to_owned(),
            needs: serde_json::from_str(needs).unwrap(),
        }
    }

    fn target(security_context: Option<SecurityContext>) -> Target {
        Target {
            pod: "shop".into(),
            container: "app".into(),
            spec: Container { name: "app".into(), security_context, ..Container::default() },
            pod_spec: PodSpec::default(),
            status: None,
            names: Vec::new(),
            warning: None,
        }
    }

    #[test]
    fn the_patch_says_exactly_this() {
        let profiles = serde_json::from_value(json!({
            "runAsUser": 1000,
            "privileged": false,
            "seLinuxOptions": { "type": "shop_t" },
            "appArmorProfile": { "type": "Localhost", "localhostProfile": "shop" },
        }));
        let container = container("kitbag-b2c4d", &image(), &target(Some(profiles.unwrap())), Duration::from_secs(60));
        insta::assert_snapshot!(serde_json::to_string_pretty(&patch(&container)).unwrap(), @r#"
        {
          "spec": {
            "ephemeralContainers": [
              {
                "command": [
                  "/usr/bin/kitbag-init",
                  "--idle",
                  "60"
                ],
                "env": [
                  {
                    "name": "KITBAG_TARGET",
                    "value": "app"
                  },
                  {
                    "name": "KITBAG_TOOLS",
                    "value": "strace=6.1 tcpdump=4.99.6 dig=9.20.26"
                  },
                  {
                    "name": "KITBAG_VERSION",
                    "value": "0.1.0"
                  }
                ],
                "image": "127.0.0.1:5005/dig/strace/tcpdump@sha256:00",
                "imagePullPolicy": "IfNotPresent",
                "name": "kitbag-b2c4d",
                "securityContext": {
                  "allowPrivilegeEscalation": false,
                  "appArmorProfile": {
                    "localhostProfile": "shop",
                    "type": "Localhost"
                  },
                  "capabilities": {
                    "add": [
                      "KILL",
                      "NET_RAW",
                      "SYS_PTRACE"
                    ],
                    "drop": [
                      "ALL"
                    ]
                  },
                  "runAsGroup": 0,
                  "runAsNonRoot": false,
                  "runAsUser": 0,
                  "seLinuxOptions": {
                    "type": "shop_t"
                  },
                  "seccompProfile": {
                    "type": "RuntimeDefault"
                  }
                },
                "targetContainerName": "app",
                "terminationMessagePolicy": "FallbackToLogsOnError"
              }
            ]
          }
        }
        "#);
    }

    #[test]
    fn a_name_is_short_valid_and_new() {
        assert_eq!(name(&[], || 0), "kitbag-bbbbb");
        let mut numbers = 0..;
        assert_eq!(name(&["kitbag-bbbbb".to_owned()], || numbers.next().unwrap()), "kitbag-cbbbb");
        assert!(
            name(&[], || u64::MAX)
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        );
    }

    #[test]
    fn people_are_told_which_tool_asks_for_what() {
        insta::assert_snapshot!(reasons(&image()), @"KILL, NET_RAW, SYS_PTRACE (strace: target-attach; tcpdump: raw-socket)");
        assert_eq!(
            reasons(&Image { needs: serde_json::from_str(r#"{"dig":{}}"#).unwrap(), ..image() }),
            "no capability"
        );
    }
}
