//! What a running session says of its privileges: which needs are not met, and why. Only this sees the runtime's own default
//! set, Yama, AppArmor, SELinux, sandboxes, and targets that hide themselves.

use kitbag_toolsets::Need;

use super::capability::Set;
use super::{Hindrance, Level, grants, in_user_namespace};
use crate::report::{Report, Seen};
use crate::target::Target;
use crate::user::Identity;

/// With this or more, `kernel.yama.ptrace_scope` leaves ptrace of others to those with SYS_PTRACE.
const YAMA_RESTRICTED: u8 = 1;

/// With this, it leaves ptrace to nobody.
pub(crate) const YAMA_NOBODY: u8 = 3;

/// Why `need` is not met in the session that `report` is of, if it is not.
#[must_use]
pub fn measured(need: Need, report: &Report, level: Level, target: &Target) -> Option<Hindrance> {
    let session = Session { report, level, target, have: Set::from_bits(report.effective) };
    match need {
        Need::See | Need::Scratch => None,
        Need::TargetRead => session.read(),
        Need::TargetAttach => session.attach(),
        Need::TargetSignal => session.signal(),
        Need::TargetChroot => session.look().or_else(|| session.lacking(Set::of(["SYS_CHROOT"]))),
        Need::RawSocket => session.socket(report.raw_socket),
        Need::Ping => session.socket(report.raw_socket || report.ping_socket),
        // Elsewhere the node's runtime opens low ports to everybody, or does not, and none can be told from here.
        Need::LowPort if target.pod_spec.host_network != Some(true) => None,
        Need::Bpf | Need::KernelLog if in_user_namespace(target) => Some(Hindrance::UserNamespace),
        Need::Bpf | Need::Perf if session.have.has("SYS_ADMIN") => None,
        Need::LowPort | Need::NetAdmin | Need::Perf | Need::Bpf | Need::KernelLog | Need::Namespaces => {
            session.lacking(Set::of(grants::capabilities(need)))
        }
    }
}

struct Session<'a> {
    report: &'a Report,
    level: Level,
    target: &'a Target,
    have: Set,
}

impl Session<'_> {
    /// Read access: the target's files, environment, descriptors.
    fn read(&self) -> Option<Hindrance> {
        self.look().or_else(|| {
            let seen = self.report.target.as_ref()?;
            let passes = self.have.has("DAC_READ_SEARCH") || self.have.has("DAC_OVERRIDE");
            (self.report.uid != seen.uid && !passes).then_some(Hindrance::OtherFiles)
        })
    }

    fn attach(&self) -> Option<Hindrance> {
        let scope = self.report.yama.unwrap_or(0);
        if scope >= YAMA_NOBODY {
            return Some(Hindrance::Yama(scope));
        }
        self.look().or_else(|| {
            let refused = scope >= YAMA_RESTRICTED && !self.have.has("SYS_PTRACE");
            refused.then_some(Hindrance::Yama(scope))
        })
    }

    fn signal(&self) -> Option<Hindrance> {
        let Some(seen) = &self.report.target else { return Some(Hindrance::Unseen) };
        let allowed = self.report.uid == seen.uid || self.have.has("KILL");
        (!allowed).then_some(Hindrance::OtherUser(Identity { uid: seen.uid, gid: seen.gid }))
    }

    /// Whether the target can be looked into; if not, by which of the kernel's rules.
    fn look(&self) -> Option<Hindrance> {
        let Some(seen) = &self.report.target else { return Some(Hindrance::Unseen) };
        if seen.access { None } else { Some(self.why_not(seen)) }
    }

    fn why_not(&self, seen: &Seen) -> Hindrance {
        let beyond = Set::from_bits(seen.permitted).without(self.have);
        if self.have.has("SYS_PTRACE") {
            self.beyond_capabilities()
        } else if (self.report.uid, self.report.gid) != (seen.uid, seen.gid) {
            Hindrance::OtherUser(Identity { uid: seen.uid, gid: seen.gid })
        } else if !seen.dumpable {
            Hindrance::Hidden
        } else if !beyond.is_empty() {
            Hindrance::MoreCapable(beyond)
        } else if seen.uid == 0 && self.target.pod_spec.runtime_class_name.is_none() {
            Hindrance::HiddenOrModule
        } else {
            self.beyond_capabilities()
        }
    }

    fn socket(&self, opened: bool) -> Option<Hindrance> {
        let net_raw = Set::of(["NET_RAW"]);
        (!opened).then(|| self.lacking(net_raw).unwrap_or_else(|| self.beyond_capabilities()))
    }

    fn lacking(&self, wants: Set) -> Option<Hindrance> {
        let lacking = wants.without(self.have);
        let by_default = self.level == Level::Baseline && Set::of(["NET_RAW", "SYS_CHROOT"]).contains(lacking);
        let hindrance = if by_default { Hindrance::NotByDefault(lacking) } else { Hindrance::Lacking(lacking) };
        (!lacking.is_empty()).then_some(hindrance)
    }

    /// Something refuses what the capabilities allow.
    fn beyond_capabilities(&self) -> Hindrance {
        self.target.pod_spec.runtime_class_name.clone().map_or(Hindrance::Module, Hindrance::Sandbox)
    }
}
