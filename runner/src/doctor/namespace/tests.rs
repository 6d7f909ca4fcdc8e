use serde_json::{Value, json};

use super::*;
use crate::doctor::testing::{jane, told};

fn at(level: Option<&str>) -> Finding {
    let labels = level.map_or(json!({}), |level| json!({ POD_SECURITY: level }));
    let namespace = serde_json::from_value(json!({ "metadata": { "name": "web", "labels": labels } })).unwrap();
    let needs = crate::privileges::testing::needs(
        "dig!see strace?target-attach tcpdump!raw-socket nsenter!namespaces busybox?target-read,ping,perf",
    );
    pod_security(&Fetched::Got(namespace), &jane(), &needs)
}

#[test]
fn a_level_is_told_by_what_it_means_for_tools() {
    let levels = [None, Some("privileged"), Some("baseline"), Some("restricted"), Some("strict")];
    insta::assert_snapshot!(told(&levels.map(at)), @r"
    ok       pod-security  namespace `web` enforces no level of its own: the cluster's default counts, which refuses nothing unless it was changed
    ok       pod-security  namespace `web` enforces `privileged`, which refuses nothing
    warning  pod-security  namespace `web` enforces `baseline`:
                           nsenter cannot be used there
                           busybox can do less
                           busybox (target-read), strace (target-attach): sessions become the target's user; not for a target that hides itself or has added capabilities
                           busybox (ping): works where the runtime gives NET_RAW by default, or has ping sockets for everybody
                           tcpdump (raw-socket): works where the runtime gives NET_RAW by default (containerd does, CRI-O does not)
                             kubectl kitbag needs nsenter
                             # where these matter more than the level, it is for the platform team to widen it; or debug a copy of the pod in another namespace
                             kubectl label namespace web pod-security.kubernetes.io/enforce=privileged --overwrite
    warning  pod-security  namespace `web` enforces `restricted`:
                           nsenter, tcpdump cannot be used there
                           busybox can do less
                           busybox (target-read), strace (target-attach): the container runs as the target's user; not for a target that hides itself
                           busybox (ping): works where the runtime has ping sockets for everybody
                             kubectl kitbag needs nsenter tcpdump
                             # where these matter more than the level, it is for the platform team to widen it; or debug a copy of the pod in another namespace
                             kubectl label namespace web pod-security.kubernetes.io/enforce=baseline --overwrite
    FAILURE  pod-security  namespace `web` enforces `strict`, which is no level: the API server takes it for `restricted`
                             kubectl label namespace web pod-security.kubernetes.io/enforce=baseline --overwrite
    ");
}

#[test]
fn tools_that_need_nothing_feel_no_level() {
    let namespace =
        serde_json::from_value(json!({ "metadata": { "labels": { POD_SECURITY: "restricted" } } })).unwrap();
    let needs = crate::privileges::testing::needs("dig!see");
    insta::assert_snapshot!(told(&[pod_security(&Fetched::Got(namespace), &jane(), &needs)]), @"ok       pod-security  namespace `web` enforces `restricted`: every tool works there as elsewhere");
}

#[test]
fn a_namespace_may_be_missing_or_not_ones_own() {
    let findings = [Fetched::Absent, Fetched::Forbidden].map(|it| pod_security(&it, &jane(), &BTreeMap::new()));
    insta::assert_snapshot!(told(&findings), @r"
    FAILURE  pod-security  there is no namespace `web`
                             kubectl get namespaces
    skipped  pod-security  only who may get namespace `web` can look at that
    ");
}

fn with_quota(hard: &Value, used: &Value) -> Finding {
    let quota = json!({ "metadata": { "name": "team" }, "status": { "hard": hard, "used": used } });
    quota_of(&[quota])
}

fn quota_of(quotas: &[Value]) -> Finding {
    let quotas = quotas.iter().map(|quota| serde_json::from_value(quota.clone()).unwrap()).collect();
    quota(&Fetched::Got(quotas), &jane())
}

#[test]
fn a_quota_that_is_used_up_keeps_pods_from_coming_back() {
    let findings = [
        quota_of(&[]),
        with_quota(&json!({ "pods": "10", "cpu": "4" }), &json!({ "pods": "9", "cpu": "4" })),
        with_quota(
            &json!({ "pods": "10", "count/jobs.batch": "2k" }),
            &json!({ "pods": "10", "count/jobs.batch": "1" }),
        ),
        quota(&Fetched::Forbidden, &jane()),
    ];
    insta::assert_snapshot!(told(&findings), @r"
    ok       quota         namespace `web` has no quota
    ok       quota         namespace `web` has room in its quotas
    warning  quota         namespace `web` has used up `pods` of quota `team` (10 of 10): debug containers are not counted, but no new pod starts there, the doctor's own neither
                             kubectl describe resourcequota -n web
    skipped  quota         only who may list ResourceQuotas in namespace `web` can look at that
    ");
}
