//! The parts of sentences: why, what it hinders, what still works, what can be done.

use std::collections::BTreeMap;

use kitbag_toolsets::{Name, Need, Needs};

use super::Hindered;
use crate::privileges::{Hindrance, Level, YAMA_NOBODY, is_of_target};
use crate::report::Report;
use crate::target::Target;

/// With this or more, `kernel.yama.ptrace_scope` refuses also to trace what one has started, without SYS_PTRACE.
const YAMA_NOT_EVEN_OWN: u8 = 2;

/// Commands that show less when they may not read, and exit 0: by the tool that has them.
const SILENT: [(&str, &str); 6] = [
    ("busybox", "`lsof` and `netstat -p` of busybox show"),
    ("htop", "`htop` shows"),
    ("iproute2", "`ss -p` shows"),
    ("lsof", "`lsof` shows"),
    ("net-tools", "`netstat -p` shows"),
    ("psmisc", "`fuser` shows"),
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
            format!("{set} is needed, and namespace `{namespace}` allows only {level}")
        }
        Hindrance::Lacking(set) => format!("{set} is needed, {barred}"),
        Hindrance::NotByDefault(set) => {
            format!("this node's runtime gives no {set} by default, and {level} forbids adding it")
        }
        Hindrance::Hidden => format!(
            "the target hides itself from other processes (it is not dumpable), and looking into it needs SYS_PTRACE, {barred}"
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
            format!(
                "the target runs as {}:{}{ours}, and that needs {}, {barred}",
                it.uid,
                it.gid,
                instead(hindered.need)
            )
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
            "AppArmor or SELinux keeps the debugger from the target: their profiles differ".to_owned()
        }
        Hindrance::Module => "AppArmor or SELinux refuses what the capabilities allow".to_owned(),
        Hindrance::UserNamespace => "not possible in a pod with `hostUsers: false`".to_owned(),
        Hindrance::Sandbox(class) => {
            format!("the pod's runtime class `{class}` seems to be a sandbox, whose own kernel refuses this")
        }
        Hindrance::Unseen => format!("no process of container `{}` is visible", scene.target.container),
    }
}

/// What a need takes where one is somebody else.
fn instead(need: Need) -> &'static str {
    if need == Need::TargetSignal { "KILL" } else { "SYS_PTRACE" }
}

/// What does not work.
pub(super) fn effect(hindered: &Hindered<'_>) -> String {
    let tool = hindered.tool;
    let silent = SILENT.iter().find(|(name, _)| *name == tool.as_str());
    match hindered.need {
        Need::TargetRead => match silent {
            Some((_, commands)) => format!("{commands} less than there is, and exits 0 all the same"),
            None => format!("`{tool}` cannot read the target's files, environment and descriptors"),
        },
        Need::TargetAttach if refuses_own(&hindered.why) => format!("`{tool}` can neither attach nor trace a command"),
        Need::TargetAttach => format!("`{tool}` cannot attach"),
        Need::TargetSignal => format!("`{tool}` cannot send signals to the target"),
        Need::TargetChroot => format!("`{tool}` cannot take the target's root directory as its own"),
        Need::RawSocket => format!("`{tool}` gets no raw socket"),
        Need::Ping => format!("`{tool}` cannot ping"),
        Need::NetAdmin => format!("`{tool}` cannot change interfaces, addresses and routes"),
        Need::LowPort => format!("`{tool}` cannot listen on ports below 1024"),
        Need::Perf => format!("`{tool}` gets no performance events"),
        Need::Bpf => format!("`{tool}` cannot load BPF programs"),
        Need::KernelLog => format!("`{tool}` cannot read the kernel's log"),
        Need::Namespaces => format!("`{tool}` can neither enter namespaces nor mount"),
        Need::See | Need::Scratch => format!("`{tool}` does not work"),
    }
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

/// What somebody could do where a level is too low.
pub(super) fn options(hindered: &[Hindered<'_>], scene: &Scene<'_>) -> Option<String> {
    let level = match scene.level {
        _ if hindered.iter().any(|it| it.why == Hindrance::UserNamespace) => return None,
        Level::Chosen => return Some("other privileges are chosen by other flags, or computed without any".to_owned()),
        Level::Exact | Level::Fewer => return None,
        Level::Restricted if hindered.iter().all(|it| suits_baseline(it.need)) => "baseline",
        Level::Baseline | Level::Restricted => "privileged",
    };
    Some(format!(
        "it would work where `pod-security.kubernetes.io/enforce` is `{level}`: that is a label of namespace `{}`, and a copy of the pod can be made in another one; nothing was added to the pod",
        scene.namespace
    ))
}

fn suits_baseline(need: Need) -> bool {
    is_of_target(need) || matches!(need, Need::RawSocket | Need::Ping | Need::LowPort)
}
