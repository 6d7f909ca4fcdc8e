//! The least Role that a command line needs: a pure function of what it does.

use crate::access::rules::{Doing, Rule, Without};

/// The Role as YAML, with what each rule is for; for all namespaces it is a ClusterRole.
#[must_use]
pub fn role(doing: Doing, namespace: Option<&str>) -> String {
    let name = match doing {
        Doing::Debug(_) => "debug",
        Doing::List(_) => "list",
        Doing::Attach(_) => "attach",
        Doing::End(_) => "end",
    };
    let rules: String = doing.rules().iter().map(commented).collect();
    let (kind, namespace) = match namespace {
        Some(namespace) => ("Role", format!("  namespace: {namespace}\n")),
        None => ("ClusterRole", String::new()),
    };
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: kitbag-{name}\n{namespace}rules:\n{rules}"
    )
}

fn commented(rule: &Rule) -> String {
    let comment = match rule.without {
        Without::Fails => format!("  # {}\n", rule.why),
        Without::Loses(what) => format!("  # optional: {}; without it {what}\n", rule.why),
        Without::Takes(instead, what) => {
            let (verbs, resource) = (instead.verbs.join(" and "), instead.resource);
            format!("  # {}\n  # ({verbs} of {resource} will do: then {what})\n", rule.why)
        }
    };
    comment + &rule.yaml("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::rules::Found;
    use crate::target::Workload;

    #[test]
    fn the_role_for_debugging_a_pod() {
        insta::assert_snapshot!(role(Doing::Debug(Found::Pod), Some("web")), @r#"
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: kitbag-debug
          namespace: web
        rules:
          # reads the pod and its containers
          - apiGroups: [""]
            resources: ["pods"]
            verbs: ["get"]
          # adds the debug container
          - apiGroups: [""]
            resources: ["pods/ephemeralcontainers"]
            verbs: ["patch"]
          # opens sessions in the debug container
          # (create and get of pods/attach will do: then the debug container has one session only, ends with it, and its output stands in the container's log)
          - apiGroups: [""]
            resources: ["pods/exec"]
            verbs: ["create", "get"]
          # sees at once what becomes of the debug container
          # (get of pods will do: then the pod is asked for once a second)
          - apiGroups: [""]
            resources: ["pods"]
            verbs: ["watch"]
          # optional: leaves a trace on the pod: who debugs it, with what and why; without it no event is left on the pod
          - apiGroups: [""]
            resources: ["events"]
            verbs: ["create"]
          # optional: tells what the node says when a debug container does not start; without it what the node says is not shown
          - apiGroups: [""]
            resources: ["events"]
            verbs: ["list"]
          # optional: sees the start of a debug container when the node tells of it; without it the start is seen up to a second later
          - apiGroups: [""]
            resources: ["events"]
            verbs: ["watch"]
        "#);
    }

    #[test]
    fn a_workload_is_read_in_its_own_group() {
        insta::assert_snapshot!(role(Doing::Attach(Found::Of(Workload::Deployment)), Some("web")), @r#"
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: kitbag-attach
          namespace: web
        rules:
          # reads which pods belong to it
          - apiGroups: ["apps"]
            resources: ["deployments"]
            verbs: ["get"]
          # finds the pods that are meant
          - apiGroups: [""]
            resources: ["pods"]
            verbs: ["list"]
          # opens sessions in the debug container
          - apiGroups: [""]
            resources: ["pods/exec"]
            verbs: ["create", "get"]
          # optional: leaves a trace on the pod: who debugs it, with what and why; without it no event is left on the pod
          - apiGroups: [""]
            resources: ["events"]
            verbs: ["create"]
        "#);
    }

    #[test]
    fn the_other_commands_need_less() {
        let list = Doing::List(Found::Pods);
        let roles = [role(list, Some("web")), role(list, None), role(Doing::End(Found::Pod), Some("web"))];
        insta::assert_snapshot!(roles.join("---\n"), @r#"
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: kitbag-list
          namespace: web
        rules:
          # finds the pods that are meant
          - apiGroups: [""]
            resources: ["pods"]
            verbs: ["list"]
          # optional: asks the debug containers how many sessions they have, and how long they have been idle; without it that is not shown
          - apiGroups: [""]
            resources: ["pods/exec"]
            verbs: ["create", "get"]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata:
          name: kitbag-list
        rules:
          # finds the pods that are meant
          - apiGroups: [""]
            resources: ["pods"]
            verbs: ["list"]
          # optional: asks the debug containers how many sessions they have, and how long they have been idle; without it that is not shown
          - apiGroups: [""]
            resources: ["pods/exec"]
            verbs: ["create", "get"]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: kitbag-end
          namespace: web
        rules:
          # reads the pod and its containers
          - apiGroups: [""]
            resources: ["pods"]
            verbs: ["get"]
          # opens sessions in the debug container
          - apiGroups: [""]
            resources: ["pods/exec"]
            verbs: ["create", "get"]
          # sees at once what becomes of the debug container
          # (get of pods will do: then the pod is asked for once a second)
          - apiGroups: [""]
            resources: ["pods"]
            verbs: ["watch"]
        "#);
    }
}
