//! Tables of candidates: what is tried for which tools and which target.

use super::testing::{needs, target};
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const TCPDUMP: &str = "tcpdump!raw-socket";
const STRACE: &str = "strace?target-attach";
const DIG: &str = "dig";

/// A context in one line: `1000:0 non-root -ALL +KILL,NET_RAW`, then what is not the rule.
fn line(candidate: &Candidate) -> String {
    let Candidate { level, context, becomes, guess } = candidate;
    let number = |number: Option<i64>| number.map_or("_".to_owned(), |number| number.to_string());
    let mut line = format!("{level:<10} {}:{}", number(context.run_as_user), number(context.run_as_group));
    let mut say = |text: &str| line.push_str(&format!(" {text}"));
    if let Some(non_root) = context.run_as_non_root {
        say(if non_root { "non-root" } else { "root-too" });
    }
    match &context.capabilities {
        None => say("default"),
        Some(capabilities) => {
            let list = |names: &Option<Vec<String>>| names.as_ref().map(|names| names.join(","));
            let drop = list(&capabilities.drop).map(|names| format!("-{names}"));
            let add = list(&capabilities.add).map(|names| format!("+{names}"));
            [drop, add].into_iter().flatten().for_each(|text| say(&text));
        }
    }
    if context.privileged == Some(true) {
        say("privileged");
    }
    if context.allow_privilege_escalation != Some(false) {
        say("may-escalate");
    }
    if context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str()) != Some("RuntimeDefault") {
        say("no-seccomp");
    }
    if let Some(profile) = &context.app_armor_profile {
        say(&format!("apparmor={}", profile.type_));
    }
    if let Some(options) = &context.se_linux_options {
        say(&format!("selinux={}", options.type_.as_deref().unwrap_or_default()));
    }
    if *becomes {
        say("becomes");
    }
    if *guess {
        say("guess");
    }
    line
}

fn table(cases: &[(&str, &str, Value, Value)]) -> String {
    let tables = cases.iter().map(|(title, tools, context, pod)| {
        let target = target(context.clone(), pod.clone());
        let lines = candidates(&needs(tools), &target, &Wishes::default()).iter().map(line).collect::<Vec<_>>();
        format!("{title}: {tools}\n  {}", lines.join("\n  "))
    });
    tables.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_tried_follows_from_the_needs() {
    let uid = || json!({ "runAsUser": 1000 });
    let everything = "all!target-read,target-attach,target-signal,target-chroot,raw-socket";
    let cases = [
        ("nothing", DIG, uid(), json!({})),
        ("raw socket", TCPDUMP, uid(), json!({})),
        ("optional only", STRACE, uid(), json!({})),
        ("both", "strace?target-attach tcpdump!raw-socket", uid(), json!({})),
        ("required is beyond baseline", "strace?target-attach ip!net-admin", uid(), json!({})),
        ("signal", "kill!target-signal", uid(), json!({})),
        ("low port", "nc!low-port", uid(), json!({})),
        ("everything", everything, uid(), json!({})),
    ];
    insta::assert_snapshot!(table(&cases), @r"
    nothing: dig
      exact 0:0 root-too -ALL
      restricted 1000:0 non-root -ALL
    raw socket: tcpdump!raw-socket
      exact 0:0 root-too -ALL +NET_RAW
      baseline 0:0 root-too default
      restricted 1000:0 non-root -ALL
    optional only: strace?target-attach
      exact 0:0 root-too -ALL +KILL,SYS_PTRACE
      baseline 0:0 root-too default becomes
      restricted 1000:0 non-root -ALL
    both: strace?target-attach tcpdump!raw-socket
      exact 0:0 root-too -ALL +KILL,NET_RAW,SYS_PTRACE
      baseline 0:0 root-too default becomes
      fewer 0:0 root-too -ALL +NET_RAW
      restricted 1000:0 non-root -ALL
    required is beyond baseline: strace?target-attach ip!net-admin
      exact 0:0 root-too -ALL +KILL,NET_ADMIN,SYS_PTRACE
      fewer 0:0 root-too -ALL +NET_ADMIN
      baseline 0:0 root-too default becomes
      restricted 1000:0 non-root -ALL
    signal: kill!target-signal
      exact 0:0 root-too -ALL +KILL
      baseline 0:0 root-too default becomes
      restricted 1000:0 non-root -ALL
    low port: nc!low-port
      exact 0:0 root-too -ALL +NET_BIND_SERVICE
      restricted 1000:0 non-root -ALL
    everything: all!target-read,target-attach,target-signal,target-chroot,raw-socket
      exact 0:0 root-too -ALL +DAC_READ_SEARCH,KILL,NET_RAW,SYS_CHROOT,SYS_PTRACE
      baseline 0:0 root-too default becomes
      restricted 1000:0 non-root -ALL
    ");
}

#[test]
fn what_is_tried_follows_from_the_target() {
    let cases = [
        ("root", STRACE, json!({ "runAsUser": 0 }), json!({})),
        ("user 1000 of group 7", STRACE, json!({ "runAsUser": 1000, "runAsGroup": 7 }), json!({})),
        ("user of the pod", STRACE, Value::Null, json!({ "securityContext": { "runAsUser": 1000, "runAsGroup": 7 } })),
        ("unknown", STRACE, Value::Null, json!({})),
        ("unknown user of a known group", STRACE, json!({ "runAsGroup": 7 }), json!({})),
        ("privileged", STRACE, json!({ "privileged": true, "runAsUser": 0 }), json!({})),
        ("privileged, which does not matter", TCPDUMP, json!({ "privileged": true }), json!({})),
        (
            "profiles",
            STRACE,
            json!({ "runAsUser": 5, "seLinuxOptions": { "type": "shop_t" }, "appArmorProfile": { "type": "Localhost", "localhostProfile": "shop" } }),
            json!({}),
        ),
        (
            "privileged in a pod with a profile",
            STRACE,
            json!({ "privileged": true }),
            json!({ "securityContext": { "appArmorProfile": { "type": "RuntimeDefault" } } }),
        ),
        ("root in a user namespace", STRACE, json!({ "runAsUser": 0 }), json!({ "hostUsers": false })),
        ("low port in a user namespace", "nc!low-port", json!({ "runAsUser": 0 }), json!({ "hostUsers": false })),
    ];
    insta::assert_snapshot!(table(&cases), @r"
    root: strace?target-attach
      exact 0:0 root-too -ALL +KILL,SYS_PTRACE
      baseline 0:0 root-too default becomes
      restricted 65532:65532 non-root -ALL
    user 1000 of group 7: strace?target-attach
      exact 0:0 root-too -ALL +KILL,SYS_PTRACE
      baseline 0:0 root-too default becomes
      restricted 1000:7 non-root -ALL
    user of the pod: strace?target-attach
      exact 0:0 root-too -ALL +KILL,SYS_PTRACE
      baseline 0:0 root-too default becomes
      restricted 1000:7 non-root -ALL
    unknown: strace?target-attach
      exact 0:0 root-too -ALL +KILL,SYS_PTRACE
      baseline 0:0 root-too default becomes
      restricted 65532:65532 non-root -ALL guess
    unknown user of a known group: strace?target-attach
      exact 0:0 root-too -ALL +KILL,SYS_PTRACE
      baseline 0:0 root-too default becomes
      restricted 65532:7 non-root -ALL guess
    privileged: strace?target-attach
      exact 0:0 root-too -ALL +KILL,SYS_PTRACE apparmor=Unconfined
      baseline 0:0 root-too default becomes
      restricted 65532:65532 non-root -ALL
    privileged, which does not matter: tcpdump!raw-socket
      exact 0:0 root-too -ALL +NET_RAW
      baseline 0:0 root-too default
      restricted 65532:65532 non-root -ALL guess
    profiles: strace?target-attach
      exact 0:0 root-too -ALL +KILL,SYS_PTRACE apparmor=Localhost selinux=shop_t
      baseline 0:0 root-too default apparmor=Localhost selinux=shop_t becomes
      restricted 5:0 non-root -ALL apparmor=Localhost selinux=shop_t
    privileged in a pod with a profile: strace?target-attach
      exact 0:0 root-too -ALL +KILL,SYS_PTRACE
      baseline 0:0 root-too default becomes
      restricted 65532:65532 non-root -ALL guess
    root in a user namespace: strace?target-attach
      exact 0:0 root-too -ALL +KILL,SYS_PTRACE
      baseline 0:0 root-too default becomes
      restricted 0:0 root-too -ALL
    low port in a user namespace: nc!low-port
      exact 0:0 root-too -ALL +NET_BIND_SERVICE
    ");
}

#[test]
fn wishes_are_taken_as_they_stand_and_nothing_else_is_tried() {
    let wish = |edit: fn(&mut Wishes)| {
        let mut wishes = Wishes::default();
        edit(&mut wishes);
        let target = target(json!({ "runAsUser": 1000, "runAsGroup": 7 }), json!({}));
        let candidates = candidates(&needs("strace?target-attach tcpdump!raw-socket"), &target, &wishes);
        assert_eq!(candidates.len(), 1);
        line(&candidates[0])
    };
    let lines = [
        wish(|it| it.profile = Some(Profile::General)),
        wish(|it| it.profile = Some(Profile::Baseline)),
        wish(|it| it.profile = Some(Profile::Restricted)),
        wish(|it| it.profile = Some(Profile::Netadmin)),
        wish(|it| it.profile = Some(Profile::Sysadmin)),
        wish(|it| it.privileged = true),
        wish(|it| {
            it.privileged = true;
            it.profile = Some(Profile::Restricted);
        }),
        wish(|it| it.as_user = "1000".parse().ok()),
        wish(|it| it.as_user = "5".parse().ok()),
        wish(|it| it.as_user = "0:5".parse().ok()),
        wish(|it| {
            it.profile = Some(Profile::Baseline);
            it.as_user = "5:6".parse().ok();
        }),
        wish(|it| it.cap_add = vec!["cap_net_admin".parse().unwrap(), "KILL".parse().unwrap()]),
        wish(|it| it.cap_drop = vec!["sys_ptrace".parse().unwrap()]),
        wish(|it| {
            it.cap_drop = vec!["ALL".parse().unwrap()];
            it.cap_add = vec!["NET_RAW".parse().unwrap()];
        }),
        wish(|it| {
            it.profile = Some(Profile::General);
            it.cap_drop = vec!["NET_RAW".parse().unwrap()];
        }),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    chosen _:_ +SYS_PTRACE may-escalate no-seccomp
    chosen _:_ default may-escalate no-seccomp becomes
    chosen 1000:7 non-root -ALL
    chosen _:_ +NET_ADMIN,NET_RAW may-escalate no-seccomp
    chosen _:_ default privileged may-escalate no-seccomp
    chosen 0:0 root-too default privileged may-escalate no-seccomp
    chosen 1000:7 non-root -ALL privileged may-escalate
    chosen 1000:7 non-root -ALL
    chosen 5:_ non-root -ALL
    chosen 0:5 root-too -ALL +KILL,NET_RAW,SYS_PTRACE
    chosen 5:6 non-root default may-escalate no-seccomp
    chosen 0:0 root-too -ALL +KILL,NET_RAW,SYS_PTRACE,NET_ADMIN
    chosen 0:0 root-too -ALL +KILL,NET_RAW
    chosen 0:0 root-too -ALL +NET_RAW
    chosen _:_ -NET_RAW +SYS_PTRACE may-escalate no-seccomp
    ");
}

#[test]
fn words_for_levels_are_read_back() {
    for level in Level::ALL {
        assert_eq!(level.to_string().parse(), Ok(level));
    }
    assert_eq!(
        "strong".parse::<Level>().unwrap_err().to_string(),
        "`strong` is not one of exact, fewer, baseline, restricted, chosen"
    );
}

/// What the Pod Security Standards let anybody add.
const BASELINE_ADD: &str =
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT";

proptest! {
    #[test]
    fn each_candidate_keeps_the_rules_of_its_level(
        required in proptest::sample::subsequence(Need::ALL.to_vec(), 0..4),
        optional in proptest::sample::subsequence(Need::ALL.to_vec(), 0..4),
        uid in proptest::option::of(prop_oneof![Just(0_i64), 1_i64..70_000]),
        privileged: bool,
        host_users: bool,
    ) {
        let all = Needs { required: required.into_iter().collect(), optional: optional.into_iter().collect() };
        let needs = BTreeMap::from([(Name::parse("tool").unwrap(), all)]);
        let target = target(json!({ "runAsUser": uid, "privileged": privileged }), json!({ "hostUsers": host_users }));
        let candidates = candidates(&needs, &target, &Wishes::default());
        prop_assert_eq!(candidates[0].level, Level::Exact);
        for Candidate { level, context, becomes, guess } in &candidates {
            prop_assert!(context.privileged.is_none());
            prop_assert_eq!(context.allow_privilege_escalation, Some(false));
            prop_assert_eq!(context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str()), Some("RuntimeDefault"));
            // The kubelet starts no root under runAsNonRoot.
            prop_assert_eq!(context.run_as_non_root, context.run_as_user.map(|uid| uid != 0));
            prop_assert!(context.run_as_group.is_some());
            prop_assert!(!becomes || *level == Level::Baseline);
            prop_assert!(!guess || *level == Level::Restricted);
            let capabilities = context.capabilities.clone();
            let add = Set::of(capabilities.iter().filter_map(|it| it.add.as_ref()).flatten());
            let drops_all = capabilities.is_some_and(|it| it.drop == Some(vec!["ALL".to_owned()]));
            match level {
                Level::Baseline => prop_assert!(Set::of(BASELINE_ADD.split(' ')).contains(add)),
                Level::Restricted => {
                    prop_assert!(drops_all && Set::of(["NET_BIND_SERVICE"]).contains(add));
                    prop_assert!(context.run_as_user != Some(0) || !host_users);
                    prop_assert!(context.app_armor_profile.is_none());
                }
                Level::Exact | Level::Fewer => prop_assert!(drops_all),
                Level::Chosen => prop_assert!(false, "nobody chose"),
            }
        }
    }
}
