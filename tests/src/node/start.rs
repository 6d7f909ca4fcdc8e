//! How a node comes up and goes: what has to be there before, what is written into its directory, and the waiting.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixStream},
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use super::{Node, Options};
use crate::{
    dns,
    error::{Error, Result, file, tail},
    image, machine,
    member::{Member, OTHERS},
    pki,
    services::{SWITCH, configuration, programs},
    state::{FILES, Process, State, down, end_others, remove_files},
    workload,
};

/// [`Node::start`].
pub(super) fn start(dir: &Path, options: &Options) -> Result<Node> {
    check_machine()?;
    let dir = &prepare(dir)?;
    write_files(dir, options, Member::FIRST)?;
    dns::write_configuration(dir)?;
    pki::create(&dir.join("pki"))?;
    run_machine(dir, options, Member::FIRST, |_| Ok(()))
}

/// [`Node::join`].
pub(super) fn join(first: &Node, options: &Options) -> Result<Node> {
    let (member, dir) = make_room(&first.dir)?;
    write_files(&dir, options, member)?;
    pki::create_for(member, &dir.join("pki"), &first.dir.join("pki"))?;
    run_machine(&dir, options, member, |node| plug(first, node))
}

/// Start the machine for which everything is in `dir`, have its network `plugged`, and wait until it takes pods.
fn run_machine(
    dir: &Path,
    options: &Options,
    member: Member,
    plugged: impl FnOnce(&Node) -> Result<()>,
) -> Result<Node> {
    let keeper = machine::start(dir, member)?;
    let mut starting = Starting { dir: dir.into(), keeper: Some(keeper) };
    let init = starting.until("its first process", || Ok(State::find(dir)?.and_then(|state| state.init)))?;
    let mut node = Node { dir: dir.into(), init, member, keeper: None };
    plugged(&node)?;
    node.add_client("kubectl", &programs(dir).join("kubectl"))?;

    let socket = PathBuf::from(format!("/proc/{}/root/run/containerd/containerd.sock", init.pid));
    starting.until("containerd", || Ok(UnixStream::connect(&socket).ok()))?;
    node.import_image(&image::archive(&workload::images(&options.shop)?))?;
    starting.until("the API server", || Ok(node.kubectl(&["get", "--raw", "/readyz"]).ok()))?;
    let object = format!("node/{}", member.name());
    for (what, condition, object) in [
        ("the node's registration", "create", object.as_str()),
        ("the node to be Ready", "condition=Ready", &object),
        ("the default service account", "create", "serviceaccount/default"),
    ] {
        let condition = format!("--for={condition}");
        starting.until(what, || Ok(node.kubectl(&["wait", "--timeout=5s", &condition, object]).ok()))?;
    }
    node.keeper = starting.keeper.take();
    Ok(node)
}

/// The next number in the cluster, and a directory for that machine. Its logs are among the cluster's, and stay with them;
/// the link there stays while the cluster runs, so that no number is given twice.
fn make_room(first: &Path) -> Result<(Member, PathBuf)> {
    let others = first.join(OTHERS);
    fs::create_dir_all(&others).map_err(file("make", &others))?;
    for member in Member::others() {
        let dir = member.dir(first);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            made => made.map_err(file("make", &dir))?,
        }
        let logs = first.join("log").join(member.name());
        fs::create_dir_all(&logs).map_err(file("make", &logs))?;
        symlink(&logs, dir.join("log")).map_err(file("link", &dir))?;
        return Ok((member, dir));
    }
    Err(Error::NoRoom(first.into()))
}

/// Lay a cable from the machine to the switch, and tell all machines where the others' pods are.
fn plug(first: &Node, node: &Node) -> Result<()> {
    let (name, pid) = (node.name(), node.init.pid);
    first.ip(&format!("link add {name} up master {SWITCH} type veth peer name eth0 netns {pid}\n"))?;
    node.ip(&machine::address(node.member))?;
    let others = Member::others().map(|member| member.dir(&first.dir)).filter_map(|dir| Node::open(&dir).ok());
    for other in [Node::open(&first.dir)?].into_iter().chain(others).filter(|other| other.member != node.member) {
        other.ip(&format!("route add {} via {}\n", node.member.pods(), node.member.address()))?;
        node.ip(&format!("route add {} via {}\n", other.member.pods(), other.member.address()))?;
    }
    Ok(())
}

/// Where files are hidden, inside, by the node's own mounts.
const HIDDEN: [&str; 6] = ["/dev", "/proc", "/run", "/sys", "/var/lib", "/var/log"];

/// A node that may still fail to start; then it ends.
struct Starting {
    dir: PathBuf,
    keeper: Option<Child>,
}

impl Starting {
    /// Ask every few milliseconds until there is an answer, for a minute at most, or until the node has ended.
    fn until<T>(&mut self, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            let ended = self.keeper.as_mut().is_none_or(|keeper| !matches!(keeper.try_wait(), Ok(None)));
            if ended || Instant::now() > end {
                let happened = if ended { "it ended while waiting for" } else { "after 60 s still waiting for" };
                return Err(Error::NotReady {
                    what: format!("{happened} {what}"),
                    logs: self.dir.join("log"),
                    tail: telling_log(&self.dir.join("log")),
                });
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            // Who wants to know how it went calls `stop`.
            let _ = end(&self.dir, keeper);
        }
    }
}

/// End a node that this process started.
pub(super) fn end(dir: &Path, mut keeper: Child) -> Result<()> {
    drop(keeper.stdin.take());
    match State::find(dir)? {
        Some(state) => state.init.unwrap_or(state.keeper).kill(),
        None => keeper.kill().map_err(file("end the keeper of", dir))?,
    }
    keeper.wait().map_err(file("wait for the keeper of", dir))?;
    match down(dir) {
        // The keeper has done all that.
        Err(Error::NotUp(_)) => Ok(()),
        result => result,
    }
}

fn check_machine() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let dirs = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/lib/cni"].map(Path::new);
    let found = |name: &str| dirs.iter().any(|dir| dir.join(name).exists());
    let needed = ["bridge", "containerd", "ctr", "ip", "named", "nsenter", "openssl", "runc", "unshare"];
    let missing: Vec<_> = needed.into_iter().filter(|name| !found(name)).map(str::to_owned).collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::MissingPrograms(missing)) }
}

/// The absolute path of a directory that holds nothing but old logs.
fn prepare(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).map_err(file("make", dir))?;
    let dir = fs::canonicalize(dir).map_err(file("find", dir))?;
    if HIDDEN.iter().any(|hidden| dir.starts_with(hidden)) {
        return Err(Error::HiddenDirectory(dir));
    }
    for entry in fs::read_dir(&dir).map_err(file("read", &dir))? {
        let entry = entry.map_err(file("read", &dir))?;
        if entry.file_name() != "log" && !FILES.iter().any(|name| entry.file_name() == *name) {
            return Err(Error::ForeignDirectory(dir));
        }
    }
    if let Some(state) = State::find(&dir)? {
        if state.keeper.runs() || state.init.is_some_and(Process::runs) {
            return Err(Error::AlreadyUp(dir));
        }
        state.groups.remove()?;
    }
    end_others(&dir)?;
    remove_files(&dir)?;
    Ok(dir)
}

fn write_files(dir: &Path, options: &Options, member: Member) -> Result<()> {
    for name in ["bin", "etc/cni", "log", "pki", "programs"] {
        let path = dir.join(name);
        fs::create_dir_all(&path).map_err(file("make", &path))?;
    }
    let kubernetes = fs::canonicalize(&options.kubernetes).map_err(file("find", &options.kubernetes))?;
    for name in
        ["cri-pull", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet"]
    {
        let link = programs(dir).join(name);
        symlink(&kubernetes, &link).map_err(file("link", &link))?;
    }
    symlink("/usr/bin/containerd", programs(dir).join("containerd")).map_err(file("link", programs(dir)))?;
    for (name, content) in configuration(dir, member) {
        let path = dir.join(name);
        fs::write(&path, content).map_err(file("write", &path))?;
    }
    Ok(())
}

/// The end of the log that tells most: the machine's own, else the kubelet's, else the API server's.
fn telling_log(logs: &Path) -> String {
    let read = |name: &str| fs::read_to_string(logs.join(name)).ok().filter(|text| !text.trim().is_empty());
    let found = ["machine.log", "kubelet.log", "kube-apiserver.log", "etcd.log"].into_iter().find_map(read);
    tail(&found.unwrap_or_default(), 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_other_files_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "text").unwrap();
        assert!(matches!(prepare(dir.path()), Err(Error::ForeignDirectory(_))));
        assert!(dir.path().join("thesis.txt").exists());
    }

    #[test]
    fn what_an_ended_node_left_is_removed_but_for_the_logs() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["log", "etcd/member", "bin"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        assert_eq!(prepare(dir.path()).unwrap(), fs::canonicalize(dir.path()).unwrap());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["log"]);
    }

    #[test]
    fn a_directory_that_the_node_would_not_see_is_refused() {
        assert!(matches!(prepare(Path::new("/dev/shm")), Err(Error::HiddenDirectory(_))));
    }
}
