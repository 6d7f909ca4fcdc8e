//! `kubectl kitbag needs`: what tools want, and what becomes of it where policies are strict.

use std::collections::BTreeMap;

use kitbag_toolsets::{Name, Need, Needs};

use crate::privileges;

/// What each tool needs, and what happens with it at each level.
#[must_use]
pub fn needs(tools: &BTreeMap<Name, Needs>) -> String {
    tools.iter().map(|(tool, needs)| of_tool(tool, needs)).collect::<Vec<_>>().join("\n")
}

fn of_tool(tool: &Name, needs: &Needs) -> String {
    let mut text = format!("{tool}\n");
    let mut line = |label: &str, value: &str| text.push_str(&format!("  {label:<28}{value}\n"));
    let every: Vec<Need> = needs.all().filter(|need| *need != Need::See && *need != Need::Scratch).collect();
    if every.is_empty() {
        line("needs nothing", "works in every pod");
        return text;
    }
    for need in &every {
        let word = if needs.required.contains(need) { "required" } else { "optional" };
        line(&format!("{need} ({word})"), meaning(*need));
    }
    let capabilities: Vec<&str> = privileges::union(every.iter().copied()).into_iter().collect();
    line("where nothing is refused", &format!("root with {} and nothing else", capabilities.join(", ")));
    for (level, fate) in [("in baseline", in_baseline as fn(Need) -> &'static str), ("in restricted", in_restricted)] {
        for (fate, words) in by_fate(&every, fate) {
            line(level, &format!("{words}: {fate}"));
        }
    }
    text
}

/// The needs that fare alike, in the order in which they are first named.
fn by_fate(needs: &[Need], fate: fn(Need) -> &'static str) -> Vec<(&'static str, String)> {
    let mut groups: Vec<(&str, String)> = Vec::new();
    for need in needs {
        let fate = fate(*need);
        match groups.iter_mut().find(|(known, _)| *known == fate) {
            Some((_, words)) => words.push_str(&format!(", {need}")),
            None => groups.push((fate, need.to_string())),
        }
    }
    groups
}

const fn meaning(need: Need) -> &'static str {
    match need {
        Need::See => "to see the target's processes",
        Need::TargetRead => "to read the target's files, environment and descriptors",
        Need::TargetAttach => "to attach to the target's processes with ptrace",
        Need::TargetSignal => "to send signals to the target's processes",
        Need::TargetChroot => "to run with the target's root directory as its own",
        Need::RawSocket => "raw and packet sockets",
        Need::Ping => "ICMP echo",
        Need::NetAdmin => "to change interfaces, addresses, routes, queues",
        Need::LowPort => "to listen on a port below 1024",
        Need::Perf => "performance events of other processes or of the kernel",
        Need::Bpf => "to load BPF programs",
        Need::KernelLog => "the kernel's log",
        Need::Namespaces => "to enter namespaces and to mount",
        Need::Scratch => "a writable /tmp",
    }
}

/// What becomes of the need at the Pod Security level `baseline`.
pub(crate) const fn in_baseline(need: Need) -> &'static str {
    match need {
        Need::See | Need::Scratch => "works",
        Need::TargetRead | Need::TargetAttach | Need::TargetSignal | Need::TargetChroot => {
            "sessions become the target's user; not for a target that hides itself or has added capabilities"
        }
        Need::RawSocket => "works where the runtime gives NET_RAW by default (containerd does, CRI-O does not)",
        Need::Ping => "works where the runtime gives NET_RAW by default, or has ping sockets for everybody",
        Need::LowPort => "works",
        Need::NetAdmin | Need::Perf | Need::Bpf | Need::KernelLog | Need::Namespaces => "refused",
    }
}

/// The same at `restricted`.
pub(crate) const fn in_restricted(need: Need) -> &'static str {
    match need {
        Need::See | Need::Scratch => "works",
        Need::TargetRead | Need::TargetAttach | Need::TargetSignal => {
            "the container runs as the target's user; not for a target that hides itself"
        }
        Need::Ping => "works where the runtime has ping sockets for everybody",
        Need::LowPort => "works where the runtime opens low ports to everybody",
        Need::TargetChroot
        | Need::RawSocket
        | Need::NetAdmin
        | Need::Perf
        | Need::Bpf
        | Need::KernelLog
        | Need::Namespaces => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privileges::testing;

    #[test]
    fn each_tool_says_what_it_needs_and_how_it_fares() {
        let tools = testing::needs(
            "dig!see strace?target-attach tcpdump!raw-socket,see busybox?target-read,target-signal,ping,scratch nsenter!namespaces,target-chroot,low-port",
        );
        insta::assert_snapshot!(needs(&tools), @r"
        busybox
          target-read (optional)      to read the target's files, environment and descriptors
          target-signal (optional)    to send signals to the target's processes
          ping (optional)             ICMP echo
          where nothing is refused    root with DAC_READ_SEARCH, KILL, NET_RAW, SYS_PTRACE and nothing else
          in baseline                 target-read, target-signal: sessions become the target's user; not for a target that hides itself or has added capabilities
          in baseline                 ping: works where the runtime gives NET_RAW by default, or has ping sockets for everybody
          in restricted               target-read, target-signal: the container runs as the target's user; not for a target that hides itself
          in restricted               ping: works where the runtime has ping sockets for everybody

        dig
          needs nothing               works in every pod

        nsenter
          target-chroot (required)    to run with the target's root directory as its own
          low-port (required)         to listen on a port below 1024
          namespaces (required)       to enter namespaces and to mount
          where nothing is refused    root with DAC_READ_SEARCH, NET_BIND_SERVICE, SYS_ADMIN, SYS_CHROOT, SYS_PTRACE and nothing else
          in baseline                 target-chroot: sessions become the target's user; not for a target that hides itself or has added capabilities
          in baseline                 low-port: works
          in baseline                 namespaces: refused
          in restricted               target-chroot, namespaces: refused
          in restricted               low-port: works where the runtime opens low ports to everybody

        strace
          target-attach (optional)    to attach to the target's processes with ptrace
          where nothing is refused    root with KILL, SYS_PTRACE and nothing else
          in baseline                 target-attach: sessions become the target's user; not for a target that hides itself or has added capabilities
          in restricted               target-attach: the container runs as the target's user; not for a target that hides itself

        tcpdump
          raw-socket (required)       raw and packet sockets
          where nothing is refused    root with NET_RAW and nothing else
          in baseline                 raw-socket: works where the runtime gives NET_RAW by default (containerd does, CRI-O does not)
          in restricted               raw-socket: refused
        ");
    }
}
