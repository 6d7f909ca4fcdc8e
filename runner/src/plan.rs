//! The debug container: a pure function of the image, the target, the privileges and what the user asked for.

pub mod custom;

use std::hash::{BuildHasher as _, RandomState};
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

/// Where the first process listens: said to it, so that no variable of the target's can say something else.
const SOCKET: &str = "/tmp/.kitbag/init.sock";

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
        value: Some(unexpanded(&value)),
        ..EnvVar::default()
    });
    let container = EphemeralContainer {
        name: plan.name.to_owned(),
        image: Some(plan.image.reference.clone()),
        image_pull_policy: Some(pull_policy(plan.image).to_owned()),
        command: Some(command(plan)),
        env: Some(own.chain(shared.env).collect()),
        env_from: (!shared.env_from.is_empty()).then_some(shared.env_from),
        volume_mounts: (!shared.volume_mounts.is_empty()).then_some(shared.volume_mounts),
        target_container_name: Some(plan.target.container.clone()),
        security_context: Some(plan.candidate.context.clone()),
        // A session comes in frames; what it says when its client is gone is for nobody else.
        stdin: plan.attached.map(|_| true),
        stdin_once: plan.attached.map(|_| true),
        // The last words of a start that failed stand in the pod's status; what a session says does not belong there.
        termination_message_policy: Some(if plan.attached.is_some() { "File" } else { "FallbackToLogsOnError" }.into()),
        ..EphemeralContainer::default()
    };
    let container = match plan.custom {
        Some(custom) => custom.onto(container),
        None => container,
    };
    Planned { container, notes: shared.notes }
}

/// What is there by that digest is what is wanted; what is there by that tag may be an older one.
const fn pull_policy(image: &Image) -> &'static str {
    if image.digest.is_some() { "IfNotPresent" } else { "Always" }
}

fn command(plan: &Plan<'_>) -> Vec<String> {
    let seconds = |duration: Duration| duration.as_secs().to_string();
    let limits = ["--idle".to_owned(), seconds(plan.idle), "--ttl".to_owned(), seconds(plan.ttl)];
    let own = |flag: &str| plan.attached.into_iter().flatten().take_while(|it| *it != "--").any(|it| it == flag);
    let shared = plan.target.shares_pid_namespace().then(|| vec!["--shared".to_owned()]);
    let id = plan.target.id_in_shared_namespace().map(|id| vec!["--target".to_owned(), id.to_owned()]);
    // The one session may say so itself.
    let target = [shared, id].into_iter().flatten().filter(|words| !own(&words[0])).flatten();
    let attached = plan.attached.map(|_| "attached".to_owned());
    let session = plan.attached.into_iter().flatten().map(|argument| unexpanded(argument));
    std::iter::once(INIT.to_owned()).chain(attached).chain(limits).chain(target).chain(session).collect()
}

/// What finds the container again and says whose it is: a pod's annotations are not for everybody to change.
fn own_env(plan: &Plan<'_>) -> Vec<(&'static str, String)> {
    let always = [
        ("KITBAG_TARGET", plan.target.container.clone()),
        ("KITBAG_TOOLS", plan.image.tools.clone()),
        ("KITBAG_VERSION", env!("CARGO_PKG_VERSION").to_owned()),
        ("KITBAG_PRIVILEGES", plan.candidate.level.to_string()),
        ("KITBAG_VIEW", plan.view.to_string()),
        ("KITBAG_SOCKET", SOCKET.to_owned()),
    ];
    let becomes = plan.candidate.becomes.then(|| ("KITBAG_BECOMES", "1".to_owned()));
    let user = plan.user.map(|user| ("KITBAG_USER", user.to_owned()));
    let reason = plan.reason.map(|reason| ("KITBAG_REASON", reason.to_owned()));
    always.into_iter().chain(becomes).chain(user).chain(reason).collect()
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

/// A number for names that should differ: the standard library's hash tables are seeded by the operating system, which is
/// enough for that.
#[must_use]
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
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
