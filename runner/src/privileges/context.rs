//! Security contexts, each written out in full: what is left out is the pod's or the runtime's to say. And what a context
//! comes to in the end.

use k8s_openapi::api::core::v1::{AppArmorProfile, Capabilities, PodSpec, SeccompProfile, SecurityContext};

use super::capability::{ALL, Set};
use crate::target::Target;
use crate::user::Identity;

/// What containerd gives a container that says nothing. CRI-O gives fewer, which only a running container can tell.
const BY_DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What every runtime gives a container that says nothing.
const EVERYWHERE: [&str; 9] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP", "SETUID"];

/// Root with exactly `add` and nothing else. `unconfined`: the tools look into a target that no AppArmor profile holds.
pub(super) fn exact<'a>(add: impl IntoIterator<Item = &'a str>, target: &Target, unconfined: bool) -> SecurityContext {
    let profile = || AppArmorProfile { type_: "Unconfined".to_owned(), localhost_profile: None };
    let context = SecurityContext { capabilities: Some(only(add)), ..as_root(common(target)) };
    let is_set = context.app_armor_profile.is_some() || pod_app_armor(target).is_some();
    if unconfined && !is_set && is_privileged(target) {
        return SecurityContext { app_armor_profile: Some(profile()), ..context };
    }
    context
}

/// Root as the pod's own containers are by default: with the runtime's default capabilities where `capabilities` is `None`.
pub(super) fn baseline(capabilities: Option<Capabilities>, target: &Target) -> SecurityContext {
    SecurityContext { capabilities, ..as_root(common(target)) }
}

/// `user` without any privilege.
pub(super) fn restricted(user: Identity, target: &Target) -> SecurityContext {
    SecurityContext {
        run_as_user: Some(user.uid.into()),
        run_as_group: Some(user.gid.into()),
        // The kubelet would not start root under this rule, which admission waives in a user namespace.
        run_as_non_root: Some(user.uid != 0),
        capabilities: Some(only([])),
        ..common(target)
    }
}

/// All capabilities dropped but these.
pub(super) fn only<'a>(add: impl IntoIterator<Item = &'a str>) -> Capabilities {
    let add: Vec<String> = add.into_iter().map(str::to_owned).collect();
    Capabilities { drop: Some(vec![ALL.to_owned()]), add: (!add.is_empty()).then_some(add) }
}

/// What all contexts have. Profiles of the target are copied: a debugger in another AppArmor profile or with another
/// SELinux label is kept from the target, whatever its capabilities.
fn common(target: &Target) -> SecurityContext {
    let own = target.spec.security_context.as_ref();
    SecurityContext {
        // Costs root nothing.
        allow_privilege_escalation: Some(false),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        se_linux_options: own.and_then(|own| own.se_linux_options.clone()),
        app_armor_profile: own.and_then(|own| own.app_armor_profile.clone()),
        ..SecurityContext::default()
    }
}

fn as_root(context: SecurityContext) -> SecurityContext {
    SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        // Beside the user, always: the pod may say otherwise, and the kubelet would refuse to start it.
        run_as_non_root: Some(false),
        ..context
    }
}

fn is_privileged(target: &Target) -> bool {
    target.spec.security_context.as_ref().is_some_and(|own| own.privileged == Some(true))
}

fn pod_app_armor(target: &Target) -> Option<&AppArmorProfile> {
    target.pod_spec.security_context.as_ref()?.app_armor_profile.as_ref()
}

/// The user of a container of ours: our images are root's.
pub(super) fn user(context: &SecurityContext, pod: &PodSpec) -> i64 {
    context.run_as_user.or_else(|| pod.security_context.as_ref()?.run_as_user).unwrap_or(0)
}

/// The capabilities that a process of `uid` has in a container with this context, where the runtime is containerd.
pub(super) fn effective(context: Option<&SecurityContext>, uid: i64) -> Set {
    // Kubernetes has no ambient capabilities: what is added stands in the bounding set and nowhere else.
    if uid != 0 {
        return Set::default();
    }
    let Some(context) = context else { return Set::of(BY_DEFAULT) };
    if context.privileged == Some(true) { Set::ALL } else { granted(context.capabilities.as_ref(), &BY_DEFAULT) }
}

/// The capabilities that a context grants under every runtime.
pub(super) fn certain(context: &SecurityContext) -> Set {
    granted(context.capabilities.as_ref(), &EVERYWHERE)
}

fn granted(capabilities: Option<&Capabilities>, by_default: &[&str]) -> Set {
    let names = |names: &Option<Vec<String>>| Set::of(names.iter().flatten());
    let (add, drop) = capabilities.map(|it| (names(&it.add), names(&it.drop))).unwrap_or_default();
    Set::of(by_default).without(drop) | add
}
