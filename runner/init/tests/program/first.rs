//! The first process: when it ends, and how it is asked.

use rustix::process::Signal;

use crate::container::{Client, Container, is_alive};

fn ask(container: &Container, question: &str) -> (Option<i32>, String) {
    let output = container.program(&[question]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn it_says_that_it_is_ready_and_ends_on_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let container = Container::new();
        let (mut first, line) = container.first(&["--idle", "1000"]);
        let (version, uid) = (env!("CARGO_PKG_VERSION"), rustix::process::geteuid().as_raw());
        assert!(line.starts_with(&format!("{{\"kitbag-init\":\"{version}\",\"uid\":{uid},")), "{line}");
        assert!(line.ends_with(",\"ready\":true}\n"), "{line}");
        first.signal(signal);
        assert_eq!(first.code(), Some(0));
    }
}

#[test]
fn it_ends_when_nobody_is_there() {
    let container = Container::new();
    let (mut first, _) = container.first(&["--idle", "0"]);
    assert_eq!(first.code(), Some(0));

    let (mut first, _) = container.first(&["--idle", "1"]);
    let client = container.shell("echo open; sleep 2").open();
    assert!(first.0.try_wait().unwrap().is_none());
    assert_eq!(client.ended().code, Some(0), "a session keeps the first process");
    assert_eq!(first.code(), Some(0));
    assert!(!container.socket().exists());
}

#[test]
fn it_says_how_it_is() {
    let container = Container::new();
    let (_first, _) = container.first(&["--idle", "1000", "--ttl", "28800"]);
    let client = container.shell("echo open; exec sleep 1000").open();
    let (code, status) = ask(&container, "status");
    assert_eq!(code, Some(0));
    let (start, end) = ("{\"sessions\":1,\"idle\":0,\"age\":", ",\"ttl\":28800}\n");
    assert!(status.starts_with(start) && status.ends_with(end), "{status}");
    assert!(status[start.len()..status.len() - end.len()].parse::<u8>().is_ok(), "{status}");
    client.dies();

    let container = Container::new();
    let (_first, _) = container.first(&["--idle", "1000"]);
    assert!(ask(&container, "status").1.contains("\"sessions\":0,"));
    assert!(ask(&container, "status").1.ends_with(",\"ttl\":null}\n"));
}

#[test]
fn questions_do_not_keep_it() {
    let container = Container::new();
    let (mut first, _) = container.first(&["--idle", "1"]);
    let mut asked = 0;
    while first.0.try_wait().unwrap().is_none() {
        ask(&container, "status");
        asked += 1;
    }
    assert!(asked > 1);
}

#[test]
fn where_there_is_none_a_question_fails() {
    let output = Container::new().program(&["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("kitbag-init: the first process does not answer at `"), "{text}");
}

#[test]
fn its_end_is_the_sessions_end() {
    let container = Container::new();
    let (mut first, _) = container.first(&["--idle", "1000"]);
    let mut client = container.shell("setsid sleep 1000 & echo $!; exec sleep 1000");
    client.report();
    let pid = client.line();
    assert_eq!(ask(&container, "end"), (Some(0), String::new()));
    assert!(!is_alive(&pid), "it ends after its sessions");
    assert_eq!(client.ended().code, Some(129));
    assert_eq!(first.code(), Some(0));
    assert!(!container.socket().exists());
}

#[test]
fn a_session_that_does_not_end_is_not_waited_for_for_ever() {
    let container = Container::new();
    let (mut first, _) = container.first(&["--idle", "1000"]);
    let client = container.shell("trap '' HUP TERM; echo open; while :; do sleep 1; done").open();
    assert_eq!(ask(&container, "end").0, Some(0));
    assert_eq!(first.code(), Some(0));
    assert_eq!(client.ended().code, Some(137));
}

#[test]
fn its_life_is_limited() {
    let container = Container::new();
    let (mut first, _) = container.first(&["--idle", "1000", "--ttl", "1"]);
    let client = container.shell("echo open; exec sleep 1000").open();
    assert_eq!(first.code(), Some(0));
    assert_eq!(client.ended().code, Some(129));
}

#[test]
fn when_it_is_gone_so_are_the_sessions() {
    for flags in [&["--"][..], &["--tty", "80x24", "--"]] {
        let container = Container::new();
        let (mut first, _) = container.first(&["--idle", "1000"]);
        let client = container.session(&[flags, &["sh", "-c", "echo open; exec sleep 1000"]].concat()).open();
        first.signal(Signal::KILL);
        assert_eq!(first.code(), None);
        assert_eq!(client.ended().code, Some(129));
    }
}

#[test]
fn without_a_place_for_the_socket_it_says_so_and_stays() {
    let container = Container::new();
    let mut command = container.program(&["--idle", "0"]);
    let (mut first, line) = crate::container::First::start(command.env("KITBAG_SOCKET", "/proc/none/init.sock"));
    assert!(line.contains(r#""ready":true,"warning":"no idle end: the sessions' socket cannot be made: "#), "{line}");
    assert!(first.0.try_wait().unwrap().is_none());
    first.signal(Signal::TERM);
    assert_eq!(first.code(), Some(0));
}

fn attached(arguments: &[&str]) -> Client {
    Client::connect(Container::new().program(&[&["attached"], arguments].concat()))
}

#[test]
fn an_attached_session_starts_with_the_first_frame_and_is_all() {
    let mut client = attached(&["--idle", "1000", "--stdin", "--", "sh", "-c", "read word; echo got $word; exit 5"]);
    client.beat();
    client.data(b"it\n");
    let ended = client.whole();
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(5), "got it\n", ""));
}

#[test]
fn nobody_who_attaches_is_not_waited_for() {
    for limits in [&["--idle", "0"][..], &["--idle", "1000", "--ttl", "1"]] {
        let ended = attached(&[limits, &["--", "sh"]].concat()).ended();
        assert_eq!((ended.code, &*ended.stdout), (Some(0), ""));
    }
    let ended = attached(&["--idle", "1000", "--", "sh"]).dies();
    assert_eq!(ended.code, Some(125));
    assert_eq!(ended.stderr, "kitbag-init: whoever attached has left before the session began\n");
    let container = Container::new();
    let mut command = container.program(&["attached", "--idle", "1000", "--", "sh"]);
    let ended = Client::connect(command.stdin(std::process::Stdio::null())).ended();
    assert_eq!(ended.code, Some(125));
    assert_eq!(ended.stderr, "kitbag-init: nobody can attach: the container has no stdin\n");
}

#[test]
fn an_attached_session_ends_at_once_with_its_container() {
    let mut client = attached(&["--idle", "1000", "--", "sh", "-c", "trap '' TERM HUP; echo $$; exec sleep 1000"]);
    client.beat();
    client.report();
    let pid = client.line();
    rustix::process::kill_process(rustix::process::Pid::from_child(&client.child), Signal::TERM).unwrap();
    assert_eq!(client.ended().code, Some(143));
    assert!(!is_alive(&pid));
}

#[test]
fn an_attached_session_is_told_to_end_while_it_ends_what_is_left() {
    let script = "(trap 'echo asked' TERM; echo open; while :; do sleep 0.05; done) & read line; exit 5";
    let mut client = attached(&["--idle", "1000", "--stdin", "--", "sh", "-c", script]);
    client.beat();
    let mut client = client.open();
    client.data(b"go\n");
    assert_eq!(client.line(), "asked\n");
    rustix::process::kill_process(rustix::process::Pid::from_child(&client.child), Signal::TERM).unwrap();
    assert_eq!(client.ended().code, Some(143));
}

#[test]
fn an_attached_session_has_a_limited_life() {
    let mut client = attached(&["--idle", "1000", "--ttl", "2", "--", "sleep", "1000"]);
    client.beat();
    assert_eq!(client.whole().code, Some(129));
}
