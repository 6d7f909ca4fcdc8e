//! The node's own processes. They are the calling program again, started with a hidden first argument:
//!
//! - `keep` stays outside: it makes the control groups, starts the rest, and when the rest has ended, or its starter has
//!   (its standard input is then at its end), or the first machine has, where this is another one of its cluster, removes
//!   them and the node's files. So nothing remains, however the starter ends.
//! - `join` moves into the groups and becomes, through `unshare` for the control group namespace,
//! - `settle`, which becomes `unshare` for the other namespaces, which starts
//! - `init`, their first process: it sets up mounts and network, and runs the services, for ever.

use std::{
    collections::HashMap,
    convert::Infallible,
    ffi::OsString,
    fmt::Write,
    fs::{self, File},
    io::Read,
    net::TcpStream,
    os::unix::process::{CommandExt, parent_id},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    process::{Signal, WaitOptions, set_parent_process_death_signal, setsid, wait},
    system::sethostname,
};

use crate::{
    cgroups::Groups,
    error::{Error, Result, feed, file, run, spawn},
    member::Member,
    services::{GATEWAY, SWITCH, Service, programs, services},
    state::{Process, State, end_others, remove_files},
};

/// The first argument that makes the program one of the node's processes.
const MARK: &str = "__kitbag-machine";

static ENTERED: AtomicBool = AtomicBool::new(false);

/// Call this first thing in `main`. It returns at once, except in a process that belongs to a node, where it doesn't
/// return.
pub fn enter() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.first().is_none_or(|first| first != MARK) {
        ENTERED.store(true, Ordering::Relaxed);
        return;
    }
    let dir = PathBuf::from(arguments.get(2).cloned().unwrap_or_default());
    let result = match arguments.get(1).and_then(|role| role.to_str()) {
        Some("keep") => keep(&dir, arguments.get(3)),
        Some("join") => join(&dir).map(|never| match never {}),
        Some("settle") => settle(&dir).map(|never| match never {}),
        Some("init") => init(&dir).map(|never| match never {}),
        _ => Ok(()),
    };
    if let Err(error) = &result {
        eprintln!("{error}");
    }
    std::process::exit(i32::from(result.is_err()));
}

/// What the starter writes to the keeper's standard input when the node is to outlive it.
pub(crate) const RELEASE: u8 = b'\n';

/// Start the keeper of a node in `dir`. The node ends when the keeper's standard input does, unless it was released.
pub(crate) fn start(dir: &Path, member: Member) -> Result<std::process::Child> {
    if !ENTERED.load(Ordering::Relaxed) {
        return Err(Error::EnterNotCalled);
    }
    let mut command = again("keep", dir)?;
    let path = dir.join("log/machine.log");
    let log = File::create(&path).map_err(file("write", &path))?;
    command
        .arg(member.to_string())
        .stdin(Stdio::piped())
        .stdout(log.try_clone().map_err(file("write", &path))?)
        .stderr(log);
    command.current_dir("/").spawn().map_err(spawn(&command))
}

/// This program, in one of its roles.
fn again(role: &str, dir: &Path) -> Result<Command> {
    let program = std::env::current_exe().map_err(file("find", "/proc/self/exe"))?;
    let mut command = Command::new(program);
    command.args([MARK, role]).arg(dir);
    Ok(command)
}

fn keep(dir: &Path, member: Option<&OsString>) -> Result<()> {
    let member = member.and_then(|member| member.to_str()?.parse().ok()).unwrap_or(Member::FIRST);
    let first = if member == Member::FIRST { None } else { State::read(member.first_dir(dir))?.init };
    // A session of its own: the terminal's Ctrl-C is for the starter. It fails if this is one already.
    let _ = setsid();
    let own = std::process::id().cast_signed();
    let mut name = [0; 4];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut name))
        .map_err(file("read", "/dev/urandom"))?;
    let groups = Groups::create(&format!("kitbag-{:08x}", u32::from_ne_bytes(name)))?;

    let result = (|| {
        let keeper = Process::of(own).ok_or_else(|| Error::NotUp(dir.into()))?;
        State { keeper, init: None, groups: groups.clone(), member }.write(dir)?;
        let mut command = again("join", dir)?;
        let mut child = command.stdin(Stdio::null()).spawn().map_err(spawn(&command))?;
        if let Some(child) = Process::of(child.id().cast_signed()) {
            thread::spawn(move || {
                let mut word = [0];
                if std::io::stdin().read_exact(&mut word).is_err() || word != [RELEASE] {
                    child.kill();
                }
            });
            if let Some(first) = first {
                thread::spawn(move || {
                    first.wait();
                    child.kill();
                });
            }
        }
        child.wait().map(drop).map_err(file("wait for", dir))
    })();
    groups.remove()?;
    end_others(dir)?;
    remove_files(dir)?;
    result
}

fn join(dir: &Path) -> Result<Infallible> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(file("follow the keeper of", dir))?;
    let state = State::read(dir)?;
    if parent_id().cast_signed() != state.keeper.pid {
        // The keeper ended before the line above.
        return Err(Error::NotUp(dir.into()));
    }
    state.groups.join()?;
    become_unshared(&["--cgroup"], "settle", dir)
}

fn settle(dir: &Path) -> Result<Infallible> {
    State::read(dir)?.groups.settle()?;
    become_unshared(&["--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child"], "init", dir)
}

/// Go on as this program in another role, in new namespaces.
fn become_unshared(flags: &[&str], role: &str, dir: &Path) -> Result<Infallible> {
    let next = again(role, dir)?;
    let mut command = Command::new("unshare");
    command.args(flags).arg("--").arg(next.get_program()).args(next.get_args());
    let error = command.exec();
    Err(spawn(&command)(error))
}

fn init(dir: &Path) -> Result<Infallible> {
    // The host's /proc is still mounted, so this is the number that the host knows.
    let own = fs::read_link("/proc/self").map_err(file("read", "/proc/self"))?;
    let own = own.to_str().and_then(|own| own.parse().ok()).and_then(Process::of);
    let mut state = State::read(dir)?;
    mounts(dir, &state.groups)?;
    network(state.member)?;
    sethostname(state.member.name().as_bytes()).map_err(file("set the name of", dir))?;
    // From here on the namespaces can be entered.
    state.init = own;
    state.write(dir)?;

    let (waiting, first): (Vec<_>, Vec<_>) =
        services(dir, state.member).into_iter().partition(|service| service.needs_api);
    let mut running = HashMap::new();
    for service in first {
        running.insert(start_service(dir, &service)?, service);
    }
    while !api_is_ready(dir, state.member) {
        while let Ok(Some((pid, _))) = wait(WaitOptions::NOHANG) {
            restart(dir, &mut running, pid.as_raw_pid())?;
        }
        thread::sleep(Duration::from_millis(50));
    }
    for service in waiting {
        running.insert(start_service(dir, &service)?, service);
    }
    loop {
        // It also waits for what is left behind by others, as the first process has to.
        if let Ok(Some((pid, _))) = wait(WaitOptions::empty()) {
            restart(dir, &mut running, pid.as_raw_pid())?;
        }
    }
}

/// Fresh views of the kernel, and directories of the node's own where the programs have fixed paths. Nothing is made on
/// the host's disk.
fn mounts(dir: &Path, groups: &Groups) -> Result<()> {
    let none = MountFlags::empty();
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount_change("/", private).map_err(file("make private", "/"))?;
    mount("proc", "/proc", "proc", none, None).map_err(file("mount", "/proc"))?;
    mount("sysfs", "/sys", "sysfs", none, None).map_err(file("mount", "/sys"))?;
    groups.mount_inside()?;
    mount("tmpfs", "/run", "tmpfs", none, Some(c"mode=755")).map_err(file("mount", "/run"))?;
    for target in ["/var/lib", "/var/log"] {
        let disk = dir.join("disk").join(target.trim_start_matches('/'));
        fs::create_dir_all(&disk).map_err(file("make", &disk))?;
        mount_bind(&disk, target).map_err(file("mount", target))?;
    }
    // What the kubelet mounts for a pod has to be seen by the container.
    let kubelet = "/var/lib/kubelet";
    fs::create_dir_all(kubelet).map_err(file("make", kubelet))?;
    mount_bind(kubelet, kubelet).map_err(file("mount", kubelet))?;
    let shared = MountPropagationFlags::REC | MountPropagationFlags::SHARED;
    mount_change(kubelet, shared).map_err(file("share", kubelet))?;
    for name in ["hosts", "resolv.conf"] {
        // The second is often a link. A machine without it doesn't miss it.
        if let Ok(target) = fs::canonicalize(Path::new("/etc").join(name)) {
            mount_bind(dir.join("etc").join(name), &target).map_err(file("mount", &target))?;
        }
    }
    Ok(())
}

/// The loopback; on the first machine also a cable to a switch in the same room, with an address and a default route.
/// Nothing leaves. Who starts another machine plugs it into that switch: a cable's two ends are laid from outside.
///
/// The switch answers no ARP. Otherwise it would answer for the first machine's address too, with its own hardware address,
/// which is the lowest of its ports' and so changes when a cable is plugged in: who remembers the one before reaches nobody.
fn network(member: Member) -> Result<()> {
    let mut script = String::from("link set lo up\n");
    if member == Member::FIRST {
        let _ = write!(
            script,
            "link add {SWITCH} type bridge\n\
             link set {SWITCH} arp off up\n\
             link add eth0 type veth peer name uplink\n\
             link set uplink up master {SWITCH}\n\
             {}",
            address(member)
        );
    }
    feed(Command::new("ip").args(["-batch", "-"]), script.as_bytes())?;
    // A switch asks no firewall: otherwise what other machines send to this one is tracked twice, on its way and here.
    for family in ["iptables", "ip6tables"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{family}");
        if Path::new(&path).exists() {
            fs::write(&path, "0").map_err(file("write", &path))?;
        }
    }
    let forward = "/proc/sys/net/ipv4/ip_forward";
    fs::write(forward, "1").map_err(file("write", forward))
}

/// What `ip -batch` reads to give the machine its address, when `eth0` is there.
pub(crate) fn address(member: Member) -> String {
    let address = member.address();
    format!("addr add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {GATEWAY}\n")
}

/// Start a service; its process's number. Its output goes to the end of its log. Its environment is empty: no proxy
/// or other setting of the starter's reaches it.
fn start_service(dir: &Path, service: &Service) -> Result<i32> {
    let path = dir.join("log").join(format!("{}.log", service.name));
    let log = File::options().create(true).append(true).open(&path).map_err(file("write", &path))?;
    let programs = programs(dir);
    let mut command = Command::new(programs.join(service.name));
    command.args(&service.arguments).stdin(Stdio::null()).current_dir("/");
    command.stdout(log.try_clone().map_err(file("write", &path))?).stderr(log);
    command.env_clear().env("HOME", "/root").env("PATH", search_path(&programs));
    // The loop above waits for it, by its number.
    Ok(command.spawn().map_err(spawn(&command))?.id().cast_signed())
}

/// Start again the service whose process ended, if it was one.
fn restart(dir: &Path, running: &mut HashMap<i32, Service>, pid: i32) -> Result<()> {
    if let Some(service) = running.remove(&pid) {
        thread::sleep(Duration::from_millis(300));
        running.insert(start_service(dir, &service)?, service);
    }
    Ok(())
}

/// PATH in the node.
pub(crate) fn search_path(programs: &Path) -> String {
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display())
}

fn api_is_ready(dir: &Path, member: Member) -> bool {
    // Cheap first: kubectl takes a good 50 ms to start.
    TcpStream::connect(member.api_server()).is_ok() && {
        let mut kubectl = Command::new(programs(dir).join("kubectl"));
        kubectl.env("KUBECONFIG", dir.join("pki/admin.kubeconfig")).args(["get", "--raw", "/readyz"]);
        run(&mut kubectl).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_would_only_start_itself_again_is_told_so() {
        assert!(matches!(start(Path::new("/nowhere"), Member::FIRST), Err(Error::EnterNotCalled)));
    }
}
