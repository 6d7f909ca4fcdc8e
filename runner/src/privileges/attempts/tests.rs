//! Ways through the candidates, refusal after refusal.

use super::super::testing::{needs, target};
use super::super::{Wishes, candidates};
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const TCPDUMP: &str = "tcpdump!raw-socket";
const LSOF: &str = "lsof!target-read";

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

proptest! {
    #[test]
    fn refusals_lead_from_one_candidate_to_a_later_one(level in "baseline|restricted|other", policy: bool, run: bool) {
        let (wanted, target) = (needs("strace?target-attach tcpdump!raw-socket ip!net-admin"), target(json!({}), json!({})));
        let candidates = candidates(&wanted, &target, &Wishes::default());
        let tool = Name::parse("strace").unwrap();
        let attempts =
            Attempts { candidates: &candidates, wanted: &wanted, run: run.then_some(&tool), target: &target };
        let refusal = match policy {
            true => Refusal::Policy { message: level },
            false => pod_security(&level, &["ours"], &[]),
        };
        let place = |candidate: &Candidate| candidates.iter().position(|it| it == candidate).unwrap();
        let mut tried = attempts.first().unwrap();
        while let Some(next) = attempts.after(tried, &refusal).unwrap() {
            prop_assert!(place(next) > place(tried));
            tried = next;
        }
        prop_assert_eq!(tried.level, Level::Restricted);
    }
}
