//! The Job that pulls: pure. It is a Job rather than a pod because the cluster itself ends and removes a Job in time,
//! whatever becomes of the program that made it.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile, SecurityContext, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::Place;

/// What the Jobs are called, and what their label says.
const NAME: &str = "kitbag-doctor";
/// How long a Job stays when it has ended, in seconds: many times as long as between two looks.
const TTL: i32 = 15;
/// Whom it runs as: "nonroot" of the images that have such a user.
const NOBODY: i64 = 65532;

/// One examination, whose Jobs are known by its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What no other run is called.
    pub id: String,
    /// What is pulled.
    pub image: String,
    /// How long it may take.
    pub limit: Duration,
    /// How far the API server's clock is ahead of this machine's.
    pub ahead: SignedDuration,
}

impl Run {
    /// The API server's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::now().checked_add(self.ahead).unwrap_or(Timestamp::MAX)
    }

    /// The name of the Job number `index`.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        format!("{NAME}-{}-{index}", self.id)
    }

    /// What selects this run's pods.
    #[must_use]
    pub fn selector(&self) -> String {
        format!("{},app.kubernetes.io/instance={}", Self::any(), self.id)
    }

    /// What selects every run's Jobs.
    #[must_use]
    pub fn any() -> String {
        format!("app.kubernetes.io/name={NAME}")
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let labels = [("app.kubernetes.io/name", NAME), ("app.kubernetes.io/instance", &self.id)];
        labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

/// A Job whose pod runs one command of the image and ends: such that Pod Security lets it in everywhere.
#[must_use]
pub fn job(run: &Run, index: usize, place: &Place) -> Job {
    let template = ObjectMeta { labels: Some(run.labels()), ..ObjectMeta::default() };
    let metadata = ObjectMeta { name: Some(run.name(index)), ..template.clone() };
    let spec = JobSpec {
        active_deadline_seconds: Some(run.limit.as_secs().try_into().unwrap_or(i64::MAX)),
        backoff_limit: Some(0),
        ttl_seconds_after_finished: Some(TTL),
        template: PodTemplateSpec { metadata: Some(template), spec: Some(pod(run, place)) },
        ..JobSpec::default()
    };
    Job { metadata, spec: Some(spec), ..Job::default() }
}

fn pod(run: &Run, place: &Place) -> PodSpec {
    let mut pod = PodSpec {
        containers: vec![container(&run.image)],
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(1),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NOBODY),
            run_as_group: Some(NOBODY),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    };
    match place {
        Place::Node(node) => {
            pod.affinity = Some(on(node));
            // Pods that are debugged may be on nodes that are kept free of others.
            pod.tolerations = Some(vec![Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() }]);
        }
        Place::Anywhere => {
            let linux = ("kubernetes.io/os".to_owned(), "linux".to_owned());
            pod.node_selector = Some(BTreeMap::from([linux]));
        }
    }
    pod
}

/// By the node's name, as the DaemonSet's controller does it: the label for it may have been changed.
fn on(node: &str) -> Affinity {
    let named = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![named]), ..NodeSelectorTerm::default() };
    let required = NodeSelector { node_selector_terms: vec![term] };
    let affinity =
        NodeAffinity { required_during_scheduling_ignored_during_execution: Some(required), ..NodeAffinity::default() };
    Affinity { node_affinity: Some(affinity), ..Affinity::default() }
}

fn container(image: &str) -> Container {
    let amounts = |cpu: &str, memory: &str| {
        let amounts = [("cpu", cpu), ("memory", memory)];
        amounts.into_iter().map(|(key, amount)| (key.to_owned(), Quantity(amount.to_owned()))).collect()
    };
    Container {
        name: "pull".to_owned(),
        image: Some(image.to_owned()),
        // Or a node that has it already would ask nobody.
        image_pull_policy: Some("Always".to_owned()),
        command: Some(vec!["/usr/bin/busybox".to_owned(), "true".to_owned()]),
        // A quota may want that everybody says how much.
        resources: Some(ResourceRequirements {
            requests: Some(amounts("1m", "8Mi")),
            limits: Some(amounts("100m", "32Mi")),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            id: "b2c4d".to_owned(),
            image: "127.0.0.1:5050/busybox@sha256:00".to_owned(),
            limit: Duration::from_secs(60),
            ahead: SignedDuration::ZERO,
        }
    }

    #[test]
    fn the_job_ends_and_goes_by_itself_and_is_let_in_everywhere() {
        let job = job(&run(), 0, &Place::Node("node1".to_owned()));
        insta::assert_snapshot!(serde_saphyr::to_string(&job).unwrap(), @r#"
        apiVersion: batch/v1
        kind: Job
        metadata:
          labels:
            app.kubernetes.io/instance: b2c4d
            app.kubernetes.io/name: kitbag-doctor
          name: kitbag-doctor-b2c4d-0
        spec:
          activeDeadlineSeconds: 60
          backoffLimit: 0
          template:
            metadata:
              labels:
                app.kubernetes.io/instance: b2c4d
                app.kubernetes.io/name: kitbag-doctor
            spec:
              affinity:
                nodeAffinity:
                  requiredDuringSchedulingIgnoredDuringExecution:
                    nodeSelectorTerms:
                    - matchFields:
                      - key: metadata.name
                        operator: In
                        values:
                        - node1
              automountServiceAccountToken: false
              containers:
              - command:
                - /usr/bin/busybox
                - "true"
                image: 127.0.0.1:5050/busybox@sha256:00
                imagePullPolicy: Always
                name: pull
                resources:
                  limits:
                    cpu: 100m
                    memory: 32Mi
                  requests:
                    cpu: 1m
                    memory: 8Mi
                securityContext:
                  allowPrivilegeEscalation: false
                  capabilities:
                    drop:
                    - ALL
                  readOnlyRootFilesystem: true
              enableServiceLinks: false
              restartPolicy: Never
              securityContext:
                runAsGroup: 65532
                runAsNonRoot: true
                runAsUser: 65532
                seccompProfile:
                  type: RuntimeDefault
              terminationGracePeriodSeconds: 1
              tolerations:
              - operator: Exists
          ttlSecondsAfterFinished: 15
        "#);
    }

    #[test]
    fn who_names_no_node_lets_the_scheduler_choose() {
        let pod = pod(&run(), &Place::Anywhere);
        assert_eq!((pod.affinity, pod.tolerations), (None, None));
        assert_eq!(pod.node_selector.unwrap()["kubernetes.io/os"], "linux");
    }

    #[test]
    fn a_run_is_known_by_its_label() {
        let job = job(&run(), 1, &Place::Anywhere);
        assert_eq!(job.metadata.name.as_deref(), Some("kitbag-doctor-b2c4d-1"));
        let labels = job.spec.unwrap().template.metadata.unwrap().labels.unwrap();
        let selected = run().selector();
        assert!(labels.iter().all(|(key, value)| selected.contains(&format!("{key}={value}"))), "{selected}");
    }
}
