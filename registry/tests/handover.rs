//! Two instances at a time: one takes the sockets of the other or shares its port, under load, and what clients notice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod process;
#[path = "../src/testing.rs"]
mod testing;

use std::io;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kitbag_registry::handover::{Offer, take};
use kitbag_registry::listen::{Given, Options, listen};
use process::Running;
use rustix::process::Signal;

/// Instances that follow the first.
const UPGRADES: usize = 10;
/// Clients at a time: half of them ask once on each connection, the others as often as they are let.
const CLIENTS: usize = 8;
/// Requests at least, in all; `KITBAG_HANDOVER_REQUESTS` in the environment asks for more.
const REQUESTS: usize = 2_000;
/// Instances that end while another one shares their port.
const ENDS: usize = 5;
/// Connections that may be lost by these: the kernel gave them to an instance that ended before it could accept them.
const LOST: usize = 8;
/// Instances that fail beside one that serves.
const FAILURES: usize = 20;
/// How long an answer may take until the test gives up.
const GUARD: Duration = Duration::from_secs(60);

fn program(store: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kitbag-registry"));
    command
        .env_clear()
        .envs([("KITBAG_LOG", "warn"), ("KITBAG_ACCESS_LOG", "off")])
        .args(["serve", "--store"])
        .arg(store)
        .args(arguments);
    command
}

struct Instance {
    running: Running,
    address: SocketAddr,
}

impl Instance {
    fn start(store: &Path, listen: &str, handover: &str) -> Self {
        Self::run(&mut program(store, &["--listen", listen, "--handover", handover]))
    }

    fn run(command: &mut Command) -> Self {
        let mut running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
        let address = running.address().parse().unwrap();
        Self { running, address }
    }

    /// Waits for the end that another instance has brought about.
    fn ended(mut self) {
        assert_eq!(self.running.0.wait().unwrap().code(), Some(0));
    }

    fn terminate(self) {
        self.running.signal(Signal::TERM);
        self.ended();
    }
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    try_connect(address).unwrap()
}

fn try_connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(GUARD))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// Asks once. Whether the connection can be used again.
fn ask(stream: &mut BufReader<TcpStream>, last: bool) -> bool {
    try_ask(stream, last).unwrap()
}

/// Asks once. It is an error if there is no byte of an answer.
fn try_ask(stream: &mut BufReader<TcpStream>, last: bool) -> io::Result<bool> {
    let close = if last { "Connection: close\r\n" } else { "" };
    let request = format!("GET /v2/strace/manifests/latest HTTP/1.1\r\nHost: registry\r\n{close}\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    let (mut line, mut length, mut again) = (String::new(), 0, true);
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    assert_eq!(line.trim_end(), "HTTP/1.1 200 OK");
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("connection", "close")) => again = false,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    assert!(body.starts_with(b"{") && body.ends_with(b"}"));
    Ok(again)
}

/// What clients have seen.
#[derive(Default)]
struct Load {
    asked: AtomicUsize,
    /// Connections that were not made, or whose first request had no answer. On later ones that is a failure of the test.
    lost: AtomicUsize,
    enough: AtomicBool,
}

impl Load {
    /// Asks all the time, until `work` is done.
    fn during(&self, address: SocketAddr, work: impl FnOnce()) {
        std::thread::scope(|scope| {
            (0..CLIENTS).for_each(|number| drop(scope.spawn(move || self.client(address, number % 2 == 0))));
            work();
            self.enough.store(true, Ordering::Relaxed);
        });
        println!("{:?} requests, {:?} connections lost", self.asked, self.lost);
    }

    fn client(&self, address: SocketAddr, keeps: bool) {
        while !self.enough.load(Ordering::Relaxed) {
            let asked = try_connect(address).and_then(|mut stream| Ok((try_ask(&mut stream, !keeps)?, stream)));
            match asked {
                Ok((mut again, mut stream)) => {
                    self.asked.fetch_add(1, Ordering::Relaxed);
                    while again && !self.enough.load(Ordering::Relaxed) {
                        again = ask(&mut stream, false);
                        self.asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(_) => drop(self.lost.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }

    /// Waits for more requests.
    fn more(&self, requests: usize) {
        let (from, began) = (self.asked.load(Ordering::Relaxed), Instant::now());
        while self.asked.load(Ordering::Relaxed) < from + requests {
            assert!(began.elapsed() < GUARD, "nothing is answered");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn upgrades_under_load_lose_no_connection() {
    let requests = std::env::var("KITBAG_HANDOVER_REQUESTS").map_or(REQUESTS, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let handover = dir.path().join("handover").display().to_string();
    let mut instance = Instance::start(dir.path(), "127.0.0.1:0", &handover);
    let address = instance.address;
    let (asked, connected, enough) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let client = |keeps: bool| {
        while !enough.load(Ordering::Relaxed) {
            connected.fetch_add(1, Ordering::Relaxed);
            let mut stream = connect(address);
            loop {
                let again = ask(&mut stream, !keeps);
                asked.fetch_add(1, Ordering::Relaxed);
                if !again || enough.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number % 2 == 0))).collect();
        let alive = || assert!(clients.iter().all(|client| !client.is_finished()), "a client has failed");
        for upgrade in 1..=UPGRADES {
            while asked.load(Ordering::Relaxed) < requests * upgrade / (UPGRADES + 1) {
                alive();
                std::thread::sleep(Duration::from_millis(5));
            }
            let next = Instance::start(dir.path(), &address.to_string(), &handover);
            assert_eq!(next.address, address);
            std::mem::replace(&mut instance, next).ended();
        }
        while asked.load(Ordering::Relaxed) < requests {
            alive();
            std::thread::sleep(Duration::from_millis(5));
        }
        enough.store(true, Ordering::Relaxed);
    });
    println!("{} requests on {} connections over {UPGRADES} upgrades", asked.into_inner(), connected.into_inner());
    instance.terminate();
    assert!(!Path::new(&handover).exists(), "the last one has removed the socket's file");
}

#[test]
fn an_instance_that_does_not_get_ready_takes_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let handover = dir.path().join("handover");
    let instance = Instance::start(dir.path(), "127.0.0.1:0", &handover.display().to_string());
    let taken = take(&handover).unwrap().unwrap();
    assert_eq!(taken.sockets.len(), 1);
    drop(taken);
    assert!(!ask(&mut connect(instance.address), true));
    let taken = take(&handover).unwrap().unwrap();
    assert_eq!(taken.sockets.len(), 1, "and it offers them again");
    let offer = Offer::new(taken.control, &[]).unwrap();
    taken.giver.ready(&offer);
    instance.ended();
    assert!(handover.exists(), "it belongs to whoever has the socket");
    drop(offer);
    assert!(!handover.exists());
}

/// An instance with the files of three sockets, and what it was started with.
fn with_files(dir: &Path) -> (Instance, [String; 6], [std::path::PathBuf; 3]) {
    testing::make(dir);
    let files = ["handover", "listen", "admin"].map(|name| dir.join(name));
    let [handover, unix, admin] = files.each_ref().map(|path| path.display().to_string());
    let instance = Instance::run(&mut program(
        dir,
        &[
            "--handover",
            &handover,
            "--listen",
            &format!("127.0.0.1:0,unix:{unix}"),
            "--admin",
            &format!("unix:{admin}"),
        ],
    ));
    let listen = format!("{},unix:{unix}", instance.address);
    let arguments =
        ["--handover".into(), handover, "--listen".into(), listen, "--admin".into(), format!("unix:{admin}")];
    (instance, arguments, files)
}

#[test]
fn a_successor_that_fails_takes_no_file_away() {
    let dir = tempfile::tempdir().unwrap();
    let (instance, arguments, files) = with_files(dir.path());
    let mut arguments = arguments.each_ref().map(String::as_str);
    // One fails before it has taken anything, and one with what it has taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("{},{}", arguments[3], taken.local_addr().unwrap());
    for (store, listen) in [(dir.path().join("missing"), arguments[3]), (dir.path().to_owned(), &listen)] {
        arguments[3] = listen;
        let output = program(&store, &arguments).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        for file in &files {
            UnixStream::connect(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
    instance.terminate();
    assert!(files.iter().all(|file| !file.exists()));
}

#[test]
fn a_successor_has_the_files_even_if_the_other_one_is_told_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let (instance, arguments, [handover, unix, admin]) = with_files(dir.path());
    let taken = take(&handover).unwrap().unwrap();
    instance.terminate();
    assert!(handover.exists() && unix.exists() && !admin.exists());
    let endpoints: Vec<_> = arguments[3].split(',').map(|text| text.parse().unwrap()).collect();
    let given = Given { taken: taken.sockets, ..Given::default() };
    let listeners = listen(&endpoints, &Options::default(), given).unwrap();
    let offer = Offer::new(taken.control, &listeners).unwrap();
    taken.giver.ready(&offer);
    for file in [&handover, &unix] {
        UnixStream::connect(file).unwrap();
    }
    drop((listeners, offer));
    assert!(!handover.exists() && !unix.exists());
}

#[test]
fn sockets_that_the_first_instance_was_started_with_go_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let handover = dir.path().join("handover").display().to_string();
    let arguments = ["--listen", "systemd", "--handover", &handover];
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let started = program(dir.path(), &arguments);
    // The shell has the number of the process that it becomes.
    let first = Instance::run(
        Command::new("/bin/sh")
            .args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 0</dev/null"])
            .arg(started.get_program())
            .args(started.get_args())
            .env_clear()
            .envs([("KITBAG_LOG", "warn"), ("KITBAG_ACCESS_LOG", "off")])
            .stdin(OwnedFd::from(socket)),
    );
    let second = Instance::run(&mut program(dir.path(), &arguments));
    assert_eq!((first.address, second.address), (address, address));
    first.ended();
    assert!(!ask(&mut connect(address), true));
    second.terminate();
}

#[test]
fn instances_that_share_a_port_and_fail_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let instance = Instance::run(&mut program(dir.path(), &["--reuse-port", "--listen", "127.0.0.1:0"]));
    let listen = instance.address.to_string();
    let missing = dir.path().join("missing");
    let load = Load::default();
    load.during(instance.address, || {
        load.more(1);
        for failure in 0..FAILURES {
            // For want of a store, or of a place to answer questions at.
            let (store, admin) =
                if failure % 2 == 0 { (&*missing, "127.0.0.1:0") } else { (dir.path(), "unix:/nowhere/x") };
            let output = program(store, &["--reuse-port", "--listen", &listen, "--admin", admin]).output().unwrap();
            assert_eq!(output.status.code(), Some(1));
        }
        load.more(1);
    });
    assert_eq!(load.lost.into_inner(), 0);
    instance.terminate();
}

#[test]
fn an_instance_that_shares_a_port_and_ends_loses_next_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let mut instance = Instance::run(&mut program(dir.path(), &["--reuse-port", "--listen", "127.0.0.1:0"]));
    let address = instance.address;
    let listen = address.to_string();
    let load = Load::default();
    load.during(address, || {
        for _ in 0..ENDS {
            load.more(100);
            let next = Instance::run(&mut program(dir.path(), &["--reuse-port", "--listen", &listen]));
            load.more(100);
            std::mem::replace(&mut instance, next).terminate();
        }
        load.more(100);
    });
    let lost = load.lost.into_inner();
    assert!(lost <= LOST, "{lost} connections");
    instance.terminate();
}

#[test]
fn where_nobody_offers_anything_there_is_nothing_to_take() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("handover");
    assert!(take(&path).unwrap().is_none());
    // Somebody who speaks another language.
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let stranger = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello").unwrap());
    let error = take(&path).unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(&path.display().to_string(), "PATH"), @"what answers at `PATH` does not hand over sockets as this version does: stop it first");
    stranger.join().unwrap();
}
