//! The process that is debugged, in a pid namespace of its own as in a container. Root's work.

use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::container::{Client, Container, First, line};

/// What containerd gives a container by default.
const DEFAULT_SET: &str = "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,\
                           +net_bind_service,+sys_chroot,+kill,+audit_write";
const DEFAULT_MASK: &str = "00000000a80425fb";

/// A process 1, and whoever made its namespace.
struct Target {
    maker: Child,
    pid: String,
}

impl Target {
    /// Process 1 becomes `script`, which says a line when it is there.
    fn start(by: &[&str], script: &str) -> Self {
        let mut maker = Command::new("unshare");
        maker.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]).args(by).args(["sh", "-c", script]);
        let mut maker = maker.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        assert_eq!(line(&mut BufReader::new(maker.stdout.take().unwrap())), "open\n");
        let children = format!("/proc/{0}/task/{0}/children", maker.id());
        let pid = std::fs::read_to_string(children).unwrap().trim().to_owned();
        Self { maker, pid }
    }

    fn of_user() -> Self {
        let user = ["setpriv", "--reuid=1000", "--regid=2000", "--groups=2000,3000"];
        Self::start(&user, "umask 077; echo open; exec sleep 1000")
    }

    /// A session beside it, of root with the capabilities of a container.
    fn session(&self, container: &Container, capabilities: &str, arguments: &[&str]) -> Client {
        let set = format!("--bounding-set={capabilities}");
        let target = format!("--target={}", self.pid);
        let by = ["nsenter", &target, "--pid", "--mount", "--", "setpriv", "--no-new-privs", "--inh-caps=-all", &set];
        Client::connect(container.program_by(&by, &[&["session"], arguments].concat()))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Its maker cannot: a process that changes its user no longer hears of the death of its parent.
        let pid = Pid::from_raw(self.pid.parse().unwrap()).unwrap();
        let _ = kill_process(pid, Signal::KILL);
        let _ = self.maker.wait();
    }
}

#[test]
fn root_becomes_the_target_and_keeps_its_capabilities() {
    let (target, container) = (Target::of_user(), Container::new());
    let (_first, _) = container.first(&["--idle", "1000"]);
    let script = "id -u; id -g; id -G; grep -E 'Cap(Eff|Amb)' /proc/self/status
        ls /proc/1/root > /dev/null && wc -c < /proc/1/environ > /dev/null && echo in; echo out > /dev/stdout
        echo $KITBAG_PID {pid}";
    let mut client = target.session(&container, DEFAULT_SET, &["--become", "--", "sh", "-c", script]);
    let report = client.report();
    for part in [
        format!("\"uid\":1000,\"gid\":2000,\"effective\":\"{DEFAULT_MASK}\",\"bounding\":\"{DEFAULT_MASK}\""),
        "\"no_new_privs\":true".to_owned(),
        "\"raw_socket\":true".to_owned(),
        "\"target\":{\"pid\":1,\"uid\":1000,\"gid\":2000,\"permitted\":\"0000000000000000\",\
         \"dumpable\":true,\"access\":true}}"
            .to_owned(),
    ] {
        assert!(report.contains(&part), "{part} is not in {report}");
    }
    let ended = client.ended();
    let expected = format!("1000\n2000\n2000 3000\nCapEff:\t{DEFAULT_MASK}\nCapAmb:\t{DEFAULT_MASK}\nin\nout\n1 1\n");
    assert_eq!((&*ended.stdout, &*ended.stderr), (&*expected, ""));
    assert_eq!(std::fs::read_link(container.link()).unwrap(), Path::new("/proc/1/root"));
}

#[test]
fn who_became_the_target_has_a_terminal_and_an_end() {
    let (target, container) = (Target::of_user(), Container::new());
    let script = "stat -c %u $(tty); echo x > /dev/stderr; setsid sleep 1000 & exec sleep 1000";
    let mut client = target.session(&container, DEFAULT_SET, &["--become", "--tty", "80x24", "--", "sh", "-c", script]);
    client.report();
    assert_eq!(client.line(), "1000\r\n");
    assert_eq!(client.line(), "x\r\n");
    assert_eq!(client.dies().code, Some(129));
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", target.pid)).unwrap();
    assert_eq!(children, "", "nothing is left to the target");
}

#[test]
fn root_without_more_may_not_look_in() {
    let (target, container) = (Target::of_user(), Container::new());
    let ended = target.session(&container, DEFAULT_SET, &["--", "true"]).ended();
    assert!(ended.stdout.contains("\"uid\":0,\"gid\":0,"), "{ended:?}");
    assert!(ended.stdout.contains("\"dumpable\":true,\"access\":false}"), "{ended:?}");
}

#[test]
fn who_cannot_become_the_target_says_so_and_stays() {
    let (target, container) = (Target::of_user(), Container::new());
    let ended = target.session(&container, "-all,+kill", &["--become", "--", "id", "-u"]).whole();
    assert_eq!(ended.stdout, "0\n");
    assert!(
        ended.stderr.ends_with(
            "kitbag-init: warning: this session cannot run as the user of the target's process: it takes the \
             capabilities SETUID and SETGID, which this container does not have\n"
        ),
        "{ended:?}"
    );
}

#[test]
fn a_target_that_hides_is_told() {
    let (container, directory) = (Container::new(), tempfile::tempdir().unwrap());
    // A program that its user may not read.
    let program = directory.path().join("sleep");
    std::fs::copy("/bin/sleep", &program).unwrap();
    let quoted = program.to_str().unwrap();
    let run = |command: &str, arguments: &[&str]| Command::new(command).args(arguments).status().unwrap();
    assert!(run("chmod", &["0711", quoted, directory.path().to_str().unwrap()]).success());
    let script = format!("echo open; exec {quoted} 1000");
    let target = Target::start(&["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"], &script);
    // The line comes before the program that hides.
    while std::fs::read_link(format!("/proc/{}/exe", target.pid)).unwrap() != program {
        std::thread::yield_now();
    }
    let ended = target.session(&container, DEFAULT_SET, &["--become", "--", "true"]).ended();
    assert!(ended.stdout.contains("\"dumpable\":false,\"access\":false}"), "{ended:?}");
}

#[test]
fn a_container_alone_has_no_target() {
    let container = Container::new();
    let by = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"];
    let (first, line) = First::start(&mut container.program_by(&by, &["--idle", "1000"]));
    assert!(line.contains(",\"target\":null,\"ready\":true}"), "{line}");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", first.0.id())).unwrap();
    let target = format!("--target={}", children.trim());
    let session = |arguments: &[&str]| {
        let by = ["nsenter", &target, "--pid", "--mount", "--"];
        Client::connect(container.program_by(&by, &[&["session"], arguments].concat())).ended()
    };
    let ended = session(&["--", "sh", "-c", "echo .$KITBAG_PID."]);
    assert!(ended.stdout.ends_with(",\"target\":null}\n..\n"), "{ended:?}");
    let ended = session(&["--become", "--", "strace", "-p", "{pid}"]);
    assert_eq!(ended.code, Some(125));
    assert!(ended.stdout.ends_with(",\"target\":null}\n"), "{ended:?}");
    assert_eq!(
        ended.stderr,
        "kitbag-init: warning: this session cannot run as the user of the target's process: it is not visible\n\
         kitbag-init: the command names `{pid}`, but the target's process is not visible here\n"
    );
    assert!(!container.link().exists());
}

#[test]
fn an_unknown_container_has_no_process() {
    // Process 1 of a pod or a node is visible, and somebody else.
    for flags in [&["--target", "0123456789abcdef"][..], &["--shared"], &["--shared", "--target", "0123456789abcdef"]] {
        let container = Container::new();
        // Of a process that is gone.
        std::os::unix::fs::symlink("/proc/4000000/root", container.link()).unwrap();
        let ended = container.session(&[flags, &["--", "sh", "-c", "echo .$KITBAG_PID."]].concat()).ended();
        assert!(ended.stdout.ends_with(",\"target\":null}\n..\n"), "{ended:?}");
        assert!(!container.link().is_symlink());
        let (_first, line) = container.first(&[&["--idle", "1000"], flags].concat());
        assert!(line.contains(",\"target\":null,\"ready\":true"), "{line}");
        assert!(!container.link().is_symlink());
    }
}

#[test]
fn outside_of_a_session_the_link_says_which_process_is_meant() {
    let container = Container::new();
    let run = || {
        let mut command = container.program(&["in-target", "true"]);
        let output = command.env_remove("KITBAG_PID").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let none = "kitbag-init: there is no target process here whose files could be shown\n";
    assert_eq!(run(), (Some(125), none.to_owned()));
    std::os::unix::fs::symlink("/proc/self/root", container.link()).unwrap();
    assert_eq!(run(), (Some(125), none.to_owned()));
    std::fs::remove_file(container.link()).unwrap();
    std::os::unix::fs::symlink(format!("/proc/{}/root", std::process::id()), container.link()).unwrap();
    assert_eq!(run(), (Some(0), String::new()));
}

#[test]
fn a_program_runs_with_the_targets_root_as_its_own() {
    let script = "mount -t tmpfs none /mnt && echo hello > /mnt/motto && ln -s /mnt/motto /mnt/link && echo open
                  exec sleep 1000";
    let (target, container) = (Target::start(&[], script), Container::new());
    let run = |by: &[&str], command: &[&str]| {
        let mut command = container.program_by(by, &[&["in-target"], command].concat());
        command.env("KITBAG_PID", &target.pid).output().unwrap()
    };
    let output = run(&[], &["cat", "/mnt/link"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"hello\n"[..]), "{output:?}");
    assert_eq!(run(&[], &["no-such-tool"]).status.code(), Some(127));

    let output = run(&["setpriv", "--bounding-set=-sys_chroot"], &["cat", "/mnt/link"]);
    assert_eq!(output.status.code(), Some(126));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "kitbag-init: the root directory of process {} cannot be entered: Operation not permitted; it takes read \
             access to that process (its user, or SYS_PTRACE), which is granted, and SYS_CHROOT, which is not granted\n",
            target.pid
        )
    );
    let output = run(&["setpriv", "--bounding-set=-all,+sys_chroot"], &["cat", "/mnt/link"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("which is not granted, and SYS_CHROOT, which is granted\n"), "{text}");
}
