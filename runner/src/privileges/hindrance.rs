//! Why a need is not met.

use super::capability::Set;
use crate::user::Identity;

/// What stands between a tool and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// Capabilities that were not granted.
    Lacking(Set),
    /// Capabilities that the runtime does not give by default, in a container that may not add any.
    NotByDefault(Set),
    /// The target is not dumpable: only SYS_PTRACE helps.
    Hidden,
    /// The target is root's, and so cannot be told from one that is not dumpable; or it is a security module.
    HiddenOrModule,
    /// The target has capabilities beyond ours: only SYS_PTRACE helps.
    MoreCapable(Set),
    /// The target is another user, or has another group.
    OtherUser(Identity),
    /// The target can be looked into, but its descriptors and files are another user's.
    OtherFiles,
    /// `kernel.yama.ptrace_scope`, where that is not 0.
    Yama(u8),
    /// A security module: AppArmor, SELinux.
    Module,
    /// The kernel does not allow it to anybody in a user namespace.
    UserNamespace,
    /// The pod's runtime class, which may have a kernel of its own that decides by itself.
    Sandbox(String),
    /// No process of the target can be seen.
    Unseen,
}
