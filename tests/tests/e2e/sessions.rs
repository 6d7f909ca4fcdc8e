//! Sessions: the tools see the workload, the terminal is a terminal, the exit code is the command's.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use kitbag_tests::{dns, node::ADDRESS, term::Terminal, workload};

use crate::{Test, world::World};

/// For what has to happen some time; a session takes a second or two.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("strace sees the workload's system calls", strace_sees_the_workload),
    ("tcpdump sees the workload's packets", tcpdump_sees_the_workload),
    ("dig gets an A record", dig_gets_an_a_record),
    ("dig shows signatures (DNSSEC)", dig_shows_signatures),
    ("dig signs its queries (TSIG)", dig_signs_its_queries),
    ("dig asks over TLS and HTTPS", dig_asks_over_tls_and_https),
    ("htop draws a screen", htop_draws_a_screen),
    ("a shell on a terminal", a_shell_on_a_terminal),
    ("the exit code is the command's", the_exit_code_is_the_commands),
    ("output and errors stay apart", output_and_errors_stay_apart),
    ("input reaches the command to its end", input_reaches_the_command),
    ("a command names its tool", a_command_names_its_tool),
    ("the annotated container is the target", the_annotated_container_is_the_target),
    ("the first process of the container is kitbag-init", the_first_process_is_init),
    ("Ctrl-C ends the command in the container", ctrl_c_ends_the_command),
    ("a proxy is not asked for a registry on the loopback", a_proxy_is_not_asked),
];

fn strace_sees_the_workload(world: &World) {
    let command = "timeout -s INT 4 strace -f -e trace=open,openat,read -p 1; true";
    let seen = world.kitbag(&["debug", "shop", "strace", "shell", "--", "sh", "-c", command]).expect_code(0);
    assert!(seen.stderr.contains(workload::MARKER), "{}", seen.stderr);
    assert!(seen.stderr.contains(workload::MARKER_LINE), "{}", seen.stderr);
}

fn tcpdump_sees_the_workload(world: &World) {
    let (done, waiting) = channel::<()>();
    let seen = thread::scope(|scope| {
        scope.spawn(move || {
            // Until the capture is complete: visits before it runs are not seen.
            while waiting.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
                workload::visit(&world.node, "shop").unwrap();
            }
        });
        let capture =
            ["debug", "shop", "tcpdump", "--", "tcpdump", "-n", "-i", "any", "-c", "4", "tcp", "port", "8080"];
        let seen = world.kitbag(&capture);
        drop(done);
        seen.expect_code(0)
    });
    assert!(seen.stdout.lines().all(|line| line.contains(".8080")), "{}", seen.stdout);
    assert!(seen.stderr.contains("4 packets captured"), "{}", seen.stderr);
}

/// What `dig` in the workload's pod prints.
fn dig(world: &World, arguments: &[&str]) -> String {
    world.kitbag(&[&["debug", "shop", "--", "dig"], arguments].concat()).expect_code(0).stdout
}

fn dig_gets_an_a_record(world: &World) {
    assert_eq!(dig(world, &["+short", "shop.kitbag.test"]).trim(), dns::SHOP_ADDRESS);
}

fn dig_shows_signatures(world: &World) {
    let answer = dig(world, &["+dnssec", "+multiline", "shop.kitbag.test"]);
    assert!(answer.contains("RRSIG") && answer.contains(dns::SHOP_ADDRESS), "{answer}");
}

fn dig_signs_its_queries(world: &World) {
    let unsigned = dig(world, &["secret.private.kitbag.test"]);
    assert!(unsigned.contains("REFUSED") && !unsigned.contains(dns::SECRET_ADDRESS), "{unsigned}");
    let key = format!("{}:{}:{}", dns::TSIG_ALGORITHM, dns::TSIG_NAME, dns::TSIG_SECRET);
    let signed = dig(world, &["-y", &key, "secret.private.kitbag.test"]);
    assert!(signed.contains(dns::SECRET_ADDRESS) && signed.contains("TSIG"), "{signed}");
}

fn dig_asks_over_tls_and_https(world: &World) {
    let server = format!("@{ADDRESS}");
    for transport in [&["+tls"][..], &["+https"], &["+http-plain", "-p", "8053"]] {
        let answer = dig(world, &[transport, &[&server, "shop.kitbag.test"]].concat());
        assert!(answer.contains(dns::SHOP_ADDRESS), "{transport:?}: {answer}");
    }
}

fn htop_draws_a_screen(world: &World) {
    let command = world.kitbag_command(&["debug", "shop", "-i", "-t", "--", "htop"]);
    let mut terminal = Terminal::start(&command, (30, 110)).unwrap();
    let drawn = |screen: &str| screen.contains("PID") && screen.contains("/shop") && screen.contains("F10");
    terminal.expect_screen("htop's table with the workload in it", PATIENCE, drawn).unwrap();
    terminal.send("q").unwrap();
    assert!(terminal.wait_exit(PATIENCE).unwrap().success(), "{}", terminal.transcript());
}

fn a_shell_on_a_terminal(world: &World) {
    let command = world.kitbag_command(&["debug", "shop", "-c", "shop"]);
    let mut terminal = Terminal::start(&command, (33, 117)).unwrap();
    terminal.expect("# ", PATIENCE).unwrap();
    terminal.send("stty size\n").unwrap();
    terminal.expect("33 117", PATIENCE).unwrap();
    terminal.resize((40, 90)).unwrap();
    terminal.send("until stty size | grep -q '^40 90'; do sleep 0.1; done; echo res''ized\n").unwrap();
    terminal.expect("resized", PATIENCE).unwrap();
    // Control-C ends the command, not the session.
    // It is in the foreground when it says so, which a shell that has yet to start it is not.
    terminal.send("sh -c 'echo sle\"\"eping; exec sleep 1000'\n").unwrap();
    terminal.expect("sleeping", PATIENCE).unwrap();
    terminal.send("\u{3}").unwrap();
    terminal.send("echo still h''ere\n").unwrap();
    terminal.expect("still here", PATIENCE).unwrap();
    terminal.send("exit 3\n").unwrap();
    assert_eq!(terminal.wait_exit(PATIENCE).unwrap().code(), Some(3), "{}", terminal.transcript());
}

fn the_exit_code_is_the_commands(world: &World) {
    for (script, code) in [("exit 7", 7), ("exit 0", 0), ("kill -TERM $$", 128 + 15), ("exit 255", 255)] {
        world.kitbag(&["debug", "shop", "--", "sh", "-c", script]).expect_code(code);
    }
    let missing = world.kitbag(&["debug", "shop", "strace", "--", "no-such-command"]).expect_code(127);
    assert!(missing.stderr.contains("no-such-command"), "{}", missing.stderr);
}

fn output_and_errors_stay_apart(world: &World) {
    let seen = world.kitbag(&["debug", "shop", "--", "sh", "-c", "echo out; echo err >&2"]).expect_code(0);
    assert_eq!(seen.stdout, "out\n");
    assert!(seen.stderr.ends_with("err\n"), "{}", seen.stderr);
}

fn input_reaches_the_command(world: &World) {
    let input: Vec<u8> = (0_u32..1_000_000).flat_map(u32::to_le_bytes).collect();
    let seen = world.kitbag_with_input(&["debug", "shop", "-i", "--", "sha256sum"], &input).expect_code(0);
    let sum = crate::world::run(std::process::Command::new("sha256sum"), &input).stdout;
    assert_eq!(seen.stdout, sum);
}

fn a_command_names_its_tool(world: &World) {
    let seen = world.kitbag(&["debug", "shop", "--", "strace", "--version"]).expect_code(0);
    assert!(seen.stdout.contains("version 6.1"), "{}", seen.stdout);
}

fn the_annotated_container_is_the_target(world: &World) {
    world.kitbag(&["debug", "shop-two", "--", "busybox", "true"]).expect_code(0);
    let path = "jsonpath={.spec.ephemeralContainers[*].targetContainerName}";
    assert_eq!(world.node.kubectl(&["get", "pod", "shop-two", "-o", path]).unwrap(), "shop");
}

fn the_first_process_is_init(world: &World) {
    let script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; wc -c < /usr/bin/kitbag-init";
    let seen = world.kitbag(&["debug", "shop", "--", "sh", "-c", script]).expect_code(0).stdout;
    assert!(seen.contains("/usr/bin/kitbag-init --idle "), "{seen}");
    assert!(seen.contains("/shop "), "{seen}");
    let size: usize =
        seen.trim().rsplit(' ').next().and_then(|size| size.trim().parse().ok()).expect("wc says a number");
    assert!(size < 400_000, "kitbag-init has {size} bytes");
}

fn ctrl_c_ends_the_command(world: &World) {
    let mut command = world.kitbag_command(&["debug", "shop", "--", "sh", "-c", "echo running; exec sleep 98765"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "running\n");
    // The child has become kubectl, and then the plugin.
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(child.wait().unwrap().code(), Some(128 + 2));
    let seen =
        world.kitbag(&["debug", "shop", "--", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).expect_code(0);
    assert!(!seen.stdout.contains("sleep 98765"), "{}", seen.stdout);
}

fn a_proxy_is_not_asked(world: &World) {
    let mut command = world.kitbag_command(&["debug", "shop", "--", "busybox", "true"]);
    command.env("http_proxy", "http://127.0.0.1:9");
    crate::world::run(command, b"").expect_code(0);
}
