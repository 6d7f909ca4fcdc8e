//! Starts and ends a `kitbag-registry`, on the node's loopback, where the node pulls from, or on the host's.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::{
    error::{Error, Result, file, spawn, tail},
    node::Node,
};

/// Where the registry listens in a node.
pub const NODE_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5005);

/// A running registry; it ends when this is dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    child: Option<Child>,
}

impl Registry {
    /// Serve `store` on `address` in the node's network, with more `flags`, and wait until it answers. Nodes pull without
    /// more ado from [`NODE_ADDRESS`]. The log is the node's `registry.log`.
    ///
    /// # Errors
    /// When it ends or doesn't answer: with the end of its log.
    pub fn start_in(node: &Node, program: &Path, store: &Path, address: SocketAddr, flags: &[&OsStr]) -> Result<Self> {
        let log = node.logs().join("registry.log");
        let mut command = node.server_command(&absolute(program)?);
        command.arg("serve").args(flags);
        Self::start(&mut command, address, store, &log, |address| node.inside(|| answers(address)))
    }

    /// Serve `store` on a free port of the host's loopback, and wait until it answers.
    ///
    /// # Errors
    /// When it ends or doesn't answer: with the end of its log.
    pub fn start_on_host(program: &Path, store: &Path, log: &Path) -> Result<Self> {
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let address = free.map_err(file("find a free port for", program))?;
        let mut command = Command::new(absolute(program)?);
        command.arg("serve");
        Self::start(&mut command, address, store, log, |address| Ok(answers(address)))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Let it run on when this is gone; in a node it ends with the node.
    pub fn keep(mut self) {
        self.child = None;
    }

    fn start(
        command: &mut Command,
        address: SocketAddr,
        store: &Path,
        log: &Path,
        answers: impl Fn(SocketAddr) -> Result<bool>,
    ) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log).map_err(file("write", log))?;
        command.arg("--store").arg(absolute(store)?).args(["--listen", &address.to_string()]);
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(file("write", log))?).stderr(output);
        // A group of its own, because between us and it may stand an nsenter that passes no signal on.
        let child = command.process_group(0).spawn().map_err(spawn(command))?;
        let mut registry = Self { address, child: Some(child) };
        let end = Instant::now() + Duration::from_secs(30);
        while !answers(address)? {
            let ended = registry.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || Instant::now() > end {
                let what = if ended { "the registry ended, so its answer" } else { "an answer of the registry" };
                let seen = tail(&fs::read_to_string(log).unwrap_or_default(), 15);
                return Err(Error::Timeout { what: format!("{what} on {address}"), seconds: 30, seen });
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let Some(group) = Pid::from_raw(child.id().cast_signed()) else { return };
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.wait();
            // Behind an nsenter, the registry itself is not our child; its port is free when the group is empty.
            let end = Instant::now() + Duration::from_secs(5);
            while test_kill_process_group(group).is_ok() && Instant::now() < end {
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

fn absolute(path: &Path) -> Result<std::path::PathBuf> {
    fs::canonicalize(path).map_err(file("find", path))
}

/// Does a registry answer `GET /v2/` with 200?
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let request = format!("GET /v2/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        // One that wants a password says so.
        Ok(start == *b"HTTP/1.1 200" || start == *b"HTTP/1.1 401")
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use super::*;

    /// A program, written by another process: while a thread of ours writes it, it can't be run, nor while a child that
    /// another thread is just starting still has the file open.
    fn fake(dir: &Path, script: &str) -> std::path::PathBuf {
        let path = dir.join("registry");
        let write = "printf '#!/bin/sh\n%s\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        crate::error::run(Command::new("sh").args(["-c", write, "sh", script]).arg(&path)).unwrap();
        path
    }

    #[test]
    fn a_registry_that_ends_shows_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let program = fake(dir.path(), "echo no index in \"$3\" >&2; exit 1");
        let error = Registry::start_on_host(&program, dir.path(), &dir.path().join("log")).unwrap_err().to_string();
        assert!(error.contains("no index in") && error.contains("the registry ended"), "{error}");
    }

    #[test]
    fn only_a_200_is_an_answer() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for status in ["503 Service Unavailable", "200 OK"] {
                let (mut stream, _) = listener.accept().unwrap();
                let request = std::io::BufReader::new(&stream)
                    .lines()
                    .map_while(|line| line.ok().filter(|line| !line.is_empty()));
                assert_eq!(request.count(), 3);
                stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
            }
        });
        assert!(!answers(address));
        assert!(answers(address));
        server.join().unwrap();
        assert!(!answers(address));
    }
}
