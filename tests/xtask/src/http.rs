//! A small HTTP/1.1 client for measuring and torturing: one connection, in the caller's thread, that shows everything
//! that a library would hide: what was sent in which piece, when it broke, and where.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A server that is silent for longer than this is stuck.
const PATIENCE: Duration = Duration::from_secs(20);
/// What index and manifests are asked for with.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

/// A connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

/// An answer's status and headers.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The status code.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Its status and headers.
    pub(crate) head: Head,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(64 << 10, stream), address })
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends these bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Asks for `path`, with further header lines, each with its `\r\n`.
    pub(crate) fn ask(&mut self, path: &str, headers: &str) -> io::Result<()> {
        self.send(get(self.address, path, headers).as_bytes())
    }

    /// Asks for `path` and reads the answer.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask(path, "")?;
        self.answer()
    }

    /// The next answer, to a `GET`.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let head = self.head()?;
        Ok(Answer { body: self.body(&head)?, head })
    }

    /// The body of the answer whose head was read last.
    pub(crate) fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let length = head.length();
        if self.stream.by_ref().take(length).read_to_end(&mut body)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(body)
    }

    /// The head of the next answer. That the connection has ended is `UnexpectedEof` only when a part of it was there.
    pub(crate) fn head(&mut self) -> io::Result<Head> {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            match self.stream.read_line(&mut text) {
                Ok(1..) => {}
                Ok(0) | Err(_) if !text.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(0) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Err(error) => return Err(error),
            }
        }
        parse(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no head of an answer: {text:?}")))
    }

    /// Some bytes of the body; none at the end of the connection.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Head {
    /// The header of this name, which is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Bytes of the body.
    pub(crate) fn length(&self) -> u64 {
        if matches!(self.status, 204 | 304) {
            return 0;
        }
        self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default()
    }
}

/// The text of a request.
pub(crate) fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {ACCEPT}\r\n{headers}\r\n")
}

/// Asks once, on a connection of its own.
pub(crate) fn fetch(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut connection = Connection::open(address)?;
    connection.ask(path, "Connection: close\r\n")?;
    connection.answer()
}

fn parse(text: &str) -> Option<Head> {
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Some(Head { status, headers: lines.take_while(|line| !line.is_empty()).map(header).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_understood() {
        let head = parse("HTTP/1.1 206 Partial Content\r\nContent-Length: 17\r\nConnection: Close\r\n\r\n").unwrap();
        assert_eq!((head.status, head.length(), head.header("connection")), (206, 17, Some("Close")));
        assert!(parse("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n").is_some_and(|head| head.length() == 0));
        assert!(parse("SSH-2.0-x\r\n\r\n").is_none() && parse("HTTP/1.1 200 OK\r\nnothing\r\n\r\n").is_none());
    }
}
