//! The debug container: a pure function of the image, the target, the privileges and what the user asked for.

pub mod custom;

use std::time::Duration;

use k8s_openapi::api::core::v1::{EnvVar, EphemeralContainer};
use serde_json::{Value, json};

use crate::image::Image;
use crate::privileges::Candidate;
use crate::target::Target;
use crate::view::{self, View};

pub use custom::{Custom, CustomError};

/// The first process of the container, and the wrapper of every session.
pub const INIT: &str = "/usr/bin/kitbag-init";

/// Letters and digits that make no words and are not taken for each other, as Kubernetes has them.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// What the container is made of.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its image.
    pub image: &'a Image,
    /// The container that it is for.
    pub target: &'a Target,
    /// What it may do.
    pub candidate: &'a Candidate,
    /// How long it stays when no session is open.
    pub idle: Duration,
    /// How long it stays at most.
    pub ttl: Duration,
    /// Who adds it, where that is known.
    pub user: Option<&'a str>,
    /// Why, in the user's words.
    pub reason: Option<&'a str>,
    /// What it shares with the target.
    pub view: View,
    /// What the user wants of it beside that.
    pub custom: Option<&'a Custom>,
    /// Flags, `--` and command of the one session that it is, where there can be no other: `kitbag-init attached`.
    pub attached: Option<&'a [String]>,
}

/// The container, and what a person should know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// What is added to the pod.
    pub container: EphemeralContainer,
    /// What it does not share with the target, and why.
    pub notes: Vec<String>,
}

/// The container to add.
#[must_use]
pub fn container(plan: &Plan<'_>) -> Planned {
    let shared = view::of(plan.target, plan.view, !plan.image.tools.is_empty());
    let own = own_env(plan).into_iter().map(|(name, value)| EnvVar {
        name: name.to_owned(),
        value: Some(unexpanded(value)),
        ..EnvVar::default()
    });
    let container = EphemeralContainer {
        name: plan.name.to_owned(),
        image: Some(plan.image.reference.clone()),
        // By digest: what is there is what is wanted.
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(command(plan)),
        env: Some(own.chain(shared.env).collect()),
        env_from: (!shared.env_from.is_empty()).then_some(shared.env_from),
        volume_mounts: (!shared.volume_mounts.is_empty()).then_some(shared.volume_mounts),
        target_container_name: Some(plan.target.container.clone()),
        security_context: Some(plan.candidate.context.clone()),
        // A session comes in frames; what it says when its client is gone is for nobody else.
        stdin: plan.attached.map(|_| true),
        stdin_once: plan.attached.map(|_| true),
        // The last words of a start that failed then stand in the pod's status.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..EphemeralContainer::default()
    };
    let container = match plan.custom {
        Some(custom) => custom.onto(container),
        None => container,
    };
    Planned { container, notes: shared.notes }
}

fn command(plan: &Plan<'_>) -> Vec<String> {
    let seconds = |duration: Duration| duration.as_secs().to_string();
    let limits = ["--idle".to_owned(), seconds(plan.idle), "--ttl".to_owned(), seconds(plan.ttl)];
    let attached = plan.attached.map(|_| "attached".to_owned());
    let session = plan.attached.into_iter().flatten().map(|argument| unexpanded(argument));
    std::iter::once(INIT.to_owned()).chain(attached).chain(limits).chain(session).collect()
}

/// What finds the container again and says whose it is: a pod's annotations are not for everybody to change.
fn own_env<'a>(plan: &'a Plan<'_>) -> Vec<(&'static str, &'a str)> {
    let always = [
        ("KITBAG_TARGET", plan.target.container.as_str()),
        ("KITBAG_TOOLS", &plan.image.tools),
        ("KITBAG_VERSION", env!("CARGO_PKG_VERSION")),
        ("KITBAG_PRIVILEGES", plan.candidate.level.as_str()),
    ];
    let user = plan.user.map(|user| ("KITBAG_USER", user));
    let reason = plan.reason.map(|reason| ("KITBAG_REASON", reason));
    always.into_iter().chain(user).chain(reason).collect()
}

/// Kubernetes replaces `$(NAME)` in commands and variables, and `$$` by `$`.
fn unexpanded(text: &str) -> String {
    if text.contains("$(") || text.contains("$$") { text.replace('$', "$$") } else { text.to_owned() }
}

/// The strategic merge patch that adds it, and leaves earlier ones alone.
#[must_use]
pub fn patch(container: &EphemeralContainer) -> Value {
    json!({ "spec": { "ephemeralContainers": [container] } })
}

/// A name that no container of the pod has: `kitbag-` and five characters.
pub fn name(taken: &[String], mut random: impl FnMut() -> u64) -> String {
    loop {
        let name = format!("kitbag-{}", word(random()));
        if !taken.contains(&name) {
            return name;
        }
    }
}

/// Five characters out of a random number.
#[must_use]
pub fn word(mut random: u64) -> String {
    let mut character = || {
        let index = random % ALPHABET.len() as u64;
        random /= ALPHABET.len() as u64;
        char::from(ALPHABET[usize::try_from(index).unwrap_or_default()])
    };
    (0..5).map(|_| character()).collect()
}

#[cfg(test)]
mod tests;
