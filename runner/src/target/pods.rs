//! Which of several pods: a pure function of the list.

use k8s_openapi::api::core::v1::Pod;

use super::{TargetError, fit};

/// How many of a workload's pods are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that runs, is ready, and is the youngest.
    One,
    /// All that run.
    All,
}

/// The pods that were meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The pods, best first; at least one.
    pub pods: Vec<Pod>,
    /// How they were chosen, for people; nothing where the pod was named.
    pub said: Option<String>,
}

/// How far a pod has come. What stands later here is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Starting,
    Running,
    Ready,
}

/// The most pods whose faults are told.
const TOLD: usize = 5;

/// Chooses among the pods of `what`, of which there is at least one.
pub(super) fn choose_pods(what: &str, pods: Vec<Pod>, which: Which) -> Result<Found, TargetError> {
    let total = pods.len();
    let mut faults = Vec::new();
    let mut fitting: Vec<(Stage, Pod)> = Vec::new();
    for pod in pods {
        match (fault(&pod), stage(&pod)) {
            (None, Stage::Starting) if which == Which::All => {
                faults.push(format!("`{}` is starting", name(&pod)));
            }
            (None, stage) => fitting.push((stage, pod)),
            (Some(fault), _) => faults.push(fault),
        }
    }
    if faults.len() > TOLD {
        let more = faults.len() - TOLD;
        faults.truncate(TOLD);
        faults.push(format!("{more} more"));
    }
    if fitting.is_empty() {
        return Err(TargetError::NoneFits { what: what.to_owned(), total, reasons: faults });
    }
    fitting.sort_by(|(stage, pod), (other_stage, other)| {
        let age = |pod: &Pod| pod.metadata.creation_timestamp.clone();
        other_stage.cmp(stage).then_with(|| age(other).cmp(&age(pod))).then_with(|| name(pod).cmp(name(other)))
    });
    let said = match which {
        Which::One => one(what, total, &fitting),
        Which::All => all(what, total, fitting.len(), &faults),
    };
    let mut pods: Vec<Pod> = fitting.into_iter().map(|(_, pod)| pod).collect();
    if which == Which::One {
        pods.truncate(1);
    }
    Ok(Found { pods, said: Some(said) })
}

/// ``pod `shop-7c9` of deploy/shop (3 pods: running, ready, youngest)``: what told it from the others.
fn one(what: &str, total: usize, fitting: &[(Stage, Pod)]) -> String {
    let (stage, pod) = &fitting[0];
    let state = match stage {
        Stage::Ready => "running, ready",
        Stage::Running => "running, not ready",
        Stage::Starting => "starting",
    };
    let rivals = fitting.iter().filter(|(other, _)| other == stage).count();
    let youngest = if rivals > 1 { ", youngest" } else { "" };
    let number = if total == 1 { "its only pod".to_owned() } else { format!("{total} pods") };
    format!("pod `{}` of {what} ({number}: {state}{youngest})", name(pod))
}

/// `5 of the 6 pods of deploy/shop`, and what is the matter with the sixth.
fn all(what: &str, total: usize, fitting: usize, faults: &[String]) -> String {
    if faults.is_empty() {
        format!("all {total} pods of {what}")
    } else {
        format!("{fitting} of the {total} pods of {what}: {}", faults.join(", "))
    }
}

/// What keeps a debug container from starting in the pod.
fn fault(pod: &Pod) -> Option<String> {
    let name = name(pod);
    Some(match fit(pod, name).err()? {
        TargetError::Deleting { .. } => format!("`{name}` is being deleted"),
        TargetError::Finished { phase, .. } => format!("`{name}` has finished ({phase})"),
        TargetError::Unscheduled { reason: Some(reason), .. } => format!("`{name}` is on no node yet ({reason})"),
        TargetError::Unscheduled { reason: None, .. } => format!("`{name}` is on no node yet"),
        other => other.to_string(),
    })
}

fn stage(pod: &Pod) -> Stage {
    let status = pod.status.as_ref();
    let is_ready = |pod_status: &k8s_openapi::api::core::v1::PodStatus| {
        let mut conditions = pod_status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    match status.and_then(|status| status.phase.as_deref()) {
        Some("Running") if status.is_some_and(is_ready) => Stage::Ready,
        Some("Running") => Stage::Running,
        _ => Stage::Starting,
    }
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// `NAME STATE MINUTE`: a pod that was made in that minute.
    fn pod(line: &str) -> Pod {
        let [name, state, minute] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let mut pod = json!({
            "metadata": { "name": name, "creationTimestamp": format!("2026-01-01T00:{minute}:00Z") },
            "spec": { "nodeName": "node1", "containers": [] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }] },
        });
        match state {
            "ready" => pod["status"]["conditions"][0]["status"] = "True".into(),
            "unready" => {}
            "starting" => pod["status"]["phase"] = "Pending".into(),
            "pending" => pod["spec"]["nodeName"] = Value::Null,
            "deleted" => pod["metadata"]["deletionTimestamp"] = "2026-01-01T01:00:00Z".into(),
            "failed" => pod["status"]["phase"] = "Failed".into(),
            other => panic!("{other}"),
        }
        serde_json::from_value(pod).unwrap()
    }

    fn chosen(which: Which, lines: &[&str]) -> String {
        match choose_pods("deploy/shop", lines.iter().map(|line| pod(line)).collect(), which) {
            Ok(found) => {
                let names: Vec<&str> = found.pods.iter().map(name).collect();
                format!("{}: {}", names.join(" "), found.said.unwrap())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn one_pod_is_chosen_and_it_is_said_why() {
        let lines = [
            chosen(Which::One, &["a ready 01", "b ready 03", "c ready 02"]),
            chosen(Which::One, &["a ready 01", "b unready 03", "c starting 04"]),
            chosen(Which::One, &["a unready 01", "b unready 02"]),
            chosen(Which::One, &["a starting 01", "b pending 02"]),
            chosen(Which::One, &["a ready 01"]),
            chosen(Which::One, &["a unready 01"]),
            chosen(Which::One, &["a ready 01", "b deleted 02", "c failed 03"]),
            chosen(Which::One, &["b ready 01", "a ready 01"]),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        b: pod `b` of deploy/shop (3 pods: running, ready, youngest)
        a: pod `a` of deploy/shop (3 pods: running, ready)
        b: pod `b` of deploy/shop (2 pods: running, not ready, youngest)
        a: pod `a` of deploy/shop (2 pods: starting)
        a: pod `a` of deploy/shop (its only pod: running, ready)
        a: pod `a` of deploy/shop (its only pod: running, not ready)
        a: pod `a` of deploy/shop (3 pods: running, ready)
        a: pod `a` of deploy/shop (2 pods: running, ready, youngest)
        ");
    }

    #[test]
    fn all_are_all_that_run() {
        let lines = [
            chosen(Which::All, &["a ready 01", "b unready 03", "c ready 02"]),
            chosen(Which::All, &["a ready 01", "b deleted 03", "c starting 02"]),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        c a b: all 3 pods of deploy/shop
        a: 1 of the 3 pods of deploy/shop: `b` is being deleted, `c` is starting
        ");
    }

    #[test]
    fn where_none_fits_it_is_said_what_is_the_matter_with_each() {
        let many: Vec<String> = (10..19).map(|minute| format!("p{minute} failed {minute}")).collect();
        let lines = [
            chosen(Which::One, &["a deleted 01", "b failed 02", "c pending 03"]),
            chosen(Which::All, &["a starting 01"]),
            chosen(Which::One, &many.iter().map(String::as_str).collect::<Vec<_>>()),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        none of the 3 pods of deploy/shop can be debugged: `a` is being deleted, `b` has finished (Failed), `c` is on no node yet
        no pod of deploy/shop can be debugged: `a` is starting
        none of the 9 pods of deploy/shop can be debugged: `p10` has finished (Failed), `p11` has finished (Failed), `p12` has finished (Failed), `p13` has finished (Failed), `p14` has finished (Failed), 4 more
        ");
    }
}
