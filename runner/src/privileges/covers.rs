//! Whether a debug container that runs already has the privileges that are wanted.

use k8s_openapi::api::core::v1::{Capabilities, SecurityContext};

use super::capability::Set;
use super::{Candidate, Level, context};

/// Whether `have` is as good as `want`: the same user and profiles, and at least its capabilities. What an admission plugin
/// may have added to it beside these does not count.
#[must_use]
pub fn covers(have: &SecurityContext, want: &SecurityContext) -> bool {
    covers_but_user(have, want) && (have.run_as_user, have.run_as_group) == (want.run_as_user, want.run_as_group)
}

/// The candidate that a running container of `level` and `have` stands for. A container that got less than the strongest
/// got it because the cluster refused that, so it stands for the candidate of its own level; any stands for the first one
/// that it covers.
#[must_use]
pub fn fitting<'a>(level: Level, have: &SecurityContext, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    let fits = |(index, candidate): &(usize, &Candidate)| {
        let meant = *index == 0 || candidate.level == level;
        // Where the target's user is a guess, any other that was found out is as good.
        let found_out = candidate.guess && covers_but_user(have, &candidate.context);
        meant && (found_out || covers(have, &candidate.context))
    };
    candidates.iter().enumerate().find(fits).map(|(_, candidate)| candidate)
}

fn covers_but_user(have: &SecurityContext, want: &SecurityContext) -> bool {
    have.privileged.unwrap_or(false) == want.privileged.unwrap_or(false)
        && have.allow_privilege_escalation == want.allow_privilege_escalation
        && have.seccomp_profile == want.seccomp_profile
        && have.se_linux_options == want.se_linux_options
        && have.app_armor_profile == want.app_armor_profile
        && covers_capabilities(have, want)
}

fn covers_capabilities(have: &SecurityContext, want: &SecurityContext) -> bool {
    let names = |names: &Option<Vec<String>>| Set::of(names.iter().flatten());
    let parts = |capabilities: &Option<Capabilities>| {
        capabilities.as_ref().map(|it| (names(&it.add), names(&it.drop))).unwrap_or_default()
    };
    let (add, drop) = parts(&want.capabilities);
    let (have_add, have_drop) = parts(&have.capabilities);
    if drop.contains(Set::ALL) {
        return context::certain(have).contains(add);
    }
    // What the runtime gives by default is wanted, whatever that is.
    drop.contains(have_drop) && have_add.contains(add)
}
