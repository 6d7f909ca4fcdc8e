//! The program `kitbag-registry`: what it says and how it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod process;
#[path = "../src/testing.rs"]
mod testing;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kitbag_builder::store::part;
use kitbag_toolsets::{Arch, Published};
use process::{Running, command};
use rustix::process::Signal;

/// Runs it where it must not come up.
fn refused(store: &Path, listen: &str) -> String {
    let Output { status, stdout, stderr } = command(store, listen).output().unwrap();
    assert_eq!((status.code(), stdout.len()), (Some(1), 0));
    String::from_utf8(stderr).unwrap().replace(&store.display().to_string(), "STORE")
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

#[test]
fn it_says_where_it_listens_and_ends_when_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let (_, ids) = testing::make(dir.path());
    for signal in [Signal::TERM, Signal::INT] {
        let child = command(dir.path(), "127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Running(child);
        let line = running.line();
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

/// The program with an admin socket and a file of settings in a directory, once it serves.
struct Instance {
    running: Running,
    config: std::path::PathBuf,
    address: String,
    log: Option<std::thread::JoinHandle<String>>,
    lines: std::sync::mpsc::Receiver<String>,
}

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
        let mut running = Running(child);
        let address = running.address();
        Self { running, config, address, log: Some(log), lines }
    }

    fn ready(&self) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } =
            program(&["ready", "--config", self.config.to_str().unwrap()]).output().unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// Waits for a line of the log that says this.
    fn says(&self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(std::time::Duration::from_secs(30)).expect(words);
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Exit code, and the whole log.
    fn ended(mut self) -> (Option<i32>, String) {
        let code = self.running.0.wait().unwrap().code();
        (code, self.log.take().unwrap().join().unwrap())
    }
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kitbag-registry"));
    command.env_clear().args(arguments);
    command
}

#[test]
fn it_tells_whether_it_is_ready_and_reads_its_settings_again() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
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
}

#[test]
fn tokens_and_rates_change_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "the-token-of-yesterday\n").unwrap();
    let instance = Instance::start(dir.path(), &format!("token-file = '{}'\n", tokens.display()));
    let with = |token: &str| {
        let mut stream = TcpStream::connect(&instance.address).unwrap();
        let request = "GET /v2/ HTTP/1.1\r\nHost: registry\r\nConnection: close\r\nAuthorization: Bearer ";
        stream.write_all(format!("{request}{token}\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!([with("the-token-of-yesterday"), with("the-token-of-today")], ["200", "401"]);

    std::fs::write(&tokens, "the-token-of-today\n").unwrap();
    instance.running.signal(Signal::HUP);
    instance.says("the settings are read again");
    assert_eq!([with("the-token-of-yesterday"), with("the-token-of-today")], ["401", "200"]);

    std::fs::write(&tokens, "short\n").unwrap();
    instance.running.signal(Signal::HUP);
    assert!(instance.says("stay as they are").contains("tokens"));
    assert_eq!(with("the-token-of-today"), "200");

    std::fs::write(&tokens, "the-token-of-today\n").unwrap();
    let before = std::fs::read_to_string(&instance.config).unwrap();
    std::fs::write(&instance.config, before + "requests-per-client = 1\nrequest-burst = 1\n").unwrap();
    instance.running.signal(Signal::HUP);
    assert!(instance.says("read again").ends_with("`requests-per-client`, `request-burst` changed"));
    assert!((0..50).any(|_| with("the-token-of-today") == "429"));
}

#[test]
fn while_the_store_is_read_it_says_that_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    // Reading it takes until somebody writes it.
    let (index, whole) = (dir.path().join("index.json"), dir.path().join("whole.json"));
    std::fs::rename(&index, &whole).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &index, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let (store, admin) = (dir.path().to_str().unwrap(), format!("unix:{}/admin.sock", dir.path().display()));
    let mut child = program(&["serve", "--store", store, "--listen", "127.0.0.1:0", "--admin", &admin])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let running = Running(child);
    let ready = || String::from_utf8(program(&["ready", "--admin", &admin]).output().unwrap().stdout).unwrap();
    let mut answer = ready();
    for _ in 0..1000 {
        if !answer.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        answer = ready();
    }
    assert_eq!(answer, "not ready: start the store is not open yet\n");
    let text = std::fs::read(&whole).unwrap();
    let mut pipe = std::fs::OpenOptions::new().write(true).open(&index).unwrap();
    std::fs::rename(&whole, &index).unwrap();
    pipe.write_all(&text).unwrap();
    drop(pipe);
    stdout.read_line(&mut String::new()).unwrap();
    assert_eq!(ready(), "ready: ok\n");
    drop(running);
}

#[test]
fn who_asks_twice_does_not_wait() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    // Longer than anybody would wait for this test.
    let instance = Instance::start(dir.path(), "settle = '1h'\ndrain = '1h'\n");
    instance.running.signal(Signal::TERM);
    instance.says("stopping");
    instance.running.signal(Signal::TERM);
    assert_eq!(instance.ended().0, Some(0));
}

#[test]
fn what_is_logged_last_is_written_too() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let instance = Instance::start(dir.path(), "log-format = 'json'\n");
    instance.running.signal(Signal::TERM);
    let (_, log) = instance.ended();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["message"], "stopping");
}

#[test]
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
}

#[test]
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
}

#[test]
fn it_prints_the_catalog_of_what_it_serves() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ids) = testing::make(dir.path());
    let asked = |program: &mut Command| program.output().unwrap();
    let program = || {
        let mut program = Command::new(env!("CARGO_BIN_EXE_kitbag-registry"));
        program.env_clear().arg("catalog");
        program
    };
    let Output { status, stdout, stderr } = asked(program().env("KITBAG_STORE", dir.path()));
    assert_eq!((status.code(), stderr.len()), (Some(0), 0));
    let printed = String::from_utf8(stdout).unwrap();
    let published = Published::parse(&printed).unwrap();
    assert_eq!(*published.id(), ids.new);
    assert_eq!(printed, Published::of(&store.generations()[0]).to_json() + "\n");

    let of = |id: &str| asked(program().arg("--store").arg(dir.path()).args(["--generation", id]));
    let before = of(ids.old.as_str());
    assert_eq!(before.status.code(), Some(0));
    assert_eq!(String::from_utf8(before.stdout).unwrap(), Published::of(&store.generations()[1]).to_json() + "\n");
    let none = of("000000000000");
    assert_eq!((none.status.code(), none.stdout.len()), (Some(3), 0));
    let complaint = String::from_utf8(none.stderr).unwrap().replace(dir.path().to_str().unwrap(), "STORE");
    let there = format!("{}, {}", ids.new, ids.old);
    assert_eq!(complaint, format!("error: the store at `STORE` has no generation `000000000000`; it has {there}\n"));

    // What a node has of the store is enough for the whole catalog.
    let part = tempfile::tempdir().unwrap();
    for (path, content) in part::files(&store, 1, Some(Arch::Arm64)).unwrap() {
        let path = part.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    assert_eq!(String::from_utf8(asked(program().arg("--store").arg(part.path())).stdout).unwrap(), printed);

    let Output { status, stdout, stderr } = asked(program().arg("--store").arg(dir.path().join("missing")));
    assert_eq!((status.code(), stdout.len()), (Some(1), 0));
    assert!(String::from_utf8(stderr).unwrap().starts_with("error: there is no store at "));
    // A pipe that nobody reads takes nothing.
    let mut child = program().arg("--store").arg(dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
