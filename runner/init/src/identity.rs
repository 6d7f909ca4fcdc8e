//! Becoming the user of the process that is debugged, with the capabilities that this process has.
//!
//! The kernel lets a process look into another that has the same user and group and no more capabilities. So whoever
//! starts as root with the runtime's default set gets to see, by this, what root itself may not.

use alloc::vec::Vec;

use rustix::fs::{FileType, Gid, Uid, fchown, fstat};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, getegid, geteuid, getgroups, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, configure_capability_in_ambient_set,
    set_capabilities, set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::proc::Status;
use crate::sys::{describe, stderr, stdout};

/// Takes the user, the group and the groups of `target`, and keeps the capabilities. An error is why nothing of that was
/// done.
pub(crate) fn take(target: Pid) -> Result<(), &'static str> {
    let Some(Status { uid, gid, groups, .. }) = Status::of(target) else { return Err("it has ended") };
    if (uid, gid) == (geteuid().as_raw(), getegid().as_raw()) {
        return Ok(());
    }
    let sets = capabilities(None).map_err(describe)?;
    if !sets.effective.contains(CapabilitySet::SETUID | CapabilitySet::SETGID) {
        return Err("it takes the capabilities SETUID and SETGID, which this container does not have");
    }
    change(Uid::from_raw(uid), Gid::from_raw(gid), &groups).map_err(describe)?;
    keep(sets.permitted);
    // Whoever changes its user becomes hidden, from its own session's `lsof` too. There is nothing to hide: others of
    // this user without these capabilities may not look in anyway.
    let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    Ok(())
}

/// All or nothing, in the order that the right to do so allows.
fn change(uid: Uid, gid: Gid, groups: &[u32]) -> Result<(), Errno> {
    let (own_group, own_groups) = (getegid(), getgroups()?);
    let groups: Vec<_> = groups.iter().map(|&group| Gid::from_raw(group)).collect();
    set_keep_capabilities(true)?;
    // In a user namespace some of them may have no name.
    set_thread_groups(&groups).or_else(|_| set_thread_groups(&[]))?;
    let result = set_thread_res_gid(gid, gid, gid).and_then(|()| {
        give_away(uid, gid);
        set_thread_res_uid(uid, uid, uid)
    });
    if result.is_err() {
        let _ = set_thread_res_gid(own_group, own_group, own_group);
        let _ = set_thread_groups(&own_groups);
    }
    result
}

/// Makes the pipes that the session writes to its user's, who could otherwise not open `/dev/stdout`.
fn give_away(uid: Uid, gid: Gid) {
    for file in [stdout(), stderr()] {
        if fstat(file).is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Fifo) {
            let _ = fchown(file, Some(uid), Some(gid));
        }
    }
}

/// Takes the capabilities up again, and hands them down to every program that the session starts.
fn keep(permitted: CapabilitySet) {
    // One that is missing in the bounding set cannot be handed down, and would make all of this fail.
    let bounded = |&one: &CapabilitySet| capability_is_in_bounding_set(one).unwrap_or(false);
    let all = permitted.iter().filter(bounded).fold(CapabilitySet::empty(), |all, one| all | one);
    let _ = set_capabilities(None, CapabilitySets { permitted, effective: permitted, inheritable: all });
    for one in all.iter() {
        let _ = configure_capability_in_ambient_set(one, true);
    }
}
