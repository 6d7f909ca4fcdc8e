//! The parts of sentences: why, what it hinders, what still works, what can be done.

use std::collections::BTreeMap;

use kitbag_toolsets::{Name, Need, Needs};

use super::Hindered;
use crate::kubernetes::POD_SECURITY;
use crate::privileges::{Hindrance, Level, YAMA_NOBODY, is_of_target};
use crate::report::Report;
use crate::target::Target;

/// With this or more, `kernel.yama.ptrace_scope` refuses also to trace what one has started, without SYS_PTRACE.
const YAMA_NOT_EVEN_OWN: u8 = 2;

/// Commands that show less when they may not read, and exit 0: by the tool that has them.
const SILENT: [(&str, &str); 6] = [
    ("busybox", "`lsof` and `netstat -p` of busybox"),
    ("htop", "`htop`"),
    ("iproute2", "`ss -p`"),
    ("lsof", "`lsof`"),
    ("net-tools", "`netstat -p`"),
    ("psmisc", "`fuser`"),
];

/// Tools that can start what they trace.
const STARTERS: [&str; 3] = ["gdbserver", "ltrace", "strace"];

/// Where a sentence is said.
pub(super) struct Scene<'a> {
    pub(super) level: Level,
    pub(super) namespace: &'a str,
    pub(super) target: &'a Target,
    /// None before anything runs.
    pub(super) report: Option<&'a Report>,
}

impl Scene<'_> {
    /// Who does not grant a capability.
    fn barred(&self) -> String {
        match self.level {
            Level::Exact | Level::Chosen => "which this container was not given".to_owned(),
            Level::Fewer => "which a policy of the cluster refuses".to_owned(),
            Level::Baseline | Level::Restricted => format!("which namespace `{}` forbids", self.namespace),
        }
    }
}

/// Why a need is not met.
pub(super) fn cause(hindered: &Hindered<'_>, scene: &Scene<'_>) -> String {
    let (namespace, level, barred) = (scene.namespace, scene.level, scene.barred());
    match &hindered.why {
        Hindrance::Lacking(set) if matches!(level, Level::Baseline | Level::Restricted) => {
            format!("{set} would be needed, and namespace `{namespace}` allows only {level}")
        }
        Hindrance::Lacking(set) => format!("{set} would be needed, {barred}"),
        Hindrance::NotByDefault(set) => {
            format!("this node's runtime gives no {set} by default, and {level} forbids adding it")
        }
        Hindrance::Hidden => format!(
            "the target hides itself from other processes (it is not dumpable), and looking into it needs SYS_PTRACE, {barred}"
        ),
        Hindrance::HiddenOrModule => format!(
            "the target hides itself from other processes (it is not dumpable), and looking into it needs SYS_PTRACE, {barred}, or AppArmor or SELinux keeps the debugger from it"
        ),
        Hindrance::MoreCapable(set) => format!(
            "the target has capabilities that the debugger has not ({set}), and looking into it needs SYS_PTRACE, {barred}"
        ),
        Hindrance::OtherUser(it) if it.uid == 0 && level == Level::Restricted => {
            format!("the target runs as root, and namespace `{namespace}` allows no debug container to do so")
        }
        Hindrance::OtherUser(it) => {
            let ours = scene.report.map(|report| format!(" and sessions as {}:{}", report.uid, report.gid));
            let ours = ours.unwrap_or_else(|| " and sessions as somebody else".to_owned());
            format!("the target runs as {}:{}{ours}, and {}, {barred}", it.uid, it.gid, instead(hindered.need))
        }
        Hindrance::OtherFiles => {
            format!(
                "the target's files and descriptors are another user's, and reading them needs DAC_READ_SEARCH, {barred}"
            )
        }
        Hindrance::Yama(scope) if *scope >= YAMA_NOBODY => {
            format!(
                "this node forbids ptrace to everybody until it is rebooted (`kernel.yama.ptrace_scope` is {scope})"
            )
        }
        Hindrance::Yama(scope) => {
            format!("this node allows attaching only with SYS_PTRACE (`kernel.yama.ptrace_scope` is {scope}), {barred}")
        }
        Hindrance::Module if is_of_target(hindered.need) => {
            "AppArmor or SELinux keeps the debugger from the target, since their profiles differ".to_owned()
        }
        Hindrance::Module => "AppArmor or SELinux refuses what the capabilities allow".to_owned(),
        Hindrance::UserNamespace => "not possible in a pod with `hostUsers: false`".to_owned(),
        Hindrance::Sandbox(class) => {
            format!("the pod's runtime class `{class}` seems to be a sandbox, whose own kernel refuses this")
        }
        Hindrance::Unseen => format!(
            "no process of container `{}` is visible, as with container runtimes other than containerd and CRI-O",
            scene.target.container
        ),
    }
}

/// What a need takes where one is somebody else.
fn instead(need: Need) -> &'static str {
    if need == Need::TargetSignal { "signalling it needs KILL" } else { "looking into it needs SYS_PTRACE" }
}

/// What does not work: who, and what they cannot do.
pub(super) fn effect(hindered: &Hindered<'_>) -> (String, &'static str) {
    let tool = format!("`{}`", hindered.tool);
    let silent = SILENT.iter().find(|(name, _)| *name == hindered.tool.as_str());
    if let (Need::TargetRead, Some((_, commands))) = (hindered.need, silent) {
        return ((*commands).to_owned(), "may show less than there is, and exit 0 all the same");
    }
    let cannot = match hindered.need {
        Need::TargetRead => "cannot read the target's files, environment and descriptors",
        Need::TargetAttach if refuses_own(&hindered.why) => "can neither attach nor trace a command",
        Need::TargetAttach => "cannot attach",
        Need::TargetSignal => "cannot send signals to the target",
        Need::TargetChroot => "cannot run in the target's root directory",
        Need::RawSocket => "cannot open raw sockets",
        Need::Ping => "cannot ping",
        Need::NetAdmin => "cannot change interfaces, addresses and routes",
        Need::LowPort => "cannot listen on ports below 1024",
        Need::Perf => "cannot get performance events",
        Need::Bpf => "cannot load BPF programs",
        Need::KernelLog => "cannot read the kernel's log",
        Need::Namespaces => "can neither enter namespaces nor mount",
        Need::See | Need::Scratch => "cannot work",
    };
    (tool, cannot)
}

fn refuses_own(why: &Hindrance) -> bool {
    matches!(why, Hindrance::Yama(scope) if *scope >= YAMA_NOT_EVEN_OWN)
}

/// The tools that work, in whole or in part.
pub(super) fn still_works(needs: &BTreeMap<Name, Needs>, hindered: &[Hindered<'_>], report: &Report) -> Option<String> {
    let traces_own = report.yama.is_none_or(|scope| !refuses_own(&Hindrance::Yama(scope)));
    let part = |tool: &Name| {
        let mut faults = hindered.iter().filter(|it| it.tool == tool).peekable();
        if faults.peek().is_none() {
            return Some(format!("`{tool}`"));
        }
        if faults.any(|it| it.required) {
            return None;
        }
        match STARTERS.contains(&tool.as_str()) {
            true => traces_own.then(|| format!("`{tool} COMMAND`")),
            false => Some(format!("the rest of `{tool}`")),
        }
    };
    let works: Vec<String> = needs.keys().filter_map(part).collect();
    (!works.is_empty()).then(|| format!("still works: {}", works.join(", ")))
}

/// What somebody could do about it.
pub(super) fn options(hindered: &[Hindered<'_>], scene: &Scene<'_>) -> Option<String> {
    let all = |suits: fn(&Hindered<'_>) -> bool| hindered.iter().all(suits);
    let level = match scene.level {
        // What the node or the target refuses is not the namespace's to allow.
        _ if !all(|it| privileges_help(&it.why)) => return None,
        Level::Exact | Level::Fewer => return None,
        Level::Chosen => return Some("without flags, privileges are computed from what the tools need".to_owned()),
        Level::Restricted if all(suits_baseline) => "baseline",
        Level::Baseline | Level::Restricted => "privileged",
    };
    Some(format!(
        "it would work where the label `{POD_SECURITY}` is `{level}`: label namespace `{}` so, or debug a copy of the pod in another one",
        scene.namespace
    ))
}

fn privileges_help(why: &Hindrance) -> bool {
    match why {
        Hindrance::Lacking(_)
        | Hindrance::NotByDefault(_)
        | Hindrance::Hidden
        | Hindrance::HiddenOrModule
        | Hindrance::MoreCapable(_)
        | Hindrance::OtherUser(_)
        | Hindrance::OtherFiles => true,
        Hindrance::Yama(scope) => *scope < YAMA_NOBODY,
        Hindrance::Module | Hindrance::UserNamespace | Hindrance::Sandbox(_) | Hindrance::Unseen => false,
    }
}

/// Whether `baseline` would do, where sessions become the target and have the runtime's default capabilities.
fn suits_baseline(hindered: &Hindered<'_>) -> bool {
    let of_us = matches!(hindered.why, Hindrance::Lacking(_) | Hindrance::OtherUser(_));
    let need = hindered.need;
    of_us && (is_of_target(need) || matches!(need, Need::RawSocket | Need::Ping | Need::LowPort))
}
