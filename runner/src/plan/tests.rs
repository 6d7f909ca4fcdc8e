use super::*;
use crate::privileges::{Wishes, candidates, testing};
use k8s_openapi::api::core::v1::ContainerStatus;
use serde_json::json;

/// A view of nothing.
const ALONE: View = View { volumes: false, env: false };

fn image() -> Image {
    Image {
        reference: "127.0.0.1:5005/dig/strace/tcpdump@sha256:00".to_owned(),
        tools: "strace=6.1 tcpdump=4.99.6 dig=9.20.26".to_owned(),
        digest: Some("sha256:00".to_owned()),
        needs: testing::needs("dig strace?target-attach tcpdump!raw-socket,see"),
        ..Image::default()
    }
}

fn target(pod: Value) -> Target {
    let mut target = testing::target(json!({ "runAsUser": 1000 }), pod);
    target.spec = serde_json::from_value(json!({
        "name": "app",
        "securityContext": target.spec.security_context,
        "env": [{ "name": "MODE", "value": "$(PRICE)" }],
        "envFrom": [{ "secretRef": { "name": "keys" } }],
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }, { "name": "tmp", "mountPath": "/tmp" }],
    }))
    .unwrap();
    target
}

fn planned(view: View, custom: Option<&Custom>, attached: Option<&[String]>) -> Planned {
    let (image, target) = (image(), target(json!({})));
    let candidates = candidates(&image.needs, &target, &Wishes::default());
    container(&Plan { view, custom, attached, ..plan(&image, &target, &candidates[0]) })
}

fn plan<'a>(image: &'a Image, target: &'a Target, candidate: &'a Candidate) -> Plan<'a> {
    Plan {
        name: "kitbag-b2c4d",
        image,
        target,
        candidate,
        idle: Duration::from_secs(60),
        ttl: Duration::from_secs(3600),
        user: Some("jane"),
        reason: Some("it costs $5, not $(PRICE)"),
        view: ALONE,
        custom: None,
        attached: None,
    }
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
                "name": "KITBAG_VIEW",
                "value": "volumes env"
              },
              {
                "name": "KITBAG_SOCKET",
                "value": "/tmp/.kitbag/init.sock"
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
              },
              {
                "name": "BASH_ENV",
                "value": ""
              },
              {
                "name": "CURL_CA_BUNDLE",
                "value": "/etc/ssl/certs/ca-certificates.crt"
              },
              {
                "name": "CURL_HOME",
                "value": ""
              },
              {
                "name": "ENV",
                "value": ""
              },
              {
                "name": "HISTFILE",
                "value": ""
              },
              {
                "name": "HOME",
                "value": "/tmp"
              },
              {
                "name": "LD_AUDIT",
                "value": ""
              },
              {
                "name": "LD_LIBRARY_PATH",
                "value": ""
              },
              {
                "name": "LD_PRELOAD",
                "value": ""
              },
              {
                "name": "OPENSSL_CONF",
                "value": ""
              },
              {
                "name": "OPENSSL_MODULES",
                "value": ""
              },
              {
                "name": "SSL_CERT_DIR",
                "value": "/etc/ssl/certs"
              },
              {
                "name": "SSL_CERT_FILE",
                "value": "/etc/ssl/certs/ca-certificates.crt"
              },
              {
                "name": "TERMINFO",
                "value": "/usr/share/terminfo"
              },
              {
                "name": "TERMINFO_DIRS",
                "value": "/usr/share/terminfo"
              },
              {
                "name": "TMPDIR",
                "value": "/tmp"
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
fn what_the_one_session_says_does_not_end_up_in_the_pod() {
    let session = ["--", "env"].map(str::to_owned);
    let policy = |attached| planned(ALONE, None, attached).container.termination_message_policy.unwrap();
    assert_eq!((policy(None).as_str(), policy(Some(&session)).as_str()), ("FallbackToLogsOnError", "File"));
}

#[test]
fn the_first_process_is_told_whose_processes_it_sees() {
    let image = image();
    let command = |pod: Value, id: &str, attached: Option<&[String]>| {
        let mut target = target(pod);
        target.status = Some(ContainerStatus { container_id: Some(id.to_owned()), ..ContainerStatus::default() });
        let candidates = candidates(&image.needs, &target, &Wishes::default());
        let container = container(&Plan { attached, ..plan(&image, &target, &candidates[0]) }).container;
        container.command.unwrap().join(" ")
    };
    let shared = || json!({ "shareProcessNamespace": true });
    let bare = ["--", "sh", "--target"].map(str::to_owned);
    let whole = ["--shared", "--target", "4f5c", "--stdin", "--", "sh"].map(str::to_owned);
    let commands = [
        command(json!({}), "containerd://4f5c", None),
        command(shared(), "containerd://4f5c", None),
        command(json!({ "hostPID": true }), "", None),
        command(shared(), "containerd://4f5c", Some(&bare)),
        command(shared(), "containerd://4f5c", Some(&whole)),
    ];
    insta::assert_snapshot!(commands.join("\n"), @r"
    /usr/bin/kitbag-init --idle 60 --ttl 3600
    /usr/bin/kitbag-init --idle 60 --ttl 3600 --shared --target 4f5c
    /usr/bin/kitbag-init --idle 60 --ttl 3600 --shared
    /usr/bin/kitbag-init attached --idle 60 --ttl 3600 --shared --target 4f5c -- sh --target
    /usr/bin/kitbag-init attached --idle 60 --ttl 3600 --shared --target 4f5c --stdin -- sh
    ");
}

#[test]
fn a_tag_is_asked_for_again_and_a_digest_is_not() {
    let target = target(json!({}));
    let policy = |digest: Option<&str>| {
        let image = Image { digest: digest.map(str::to_owned), ..image() };
        let candidates = candidates(&image.needs, &target, &Wishes::default());
        container(&plan(&image, &target, &candidates[0])).container.image_pull_policy
    };
    assert_eq!(policy(Some("sha256:00")).as_deref(), Some("IfNotPresent"));
    assert_eq!(policy(None).as_deref(), Some("Always"));
}

#[test]
fn the_socket_is_where_the_first_process_looks_for_it() {
    assert!(include_str!("../../init/src/socket.rs").contains(&format!("c\"{SOCKET}\"")));
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
