//! What may stand between people and an API server: a proxy that changes what passes, in one of several ways.
//!
//! It speaks plain HTTP to both sides; `kubectl proxy` is what it asks, which speaks TLS to the API server.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    sync::Arc,
    thread,
};

use kitbag_tests::Node;

/// What it changes.
#[derive(Debug)]
pub(crate) enum Change {
    /// It knows no other protocol than HTTP: `Connection` and `Upgrade` go no further.
    NoUpgrade,
    /// The API server's clock seems to be another: its answers bear this date.
    Date(String),
    /// The API server is of a version without ephemeral containers.
    Old,
}

/// A proxy in a node's network. What it was started with ends when this is dropped.
pub(crate) struct Proxy {
    /// For `--server`.
    pub(crate) url: String,
    kubectl: Child,
}

impl Proxy {
    pub(crate) fn start(node: &Node, change: Change) -> Self {
        let mut command = node.kubectl_command();
        // By itself it refuses what it takes for dangerous, sessions among it.
        command.args(["proxy", "--port=0", "--reject-paths=^$"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut kubectl = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(kubectl.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let upstream: SocketAddr = line.trim().rsplit_once(' ').unwrap().1.parse().unwrap();
        let listener = node.inside(|| TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let node = Node::open(node.dir()).unwrap();
        // It ends with the process of the tests.
        thread::spawn(move || {
            let shared = Arc::new((node, change));
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (node, change) = &*shared;
                    let server = node.inside(|| TcpStream::connect(upstream)).unwrap();
                    // Whoever hangs up in the middle has what they wanted.
                    let _ = server.and_then(|server| pass(client, server, change));
                });
            }
        });
        Self { url, kubectl }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

/// One request and its answer.
fn pass(mut client: TcpStream, mut server: TcpStream, change: &Change) -> io::Result<()> {
    let asked = head(&mut client)?;
    let first = asked.lines().next().unwrap_or_default().to_owned();
    if matches!(change, Change::Old) && first.starts_with("PATCH ") && first.contains("/ephemeralcontainers") {
        let length = asked.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        io::copy(&mut (&client).take(length.unwrap_or_default()), &mut io::sink())?;
        return client.write_all(NOT_FOUND.as_bytes());
    }
    server.write_all(request(&asked, change).as_bytes())?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let answer = head(&mut server)?;
    client.write_all(response(&answer, change).as_bytes())?;
    if matches!(change, Change::Old) && first.contains(" /version") {
        let mut body = String::new();
        server.read_to_string(&mut body)?;
        // What says how long it is remains true.
        client.write_all(body.replace("\"36\"", "\"22\"").replace("\"v1.36.", "\"v1.22.").as_bytes())?;
    } else {
        io::copy(&mut server, &mut client)?;
    }
    client.shutdown(Shutdown::Both)
}

/// What an API server answers that has no such resource.
const NOT_FOUND: &str = concat!(
    "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n",
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server could not find the requested resource","reason":"NotFound","details":{},"code":404}"#
);

/// The request line or the status line, and the headers, with the empty line at their end.
fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

/// One request for each connection, of which the answer can be read.
fn request(head: &str, change: &Change) -> String {
    let upgrades = head.to_ascii_lowercase().contains("\r\nupgrade:") && !matches!(change, Change::NoUpgrade);
    let mut kept = edited(head, |name| match name {
        "accept-encoding" => None,
        "connection" | "upgrade" if !upgrades => None,
        _ => Some(None),
    });
    if !upgrades {
        kept.insert_str(kept.len() - 2, "Connection: close\r\n");
    }
    kept
}

fn response(head: &str, change: &Change) -> String {
    edited(head, |name| match (name, change) {
        ("date", Change::Date(date)) => Some(Some(date.clone())),
        _ => Some(None),
    })
}

/// Each header by its name in small letters: none goes, some other value takes the place of its own.
fn edited(head: &str, edit: impl Fn(&str) -> Option<Option<String>>) -> String {
    let mut lines = head.split("\r\n");
    let mut text = format!("{}\r\n", lines.next().unwrap_or_default());
    for line in lines.filter(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default();
        match edit(&name.to_ascii_lowercase()) {
            None => {}
            Some(None) => text.push_str(&format!("{line}\r\n")),
            Some(Some(value)) => text.push_str(&format!("{name}: {value}\r\n")),
        }
    }
    text + "\r\n"
}
