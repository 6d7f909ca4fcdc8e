use super::*;
use crate::privileges::{Attempts, Wishes, candidates, testing};
use crate::report::Seen;
use serde_json::{Value, json};

const TOOLS: &str = "dig lsof!target-read strace?target-attach tcpdump!raw-socket";

/// A session of root with all capabilities that looks into a target of 1000:0.
fn report() -> Report {
    Report {
        version: "0.1.0".into(),
        uid: 0,
        gid: 0,
        effective: u64::MAX,
        yama: None,
        raw_socket: true,
        ping_socket: true,
        target: Some(Seen { pid: 1, uid: 1000, gid: 0, permitted: 0, dumpable: true, access: true }),
    }
}

/// A session that has become the target, in containerd's default set.
fn became() -> Report {
    Report { uid: 1000, gid: 0, effective: 0xa804_25fb, ..report() }
}

/// A session that is the target.
fn is() -> Report {
    Report { effective: 0, raw_socket: false, ..became() }
}

fn seen(edit: impl FnOnce(&mut Seen), mut report: Report) -> Report {
    edit(report.target.as_mut().unwrap());
    report
}

fn said(tools: &str, report: &Report, level: Level, pod: Value) -> Said {
    let (needs, target) = (testing::needs(tools), testing::target(json!({}), pod));
    of(&Facts { report, level, needs: &needs, namespace: "web", target: &target })
}

fn text(title: &str, tools: &str, report: &Report, level: Level, pod: Value) -> String {
    let said = said(tools, report, level, pod);
    let mut lines: Vec<String> = said.notes.iter().map(|note| format!("  {note}")).collect();
    let tools: Vec<&str> = said.missing.keys().map(Name::as_str).collect();
    lines.extend((!tools.is_empty()).then(|| format!("  of no use: {}", tools.join(", "))));
    lines.extend(said.uid_differs.map(|differs| format!("  {}", second(report, differs))));
    format!("{title}\n{}", lines.join("\n"))
}

#[test]
fn nothing_is_said_where_everything_works() {
    assert_eq!(said(TOOLS, &report(), Level::Exact, json!({})), Said::default());
    assert_eq!(said("dig", &is(), Level::Restricted, json!({})), Said::default());
    assert_eq!(said("dig", &Report { target: None, ..is() }, Level::Restricted, json!({})), Said::default());
}

#[test]
fn what_falls_short_is_said_with_why_and_what_still_works() {
    let none = || json!({});
    let hidden = |it: &mut Seen| (it.dumpable, it.access) = (false, false);
    let locked = |it: &mut Seen| it.access = false;
    let cases = [
        text("baseline", TOOLS, &became(), Level::Baseline, none()),
        text("baseline, hidden", TOOLS, &seen(hidden, became()), Level::Baseline, none()),
        text("baseline, Yama 1", TOOLS, &Report { yama: Some(1), ..became() }, Level::Baseline, none()),
        text("baseline, Yama 2", TOOLS, &Report { yama: Some(2), ..became() }, Level::Baseline, none()),
        text("exact, Yama 2", TOOLS, &Report { yama: Some(2), ..report() }, Level::Exact, none()),
        text("exact, Yama 3", TOOLS, &Report { yama: Some(3), ..report() }, Level::Exact, none()),
        text(
            "baseline, CRI-O",
            "tcpdump!raw-socket ps!target-chroot",
            &Report { effective: 0xf9 | 0x400, raw_socket: false, ..became() },
            Level::Baseline,
            none(),
        ),
        text(
            "baseline, target has more",
            TOOLS,
            &seen(
                |it| (it.uid, it.permitted, it.access) = (0, 0xa804_35fb, false),
                Report { uid: 0, gid: 0, ..became() },
            ),
            Level::Baseline,
            none(),
        ),
        text(
            "baseline, root that may hide",
            TOOLS,
            &seen(
                |it| (it.uid, it.permitted, it.access) = (0, 0xa804_25fb, false),
                Report { uid: 0, gid: 0, ..became() },
            ),
            Level::Baseline,
            none(),
        ),
        text("restricted, hidden", "lsof!target-read", &seen(hidden, is()), Level::Restricted, none()),
        text("restricted", TOOLS, &is(), Level::Restricted, none()),
        text(
            "restricted, another user",
            TOOLS,
            &seen(locked, Report { uid: 65532, gid: 65532, ..is() }),
            Level::Restricted,
            none(),
        ),
        text(
            "restricted, another group",
            "lsof!target-read",
            &seen(locked, Report { gid: 1000, ..is() }),
            Level::Restricted,
            none(),
        ),
        text(
            "restricted, root",
            TOOLS,
            &seen(|it| (it.uid, it.access) = (0, false), Report { uid: 65532, gid: 65532, ..is() }),
            Level::Restricted,
            none(),
        ),
        text(
            "restricted, ping",
            "busybox?target-read,target-signal,ping",
            &Report { ping_socket: false, ..is() },
            Level::Restricted,
            none(),
        ),
        text("exact, another profile", TOOLS, &seen(locked, report()), Level::Exact, none()),
        text(
            "exact, sandbox",
            TOOLS,
            &Report { raw_socket: false, ..report() },
            Level::Exact,
            json!({ "runtimeClassName": "gvisor" }),
        ),
        text("exact, raw sockets refused", TOOLS, &Report { raw_socket: false, ..report() }, Level::Exact, none()),
        text(
            "exact, user namespace",
            "dmesg!kernel-log bpftool!bpf",
            &report(),
            Level::Exact,
            json!({ "hostUsers": false }),
        ),
        text("exact, nothing is seen", TOOLS, &Report { target: None, ..report() }, Level::Exact, none()),
        text(
            "fewer",
            "strace?target-attach ip!net-admin",
            &seen(locked, Report { effective: 1 << 12, ..report() }),
            Level::Fewer,
            none(),
        ),
        text(
            "chosen, SYS_PTRACE and nothing to read with",
            "lsof!target-read htop?target-read,target-signal",
            &Report { effective: 1 << 19, ..report() },
            Level::Chosen,
            none(),
        ),
        text(
            "chosen, host network",
            "nc!low-port ip!net-admin perf!perf",
            &Report { effective: 0, ..report() },
            Level::Chosen,
            json!({ "hostNetwork": true }),
        ),
    ];
    insta::assert_snapshot!(cases.join("\n"), @r"
    baseline
      namespace `web` allows baseline: tools run as the target's user 1000
    baseline, hidden
      namespace `web` allows baseline: tools run as the target's user 1000
      the target hides itself from other processes (it is not dumpable), and looking into it needs SYS_PTRACE, which namespace `web` forbids: `lsof` may show less than there is, and exit 0 all the same; `strace` cannot attach
      still works: `dig`, `strace COMMAND`, `tcpdump`
      of no use: lsof
    baseline, Yama 1
      namespace `web` allows baseline: tools run as the target's user 1000
      this node allows attaching only with SYS_PTRACE (`kernel.yama.ptrace_scope` is 1), which namespace `web` forbids: `strace` cannot attach
      still works: `dig`, `lsof`, `strace COMMAND`, `tcpdump`
    baseline, Yama 2
      namespace `web` allows baseline: tools run as the target's user 1000
      this node allows attaching only with SYS_PTRACE (`kernel.yama.ptrace_scope` is 2), which namespace `web` forbids: `strace` can neither attach nor trace a command
      still works: `dig`, `lsof`, `tcpdump`
    exact, Yama 2

    exact, Yama 3
      this node forbids ptrace to everybody until it is rebooted (`kernel.yama.ptrace_scope` is 3): `strace` can neither attach nor trace a command
      still works: `dig`, `lsof`, `tcpdump`
    baseline, CRI-O
      namespace `web` allows baseline: tools run as the target's user 1000
      this node's runtime gives no SYS_CHROOT by default, and baseline forbids adding it: `ps` cannot run in the target's root directory
      this node's runtime gives no NET_RAW by default, and baseline forbids adding it: `tcpdump` cannot open raw sockets
      of no use: ps, tcpdump
    baseline, target has more
      namespace `web` allows baseline: tools run as the target's user 0
      the target has capabilities that the debugger has not (NET_ADMIN), and looking into it needs SYS_PTRACE, which namespace `web` forbids: `lsof` may show less than there is, and exit 0 all the same; `strace` cannot attach
      still works: `dig`, `strace COMMAND`, `tcpdump`
      of no use: lsof
    baseline, root that may hide
      namespace `web` allows baseline: tools run as the target's user 0
      the target hides itself from other processes (it is not dumpable), and looking into it needs SYS_PTRACE, which namespace `web` forbids, or AppArmor or SELinux keeps the debugger from it: `lsof` may show less than there is, and exit 0 all the same; `strace` cannot attach
      still works: `dig`, `strace COMMAND`, `tcpdump`
      of no use: lsof
    restricted, hidden
      namespace `web` allows restricted: tools run as the target's user 1000, without capabilities
      the target hides itself from other processes (it is not dumpable), and looking into it needs SYS_PTRACE, which namespace `web` forbids: `lsof` may show less than there is, and exit 0 all the same
      of no use: lsof
    restricted
      namespace `web` allows restricted: tools run as the target's user 1000, without capabilities
      NET_RAW would be needed, and namespace `web` allows only restricted: `tcpdump` cannot open raw sockets
      still works: `dig`, `lsof`, `strace`
      of no use: tcpdump
    restricted, another user
      the target runs as 1000:0 and sessions as 65532:65532, and looking into it needs SYS_PTRACE, which namespace `web` forbids: `lsof` may show less than there is, and exit 0 all the same; `strace` cannot attach
      NET_RAW would be needed, and namespace `web` allows only restricted: `tcpdump` cannot open raw sockets
      still works: `dig`, `strace COMMAND`
      of no use: lsof, tcpdump
      the target runs as 1000:0, not 65532:65532: adding a second debug container
    restricted, another group
      the target runs as 1000:0 and sessions as 1000:1000, and looking into it needs SYS_PTRACE, which namespace `web` forbids: `lsof` may show less than there is, and exit 0 all the same
      of no use: lsof
      the target runs as 1000:0, not 1000:1000: adding a second debug container
    restricted, root
      the target runs as root, and namespace `web` allows no debug container to do so: `lsof` may show less than there is, and exit 0 all the same; `strace` cannot attach
      NET_RAW would be needed, and namespace `web` allows only restricted: `tcpdump` cannot open raw sockets
      still works: `dig`, `strace COMMAND`
      of no use: lsof, tcpdump
    restricted, ping
      namespace `web` allows restricted: tools run as the target's user 1000, without capabilities
      NET_RAW would be needed, and namespace `web` allows only restricted: `busybox` cannot ping
      still works: the rest of `busybox`
    exact, another profile
      AppArmor or SELinux keeps the debugger from the target, since their profiles differ: `lsof` may show less than there is, and exit 0 all the same; `strace` cannot attach
      still works: `dig`, `strace COMMAND`, `tcpdump`
      of no use: lsof
    exact, sandbox
      the pod's runtime class `gvisor` seems to be a sandbox, whose own kernel refuses this: `tcpdump` cannot open raw sockets
      still works: `dig`, `lsof`, `strace`
      of no use: tcpdump
    exact, raw sockets refused
      AppArmor or SELinux refuses what the capabilities allow: `tcpdump` cannot open raw sockets
      still works: `dig`, `lsof`, `strace`
      of no use: tcpdump
    exact, user namespace
      not possible in a pod with `hostUsers: false`: `bpftool` cannot load BPF programs; `dmesg` cannot read the kernel's log
      of no use: bpftool, dmesg
    exact, nothing is seen
      no process of container `app` is visible, as with container runtimes other than containerd and CRI-O: `lsof` may show less than there is, and exit 0 all the same; `strace` cannot attach
      still works: `dig`, `strace COMMAND`, `tcpdump`
      of no use: lsof
    fewer
      the target runs as 1000:0 and sessions as 0:0, and looking into it needs SYS_PTRACE, which a policy of the cluster refuses: `strace` cannot attach
      still works: `ip`, `strace COMMAND`
    chosen, SYS_PTRACE and nothing to read with
      the target's files and descriptors are another user's, and reading them needs DAC_READ_SEARCH, which this container was not given: `htop`, `lsof` may show less than there is, and exit 0 all the same
      the target runs as 1000:0 and sessions as 0:0, and signalling it needs KILL, which this container was not given: `htop` cannot send signals to the target
      still works: the rest of `htop`
      of no use: lsof
    chosen, host network
      NET_ADMIN would be needed, which this container was not given: `ip` cannot change interfaces, addresses and routes
      NET_BIND_SERVICE would be needed, which this container was not given: `nc` cannot listen on ports below 1024
      PERFMON, SYS_PTRACE would be needed, which this container was not given: `perf` cannot get performance events
      of no use: ip, nc, perf
    ");
}

#[test]
fn a_command_whose_tool_is_of_no_use_is_an_error() {
    let mut hidden = is();
    hidden.target = hidden.target.map(|seen| Seen { dumpable: false, access: false, ..seen });
    let tools = "lsof!target-read strace?target-attach perf!perf,raw-socket tcpdump!raw-socket";
    let said = said(tools, &hidden, Level::Restricted, json!({}));
    let lines = said.missing.iter().map(|(tool, short)| format!("{tool}\n{short}\nhint: {}", short.hint().unwrap()));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
    lsof
    the target hides itself from other processes (it is not dumpable), and looking into it needs SYS_PTRACE, which namespace `web` forbids: `lsof` may show less than there is, and exit 0 all the same
    hint: it would work where the label `pod-security.kubernetes.io/enforce` is `privileged`: label namespace `web` so, or debug a copy of the pod in another one
    perf
    NET_RAW would be needed, and namespace `web` allows only restricted: `perf` cannot open raw sockets
    PERFMON, SYS_PTRACE would be needed, and namespace `web` allows only restricted: `perf` cannot get performance events
    hint: it would work where the label `pod-security.kubernetes.io/enforce` is `privileged`: label namespace `web` so, or debug a copy of the pod in another one
    tcpdump
    NET_RAW would be needed, and namespace `web` allows only restricted: `tcpdump` cannot open raw sockets
    hint: it would work where the label `pod-security.kubernetes.io/enforce` is `baseline`: label namespace `web` so, or debug a copy of the pod in another one
    ");
}

#[test]
fn what_is_known_beforehand_is_refused_with_what_can_be_done() {
    let text = |tools: &str, context: Value, pod: Value, weakest: bool| {
        let (needs, target) = (testing::needs(tools), testing::target(context, pod));
        let all = candidates(&needs, &target, &Wishes::default());
        let all = if weakest { all.last().cloned().into_iter().collect() } else { all };
        let attempts = Attempts { candidates: &all, wanted: &needs, run: None, target: &target };
        let short = unmet(&attempts.first().unwrap_err(), "web", &target);
        format!("{tools}\n  {short}\n  hint: {}", short.hint().unwrap_or("none".into()))
    };
    let cases = [
        text("mtr!raw-socket tcpdump!raw-socket", json!({ "runAsUser": 1000 }), json!({}), true),
        text("lsof!target-read", json!({ "runAsUser": 0 }), json!({}), true),
        text("ip!net-admin", json!({}), json!({}), true),
        text("dmesg!kernel-log", json!({}), json!({ "hostUsers": false }), false),
    ];
    insta::assert_snapshot!(cases.join("\n"), @r"
    mtr!raw-socket tcpdump!raw-socket
      NET_RAW would be needed, and namespace `web` allows only restricted: `mtr`, `tcpdump` cannot open raw sockets
      hint: it would work where the label `pod-security.kubernetes.io/enforce` is `baseline`: label namespace `web` so, or debug a copy of the pod in another one
    lsof!target-read
      the target runs as root, and namespace `web` allows no debug container to do so: `lsof` may show less than there is, and exit 0 all the same
      hint: it would work where the label `pod-security.kubernetes.io/enforce` is `baseline`: label namespace `web` so, or debug a copy of the pod in another one
    ip!net-admin
      NET_ADMIN would be needed, and namespace `web` allows only restricted: `ip` cannot change interfaces, addresses and routes
      hint: it would work where the label `pod-security.kubernetes.io/enforce` is `privileged`: label namespace `web` so, or debug a copy of the pod in another one
    dmesg!kernel-log
      not possible in a pod with `hostUsers: false`: `dmesg` cannot read the kernel's log
      hint: none
    ");
}

#[test]
fn what_is_asked_for_is_told_with_the_tools_that_want_it() {
    let (needs, target) = (testing::needs(TOOLS), testing::target(json!({ "runAsUser": 1000 }), json!({})));
    let mut lines: Vec<String> =
        candidates(&needs, &target, &Wishes::default()).iter().map(|candidate| asks(&needs, candidate)).collect();
    let mut chosen = |wishes: Wishes| lines.push(asks(&needs, &candidates(&needs, &target, &wishes)[0]));
    chosen(Wishes { privileged: true, ..Wishes::default() });
    chosen(Wishes { as_user: "5".parse().ok(), ..Wishes::default() });
    chosen(Wishes { cap_drop: vec!["SYS_PTRACE".parse().unwrap()], ..Wishes::default() });
    let dig = testing::needs("dig");
    lines.extend(candidates(&dig, &target, &Wishes::default()).iter().map(|candidate| asks(&dig, candidate)));
    insta::assert_snapshot!(lines.join("\n"), @r"
    DAC_READ_SEARCH, KILL, NET_RAW, SYS_PTRACE (lsof: target-read; strace: target-attach; tcpdump: raw-socket)
    root with the runtime's default capabilities
    DAC_READ_SEARCH, NET_RAW, SYS_PTRACE (lsof: target-read; tcpdump: raw-socket)
    user 1000:0 with no capability
    a privileged container, as chosen
    user 5, no capability added, without ALL, as chosen
    user 0, DAC_READ_SEARCH, KILL, NET_RAW added, without ALL, as chosen
    no capability
    user 1000:0 with no capability
    ");
}
