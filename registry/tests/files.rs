//! The program `kitbag-registry` and its files: too few of them, and sockets that somebody else has opened.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod process;
#[path = "../src/testing.rs"]
mod testing;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use process::{Running, command};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

/// Asks on a connection that stays open, and reads the answer.
fn ask(stream: &mut TcpStream, target: &str) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?;
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer)?;
    let mut rest = [0; 64 << 10];
    while !answer.ends_with(b"}") {
        let count = stream.read(&mut rest)?;
        answer.extend(&rest[..count]);
    }
    Ok(answer)
}

#[test]
fn some_files_are_not_for_connections() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let mut shell = Command::new("sh");
    shell.env_clear().args(["-c", "ulimit -n 200; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_kitbag-registry")]);
    shell.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--store"]).arg(dir.path());
    let mut running = Running(shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    running.line();
    running.signal(Signal::TERM);
    running.0.wait().unwrap();
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    // Those of the process, 32 for clients that are refused, 32 for the admin listener.
    assert!(log.contains("at most 72 connections at a time, for want of files"), "{log}");
}

#[test]
fn sockets_that_were_opened_before_are_served() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let early = TcpStream::connect(address).unwrap();
    let mut shell = Command::new("sh");
    let start = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0";
    shell.env_clear().stdin(OwnedFd::from(listener)).args(["-c", start, env!("CARGO_BIN_EXE_kitbag-registry")]);
    shell.args(["serve", "--listen", "systemd", "--store"]).arg(dir.path());
    let mut running = Running(shell.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let line = running.line();
    assert!(line.starts_with(&format!("kitbag-registry: listening on http://{address}, ")), "{line}");
    for mut stream in [early, TcpStream::connect(address).unwrap()] {
        assert!(ask(&mut stream, "/v2/").unwrap().starts_with(b"HTTP/1.1 200"));
    }
}

/// Asks for a blob that was never asked for, on a connection that is there already.
fn status_of(stream: &mut TcpStream, target: &str) -> String {
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: registry\r\n\r\n").as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).unwrap();
    let retry = if head.contains("\r\nretry-after: ") { ", again later" } else { "" };
    format!("{}{retry}", head.split(' ').nth(1).unwrap())
}

/// Files that the program may have open in the test that takes them all.
const FILES: u64 = 40;

#[test]
fn where_files_are_short_who_is_there_goes_on_and_it_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = testing::make(dir.path());
    let layer = &store.generations()[0].tools()["strace"][&kitbag_toolsets::Arch::Amd64].gzip.digest;
    let mut program = command(dir.path(), "127.0.0.1:0");
    program.arg("--access-log=off").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(program.spawn().unwrap());
    let address = running.address();
    let address = address.as_str();

    let mut first = TcpStream::connect(address).unwrap();
    assert_eq!(status_of(&mut first, "/v2/"), "200");
    let few = Rlimit { current: Some(FILES), maximum: Some(FILES) };
    prlimit(Some(Pid::from_child(&running.0)), Resource::Nofile, few).unwrap();
    let others: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(address).unwrap()).collect();
    let target = format!("/v2/strace/blobs/{layer}");
    let until = |first: &mut TcpStream, wanted: &str| {
        for _ in 0..1000 {
            let status = status_of(first, &target);
            assert!(["200", "503, again later"].contains(&status.as_str()), "{status}");
            if status == wanted {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("never {wanted}");
    };
    let files = || std::fs::read_dir(format!("/proc/{}/fd", running.0.id())).unwrap().count();
    while (files() as u64) < FILES {
        sleep(Duration::from_millis(10));
    }
    assert_eq!(status_of(&mut first, "/v2/strace/manifests/latest"), "200");
    until(&mut first, "503, again later");
    drop(others);
    until(&mut first, "200");
    assert_eq!(status_of(&mut TcpStream::connect(address).unwrap(), "/v2/"), "200");

    drop(first);
    running.signal(Signal::TERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("cannot accept connections for now: Too many open files"), "{log}");
    assert!(log.contains("connections are accepted again"), "{log}");
}
