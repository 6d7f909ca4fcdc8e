//! From the tools' needs to capabilities: the least that makes each work where nothing is refused.

use std::collections::BTreeSet;

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

/// Whether a need is about the target's process.
#[must_use]
pub const fn is_of_target(need: Need) -> bool {
    matches!(need, Need::TargetRead | Need::TargetAttach | Need::TargetSignal | Need::TargetChroot)
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
}
