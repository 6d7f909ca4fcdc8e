//! Sessions with a terminal.

use rustix::process::Signal;

use crate::container::{Client, Container, is_alive};

const CTRL_C: &[u8] = b"\x03";
const CTRL_Z: &[u8] = b"\x1a";

fn session(command: &[&str]) -> Client {
    Container::new().session(&[&["--tty", "80x24", "--"], command].concat())
}

fn shell(script: &str) -> Client {
    session(&["sh", "-c", script])
}

#[test]
fn it_is_the_commands_own_and_has_its_size() {
    let ended = shell("tty; stty size; tty <&1; tty <&2; cat /proc/self/stat | cut -d' ' -f7 > /dev/tty").whole();
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("/dev/pts/"), "{ended:?}");
    assert_eq!(lines[1], "24 80");
    assert_eq!((lines[2], lines[3]), (lines[0], lines[0]));
    assert_ne!(lines[4], "0", "there is no controlling terminal");
    assert_eq!(ended.code, Some(0));
}

#[test]
fn all_output_arrives_before_the_end() {
    let ended = shell("seq 100000; echo err >&2; exit 3").whole();
    assert_eq!(ended.code, Some(3));
    assert_eq!(ended.stdout.lines().count(), 100_001);
    assert!(ended.stdout.ends_with("100000\r\nerr\r\n"));
    assert!(!ended.stderr.contains("err\n"), "{}", ended.stderr);
}

#[test]
fn keys_are_echoed_and_read() {
    let mut client = session(&["sh", "-c", "echo open; read line; echo got $line"]).open();
    client.data(b"word\r");
    assert_eq!(client.ended().stdout, "word\r\ngot word\r\n");
}

#[test]
fn ctrl_c_interrupts_a_bare_command() {
    let mut client = session(&["sleep", "1000"]);
    client.report();
    client.data(CTRL_C);
    assert_eq!(client.ended().code, Some(130));
}

#[test]
fn ctrl_c_interrupts_what_a_shell_has_in_the_foreground() {
    let mut client = session(&["bash", "--norc", "-i"]);
    client.report();
    client.data(b"PS1=; stty -echo; sh -c 'echo open; exec sleep 1000'\r");
    client.await_line("open\r\n");
    client.data(CTRL_C);
    client.data(b"echo code $?; exit 8\r");
    let ended = client.ended();
    assert!(ended.stdout.contains("code 130\r\n"), "{ended:?}");
    assert_eq!(ended.code, Some(8));
}

#[test]
fn ctrl_z_cannot_stop_a_bare_command_for_ever() {
    let mut client = shell("echo open; sleep 0.3; echo done; exit 4").open();
    client.data(CTRL_Z);
    let ended = client.ended();
    assert!(ended.stdout.ends_with("done\r\n"), "{ended:?}");
    assert_eq!(ended.code, Some(4));
}

#[test]
fn ctrl_z_gives_a_shell_back() {
    let mut client = session(&["bash", "--norc", "-i"]);
    client.report();
    client.data(b"PS1=; stty -echo; sh -c 'echo open; exec sleep 1000'\r");
    client.await_line("open\r\n");
    client.data(CTRL_Z);
    // The first is refused where the job has not gone yet.
    client.data(b"kill %1; echo back\rexit 8\rexit 8\r");
    let ended = client.ended();
    assert!(ended.stdout.contains("back\r\n"), "{ended:?}");
    assert_eq!(ended.code, Some(8));
}

#[test]
fn a_new_size_is_told() {
    let mut client = shell("trap 'stty size; exit 0' WINCH; echo open; while :; do sleep 0.1; done").open();
    client.size(120, 40);
    assert_eq!(client.ended().stdout, "40 120\r\n");
}

#[test]
fn a_signal_reaches_the_command_and_the_foreground() {
    let mut client = shell("trap 'echo usr; exit 0' USR1; echo open; while :; do sleep 0.1; done").open();
    client.signal(Signal::USR1);
    let ended = client.ended();
    assert!(ended.stdout.ends_with("usr\r\n"), "{ended:?}");
    assert_eq!(ended.code, Some(0));
}

#[test]
fn the_end_of_input_is_ctrl_d() {
    let mut client = session(&["cat"]);
    client.report();
    client.data(b"a\r");
    client.end();
    let ended = client.ended();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "a\r\na\r\n"));
}

#[test]
fn pasting_more_than_is_read_waits() {
    let script = "stty raw -echo; echo open; sleep 1; head -c 200000 | wc -c";
    let mut client = Container::new().session(&["--tty", "80x24", "--patience", "3", "--", "sh", "-c", script]).open();
    (0..4).for_each(|_| client.data(&[b'x'; 50_000]));
    let ended = client.ended();
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "200000"));
}

#[test]
fn a_client_that_is_gone_takes_all_along() {
    let mut client = shell("setsid sleep 1000 & sleep 1000 & echo $!; echo $$; exec sleep 1000");
    client.report();
    let pids = [client.line(), client.line()];
    assert!(pids.iter().all(|pid| is_alive(pid)));
    assert_eq!(client.dies().code, Some(129));
    assert!(!pids.iter().any(|pid| is_alive(pid)));
}

#[test]
fn nobody_who_reads_is_nobody_there() {
    let mut client = session(&["sleep", "1000"]);
    client.report();
    client.stdout = None;
    assert_eq!(client.ended().code, Some(129));

    let mut client = session(&["yes"]);
    client.report();
    client.stdout = None;
    assert_eq!(client.ended().code, Some(129));
}

#[test]
fn what_is_left_on_the_terminal_delays_nothing() {
    let mut client = shell("sleep 1000 & echo $!; exit 5");
    client.report();
    let pid = client.line();
    let ended = client.ended();
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(!is_alive(&pid));
}
