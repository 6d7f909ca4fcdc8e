//! What goes wrong at three in the morning: each fault is named, and the pod is left no worse than before.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use crate::{
    Test,
    cut::Line,
    world::{Printed, World},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("a connection that is cut leaves the container", a_connection_that_is_cut),
    ("a client that is killed leaves no program behind", a_client_that_is_killed),
    ("a pod that is deleted during a session", a_pod_that_is_deleted),
    ("a target that crashes every three seconds", a_target_that_crashes),
    ("an image that is missing", an_image_that_is_missing),
    ("an image that wants a secret", an_image_that_wants_a_secret),
    ("a gigabyte arrives bit for bit", a_gigabyte),
];

/// Those that disturb everybody: one at a time, when nobody else is there.
pub(crate) const ALONE: &[(&str, Test)] = &[
    ("an API server that restarts during the wait", an_api_server_that_restarts_during_the_wait),
    ("an API server that restarts during a session", an_api_server_that_restarts_during_a_session),
    ("a registry that is down", a_registry_that_is_down),
];

/// A session that has printed a line and goes on.
struct Open(Child);

impl Open {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line != "open\n" {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("the session did not open: {line}{said}");
        }
        Self(child)
    }

    fn end(self) -> Printed {
        let output = self.0.wait_with_output().unwrap();
        Printed {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }
}

const FOR_LONG: &str = "echo open; exec sleep 86399";

fn a_connection_that_is_cut(world: &World) {
    let pod = world.pod("cut");
    let before = world.condition("default", &pod);
    let line = Line::to_the_api(&world.node);
    let flags = ["--kubeconfig", line.kubeconfig(), "--patience", "2"];
    let session = Open::start(
        world.kitbag_command(&[&["debug", &pod, "shell"], &flags[..], &["--", "sh", "-c", FOR_LONG]].concat()),
    );
    line.cut();
    let ended = session.end();
    assert_eq!(ended.code, Some(76), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("kubectl kitbag attach {pod}")), "{}", ended.stderr);
    // The program of that session goes, the container stays.
    world.wait("the end of the program", || !world.condition("default", &pod).contains("86399"));
    assert_eq!(world.kitbag(&["attach", &pod, "--", "echo", "back"]).expect_code(0).stdout, "back\n");
    assert_eq!(world.debug_containers(&pod).split_whitespace().count(), 1);
    world.leave(&pod, &before);
}

fn a_client_that_is_killed(world: &World) {
    let pod = world.pod("killed");
    let before = world.condition("default", &pod);
    let arguments = ["debug", &pod, "shell", "--idle", "1", "--patience", "2", "--", "sh", "-c", FOR_LONG];
    let mut session = Open::start(world.kitbag_command(&arguments));
    session.0.kill().unwrap();
    session.0.wait().unwrap();
    let name = world.debug_containers(&pod);
    world.wait("the idle end", || world.is_ended(&pod, &name));
    assert_eq!(world.condition("default", &pod), before);
}

fn a_pod_that_is_deleted(world: &World) {
    let pod = world.pod("short-lived");
    let session = Open::start(world.kitbag_command(&["debug", &pod, "shell", "--", "sh", "-c", FOR_LONG]));
    world.node.kubectl(&["delete", "pod", &pod, "--wait=false"]).unwrap();
    let ended = session.end();
    assert_eq!(ended.code, Some(76), "{}", ended.stderr);
    assert!(ended.stderr.contains("has ended") && ended.stderr.contains("being deleted"), "{}", ended.stderr);
    world.node.kubectl(&["wait", "--for=delete", "--timeout=30s", &format!("pod/{pod}")]).unwrap();
}

fn a_target_that_crashes(world: &World) {
    // Its debug container lives from one start to the next crash.
    let seen = world.kitbag(&["debug", "crashing", "shell", "--timeout", "120", "--", "sh", "-c", FOR_LONG]);
    assert!([Some(67), Some(76)].contains(&seen.code), "{:?} {}{}", seen.code, seen.stdout, seen.stderr);
    assert!(seen.stderr.contains("warning: container `shop`"), "{}", seen.stderr);
    assert!(seen.stderr.contains("has ended"), "{}", seen.stderr);
}

fn an_image_that_is_missing(world: &World) {
    let image = format!("{}/no-such-image:1", world.registry());
    let pod = world.pod("no-image");
    let seen = world.kitbag(&["debug", &pod, "--image", &image, "--timeout", "20", "--", "true"]);
    assert!(seen.code.is_some_and(|code| [65, 68, 71].contains(&code)), "{:?} {}", seen.code, seen.stderr);
    assert!(seen.stderr.contains("no-such-image"), "{}", seen.stderr);
}

fn an_image_that_wants_a_secret(world: &World) {
    let private = world.private_registry();
    let flags = ["--registry", &private, "--timeout", "20"];
    let without = world.pod("no-secret");
    let seen = world.kitbag(&[&["debug", &without, "strace"], &flags[..], &["--", "strace", "--version"]].concat());
    assert!(seen.code.is_some_and(|code| code != 0), "{}", seen.stderr);
    assert!(seen.stderr.contains("pull secret"), "{}", seen.stderr);

    let with = world.pod_with("secret", "imagePullSecrets: [{ name: pull }]");
    let seen = world.kitbag(&[&["debug", &with, "strace"], &flags[..], &["--", "strace", "--version"]].concat());
    assert!(seen.expect_code(0).stdout.contains("version 6.1"));
}

fn a_gigabyte(world: &World) {
    let kitbag = world.kitbag_command(&["debug", "shop", "-i", "shell", "--", "cat"]);
    let words: Vec<String> = std::iter::once(kitbag.get_program())
        .chain(kitbag.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let dir = kitbag_tests::cache::scratch("gigabyte-").unwrap();
    let sum = dir.path().join("sum");
    let script = format!(
        "set -o pipefail; openssl enc -aes-128-ctr -nosalt -K 00 -iv 00 -in /dev/zero 2>/dev/null | head -c 1073741824 | \
         tee >(sha256sum > {sum}) | {} | sha256sum",
        words.join(" "),
        sum = sum.display()
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]);
    for (name, value) in kitbag.get_envs() {
        match value {
            Some(value) => bash.env(name, value),
            None => bash.env_remove(name),
        };
    }
    let seen = crate::world::run(bash, b"");
    world.wait("the first sum", || std::fs::read_to_string(&sum).is_ok_and(|sum| sum.ends_with('\n')));
    assert_eq!(seen.stdout, std::fs::read_to_string(&sum).unwrap(), "{}", seen.stderr);
}

fn an_api_server_that_restarts_during_the_wait(world: &World) {
    // The crashing target makes it wait; with luck for the server, it is gone in the middle of that.
    let pod = world.pod("restarted");
    let wait =
        world.kitbag_command(&["debug", &pod, "--image", "198.51.100.1/never:1", "--timeout", "25", "--", "true"]);
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(move || crate::world::run(wait, b""));
        world.wait("the container to be added", || !world.debug_containers(&pod).is_empty());
        world.restart_api_server();
        waiting.join().unwrap()
    });
    // It went on waiting, and has seen why: the image, not the API server.
    assert!([Some(71), Some(75)].contains(&waiting.code), "{:?} {}", waiting.code, waiting.stderr);
    assert!(waiting.stderr.contains("never"), "{}", waiting.stderr);
}

fn an_api_server_that_restarts_during_a_session(world: &World) {
    let pod = world.pod("survivor");
    let before = world.condition("default", &pod);
    let session =
        Open::start(world.kitbag_command(&["debug", &pod, "shell", "--patience", "2", "--", "sh", "-c", FOR_LONG]));
    world.restart_api_server();
    let ended = session.end();
    assert_eq!(ended.code, Some(76), "{}", ended.stderr);
    assert_eq!(world.kitbag(&["attach", &pod, "--", "echo", "back"]).expect_code(0).stdout, "back\n");
    assert_eq!(world.debug_containers(&pod).split_whitespace().count(), 1);
    world.leave(&pod, &before);
}

fn a_registry_that_is_down(world: &World) {
    let pod = world.pod("no-registry");
    world.kitbag(&["debug", &pod, "shell", "--", "true"]).expect_code(0);
    world.without_registry(|| {
        // What runs is used again, with nobody to ask.
        let again = world.kitbag(&["debug", &pod, "shell", "-v", "--", "echo", "again"]).expect_code(0);
        assert_eq!(again.stdout, "again\n");
        assert!(again.stderr.contains("catalog"), "{}", again.stderr);
        // A misspelled tool is still known for one.
        let unknown = world.kitbag(&["debug", &pod, "strac"]);
        assert_eq!(unknown.code, Some(65), "{}", unknown.stderr);
        // What the node cannot pull ends with the node's words.
        let seen = world.kitbag(&["debug", &pod, "dig", "--new", "--timeout", "5", "--", "dig", "-v"]);
        assert!([Some(71), Some(75)].contains(&seen.code), "{:?} {}", seen.code, seen.stderr);
        assert!(seen.stderr.contains("127.0.0.1:5005"), "{}", seen.stderr);
    });
}
