//! Every kind of target: which tools work beside it, as whom, what is said, and that it is left as it was.

use crate::{Test, world::World};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("beside a root target", |world| probe(world, &Case { pod: "root", ..EVERYTHING })),
    ("beside a target with nothing", |world| probe(world, &Case { pod: "locked", ..EVERYTHING })),
    ("beside a target that hides itself", |world| probe(world, &Case { pod: "hidden", ..EVERYTHING })),
    ("beside a target with more capabilities", |world| probe(world, &Case { pod: "net-admin", ..EVERYTHING })),
    ("beside a privileged target", |world| probe(world, &Case { pod: "privileged", ..EVERYTHING })),
    ("in a shared process namespace", |world| {
        probe(world, &Case { pod: "shared", container: "shop", pid_is_one: false, ..EVERYTHING });
    }),
    ("in the node's process namespace", |world| {
        probe(world, &Case { pod: "host-pid", pid_is_one: false, ..EVERYTHING });
    }),
    ("in the node's network", |world| probe(world, &Case { pod: "host-network", ..EVERYTHING })),
    ("beside a sidecar", |world| probe(world, &Case { pod: "sidecar", container: "mesh", ..EVERYTHING })),
    ("where baseline is enforced, beside a root target", |world| {
        probe(world, &Case { namespace: "baseline", pod: "root", level: "baseline", ..EVERYTHING });
    }),
    ("where baseline is enforced, beside a target with nothing", |world| {
        let said = &["baseline", "1000"];
        let case = Case { namespace: "baseline", pod: "locked", level: "baseline", user: "1000:0", said, ..EVERYTHING };
        probe(world, &case);
    }),
    ("where baseline is enforced, beside a target that hides itself", |world| {
        let said = &["not dumpable", "SYS_PTRACE"];
        let case = Case { namespace: "baseline", pod: "hidden", level: "baseline", user: "1000:0", said, ..EVERYTHING };
        probe(world, &Case { works: &["tcpdump"], ..case });
    }),
    ("where restricted is enforced", |world| {
        let said = &["tcpdump", "NET_RAW", "restricted"];
        let case = Case { namespace: "restricted", pod: "locked", level: "restricted", user: "1000:0", ..EVERYTHING };
        probe(world, &Case { works: &["strace", "files"], said, ..case });
    }),
    ("where restricted is enforced and the user stands in the image", |world| {
        let said = &["tcpdump", "NET_RAW", "restricted"];
        let pod = "image-user";
        let case = Case { namespace: "restricted", pod, level: "restricted", user: "1000:0", ..EVERYTHING };
        probe(world, &Case { works: &["strace", "files"], said, ..case });
    }),
];

/// A target, and what is expected beside it.
struct Case {
    namespace: &'static str,
    pod: &'static str,
    container: &'static str,
    pid_is_one: bool,
    /// What the container was given: the word in its environment.
    level: &'static str,
    /// The session's user and group.
    user: &'static str,
    works: &'static [&'static str],
    /// What must be on standard error.
    said: &'static [&'static str],
}

const EVERYTHING: Case = Case {
    namespace: "default",
    pod: "",
    container: "shop",
    pid_is_one: true,
    level: "exact",
    user: "0:0",
    works: &["strace", "tcpdump", "files", "in-target"],
    said: &[],
};

/// Tries each tool, all at once: a line for each that works.
const SCRIPT: &str = r#"
marker=etc/shop/kitbag-marker-of-the-shop
echo "user $(id -u):$(id -g)"
echo "level $KITBAG_PRIVILEGES"
echo "pid {pid} $KITBAG_PID"
echo "main $(tr '\0' ' ' < /proc/{pid}/cmdline)"
(timeout -s INT 3 strace -f -e trace=open,openat -p {pid} 2>&1 | grep -q kitbag-marker && echo works strace) &
(timeout 8 tcpdump -i any -n -c 1 udp port 53 > /dev/null 2>&1 && echo works tcpdump) &
(cat /target/$marker > /dev/null 2>&1 && echo works files) &
(kitbag-init in-target cat /$marker > /dev/null 2>&1 && echo works in-target) &
wait
"#;

fn probe(world: &World, case: &Case) {
    let before = world.condition(case.namespace, case.pod);
    let seen = world.kitbag(&[
        "debug",
        case.pod,
        "-n",
        case.namespace,
        "-c",
        case.container,
        "strace",
        "tcpdump",
        "shell",
        "--",
        "sh",
        "-c",
        SCRIPT,
    ]);
    let context = format!("stdout:\n{}\nstderr:\n{}", seen.stdout, seen.stderr);
    assert_eq!(seen.code, Some(0), "{context}");
    let line = |word: &str| {
        seen.stdout.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("{context}"))
    };
    assert_eq!(line("user "), case.user, "{context}");
    assert_eq!(line("level "), case.level, "{context}");
    let (substituted, variable) = line("pid ").split_once(' ').unwrap();
    assert_eq!(substituted, variable, "{context}");
    assert_eq!(substituted == "1", case.pid_is_one, "{context}");
    assert!(line("main ").starts_with("/shop ") && !line("main ").contains("pause"), "{context}");
    for tool in EVERYTHING.works {
        let works = seen.stdout.contains(&format!("works {tool}\n"));
        assert_eq!(works, case.works.contains(tool), "{tool}: {context}");
    }
    for text in case.said {
        assert!(seen.stderr.contains(text), "`{text}` was not said: {context}");
    }
    world.kitbag(&["end", case.pod, "-n", case.namespace]).expect_code(0);
    assert_eq!(world.condition(case.namespace, case.pod), before, "the pod is not as it was");
}
