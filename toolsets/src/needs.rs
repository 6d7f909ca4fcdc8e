//! What tools want of the kernel and of the pod. How needs become a security context is the runner's affair.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that a tool can need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// To see the target's processes and what `/proc` shows everybody.
    See,
    /// To read what only the target or a debugger may: files, environment, open files.
    TargetRead,
    /// To attach to the target's processes with ptrace.
    TargetAttach,
    /// To send signals to the target's processes.
    TargetSignal,
    /// To run a program with the target's root directory as its own.
    TargetChroot,
    /// Raw and packet sockets: captures, traceroute.
    RawSocket,
    /// ICMP echo, by a raw or by a ping socket.
    Ping,
    /// To change interfaces, addresses, routes, queues.
    NetAdmin,
    /// To listen on a port below 1024.
    LowPort,
    /// Performance events of the kernel or of other processes.
    Perf,
    /// To load BPF programs.
    Bpf,
    /// The kernel's log.
    KernelLog,
    /// To enter namespaces and to mount.
    Namespaces,
    /// A writable `/tmp`.
    Scratch,
}

impl Need {
    /// Every need.
    pub const ALL: [Self; 14] = [
        Self::See,
        Self::TargetRead,
        Self::TargetAttach,
        Self::TargetSignal,
        Self::TargetChroot,
        Self::RawSocket,
        Self::Ping,
        Self::NetAdmin,
        Self::LowPort,
        Self::Perf,
        Self::Bpf,
        Self::KernelLog,
        Self::Namespaces,
        Self::Scratch,
    ];

    /// The word that recipes and annotations use, e.g. `target-attach`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::TargetRead => "target-read",
            Self::TargetAttach => "target-attach",
            Self::TargetSignal => "target-signal",
            Self::TargetChroot => "target-chroot",
            Self::RawSocket => "raw-socket",
            Self::Ping => "ping",
            Self::NetAdmin => "net-admin",
            Self::LowPort => "low-port",
            Self::Perf => "perf",
            Self::Bpf => "bpf",
            Self::KernelLog => "kernel-log",
            Self::Namespaces => "namespaces",
            Self::Scratch => "scratch",
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The needs of one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// Without these the tool is of no use.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub required: BTreeSet<Need>,
    /// Without these a part of the tool does not work.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub optional: BTreeSet<Need>,
}

impl Needs {
    /// Required and optional needs together.
    pub fn all(&self) -> impl Iterator<Item = Need> {
        self.required.union(&self.optional).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_enum_are_the_words_of_the_json() {
        for need in Need::ALL {
            assert_eq!(serde_json::to_value(need).unwrap(), need.as_str());
        }
    }
}
