//! A tap on the wire between a client and the registry: passes every byte on, and keeps what the client asked for.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// The first byte of a TLS client's first record (RFC 8446, section 5.1: `handshake`).
const TLS_HANDSHAKE: u8 = 22;

/// A port that leads to the registry. It lasts as long as this process.
pub(crate) struct Tap {
    address: SocketAddr,
    /// What the client sent, by connection, in the order in which they were made.
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Method, space, path and query.
    pub(crate) line: String,
    /// Header lines.
    headers: Vec<(String, String)>,
}

impl Tap {
    /// A tap on the way to `target`.
    pub(crate) fn on(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let tap = Self { address: listener.local_addr().unwrap(), sent: Arc::default() };
        let sent = Arc::clone(&tap.sent);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(target) else { return };
                let connection = {
                    let mut sent = sent.lock().unwrap();
                    sent.push(Vec::new());
                    sent.len() - 1
                };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let sent = Arc::clone(&sent);
                thread::spawn(move || pass(from, to, |bytes| sent.lock().unwrap()[connection].extend(bytes)));
                thread::spawn(move || pass(server, client, |_| {}));
            }
        });
        tap
    }

    /// `host:port` for the client.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// How many connections began with a TLS client's hello.
    pub(crate) fn hellos(&self) -> usize {
        self.sent.lock().unwrap().iter().filter(|sent| sent.first() == Some(&TLS_HANDSHAKE)).count()
    }

    /// All requests: in order within each connection, and connections in the order in which they were made.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let sent = self.sent.lock().unwrap();
        let plain = sent.iter().filter(|sent| sent.first() != Some(&TLS_HANDSHAKE));
        // None of them has a body: a client that only reads sends no other bytes.
        let heads = plain.flat_map(|sent| {
            String::from_utf8_lossy(sent)
                .into_owned()
                .split_terminator("\r\n\r\n")
                .map(Request::parse)
                .collect::<Vec<_>>()
        });
        heads.collect()
    }

    /// The first lines of all requests, without the version.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }
}

impl Request {
    fn parse(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let line = lines.next().and_then(|line| line.strip_suffix(" HTTP/1.1")).expect("a request");
        let header = |line: &str| {
            let (name, value) = line.split_once(':').expect("a header");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self { line: line.to_owned(), headers: lines.map(header).collect() }
    }

    /// The value of a header, whose name is given in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }
}

/// Pass on what comes until it ends, in whatever way; the end as well.
fn pass(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        look(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            // Who doesn't listen any more is not asked for more either.
            let _ = from.shutdown(Shutdown::Read);
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
