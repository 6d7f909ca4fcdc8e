//! From the tools' needs to capabilities and the security context: the least that makes everything work where nothing is
//! refused. What to try where something is, is another candidate.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{AppArmorProfile, Capabilities, SeccompProfile, SecurityContext};
use kitbag_toolsets::Need;

/// What a need takes, in Linux capabilities without `CAP_`.
#[must_use]
pub const fn capabilities(need: Need) -> &'static [&'static str] {
    match need {
        Need::See | Need::Scratch => &[],
        // The files and descriptors of another user are behind the second one even for a debugger.
        Need::TargetRead => &["DAC_READ_SEARCH", "SYS_PTRACE"],
        // A tracer that detaches sends a signal.
        Need::TargetAttach => &["KILL", "SYS_PTRACE"],
        Need::TargetSignal => &["KILL"],
        Need::TargetChroot => &["DAC_READ_SEARCH", "SYS_CHROOT", "SYS_PTRACE"],
        Need::RawSocket | Need::Ping => &["NET_RAW"],
        Need::NetAdmin => &["NET_ADMIN"],
        Need::LowPort => &["NET_BIND_SERVICE"],
        Need::Perf => &["PERFMON", "SYS_PTRACE"],
        Need::Bpf => &["BPF", "PERFMON"],
        Need::KernelLog => &["SYSLOG"],
        Need::Namespaces => &["SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE"],
    }
}

/// The union of what `needs` take.
#[must_use]
pub fn union(needs: impl IntoIterator<Item = Need>) -> BTreeSet<&'static str> {
    needs.into_iter().flat_map(|need| capabilities(need).iter().copied()).collect()
}

/// Root with exactly `add` and nothing else. Profiles of the target are copied: a debugger in another AppArmor profile or
/// with another SELinux label is kept from the target, whatever its capabilities.
#[must_use]
pub fn exact(add: &BTreeSet<&'static str>, target: Option<&SecurityContext>) -> SecurityContext {
    SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        // Beside the user, always: the pod may say otherwise, and the kubelet would refuse to start it.
        run_as_non_root: Some(false),
        // Costs root nothing.
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: (!add.is_empty()).then(|| add.iter().map(|&name| name.to_owned()).collect()),
        }),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        se_linux_options: target.and_then(|target| target.se_linux_options.clone()),
        app_armor_profile: app_armor_profile(add, target),
        ..SecurityContext::default()
    }
}

/// The target's own; that of a privileged target is none at all, which a debugger must then say.
fn app_armor_profile(add: &BTreeSet<&'static str>, target: Option<&SecurityContext>) -> Option<AppArmorProfile> {
    let target = target?;
    let looks_into_it = ["DAC_READ_SEARCH", "KILL", "SYS_PTRACE"].iter().any(|capability| add.contains(capability));
    let unconfined = || AppArmorProfile { type_: "Unconfined".to_owned(), localhost_profile: None };
    let is_privileged = target.privileged == Some(true) && looks_into_it;
    target.app_armor_profile.clone().or_else(|| is_privileged.then(unconfined))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_need_takes_what_was_measured() {
        for (need, expected) in [
            (Need::See, ""),
            (Need::TargetRead, "DAC_READ_SEARCH SYS_PTRACE"),
            (Need::TargetAttach, "KILL SYS_PTRACE"),
            (Need::TargetSignal, "KILL"),
            (Need::TargetChroot, "DAC_READ_SEARCH SYS_CHROOT SYS_PTRACE"),
            (Need::RawSocket, "NET_RAW"),
            (Need::Ping, "NET_RAW"),
            (Need::NetAdmin, "NET_ADMIN"),
            (Need::LowPort, "NET_BIND_SERVICE"),
            (Need::Perf, "PERFMON SYS_PTRACE"),
            (Need::Bpf, "BPF PERFMON"),
            (Need::KernelLog, "SYSLOG"),
            (Need::Namespaces, "SYS_ADMIN SYS_CHROOT SYS_PTRACE"),
            (Need::Scratch, ""),
        ] {
            assert_eq!(capabilities(need).join(" "), expected, "{need}");
        }
    }

    #[test]
    fn a_union_has_nothing_twice_and_nothing_more() {
        let union = union([Need::TargetAttach, Need::TargetRead, Need::RawSocket, Need::See]);
        assert_eq!(union.into_iter().collect::<Vec<_>>(), ["DAC_READ_SEARCH", "KILL", "NET_RAW", "SYS_PTRACE"]);
    }

    #[test]
    fn a_privileged_target_wants_an_unconfined_debugger() {
        let target = SecurityContext { privileged: Some(true), ..SecurityContext::default() };
        let profile = |needs: &[Need]| exact(&union(needs.iter().copied()), Some(&target)).app_armor_profile;
        assert_eq!(profile(&[Need::TargetAttach]).map(|profile| profile.type_).as_deref(), Some("Unconfined"));
        assert_eq!(profile(&[Need::RawSocket]), None);
    }

    #[test]
    fn no_needs_add_nothing() {
        let context = exact(&union([Need::See]), None);
        let capabilities = context.capabilities.unwrap();
        assert_eq!((capabilities.add, capabilities.drop), (None, Some(vec!["ALL".to_owned()])));
    }
}
