//! What is known before anything is tried: needs that a candidate will certainly not meet. What only the node can tell (the
//! runtime's own default set, Yama, a target that hides itself) is not in it.

use kitbag_toolsets::Need;

use super::capability::Set;
use super::{Candidate, Hindrance, context, grants, in_user_namespace};
use crate::target::Target;
use crate::user::{self, Identity};

/// Why `need` will not be met, where that is certain.
#[must_use]
pub fn outlook(need: Need, candidate: &Candidate, target: &Target) -> Option<Hindrance> {
    let uid = context::user(&candidate.context, &target.pod_spec);
    let have = context::effective(Some(&candidate.context), uid);
    let wants = Set::of(grants::capabilities(need));
    let lacking = || (!have.contains(wants)).then(|| Hindrance::Lacking(wants.without(have)));
    match need {
        // Ping sockets and low ports are for everybody on newer nodes.
        Need::See | Need::Scratch | Need::Ping | Need::LowPort => None,
        Need::TargetRead | Need::TargetAttach => look(candidate, target, have, uid),
        Need::TargetChroot => look(candidate, target, have, uid).or_else(|| {
            let chroot = Set::of(["SYS_CHROOT"]);
            (!have.contains(chroot)).then_some(Hindrance::Lacking(chroot))
        }),
        Need::TargetSignal if have.has("KILL") => None,
        Need::TargetSignal => stranger(candidate, target, have, uid),
        Need::Bpf | Need::KernelLog if in_user_namespace(target) => Some(Hindrance::UserNamespace),
        Need::Bpf | Need::Perf if have.has("SYS_ADMIN") => None,
        Need::RawSocket | Need::NetAdmin | Need::Perf | Need::Bpf | Need::KernelLog | Need::Namespaces => lacking(),
    }
}

/// The kernel's question whether one process may look into another.
fn look(candidate: &Candidate, target: &Target, have: Set, uid: i64) -> Option<Hindrance> {
    if have.has("SYS_PTRACE") {
        return None;
    }
    stranger(candidate, target, have, uid).or_else(|| {
        let root = user::of(target).filter(|user| user.uid == 0)?;
        let its = context::effective(target.spec.security_context.as_ref(), root.uid.into());
        (!have.contains(its)).then(|| Hindrance::MoreCapable(its.without(have)))
    })
}

/// Whether sessions are certainly not the target's user.
fn stranger(candidate: &Candidate, target: &Target, have: Set, uid: i64) -> Option<Hindrance> {
    let can_become = candidate.becomes && have.contains(Set::of(["SETGID", "SETUID"]));
    if can_become || candidate.guess {
        return None;
    }
    // The group may be the image's to say.
    let identity: Identity = user::of(target)?;
    (uid != i64::from(identity.uid)).then_some(Hindrance::OtherUser(identity))
}
