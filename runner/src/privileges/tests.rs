//! Tables of candidates: what is tried for which tools and which target.

use super::testing::{needs, target};
use super::*;
use crate::refusal::Refusal;
use serde_json::{Value, json};

const TCPDUMP: &str = "tcpdump!raw-socket";
const STRACE: &str = "strace?target-attach";
const LSOF: &str = "lsof!target-read";
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

/// Which candidates are tried, each refused in these words, and how it ends.
fn way(tools: &str, run: Option<&str>, context: Value, pod: Value, refuse: impl Fn(&Candidate) -> Refusal) -> String {
    let (wanted, target) = (needs(tools), target(context, pod));
    let candidates = candidates(&wanted, &target, &Wishes::default());
    let run = run.map(|name| Name::parse(name).unwrap());
    let attempts = Attempts { candidates: &candidates, wanted: &wanted, run: run.as_ref(), target: &target };
    let mut way = Vec::new();
    let mut next = attempts.first().map(Some);
    while let Ok(Some(candidate)) = next {
        way.push(candidate.level.to_string());
        next = attempts.after(candidate, &refuse(candidate));
    }
    if let Err(Unmet { level, missing }) = next {
        let missing = missing.iter().map(|missing| format!("{} {} {:?}", missing.tool, missing.need, missing.why));
        way.push(format!("not {level}: {}", missing.collect::<Vec<_>>().join(", ")));
    }
    way.join(" → ")
}

fn pod_security(level: &str, ours: &[&str], others: &[&str]) -> Refusal {
    let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Refusal::PodSecurity {
        level: level.to_owned(),
        namespace: "web".to_owned(),
        ours: list(ours),
        others: list(others),
        reasons: String::new(),
    }
}

#[test]
fn a_refusal_says_what_to_try_next() {
    let uid = || json!({ "runAsUser": 1000 });
    let baseline = |_: &Candidate| pod_security("baseline:latest", &["ours"], &[]);
    let restricted = |_: &Candidate| pod_security("restricted:v1.30", &["ours"], &[]);
    let not_ours = |_: &Candidate| pod_security("restricted:latest", &[], &["the pod's own"]);
    let policy = |message: &str| {
        let message = message.to_owned();
        move |_: &Candidate| Refusal::Policy { message: message.clone() }
    };
    let both = "strace?target-attach tcpdump!raw-socket";
    let lines = [
        ("baseline", way(both, None, uid(), json!({}), baseline)),
        ("restricted, strace of two", way(both, None, uid(), json!({}), restricted)),
        ("restricted, strace runs", way(both, Some("strace"), uid(), json!({}), restricted)),
        ("restricted, tcpdump runs", way(both, Some("tcpdump"), uid(), json!({}), restricted)),
        ("restricted, tcpdump alone", way(TCPDUMP, None, uid(), json!({}), restricted)),
        ("restricted, a shell alone", way("", None, uid(), json!({}), restricted)),
        ("restricted, lsof of root", way(LSOF, None, json!({ "runAsUser": 0 }), json!({}), restricted)),
        ("restricted, lsof of somebody", way(LSOF, None, Value::Null, json!({}), restricted)),
        ("the pod itself", way(both, None, uid(), json!({}), not_ours)),
        ("a policy names what is optional", way(both, None, uid(), json!({}), policy("no CAP_SYS_PTRACE here"))),
        ("a policy names what is required", way(both, None, uid(), json!({}), policy("SYS_PTRACE, NET_RAW: no"))),
        ("a policy names nothing", way(both, None, uid(), json!({}), policy("no"))),
        ("net-admin in baseline", way("ip!net-admin", None, uid(), json!({}), baseline)),
        (
            "root with more than ours in baseline",
            way(LSOF, None, json!({ "runAsUser": 0, "capabilities": { "add": ["NET_ADMIN"] } }), json!({}), baseline),
        ),
        (
            "kernel log in a user namespace",
            way("dmesg!kernel-log", None, uid(), json!({ "hostUsers": false }), baseline),
        ),
        ("no permission", way(both, None, uid(), json!({}), |_| Refusal::TooOld)),
        ("not valid", way(both, None, uid(), json!({}), |_| Refusal::Invalid { message: "name: Duplicate".into() })),
        (
            "a ValidatingAdmissionPolicy",
            way(both, None, uid(), json!({}), |_| Refusal::Invalid {
                message: "ValidatingAdmissionPolicy 'caps' with binding 'all' denied request: SYS_PTRACE".into(),
            }),
        ),
    ];
    let lines = lines.map(|(title, way)| format!("{title}: {way}"));
    insta::assert_snapshot!(lines.join("\n"), @r"
    baseline: exact → baseline → restricted
    restricted, strace of two: exact → restricted
    restricted, strace runs: exact → restricted
    restricted, tcpdump runs: exact → not restricted: tcpdump raw-socket Lacking(Set(8192))
    restricted, tcpdump alone: exact → not restricted: tcpdump raw-socket Lacking(Set(8192))
    restricted, a shell alone: exact → restricted
    restricted, lsof of root: exact → not restricted: lsof target-read OtherUser(Identity { uid: 0, gid: 0 })
    restricted, lsof of somebody: exact → restricted
    the pod itself: exact
    a policy names what is optional: exact → baseline → fewer → restricted
    a policy names what is required: exact → baseline → restricted
    a policy names nothing: exact → baseline → restricted
    net-admin in baseline: exact → not baseline: ip net-admin Lacking(Set(4096))
    root with more than ours in baseline: exact → not baseline: lsof target-read MoreCapable(Set(4096))
    kernel log in a user namespace: not exact: dmesg kernel-log UserNamespace
    no permission: exact
    not valid: exact
    a ValidatingAdmissionPolicy: exact → baseline → fewer → restricted
    ");
}

#[test]
fn a_running_container_is_entered_again_where_it_has_what_is_wanted() {
    let target = target(json!({ "runAsUser": 1000 }), json!({}));
    let of = |tools: &str, level: Level| {
        let all = candidates(&needs(tools), &target, &Wishes::default());
        all.into_iter().find(|candidate| candidate.level == level).unwrap()
    };
    let [strace, both] =
        [STRACE, "strace?target-attach tcpdump!raw-socket"].map(|tools| of(tools, Level::Exact).context);
    let [dig, low_port] = [DIG, "nc!low-port"].map(|tools| of(tools, Level::Exact).context);
    let baseline = of(STRACE, Level::Baseline).context;
    let restricted = of(STRACE, Level::Restricted).context;
    let privileged = SecurityContext { privileged: Some(true), ..both.clone() };
    let mutated = SecurityContext { proc_mount: Some("Default".into()), ..both.clone() };
    for (name, have, want, expected) in [
        ("itself", &both, &both, true),
        ("less", &both, &strace, true),
        ("more", &strace, &both, false),
        ("nothing", &both, &dig, true),
        ("what an admission plugin changed", &mutated, &both, true),
        ("what every runtime gives", &baseline, &low_port, true),
        ("what no runtime gives", &baseline, &strace, false),
        ("the default set, whatever it is", &both, &baseline, false),
        ("the default set", &baseline, &baseline, true),
        ("another user", &both, &restricted, false),
        ("privileged", &privileged, &both, false),
    ] {
        assert_eq!(covers(have, want), expected, "{name}");
    }
}

#[test]
fn a_container_that_got_less_is_entered_again_by_who_would_get_less_too() {
    let known = target(json!({ "runAsUser": 1000 }), json!({}));
    let unknown = target(Value::Null, json!({}));
    let of = |target: &Target| candidates(&needs(STRACE), target, &Wishes::default());
    let fits = |level, have: &SecurityContext, target: &Target| {
        fitting(level, have, &of(target)).map(|candidate| candidate.level)
    };
    let find = |level, target: &Target| of(target).into_iter().find(|candidate| candidate.level == level).unwrap();
    let baseline = find(Level::Baseline, &known).context;
    assert_eq!(fits(Level::Baseline, &baseline, &known), Some(Level::Baseline));
    assert_eq!(fits(Level::Chosen, &baseline, &known), None);
    let exact = find(Level::Exact, &known).context;
    assert_eq!(fits(Level::Chosen, &exact, &known), Some(Level::Exact));
    // The user was found out by the first session.
    let guess = find(Level::Restricted, &unknown);
    assert!(guess.guess);
    let corrected = guess.corrected(1000, 0, &unknown).unwrap();
    assert_eq!(line(&corrected), "restricted 1000:0 non-root -ALL");
    assert_eq!(fits(Level::Restricted, &corrected.context, &unknown), Some(Level::Restricted));
    assert_eq!(fits(Level::Restricted, &corrected.context, &known), Some(Level::Restricted));
    assert_eq!(guess.corrected(0, 0, &unknown), None);
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
