use super::*;
use crate::privileges::{Wishes, candidates, testing};
use serde_json::json;

/// A view of nothing.
const ALONE: View = View { volumes: false, env: false };

fn image() -> Image {
    Image {
        reference: "127.0.0.1:5005/dig/strace/tcpdump@sha256:00".to_owned(),
        tools: "strace=6.1 tcpdump=4.99.6 dig=9.20.26".to_owned(),
        needs: testing::needs("dig strace?target-attach tcpdump!raw-socket,see"),
        ..Image::default()
    }
}

fn planned(view: View, custom: Option<&Custom>, attached: Option<&[String]>) -> Planned {
    let mut target = testing::target(json!({ "runAsUser": 1000 }), json!({}));
    target.spec = serde_json::from_value(json!({
        "name": "app",
        "securityContext": target.spec.security_context,
        "env": [{ "name": "MODE", "value": "$(PRICE)" }],
        "envFrom": [{ "secretRef": { "name": "keys" } }],
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }, { "name": "tmp", "mountPath": "/tmp" }],
    }))
    .unwrap();
    let image = image();
    let candidates = candidates(&image.needs, &target, &Wishes::default());
    let plan = Plan {
        name: "kitbag-b2c4d",
        image: &image,
        target: &target,
        candidate: &candidates[0],
        idle: Duration::from_secs(60),
        ttl: Duration::from_secs(3600),
        user: Some("jane"),
        reason: Some("it costs $5, not $(PRICE)"),
        view,
        custom,
        attached,
    };
    container(&plan)
}

#[test]
fn the_patch_says_exactly_this() {
    let planned = planned(View { volumes: true, env: true }, None, None);
    insta::assert_snapshot!(serde_json::to_string_pretty(&patch(&planned.container)).unwrap(), @r#"
    {
      "spec": {
        "ephemeralContainers": [
          {
            "command": [
              "/usr/bin/kitbag-init",
              "--idle",
              "60",
              "--ttl",
              "3600"
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
              },
              {
                "name": "KITBAG_PRIVILEGES",
                "value": "exact"
              },
              {
                "name": "KITBAG_USER",
                "value": "jane"
              },
              {
                "name": "KITBAG_REASON",
                "value": "it costs $$5, not $$(PRICE)"
              },
              {
                "name": "MODE",
                "value": "$(PRICE)"
              },
              {
                "name": "PATH",
                "value": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
              }
            ],
            "envFrom": [
              {
                "secretRef": {
                  "name": "keys",
                  "optional": true
                }
              }
            ],
            "image": "127.0.0.1:5005/dig/strace/tcpdump@sha256:00",
            "imagePullPolicy": "IfNotPresent",
            "name": "kitbag-b2c4d",
            "securityContext": {
              "allowPrivilegeEscalation": false,
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
              "seccompProfile": {
                "type": "RuntimeDefault"
              }
            },
            "targetContainerName": "app",
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [
              {
                "mountPath": "/data",
                "name": "data"
              }
            ]
          }
        ]
      }
    }
    "#);
    insta::assert_snapshot!(planned.notes.join("\n"), @"the mount `/tmp` is left out: our own programs need `/tmp`; it is at `/target/tmp`");
}

#[test]
fn the_one_session_of_an_attached_container_has_its_command_in_it() {
    let session = ["--stdin", "--", "sh", "-c", "echo $(id) $$ $HOME"].map(str::to_owned);
    let container = planned(ALONE, None, Some(&session)).container;
    assert_eq!((container.stdin, container.stdin_once, container.tty), (Some(true), Some(true), None));
    assert_eq!(
        container.command.unwrap().join(" "),
        "/usr/bin/kitbag-init attached --idle 60 --ttl 3600 --stdin -- sh -c echo $$(id) $$$$ $$HOME"
    );
}

#[test]
fn what_is_custom_comes_last() {
    let custom = Custom::parse("securityContext: {capabilities: {add: [NET_ADMIN]}}").unwrap();
    let container = planned(ALONE, Some(&custom), None).container;
    let context = container.security_context.unwrap();
    assert_eq!(context.run_as_user, Some(0));
    let capabilities = context.capabilities.unwrap();
    assert_eq!((capabilities.add, capabilities.drop), (Some(vec!["NET_ADMIN".into()]), Some(vec!["ALL".into()])));
    assert_eq!(container.name, "kitbag-b2c4d");
}

#[test]
fn a_name_is_short_valid_and_new() {
    assert_eq!(name(&[], || 0), "kitbag-bbbbb");
    let mut numbers = 0..;
    assert_eq!(name(&["kitbag-bbbbb".to_owned()], || numbers.next().unwrap()), "kitbag-cbbbb");
    assert!(
        name(&[], || u64::MAX).bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    );
}
