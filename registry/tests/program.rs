//! The program `kitbag-registry`: what it says and how it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../src/testing.rs"]
mod testing;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

fn command(store: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kitbag-registry"));
    command.env_clear().arg("serve").arg("--store").arg(store).arg("--listen").arg(listen);
    command
}

/// Runs it where it must not come up.
fn refused(store: &Path, listen: &str) -> String {
    let Output { status, stdout, stderr } = command(store, listen).output().unwrap();
    assert_eq!((status.code(), stdout.len()), (Some(1), 0));
    String::from_utf8(stderr).unwrap().replace(&store.display().to_string(), "STORE")
}

/// Ends the program with the test that started it.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn without_a_store_it_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    insta::assert_snapshot!(refused(&missing, "127.0.0.1:0"), @"error: there is no store at `STORE`: make one with `kitbag-builder build --store STORE`");

    let (store, _) = testing::make(dir.path());
    let layer = store.generations()[0].base().values().next().unwrap().gzip.digest.clone();
    std::fs::remove_file(store.blob_path(&layer)).unwrap();
    let text = refused(dir.path(), "127.0.0.1:0").replace(layer.digest(), "HASH");
    insta::assert_snapshot!(text, @"error: the store at `STORE` is half written: a layer of `base` for `amd64` (blob `sha256:HASH`) is missing; copy it again, or make a new one with `kitbag-builder build`");
}

#[test]
fn where_it_cannot_listen_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    insta::assert_snapshot!(refused(dir.path(), &address).replace(&address, "ADDRESS"), @"error: cannot listen on `ADDRESS`: it is in use; stop what listens there, or choose another with `--listen`");
    // An address for documentation, which no machine has.
    insta::assert_snapshot!(refused(dir.path(), "192.0.2.1:5005"), @"error: cannot listen on `192.0.2.1:5005`: Cannot assign requested address (os error 99); choose another address with `--listen`");
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
const FILES: usize = 40;

#[test]
fn where_files_are_short_who_is_there_goes_on_and_it_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = testing::make(dir.path());
    let layer = &store.generations()[0].tools()["strace"][&kitbag_toolsets::Arch::Amd64].gzip.digest;
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit -n {FILES}; exec \"$0\" \"$@\""));
    limited.arg(env!("CARGO_BIN_EXE_kitbag-registry"));
    limited.args(["serve", "--listen", "127.0.0.1:0", "--store"]).arg(dir.path()).env_clear();
    let mut running = Running(limited.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("kitbag-registry: listening on http://").unwrap().split_once(',').unwrap().0;

    let mut first = TcpStream::connect(address).unwrap();
    assert_eq!(status_of(&mut first, "/v2/"), "200");
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
    while files() < FILES {
        sleep(Duration::from_millis(10));
    }
    assert_eq!(status_of(&mut first, "/v2/strace/manifests/latest"), "200");
    until(&mut first, "503, again later");
    drop(others);
    until(&mut first, "200");
    assert_eq!(status_of(&mut TcpStream::connect(address).unwrap(), "/v2/"), "200");
}

#[test]
fn it_says_where_it_listens_and_ends_when_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let (_, ids) = testing::make(dir.path());
    for signal in [Signal::TERM, Signal::INT] {
        let child = command(dir.path(), "127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Running(child);
        let mut line = String::new();
        BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (address, rest) =
            line.strip_prefix("kitbag-registry: listening on http://").unwrap().split_once(',').unwrap();
        assert_eq!(rest.trim(), format!("generation {}, 7 tools", ids.new));
        let idle = TcpStream::connect(address).unwrap();
        running.signal(signal);
        assert_eq!(running.0.wait().unwrap().code(), Some(0));
        assert!(TcpStream::connect(address).is_err());
        drop(idle);
        let mut log = String::new();
        running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(log.contains("INFO kitbag_registry::run: stopping"), "{log}");
    }
}

/// Asks on a connection that stays open, and reads the answer.
fn ask(stream: &mut TcpStream, target: &str) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
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
fn when_files_are_short_clients_go_on_and_others_wait() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let child = command(dir.path(), "127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("kitbag-registry: listening on http://").unwrap().split_once(',').unwrap().0;
    let connect = || TcpStream::connect(address).unwrap();

    let mut first = connect();
    assert!(ask(&mut first, "/v2/strace/manifests/latest").unwrap().starts_with(b"HTTP/1.1 200"));
    let few = Rlimit { current: Some(24), maximum: Some(24) };
    prlimit(Some(Pid::from_child(&running.0)), Resource::Nofile, few).unwrap();
    let mut others: Vec<TcpStream> = (0..20).map(|_| connect()).collect();
    let served = others.iter_mut().map(|stream| ask(stream, "/v2/")).filter(Result::is_ok).count();
    assert!((1..20).contains(&served), "{served} of 20 were served");
    assert!(ask(&mut first, "/v2/strace/manifests/latest").unwrap().starts_with(b"HTTP/1.1 200"));
    drop(others);
    let mut later = connect();
    later.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    later.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    later.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    drop((first, later));
    running.signal(Signal::TERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("cannot accept connections for now: Too many open files"), "{log}");
    assert!(log.contains("connections are accepted again"), "{log}");
}

#[test]
fn some_files_are_not_for_connections() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let mut shell = Command::new("sh");
    shell.env_clear().args(["-c", "ulimit -n 100; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_kitbag-registry")]);
    shell.args(["serve", "--listen", "127.0.0.1:0", "--store"]).arg(dir.path());
    let mut running = Running(shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    running.signal(Signal::TERM);
    running.0.wait().unwrap();
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("at most 36 connections at a time, for want of files"), "{log}");
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
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with(&format!("kitbag-registry: listening on http://{address}, ")), "{line}");
    for mut stream in [early, TcpStream::connect(address).unwrap()] {
        assert!(ask(&mut stream, "/v2/").unwrap().starts_with(b"HTTP/1.1 200"));
    }
}
/// The program with an admin socket and a file of settings in a directory, once it serves.
struct Instance {
    running: Running,
    config: std::path::PathBuf,
    log: Option<std::thread::JoinHandle<String>>,
    lines: std::sync::mpsc::Receiver<String>,
impl Instance {
    fn start(dir: &Path, settings: &str) -> Self {
        let config = dir.join("kitbag.toml");
        let socket = dir.join("admin.sock");
        let common =
            format!("store = '{}'\nadmin = 'unix:{}'\nlisten = '127.0.0.1:0'\n", dir.display(), socket.display());
        std::fs::write(&config, common + settings).unwrap();
        let mut child = program(&["serve", "--config", config.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = std::sync::mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = std::thread::spawn(move || {
            let mut all = String::new();
            for line in stderr.lines().map_while(Result::ok) {
                all.push_str(&line);
                all.push('\n');
                let _ = tell.send(line);
            }
            all
        });
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let instance = Self { running: Running(child), config, log: Some(log), lines };
        assert!(first.contains("listening on"), "{first}");
        instance
    fn ready(&self) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } =
            program(&["ready", "--config", self.config.to_str().unwrap()]).output().unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    /// Waits for a line of the log that says this.
    fn says(&self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(std::time::Duration::from_secs(30)).expect(words);
            if line.contains(words) {
                return line;
            }
        }
    /// Exit code, and the whole log.
    fn ended(mut self) -> (Option<i32>, String) {
        let code = self.running.0.wait().unwrap().code();
        (code, self.log.take().unwrap().join().unwrap())
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kitbag-registry"));
    command.env_clear().args(arguments);
    command
fn it_tells_whether_it_is_ready_and_reads_its_settings_again() {
    let instance = Instance::start(dir.path(), "drain = '30s'\n");
    assert_eq!(instance.ready(), (Some(0), "ready: ok\n".to_owned()));
    let before = std::fs::read_to_string(&instance.config).unwrap();
    std::fs::write(&instance.config, format!("{before}log = 'kitbag_registry=debug'\nmax-connections = 7\n")).unwrap();
    instance.running.signal(Signal::HUP);
    assert!(instance.says("the settings are read again").ends_with("again: `log` changed"));
    assert!(instance.says("takes a restart").ends_with("`max-connections` changed, which takes a restart"));
    std::fs::write(&instance.config, format!("{before}log = 'warn'\ncolour = 'red'\n")).unwrap();
    instance.running.signal(Signal::HUP);
    assert!(instance.says("stay as they are").ends_with("line 6: there is no setting `colour`"));
    // A file with a fault says nothing about the instance that runs.
    assert_eq!(instance.ready().0, Some(0));
    instance.running.signal(Signal::TERM);
    instance.says("stopping");
    assert_eq!(instance.ready(), (Some(1), "not ready: serving it ends, and finishes what has begun\n".to_owned()));
    let (code, log) = instance.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(!dir.path().join("admin.sock").exists());
fn who_asks_twice_does_not_wait() {
    // Longer than anybody would wait for this test.
    let instance = Instance::start(dir.path(), "settle = '1h'\ndrain = '1h'\n");
    instance.running.signal(Signal::TERM);
    instance.says("stopping");
    instance.running.signal(Signal::TERM);
    assert_eq!(instance.ended().0, Some(0));
fn what_is_logged_last_is_written_too() {
    let instance = Instance::start(dir.path(), "log-format = 'json'\n");
    instance.running.signal(Signal::TERM);
    let (_, log) = instance.ended();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["message"], "stopping");
fn wrong_settings_are_refused_with_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    // Before there is a child, which would inherit the lock of a store that another test writes.
    testing::make(dir.path());
    let config = dir.path().join("kitbag.toml");
    std::fs::write(&config, "drian = '5s'\n").unwrap();
    let path = config.to_str().unwrap();
    for arguments in [
        &["serve", "--config", path][..],
        &["config", "--config", path],
        &["config", "--drian=5s"],
        &["serve"],
        &["ready"],
    ] {
        let Output { status, stdout, stderr } = program(arguments).output().unwrap();
        assert_eq!((status.code(), stdout.len()), (Some(2), 0), "{arguments:?}");
        assert!(stderr.starts_with(b"error: "), "{arguments:?}");
    }
    let wrong = program(&["serve"]).env("KITBAG_DRAIN", "soon").output().unwrap();
    insta::assert_snapshot!(String::from_utf8(wrong.stderr).unwrap(), @"error: `KITBAG_DRAIN` in the environment: invalid value 'soon' for '--drain <DURATION>': expected number at 0; write for example `50s`, `1m 30s` or `500ms`");
    assert_eq!(wrong.status.code(), Some(2));
    let nobody = program(&["ready", "--admin", "unix:/nowhere/admin.sock"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1));
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    // Before there is a child, which would inherit the lock of a store that another test writes.
    testing::make(dir.path());
    let config = dir.path().join("kitbag.toml");
    std::fs::write(&config, "drain = '3s'\nsettle = '3s'\nheader-timeout = '3s'\n").unwrap();
    let path = config.to_str().unwrap();
    let shown = program(&["config", "--settle=1s"])
        .envs([("KITBAG_DRAIN", "2s"), ("KITBAG_SETTLE", "2s"), ("KITBAG_CONFIG", path)])
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    let row =
        |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(row("header-timeout"), ["header-timeout", "3s", &format!("{path}:3")]);
    assert_eq!(row("drain"), ["drain", "2s", "KITBAG_DRAIN"]);
    assert_eq!(row("settle"), ["settle", "1s", "--settle"]);
    assert_eq!(row("store"), ["store", "-", "default"]);
    assert_eq!(shown.status.code(), Some(0));
