//! Upgrades under load: each instance takes the sockets of the one before, and no client notices.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../src/testing.rs"]
mod testing;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Instances that follow the first.
const UPGRADES: usize = 10;
/// Clients at a time: half of them ask once on each connection, the others as often as they are let.
const CLIENTS: usize = 8;
/// Requests at least, in all; `KITBAG_HANDOVER_REQUESTS` in the environment asks for more.
const REQUESTS: usize = 2_000;
/// How long an answer may take until the test gives up.
const GUARD: Duration = Duration::from_secs(60);

/// Ends the program with the test that started it.
struct Instance {
    child: Child,
    address: SocketAddr,
}

impl Instance {
    fn start(store: &Path, listen: &str, handover: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kitbag-registry"));
        command
            .env_clear()
            .env("KITBAG_LOG", "warn")
            .args(["serve", "--listen", listen, "--handover", handover, "--store"])
            .arg(store);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let rest = line.strip_prefix("kitbag-registry: listening on http://").unwrap_or_else(|| panic!("{line}"));
        let address = rest.split_once(',').unwrap().0.parse().unwrap();
        Self { child, address }
    }

    /// Waits for the end that another instance has brought about.
    fn ended(mut self) {
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    fn terminate(self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.ended();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream.set_nodelay(true).unwrap();
    BufReader::new(stream)
}

/// Asks once. Whether the connection can be used again.
fn ask(stream: &mut BufReader<TcpStream>, last: bool) -> bool {
    let close = if last { "Connection: close\r\n" } else { "" };
    let request = format!("GET /v2/strace/manifests/latest HTTP/1.1\r\nHost: registry\r\n{close}\r\n");
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let (mut line, mut length, mut again) = (String::new(), 0, true);
    stream.read_line(&mut line).unwrap();
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
    again
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
    let taken = kitbag_registry::handover::take(&handover).unwrap().unwrap();
    assert_eq!(taken.sockets.len(), 1);
    drop(taken);
    assert!(!ask(&mut connect(instance.address), true));
    let taken = kitbag_registry::handover::take(&handover).unwrap().unwrap();
    assert_eq!(taken.sockets.len(), 1, "and it offers them again");
    taken.giver.ready();
    instance.ended();
    assert!(handover.exists(), "it belongs to whoever has the socket");
}

#[test]
fn where_nobody_offers_anything_there_is_nothing_to_take() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("handover");
    assert!(kitbag_registry::handover::take(&path).unwrap().is_none());
    // Somebody who speaks another language.
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let stranger = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello").unwrap());
    let error = kitbag_registry::handover::take(&path).unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(&path.display().to_string(), "PATH"), @"what answers at `PATH` does not hand over sockets as this version does: stop it first");
    stranger.join().unwrap();
}
