//! The program `kitbag-registry`: what it says and how it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../src/testing.rs"]
mod testing;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

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
        assert!(log.contains("INFO kitbag_registry: stopping"), "{log}");
    }
}
