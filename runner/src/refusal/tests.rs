use super::*;
use proptest::prelude::*;

const ASKED: Asked<'_> = Asked {
    namespace: "web",
    verb: "patch",
    resource: "pods/ephemeralcontainers",
    container: "kitbag-b2c4d",
    reasons: "NET_RAW, SYS_PTRACE (strace: target-attach; tcpdump: raw-socket)",
};

fn text(code: u16, message: &str) -> String {
    let status = Status { code, message: message.to_owned(), ..Status::default() };
    let refusal = Refusal::new(&status, ASKED);
    format!("{refusal}\nhint: {}\nexit code: {}", refusal.hint().unwrap_or("none".into()), refusal.kind().exit_code())
}

#[test]
fn a_missing_permission_is_named_with_the_rule_to_ask_for() {
    insta::assert_snapshot!(text(
        403,
        r#"pods "shop" is forbidden: User "jane" cannot patch resource "pods/ephemeralcontainers" in API group "" in the namespace "web""#,
    ), @r#"
    user `jane` may not patch `pods/ephemeralcontainers` in namespace `web`
    hint: ask for a Role in `web` with this rule:
      - apiGroups: [""]
        resources: ["pods/ephemeralcontainers"]
        verbs: ["patch"]
    exit code: 77
    "#);
}

#[test]
fn the_level_of_a_namespace_is_named_with_the_reasons_that_are_ours() {
    insta::assert_snapshot!(text(
        403,
        r#"pods "shop" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities (container "kitbag-b2c4d" must not include "NET_RAW", "SYS_PTRACE" in securityContext.capabilities.add)"#,
    ), @r#"
    namespace `web` enforces the Pod Security level `baseline:latest`, which refuses the debug container:
      non-default capabilities (container "kitbag-b2c4d" must not include "NET_RAW", "SYS_PTRACE" in securityContext.capabilities.add)
    hint: the tools ask for NET_RAW, SYS_PTRACE (strace: target-attach; tcpdump: raw-socket); fewer tools may ask for less. The level is the label `pod-security.kubernetes.io/enforce` of the namespace
    exit code: 73
    "#);
}

#[test]
fn reasons_of_the_pods_own_containers_stand_apart() {
    insta::assert_snapshot!(text(
        403,
        r#"pods "shop" is forbidden: violates PodSecurity "baseline:v1.30": host namespaces (hostNetwork=true, hostPID=true), privileged (container "app" must not set securityContext.privileged=true), non-default capabilities (containers "app", "kitbag-b2c4d" must not include "NET_RAW" in securityContext.capabilities.add)"#,
    ), @r#"
    namespace `web` enforces the Pod Security level `baseline:v1.30`, which refuses the debug container:
      non-default capabilities (containers "app", "kitbag-b2c4d" must not include "NET_RAW" in securityContext.capabilities.add)
    and the pod itself:
      host namespaces (hostNetwork=true, hostPID=true)
      privileged (container "app" must not set securityContext.privileged=true)
    hint: the tools ask for NET_RAW, SYS_PTRACE (strace: target-attach; tcpdump: raw-socket); fewer tools may ask for less. The level is the label `pod-security.kubernetes.io/enforce` of the namespace
    exit code: 73
    "#);
}

#[test]
fn a_pod_that_violates_its_level_itself_cannot_be_helped() {
    insta::assert_snapshot!(text(
        403,
        r#"pods "shop" is forbidden: violates PodSecurity "baseline:latest": privileged (container "app" must not set securityContext.privileged=true)"#,
    ), @r#"
    namespace `web` enforces the Pod Security level `baseline:latest`, which refuses the pod itself:
      privileged (container "app" must not set securityContext.privileged=true)
    hint: no debug container can be added to this pod while `web` enforces `baseline:latest`; a copy of the pod in another namespace can be debugged
    exit code: 73
    "#);
}

#[test]
fn what_is_not_in_the_namespace_is_asked_for_in_a_cluster_role() {
    insta::assert_snapshot!(text(
        403,
        r#"users "joe" is forbidden: User "jane" cannot impersonate resource "users" in API group "" at the cluster scope"#,
    ), @r#"
    user `jane` may not impersonate `users` in this cluster
    hint: ask for a ClusterRole with this rule:
      - apiGroups: [""]
        resources: ["users"]
        verbs: ["impersonate"]
    exit code: 77
    "#);
}

#[test]
fn groups_are_told_apart() {
    insta::assert_snapshot!(text(
        403,
        r#"deployments.apps "shop" is forbidden: User "jane" cannot get resource "deployments" in API group "apps" in the namespace "web""#,
    ), @r#"
    user `jane` may not get `deployments` in namespace `web`
    hint: ask for a Role in `web` with this rule:
      - apiGroups: ["apps"]
        resources: ["deployments"]
        verbs: ["get"]
    exit code: 77
    "#);
}

#[test]
fn of_several_refusals_the_shortest_is_told_and_of_equals_that_of_the_least_candidate() {
    let security = |ours: &[&str]| Refusal::PodSecurity {
        level: "restricted:latest".into(),
        namespace: "web".into(),
        ours: ours.iter().map(|&reason| reason.to_owned()).collect(),
        others: Vec::new(),
        reasons: String::new(),
    };
    let policy = || Refusal::Policy { message: "no".into() };
    let shortest = |refusals: &[Refusal]| best(refusals.to_vec()).unwrap();
    assert_eq!(shortest(&[security(&["a"]), security(&["b", "c"]), security(&["d"])]), security(&["d"]));
    assert_eq!(shortest(&[security(&["a", "b"]), policy(), security(&["c", "d"])]), policy());
    assert_eq!(best(Vec::new()), None);
}

#[test]
fn everything_else_is_said_in_the_servers_words() {
    let texts = [
        text(403, r#"admission webhook "policy.example" denied the request: no debugging on Fridays"#),
        text(400, r#"admission webhook "policy.example" denied the request: no debugging on Fridays"#),
        text(400, r#"admission webhook "audit.example" does not support dry run"#),
        text(500, r#"Internal error occurred: failed calling webhook "audit.example": context deadline exceeded"#),
        text(403, r#"pods "shop" is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=2, limited: cpu=2"#),
        text(403, r#"pods "shop" is forbidden: maximum cpu usage per Container is 1, but limit is 2"#),
        text(404, r#"pods "shop" not found"#),
        text(422, r#"Pod "shop" is invalid: spec.ephemeralContainers[0].targetContainerName: Not found: "nope""#),
        text(401, "Unauthorized"),
        text(404, "the server could not find the requested resource"),
        text(400, "Upgrade request required"),
        text(500, "etcdserver: request timed out"),
    ];
    insta::assert_snapshot!(texts.join("\n\n"), @r#"
    a policy of the cluster refuses the debug container: admission webhook "policy.example" denied the request: no debugging on Fridays
    hint: none
    exit code: 73

    a policy of the cluster refuses the debug container: admission webhook "policy.example" denied the request: no debugging on Fridays
    hint: none
    exit code: 73

    it can't be tried out in this cluster: admission webhook "audit.example" does not support dry run
    hint: --dry-run=client prints what would be sent, without asking
    exit code: 73

    a webhook of the cluster does not answer: Internal error occurred: failed calling webhook "audit.example": context deadline exceeded
    hint: every change to pods here waits for that webhook: whoever runs it has to bring it back
    exit code: 69

    a limit of the namespace refuses the debug container: pods "shop" is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=2, limited: cpu=2
    hint: `kubectl describe resourcequota,limitrange -n web` shows what is left
    exit code: 73

    a limit of the namespace refuses the debug container: pods "shop" is forbidden: maximum cpu usage per Container is 1, but limit is 2
    hint: `kubectl describe resourcequota,limitrange -n web` shows what is left
    exit code: 73

    the pod is gone: pods "shop" not found
    hint: it was there a moment ago: its successor has another name
    exit code: 66

    the cluster takes the debug container for invalid: Pod "shop" is invalid: spec.ephemeralContainers[0].targetContainerName: Not found: "nope"
    hint: none
    exit code: 73

    the cluster does not know who asks: Unauthorized
    hint: log in to the cluster again
    exit code: 77

    the cluster has no ephemeral containers
    hint: upgrade the cluster: ephemeral containers came with Kubernetes 1.25
    exit code: 69

    no WebSocket gets through: a proxy between this machine and the API server takes away the headers `Connection` and `Upgrade` (Upgrade request required)
    hint: the proxy has to pass WebSockets on, or is gone around with $NO_PROXY; `kubectl kitbag doctor` checks it
    exit code: 69

    the cluster refuses with status 500: etcdserver: request timed out
    hint: none
    exit code: 69
    "#);
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(code in 0_u16..600, message in "[a-z (),\"]{0,60}|violates PodSecurity \"\\PC{0,40}|User \"\\PC{0,40}") {
        let _ = text(code, &message);
    }
}
