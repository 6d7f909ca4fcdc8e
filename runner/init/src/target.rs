//! The process that is debugged: which it is, and the link to its files.
//!
//! A container that shares the pid namespace of its target sees it as process 1. Where a pod or a node shares one
//! namespace, process 1 is somebody else, and the target is found by its container's id.

use alloc::vec::Vec;

use rustix::path::DecInt;
use rustix::process::{Pid, getpid};

use crate::proc::{self, Status};
use crate::{socket, sys};

/// Shortest prefix of a container's id that is one.
const SHORTEST_ID: usize = 12;

/// Whether `text` can be the id of a container.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() >= SHORTEST_ID && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// How the process that is debugged is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whose<'a> {
    /// The id of its container, where that is known.
    pub(crate) id: Option<&'a str>,
    /// Whether the pid namespace is a pod's or a node's: then process 1 is never it.
    pub(crate) is_shared: bool,
}

/// The main process of the target's container. Without an id that is process 1, unless the namespace is shared or that is
/// the first process of this container.
pub(crate) fn find(whose: Whose<'_>, first: Option<Pid>) -> Option<Pid> {
    match whose.id {
        Some(id) => {
            let is_of_it = |&pid: &Pid| proc::read(&proc::path(pid, "cgroup")).is_some_and(|text| mentions(&text, id));
            let family = |pid| Some((pid, Status::of(pid)?.parent));
            main(&proc::pids().into_iter().filter(is_of_it).filter_map(family).collect::<Vec<_>>())
        }
        None if whose.is_shared => None,
        None => Some(Pid::INIT).filter(|&pid| first != Some(pid) && getpid() != pid && Status::of(pid).is_some()),
    }
}

/// The target that a session has named for what runs in it; outside of sessions, that to which the link leads.
pub(crate) fn named() -> Option<Pid> {
    let number = |text: &str| text.parse().ok().and_then(Pid::from_raw);
    if let Some(pid) = sys::variable(c"KITBAG_PID") {
        return number(pid.to_str().ok()?);
    }
    let link = rustix::fs::readlink(&link_path()?[..], Vec::new()).ok()?;
    number(link.to_str().ok()?.strip_prefix("/proc/")?.strip_suffix("/root")?)
}

/// Points the link that `/target` leads to at the root directory of `target`; without one there is no link. Where that is
/// not possible, such as on a read-only file system, there is no `/target` and all else works.
pub(crate) fn link(target: Option<Pid>) {
    let Some(link) = link_path() else { return };
    let Some(pid) = target else {
        // The process it led to is gone, and its number may become another's.
        let _ = rustix::fs::unlink(&link[..]);
        return;
    };
    let root = proc::path(pid, "root");
    if rustix::fs::readlink(&link[..], Vec::new()).is_ok_and(|old| old.to_bytes() == root) {
        return;
    }
    // Renamed into place: another session may be looking.
    let new = [&link[..], b".", DecInt::new(getpid().as_raw_pid()).as_bytes()].concat();
    if rustix::fs::symlink(&root[..], &new[..]).is_ok() && rustix::fs::rename(&new[..], &link[..]).is_err() {
        let _ = rustix::fs::unlink(&new[..]);
    }
}

fn link_path() -> Option<Vec<u8>> {
    Some([socket::directory()?, b"-target"].concat())
}

/// Whether a cgroup file names the container, as in `0::/../cri-containerd-ID.scope` or `4:memory:/kubepods/podX/ID`.
fn mentions(cgroup: &[u8], id: &str) -> bool {
    cgroup.windows(id.len()).any(|window| window == id.as_bytes())
}

/// Of the processes of a container, given with their parents, the one that the others came from: what was executed in it
/// later has a parent outside too, but a higher pid.
fn main(processes: &[(Pid, i32)]) -> Option<Pid> {
    let is_one = |parent: i32| processes.iter().any(|(pid, _)| pid.as_raw_pid() == parent);
    processes.iter().filter(|&&(_, parent)| !is_one(parent)).map(|&(pid, _)| pid).min_by_key(|pid| pid.as_raw_pid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::from_raw(raw).unwrap()
    }

    #[test]
    fn the_main_process_is_the_first_without_a_parent_in_the_container() {
        assert_eq!(main(&[(pid(30), 7), (pid(9), 7), (pid(7), 0), (pid(8), 7), (pid(20), 0)]), Some(pid(7)));
        // Pids can wrap around: a child with a lower pid than its parent.
        assert_eq!(main(&[(pid(5), 900), (pid(900), 2)]), Some(pid(900)));
        assert_eq!(main(&[]), None);
    }

    #[test]
    fn a_container_is_known_by_its_id_in_either_version_of_cgroups() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for text in [
            "12:pids:/kubepods/besteffort/podX/ID\n0::/\n",
            "0::/../cri-containerd-ID.scope\n",
            "0::/kubepods.slice/kubepods-podX.slice/crio-ID.scope\n",
        ] {
            assert!(mentions(text.replace("ID", id).as_bytes(), id), "{text}");
            assert!(!mentions(text.replace("ID", "0123456789abcdef").as_bytes(), id), "{text}");
        }
        assert!(is_id(id));
        assert!(!is_id("../0123456789abcdef"));
        assert!(!is_id("0123"));
    }
}
