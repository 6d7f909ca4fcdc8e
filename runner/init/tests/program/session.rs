//! Sessions without a terminal.

use std::io::Read as _;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::container::{Container, is_alive};

#[test]
fn the_commands_exit_code_is_the_sessions() {
    let container = Container::new();
    let _first = container.first(&["--idle", "1000"]);
    for (script, code) in
        [("true", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
    {
        assert_eq!(container.shell(script).whole().code, Some(code), "{script}");
    }
}

#[test]
fn a_command_that_cannot_run_is_named() {
    let container = Container::new();
    let _first = container.first(&["--idle", "1000"]);
    for (command, code, text) in [
        ("no-such-tool", 127, "kitbag-init: `no-such-tool`: there is no such command in this image\n"),
        ("/etc/passwd", 126, "kitbag-init: `/etc/passwd` cannot be executed: Permission denied\n"),
    ] {
        for flags in [&["--", command][..], &["--stdin", "--", command], &["--tty", "80x24", "--", command]] {
            let ended = container.session(flags).whole();
            assert_eq!((ended.code, &*ended.stderr, &*ended.stdout), (Some(code), text, ""));
        }
    }
}

#[test]
fn output_is_passed_through_and_apart() {
    let container = Container::new();
    let _first = container.first(&["--idle", "1000"]);
    let ended = container.shell("echo out; echo err >&2").whole();
    assert_eq!((&*ended.stdout, &*ended.stderr), ("out\n", "err\n"));
}

#[test]
fn a_command_starts_with_no_signal_blocked_or_ignored() {
    let ended = Container::new().session(&["--", "grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]).whole();
    assert_eq!(ended.stdout.lines().count(), 2);
    for line in ended.stdout.lines() {
        // Those above 31 are as whoever runs the tests has them.
        let set = u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap();
        assert_eq!(set & 0x7fff_ffff, 0, "{line}");
    }
}

#[test]
fn without_input_there_is_none() {
    let mut client = Container::new().session(&["--", "cat"]);
    client.data(b"not for it");
    assert_eq!(client.whole().stdout, "");
}

#[test]
fn input_goes_to_the_command_until_its_end() {
    let mut client = Container::new().session(&["--stdin", "--", "cat"]);
    client.data(b"a");
    client.beat();
    client.data(b"");
    client.data(b"b\n");
    client.end();
    let ended = client.whole();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "ab\n"));
}

#[test]
fn a_command_may_leave_its_input_unread() {
    let mut client = Container::new().session(&["--stdin", "--", "sh", "-c", "exec <&-; echo open; sleep 0.3; exit 4"]);
    client = client.open();
    client.data(&[b'x'; 60_000]);
    client.data(&[b'x'; 60_000]);
    assert_eq!(client.ended().code, Some(4));
}

#[test]
fn much_input_arrives_bit_for_bit() {
    const FRAMES: u32 = 3200;
    fn frame(number: u32) -> Vec<u8> {
        let mut state = number.wrapping_mul(2_654_435_761).max(1);
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        // From one byte to what a frame can hold.
        let length = if number.is_multiple_of(7) { 1 } else { 32_768 + (next() as usize % 32_767) };
        (0..length.div_ceil(4)).flat_map(|_| next().to_le_bytes()).take(length).collect()
    }
    let mut client = Container::new().session(&["--stdin", "--", "cat"]);
    client.report();
    let mut output = client.stdout.take().unwrap();
    let writer = thread::spawn(move || {
        (0..FRAMES).for_each(|number| client.data(&frame(number)));
        client.end();
        client
    });
    let (mut total, mut got) = (0, Vec::new());
    for number in 0..FRAMES {
        let expected = frame(number);
        got.resize(expected.len(), 0);
        output.read_exact(&mut got).unwrap();
        assert!(got == expected, "frame {number}");
        total += got.len();
    }
    assert_eq!(output.read(&mut [0]).unwrap(), 0);
    assert!(total > 100_000_000, "{total}");
    assert_eq!(writer.join().unwrap().child.wait().unwrap().code(), Some(0));
}

#[test]
fn signals_reach_the_whole_group_of_the_command() {
    let script = "trap 'wait; echo parent; exit 5' USR1
                  sh -c \"trap 'echo child; exit' USR1; echo open; while :; do sleep 0.1; done\" &
                  while :; do sleep 0.1; done";
    let mut client = Container::new().shell(script).open();
    client.signal(Signal::USR1);
    let ended = client.ended();
    assert_eq!((ended.code, &*ended.stdout), (Some(5), "child\nparent\n"));
}

#[test]
fn what_a_command_leaves_behind_ends_with_it() {
    // One ends when it is asked, one ignores that, one has moved to a session of its own and has a child.
    let ended = Container::new()
        .shell(
            "sleep 1000 & echo $!
             (trap '' TERM; exec sleep 1000) & echo $!
             setsid sh -c 'echo $$; sleep 1000 & echo $!; wait' &
             sleep 0.2; exit 5",
        )
        .whole();
    assert_eq!(ended.code, Some(5));
    assert_eq!(ended.stdout.lines().count(), 4, "{ended:?}");
    assert!(!ended.stdout.lines().any(is_alive), "{ended:?}");
}

#[test]
fn a_client_that_is_gone_takes_all_along() {
    let mut client = Container::new().shell("setsid sleep 1000 & echo $!; echo $$; exec sleep 1000");
    client.report();
    let pids = [client.line(), client.line()];
    assert!(pids.iter().all(|pid| is_alive(pid)));
    assert_eq!(client.dies().code, Some(129));
    assert!(!pids.iter().any(|pid| is_alive(pid)));
}

#[test]
fn a_command_that_ignores_that_its_client_is_gone_is_killed() {
    let client = Container::new().shell("trap '' HUP; echo open; exec sleep 1000").open();
    assert_eq!(client.dies().code, Some(137));
}

#[test]
fn a_stopped_command_ends_too() {
    let client = Container::new().shell("echo open; kill -STOP $$; exit 1").open();
    assert_eq!(client.dies().code, Some(129));
}

#[test]
fn a_silent_client_is_gone() {
    let ended = Container::new().session(&["--patience", "1", "--", "sleep", "1000"]).whole();
    assert_eq!(ended.code, Some(129));
}

#[test]
fn beats_keep_a_session() {
    let mut client = Container::new().session(&["--patience", "2", "--", "sh", "-c", "sleep 3; exit 6"]);
    for _ in 0..16 {
        client.beat();
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(client.whole().code, Some(6));
}

#[test]
fn who_cannot_be_heard_because_the_command_does_not_read_gets_more_patience() {
    let script = "sleep 3; wc -c";
    let mut client = Container::new().session(&["--stdin", "--patience", "1", "--", "sh", "-c", script]);
    client.report();
    // More than is held.
    let writer = thread::spawn(move || {
        (0..100).for_each(|_| client.data(&[b'x'; 50_000]));
        client.end();
        client
    });
    let ended = writer.join().unwrap().ended();
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "5000000"));
}

#[test]
fn who_is_silent_while_the_command_does_not_read_is_gone() {
    let mut client = Container::new().session(&["--stdin", "--patience", "1", "--", "sleep", "1000"]);
    client.report();
    (0..4).for_each(|_| client.data(&[b'x'; 50_000]));
    // Nobody closes its stdin.
    assert_eq!(client.child.wait().unwrap().code(), Some(129));
}

#[test]
fn a_signal_does_not_wait_for_input_that_is_not_read() {
    let mut client = Container::new().session(&["--stdin", "--", "sleep", "1000"]);
    client.report();
    (0..20).for_each(|_| client.data(&[b'x'; 50_000]));
    client.signal(Signal::INT);
    assert_eq!(client.ended().code, Some(130));
}

#[test]
fn a_client_that_is_gone_is_noticed_while_the_command_does_not_read() {
    let mut client = Container::new().session(&["--stdin", "--", "sleep", "1000"]);
    client.report();
    (0..3).for_each(|_| client.data(&[b'x'; 40_000]));
    assert_eq!(client.dies().code, Some(129));
}

#[test]
fn a_session_that_is_told_to_end_ends_its_command() {
    let container = Container::new();
    let mut client = container.shell("trap 'echo bye; exit 3' TERM; echo open; while :; do sleep 0.1; done").open();
    kill(&client.child, Signal::TERM);
    assert_eq!(client.line(), "bye\n");
    assert_eq!(client.ended().code, Some(3));

    let client = container.shell("trap '' TERM; echo open; exec sleep 1000").open();
    kill(&client.child, Signal::TERM);
    assert_eq!(client.ended().code, Some(137));
}

fn kill(child: &std::process::Child, signal: Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

#[test]
fn variables_are_set_for_the_command() {
    let flags = ["--env", "TERM=vt100", "--env", "A=b=c", "--env", "HOME=", "--", "sh", "-c", "echo $TERM $A .$HOME."];
    assert_eq!(Container::new().session(&flags).whole().stdout, "vt100 b=c ..\n");
}

#[test]
fn without_a_first_process_it_says_so_and_goes_on() {
    let ended = Container::new().shell("exit 9").whole();
    assert_eq!(ended.code, Some(9));
    assert!(
        ended.stderr.starts_with("kitbag-init: warning: this session ends when the container is idle"),
        "{ended:?}"
    );
}

#[test]
fn a_wrong_command_line_is_answered_with_the_right_one() {
    for arguments in [&[][..], &["--idle"], &["--idle", "soon"], &["session", "--"], &["in-target"]] {
        let output = Container::new().program(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(output.stderr.starts_with(b"kitbag-init: usage: "), "{arguments:?}");
    }
}
