//! What the user asks for instead of what would be computed: kubectl's profiles, a user, capabilities.

use k8s_openapi::api::core::v1::{Capabilities, SeccompProfile, SecurityContext};

use super::capability::{ALL, Capability};
use super::{context, grants};
use crate::target::Target;
use crate::user::{self, Identity, User};

/// kubectl's profiles, as `kubectl debug` applies them to a container that it adds to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Adds SYS_PTRACE to the runtime's default capabilities.
    General,
    /// The runtime's default capabilities.
    Baseline,
    /// The target's user without any privilege.
    Restricted,
    /// Adds NET_ADMIN and NET_RAW to the runtime's default capabilities.
    Netadmin,
    /// A privileged container.
    Sysadmin,
}

/// What the user asks for. Anything in it is taken as it stands, and nothing else is tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// A profile instead of what the tools need.
    pub profile: Option<Profile>,
    /// A user.
    pub as_user: Option<User>,
    /// More capabilities.
    pub cap_add: Vec<Capability>,
    /// Fewer capabilities.
    pub cap_drop: Vec<Capability>,
    /// A privileged container.
    pub privileged: bool,
}

impl Wishes {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether sessions become the target: in the one profile that grants nothing else to look into it with.
    pub(super) fn becomes(&self) -> bool {
        *self == Self { profile: Some(Profile::Baseline), ..Self::default() }
    }

    /// The security context that is asked for.
    pub(super) fn context(&self, needs: &[kitbag_toolsets::Need], target: &Target) -> SecurityContext {
        let base = match self.profile {
            Some(profile) => of_profile(profile, target),
            None if self.privileged => root(),
            None => {
                let add = grants::union(needs.iter().copied());
                context::exact(add, target, needs.iter().any(|need| grants::is_of_target(*need)))
            }
        };
        self.with_capabilities(self.with_privileged(self.with_user(base, target)))
    }

    fn with_user(&self, base: SecurityContext, target: &Target) -> SecurityContext {
        let Some(User { uid, gid }) = self.as_user else { return base };
        let same = user::of(target).filter(|target| target.uid == uid);
        let mut context = SecurityContext {
            run_as_user: Some(uid.into()),
            run_as_group: gid.or(same.map(|target| target.gid)).map(i64::from),
            run_as_non_root: Some(uid != 0),
            ..base
        };
        // What was computed for root would not be effective.
        if let Some(capabilities) = context.capabilities.as_mut().filter(|_| uid != 0 && self.profile.is_none()) {
            capabilities.add = None;
        }
        context
    }

    fn with_privileged(&self, mut context: SecurityContext) -> SecurityContext {
        if self.privileged {
            context.privileged = Some(true);
            // The API takes no privileged container that may not escalate.
            context.allow_privilege_escalation = None;
        }
        context
    }

    fn with_capabilities(&self, mut context: SecurityContext) -> SecurityContext {
        if self.cap_add.is_empty() && self.cap_drop.is_empty() {
            return context;
        }
        let Capabilities { add, drop } = context.capabilities.take().unwrap_or_default();
        let (mut add, mut drop) = (add.unwrap_or_default(), drop.unwrap_or_default());
        for name in self.cap_drop.iter().map(Capability::as_str) {
            add.retain(|added| added != name && name != ALL);
            if !drop.iter().any(|dropped| dropped == name || dropped == ALL) {
                drop.push(name.to_owned());
            }
        }
        for name in self.cap_add.iter().map(Capability::as_str) {
            drop.retain(|dropped| dropped != name);
            if !add.iter().any(|added| added == name) {
                add.push(name.to_owned());
            }
        }
        let some = |names: Vec<String>| (!names.is_empty()).then_some(names);
        context.capabilities = Some(Capabilities { add: some(add), drop: some(drop) });
        context
    }
}

fn of_profile(profile: Profile, target: &Target) -> SecurityContext {
    let adding = |names: &[&str]| {
        let add = names.iter().map(|&name| name.to_owned()).collect();
        SecurityContext {
            capabilities: Some(Capabilities { add: Some(add), drop: None }),
            ..SecurityContext::default()
        }
    };
    match profile {
        Profile::General => adding(&["SYS_PTRACE"]),
        Profile::Baseline => SecurityContext::default(),
        Profile::Netadmin => adding(&["NET_ADMIN", "NET_RAW"]),
        Profile::Sysadmin => SecurityContext { privileged: Some(true), ..SecurityContext::default() },
        Profile::Restricted => {
            // The rest is kubectl's. It names no user, and our images are root's: the kubelet would not start them.
            let Identity { uid, gid } = super::non_root(target).0;
            SecurityContext {
                run_as_user: Some(uid.into()),
                run_as_group: Some(gid.into()),
                run_as_non_root: Some(true),
                allow_privilege_escalation: Some(false),
                capabilities: Some(context::only([])),
                seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
                ..SecurityContext::default()
            }
        }
    }
}

fn root() -> SecurityContext {
    SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        run_as_non_root: Some(false),
        ..SecurityContext::default()
    }
}
