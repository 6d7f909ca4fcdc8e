//! Control groups of a node: found out from the texts in /proc (pure), made, joined, mounted again inside, removed.
//! Both worlds: separate hierarchies (version 1) and the unified one (version 2).

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::mount::{MountFlags, mount};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, file};

const ROOT: &str = "/sys/fs/cgroup";
/// Controllers without which the kubelet does not start.
const NEEDED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// The control groups of one node: one directory in each hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Groups {
    unified: bool,
    groups: Vec<Group>,
}

/// A directory in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    /// The hierarchy's controllers, `cpu,cpuacct` or `name=systemd`; empty for the unified hierarchy.
    controllers: String,
    /// The directory as the host sees it.
    path: PathBuf,
}

impl Groups {
    /// Make groups called `name` on this machine.
    pub(crate) fn create(name: &str) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).map_err(file("read", path));
        let groups = plan(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?, name)?;
        for group in &groups.groups {
            let parent = group.path.parent().unwrap_or(Path::new(ROOT));
            if groups.unified {
                delegate(parent)?;
            }
            fs::create_dir(&group.path).map_err(file("make control group", &group.path))?;
            if group.controllers.split(',').any(|controller| controller == "cpuset") {
                // A new group of this controller has no processor and no memory, so nothing could join it.
                for item in ["cpuset.cpus", "cpuset.mems"] {
                    let (from, to) = (parent.join(item), group.path.join(item));
                    fs::copy(&from, &to).map_err(file("copy into", &to))?;
                }
            }
        }
        Ok(groups)
    }

    /// Move the calling process into the groups.
    pub(crate) fn join(&self) -> Result<()> {
        self.groups.iter().try_for_each(|group| enter(&group.path))
    }

    /// Move the calling process into a leaf of the unified group: a group with members can't hand controllers down. To be
    /// called when the control group namespace exists, since its root is the group that its maker was in.
    pub(crate) fn settle(&self) -> Result<()> {
        if !self.unified {
            return Ok(());
        }
        self.groups.iter().map(|group| group.path.join("machine")).try_for_each(|leaf| {
            fs::create_dir(&leaf).map_err(file("make control group", &leaf))?;
            enter(&leaf)
        })
    }

    /// Mount the hierarchies in the node's own mount and control group namespaces, so that its groups are their roots.
    pub(crate) fn mount_inside(&self) -> Result<()> {
        let root = Path::new(ROOT);
        if self.unified {
            mount("cgroup2", root, "cgroup2", MountFlags::empty(), None).map_err(file("mount", root))?;
            return delegate(root);
        }
        mount("tmpfs", root, "tmpfs", MountFlags::empty(), Some(c"mode=755")).map_err(file("mount", root))?;
        for Group { controllers, .. } in &self.groups {
            let (name, options) = match controllers.strip_prefix("name=") {
                Some(name) => (name, format!("none,{controllers}")),
                None => (controllers.as_str(), controllers.clone()),
            };
            let target = root.join(name);
            fs::create_dir(&target).map_err(file("make", &target))?;
            let options = std::ffi::CString::new(options)
                .map_err(|_| Error::ControlGroups(format!("a zero byte in {controllers:?}")))?;
            mount("cgroup", &target, "cgroup", MountFlags::empty(), Some(options.as_c_str()))
                .map_err(file("mount", &target))?;
            for alias in name.split(',').filter(|alias| *alias != name) {
                let link = root.join(alias);
                symlink(name, &link).map_err(file("link", &link))?;
            }
        }
        Ok(())
    }

    /// Remove the groups and all below. Processes that were killed a moment ago still count for a while, hence the
    /// retries.
    pub(crate) fn remove(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let errors: Vec<_> =
                self.groups.iter().filter_map(|group| Some((&group.path, remove_tree(&group.path).err()?))).collect();
            let Some((path, source)) = errors.into_iter().next() else { return Ok(()) };
            if Instant::now() > end {
                return Err(file("remove control group", path)(source));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Where the groups of a node called `name` belong, from the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`:
/// below the caller's own groups in version 1; in version 2 below the mount's root, because only the root may both
/// have members and hand controllers down.
fn plan(memberships: &str, mounts: &str, name: &str) -> Result<Groups> {
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
    if mounts.iter().any(|mount| mount.kind == "cgroup2" && mount.target == ROOT) {
        let group = Group { controllers: String::new(), path: Path::new(ROOT).join(name) };
        return Ok(Groups { unified: true, groups: vec![group] });
    }
    let mut groups = Vec::new();
    for line in memberships.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(own)) = (fields.next(), fields.next()) else {
            return Err(Error::ControlGroups(format!("cannot understand {line:?} of /proc/self/cgroup")));
        };
        let Some(mount) = mounts.iter().find(|mount| mount.holds(controllers)) else { continue };
        // A container's mount shows a subtree; the membership may be spelled from the top.
        let below = own.strip_prefix(mount.root).unwrap_or(own).trim_start_matches('/');
        groups.push(Group { controllers: controllers.into(), path: Path::new(mount.target).join(below).join(name) });
    }
    for needed in NEEDED {
        if !groups.iter().any(|group| group.controllers.split(',').any(|controller| controller == needed)) {
            return Err(Error::ControlGroups(format!("the `{needed}` controller is not mounted below `{ROOT}`")));
        }
    }
    Ok(Groups { unified: false, groups })
}

/// A line of mountinfo, as far as it matters here (proc_pid_mountinfo(5)).
struct Mount<'a> {
    root: &'a str,
    target: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, what) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut what = what.split(' ');
        let (root, target) = (place.next()?, place.next()?);
        let (kind, _source, options) = (what.next()?, what.next()?, what.next()?);
        Some(Self { root, target, kind, options })
    }

    /// Is this the hierarchy of all these controllers?
    fn holds(&self, controllers: &str) -> bool {
        self.kind == "cgroup"
            && !controllers.is_empty()
            && controllers.split(',').all(|controller| self.options.split(',').any(|option| option == controller))
    }
}

/// Move the calling process into a group.
fn enter(group: &Path) -> Result<()> {
    let members = group.join("cgroup.procs");
    fs::write(&members, "0").map_err(file("join", &members))
}

/// Let the children of a unified group have all controllers that the group has.
fn delegate(group: &Path) -> Result<()> {
    let available = group.join("cgroup.controllers");
    let switch = group.join("cgroup.subtree_control");
    for controller in fs::read_to_string(&available).map_err(file("read", &available))?.split_whitespace() {
        let enabled = fs::write(&switch, format!("+{controller}"));
        if NEEDED.contains(&controller) {
            enabled.map_err(file("enable controllers in", &switch))?;
        }
    }
    Ok(())
}

/// Remove a control group and its children; it's no error if it is gone already.
fn remove_tree(group: &Path) -> std::io::Result<()> {
    let gone = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) => return gone(error),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group).or_else(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 24 0:26 / /sys/fs/cgroup rw,relatime shared:4 - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset,clone_children
33 30 0:29 /docker/1 /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
35 30 0:31 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
36 30 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn version_1_groups_are_children_of_the_callers_own() {
        let own =
            "9:name=systemd:/\n8:pids:/a/b\n7:perf_event:/\n4:memory:/docker/1/x\n3:cpuset:/\n1:cpu,cpuacct:/u\n0::/\n";
        let groups = plan(own, MOUNTS, "kitbag-1").unwrap();
        assert!(!groups.unified);
        let found: Vec<_> =
            groups.groups.iter().map(|group| format!("{} {}", group.controllers, group.path.display())).collect();
        assert_eq!(
            found,
            [
                "name=systemd /sys/fs/cgroup/systemd/kitbag-1",
                "pids /sys/fs/cgroup/pids/a/b/kitbag-1",
                "memory /sys/fs/cgroup/memory/x/kitbag-1",
                "cpuset /sys/fs/cgroup/cpuset/kitbag-1",
                "cpu,cpuacct /sys/fs/cgroup/cpu,cpuacct/u/kitbag-1",
            ]
        );
    }

    #[test]
    fn the_unified_hierarchy_is_used_where_it_is_the_only_one() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let groups = plan("0::/user.slice/user-0.slice/session-1.scope\n", mounts, "kitbag-1").unwrap();
        assert!(groups.unified);
        assert_eq!(groups.groups[0].path, Path::new("/sys/fs/cgroup/kitbag-1"));
    }

    #[test]
    fn a_missing_controller_is_named() {
        let error = plan("8:pids:/\n3:cpuset:/\n1:cpu,cpuacct:/\n", MOUNTS, "kitbag-1").unwrap_err();
        assert!(error.to_string().contains("`memory`"), "{error}");
    }

    #[test]
    fn removing_what_is_gone_is_no_error() {
        let group = Group { controllers: String::new(), path: "/sys/fs/cgroup/kitbag-never-made".into() };
        Groups { unified: true, groups: vec![group] }.remove().unwrap();
    }
}
