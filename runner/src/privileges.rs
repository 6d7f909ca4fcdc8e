//! What a debug container may do: the tools' needs, the target and the user's wishes give the security contexts to try, from
//! the strongest to the weakest; an answer of the cluster says which is next; a running session says what it came to.
//!
//! All of it is functions of values. How it is said to people is [`crate::sentences`].

mod attempts;
pub mod capability;
mod context;
mod covers;
mod grants;
mod hindrance;
mod measured;
mod outlook;
mod wishes;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::core::v1::SecurityContext;
use kitbag_toolsets::{Name, Need, Needs};

use crate::target::Target;
use crate::user::{self, Identity};

pub use attempts::{Attempts, Missing, Unmet};
pub use capability::{Capability, Set};
pub use covers::{covers, fitting};
pub use grants::{capabilities, is_of_target, union};
pub use hindrance::Hindrance;
pub(crate) use measured::YAMA_NOBODY;
pub use measured::measured;
pub use outlook::outlook;
pub use wishes::{Profile, Wishes};

/// Whom a container runs as when nobody knows who the target is: "nonroot" of the images that have such a user.
const NOBODY_KNOWN: u32 = 65532;

/// How strong a candidate is, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Root with exactly the capabilities that the tools need.
    Exact,
    /// Root with exactly the capabilities that the tools cannot do without.
    Fewer,
    /// Root with what the pod's own containers get by default.
    Baseline,
    /// The target's user, without any privilege.
    Restricted,
    /// What the user asked for.
    Chosen,
}

/// One security context to try.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Where it comes from.
    pub level: Level,
    /// The context.
    pub context: SecurityContext,
    /// Sessions take the target's user and group.
    pub becomes: bool,
    /// The target's user is not known and this one is guessed: a session tells, see [`Candidate::corrected`].
    pub guess: bool,
}

impl Candidate {
    /// The same as another user, for a second container where a session has told who the target is. None where the user is
    /// root and that would be refused.
    #[must_use]
    pub fn corrected(&self, uid: u32, gid: u32, target: &Target) -> Option<Self> {
        let possible = self.level == Level::Restricted && (uid != 0 || in_user_namespace(target));
        possible.then(|| {
            let context = context::restricted(Identity { uid, gid }, target);
            Self { context, guess: false, ..self.clone() }
        })
    }
}

/// What to try, strongest first. Where the user wishes something, that and nothing else.
///
/// Root without any capability of optional needs ([`Level::Fewer`]) is worth a try only where a required need takes a
/// capability: without one, the target's user ([`Level::Restricted`]) can do more. It stands before [`Level::Baseline`]
/// where that would not meet a required need, else behind it, since there sessions can still look into the target.
#[must_use]
pub fn candidates(needs: &BTreeMap<Name, Needs>, target: &Target, wishes: &Wishes) -> Vec<Candidate> {
    let all: Vec<Need> = needs.values().flat_map(Needs::all).collect();
    let of_target = all.iter().any(|need| is_of_target(*need));
    if !wishes.is_empty() {
        let context = wishes.context(&all, target);
        return vec![Candidate { level: Level::Chosen, context, becomes: of_target && wishes.becomes(), guess: false }];
    }
    let required: Vec<Need> = needs.values().flat_map(|needs| needs.required.iter().copied()).collect();
    let fewer = (!union(required.iter().copied()).is_empty()).then(|| root(Level::Fewer, &required, target));
    let baseline = baseline(&all, target);
    let baseline_will_do = required.iter().all(|need| outlook(*need, &baseline, target).is_none());
    let (before, after) = if baseline_will_do { (None, fewer) } else { (fewer, None) };
    let strongest_first = [root(Level::Exact, &all, target)].into_iter().chain(before).chain([baseline]).chain(after);
    let mut candidates: Vec<Candidate> = Vec::new();
    for candidate in strongest_first.chain([restricted(&all, target)]) {
        if candidates.iter().all(|stronger| stronger.context != candidate.context) {
            candidates.push(candidate);
        }
    }
    candidates
}

fn root(level: Level, needs: &[Need], target: &Target) -> Candidate {
    let of_target = needs.iter().any(|need| is_of_target(*need));
    let context = context::exact(union(needs.iter().copied()), target, of_target);
    Candidate { level, context, becomes: false, guess: false }
}

/// With `capabilities` left out there is a capability for raw sockets, which nobody may add, and one to become another user.
fn baseline(needs: &[Need], target: &Target) -> Candidate {
    let of_target = needs.iter().any(|need| is_of_target(*need));
    let by_default = of_target || needs.iter().any(|need| matches!(need, Need::RawSocket | Need::Ping));
    let low_port = needs.contains(&Need::LowPort).then_some("NET_BIND_SERVICE");
    let capabilities = (!by_default).then(|| context::only(low_port));
    Candidate {
        level: Level::Baseline,
        context: context::baseline(capabilities, target),
        becomes: of_target,
        guess: false,
    }
}

fn restricted(needs: &[Need], target: &Target) -> Candidate {
    let root = user::of(target).filter(|user| user.uid == 0 && in_user_namespace(target));
    let (user, guess) = root.map_or_else(|| non_root(target), |root| (root, false));
    let mut context = context::restricted(user, target);
    // The one that may be added. It is effective for root only.
    if root.is_some() && needs.contains(&Need::LowPort) {
        context.capabilities = Some(context::only(["NET_BIND_SERVICE"]));
    }
    Candidate { level: Level::Restricted, context, becomes: false, guess }
}

/// The target's user, or somebody where that is root or unknown; whether that is a guess.
fn non_root(target: &Target) -> (Identity, bool) {
    match user::of(target) {
        Some(user) if user.uid != 0 => (user, false),
        Some(_) => (Identity { uid: NOBODY_KNOWN, gid: NOBODY_KNOWN }, false),
        None => (Identity { uid: NOBODY_KNOWN, gid: user::group(target).unwrap_or(NOBODY_KNOWN) }, true),
    }
}

pub(crate) fn in_user_namespace(target: &Target) -> bool {
    target.pod_spec.host_users == Some(false)
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 5] = [Self::Exact, Self::Fewer, Self::Baseline, Self::Restricted, Self::Chosen];

    /// The word in `KITBAG_PRIVILEGES`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fewer => "fewer",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
            Self::Chosen => "chosen",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of exact, fewer, baseline, restricted, chosen")]
pub struct LevelError(String);

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or_else(|| LevelError(text.to_owned()))
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
