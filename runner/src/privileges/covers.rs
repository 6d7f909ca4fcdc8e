//! Whether a debug container that runs already has the privileges that are wanted.

use k8s_openapi::api::core::v1::{Capabilities, SecurityContext};

use super::capability::Set;
use super::{Candidate, Level, context};

/// Whether `have` is as good as `want`: the same user, at least its capabilities, and whatever else it says. What an
/// admission plugin may have added to it beside that does not count.
#[must_use]
pub fn covers(have: &SecurityContext, want: &SecurityContext) -> bool {
    covers_but_user(have, want) && (have.run_as_user, have.run_as_group) == (want.run_as_user, want.run_as_group)
}

/// The candidate that a running container of `level` and `have` stands for: the strongest, where it covers that. One that
/// was made for the `same_tools` and got less than the strongest got it because the cluster refused more, so it stands for
/// the candidate of its own level too; what was refused to other tools says nothing about these.
#[must_use]
pub fn fitting<'a>(
    level: Level,
    have: &SecurityContext,
    candidates: &'a [Candidate],
    same_tools: bool,
) -> Option<&'a Candidate> {
    let fits = |(index, candidate): &(usize, &Candidate)| {
        let meant = *index == 0 || (same_tools && candidate.level == level);
        // Where the target's user is a guess, any other that was found out is as good.
        let found_out = candidate.guess && covers_but_user(have, &candidate.context);
        meant && (found_out || covers(have, &candidate.context))
    };
    candidates.iter().enumerate().find(fits).map(|(_, candidate)| candidate)
}

fn covers_but_user(have: &SecurityContext, want: &SecurityContext) -> bool {
    have.privileged.unwrap_or(false) == want.privileged.unwrap_or(false)
        && says(have.allow_privilege_escalation.as_ref(), want.allow_privilege_escalation.as_ref())
        && says(have.seccomp_profile.as_ref(), want.seccomp_profile.as_ref())
        && says(have.se_linux_options.as_ref(), want.se_linux_options.as_ref())
        && says(have.app_armor_profile.as_ref(), want.app_armor_profile.as_ref())
        && covers_capabilities(have, want)
}

fn says<T: PartialEq>(have: Option<&T>, want: Option<&T>) -> bool {
    want.is_none() || have == want
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

#[cfg(test)]
mod tests {
    use super::super::testing::{needs, target};
    use super::super::{Wishes, candidates};
    use super::*;
    use crate::target::Target;
    use k8s_openapi::api::core::v1::{AppArmorProfile, SELinuxOptions};
    use serde_json::{Value, json};

    const STRACE: &str = "strace?target-attach";
    const DIG: &str = "dig";

    #[test]
    fn a_running_container_is_entered_again_where_it_has_what_is_wanted() {
        let target = target(json!({ "runAsUser": 1000 }), json!({}));
        let of = |tools: &str, level: Level| {
            let all = candidates(&needs(tools), &target, &Wishes::default());
            all.into_iter().find(|candidate| candidate.level == level).unwrap()
        };
        let [strace, both] =
            [STRACE, "strace?target-attach tcpdump!raw-socket"].map(|tools| of(tools, Level::Exact).context);
        let [dig, low_port] = [DIG, "nc!low-port"].map(|tools| of(tools, Level::Exact).context);
        let baseline = of(STRACE, Level::Baseline).context;
        let restricted = of(STRACE, Level::Restricted).context;
        let privileged = SecurityContext { privileged: Some(true), ..both.clone() };
        let mutated = SecurityContext {
            proc_mount: Some("Default".into()),
            app_armor_profile: Some(AppArmorProfile { type_: "RuntimeDefault".into(), ..AppArmorProfile::default() }),
            se_linux_options: Some(SELinuxOptions { level: Some("s0:c1".into()), ..SELinuxOptions::default() }),
            ..both.clone()
        };
        let escalating = SecurityContext { allow_privilege_escalation: Some(true), ..both.clone() };
        let unconfined = SecurityContext { seccomp_profile: None, ..both.clone() };
        for (name, have, want, expected) in [
            ("itself", &both, &both, true),
            ("less", &both, &strace, true),
            ("more", &strace, &both, false),
            ("nothing", &both, &dig, true),
            ("what an admission plugin added", &mutated, &both, true),
            ("what an admission plugin changed", &escalating, &both, false),
            ("less confined", &unconfined, &both, false),
            ("more confined", &both, &unconfined, true),
            ("what every runtime gives", &baseline, &low_port, true),
            ("what no runtime gives", &baseline, &strace, false),
            ("the default set, whatever it is", &both, &baseline, false),
            ("the default set", &baseline, &baseline, true),
            ("another user", &both, &restricted, false),
            ("privileged", &privileged, &both, false),
        ] {
            assert_eq!(covers(have, want), expected, "{name}");
        }
    }

    #[test]
    fn a_container_that_got_less_is_entered_again_by_who_would_get_less_too() {
        let known = target(json!({ "runAsUser": 1000 }), json!({}));
        let unknown = target(Value::Null, json!({}));
        let of = |target: &Target| candidates(&needs(STRACE), target, &Wishes::default());
        let fits = |level, have: &SecurityContext, target: &Target| {
            fitting(level, have, &of(target), true).map(|candidate| candidate.level)
        };
        let find = |level, target: &Target| of(target).into_iter().find(|candidate| candidate.level == level).unwrap();
        let baseline = find(Level::Baseline, &known).context;
        assert_eq!(fits(Level::Baseline, &baseline, &known), Some(Level::Baseline));
        assert_eq!(fits(Level::Chosen, &baseline, &known), None);
        // It was made for other tools: that they got no more says nothing.
        assert_eq!(fitting(Level::Baseline, &baseline, &of(&known), false), None);
        let exact = find(Level::Exact, &known).context;
        assert_eq!(fitting(Level::Exact, &exact, &of(&known), false).map(|it| it.level), Some(Level::Exact));
        assert_eq!(fits(Level::Chosen, &exact, &known), Some(Level::Exact));
        // The user was found out by the first session.
        let guess = find(Level::Restricted, &unknown);
        assert!(guess.guess);
        let corrected = guess.corrected(1000, 0, &unknown).unwrap();
        assert_eq!((corrected.context.run_as_user, corrected.context.run_as_group), (Some(1000), Some(0)));
        assert_eq!(fits(Level::Restricted, &corrected.context, &unknown), Some(Level::Restricted));
        assert_eq!(fits(Level::Restricted, &corrected.context, &known), Some(Level::Restricted));
        assert_eq!(guess.corrected(0, 0, &unknown), None);
    }
}
