//! A small HTTP/1.1 client for measuring and torturing: one connection, in the caller's thread, that shows everything
//! that a library would hide: what was sent in which piece, when it broke, and where. Over TLS, too, where who answers is
//! checked by an authority of the tests' own.

use std::{
    fmt::Display,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use crate::error::{Result, file};

/// A server that is silent for longer than this is stuck.
const PATIENCE: Duration = Duration::from_secs(20);
/// What index and manifests are asked for with.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<Stream>,
    /// What the server is called.
    host: String,
}

/// What a connection over TLS takes: the server's name, and whom to believe it.
#[derive(Clone, Debug)]
pub struct Tls {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// An answer's status and headers.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status and headers.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(Stream::Plain(connect(address)?), address.to_string()))
    }

    /// Connects, and speaks TLS. The handshake is made with what is sent first.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open_tls(address: SocketAddr, tls: &Tls) -> io::Result<Self> {
        let client = ClientConnection::new(Arc::clone(&tls.config), tls.name.clone()).map_err(io::Error::other)?;
        let stream = Stream::Tls(Box::new(StreamOwned::new(client, connect(address)?)));
        Ok(Self::over(stream, format!("{}:{}", tls.name.to_str(), address.port())))
    }

    fn over(stream: Stream, host: String) -> Self {
        Self { stream: BufReader::with_capacity(64 << 10, stream), host }
    }

    /// The socket itself.
    pub fn socket(&self) -> &TcpStream {
        match self.stream.get_ref() {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref(),
        }
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Asks for `path`, with further header lines, each with its `\r\n`.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn ask(&mut self, path: &str, headers: &str) -> io::Result<()> {
        let request = get(&self.host, path, headers);
        self.send(request.as_bytes())
    }

    /// Asks for `path` and reads the answer.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is none.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask(path, "")?;
        self.answer()
    }

    /// The next answer, to a `GET`.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is none.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let head = self.head()?;
        Ok(Answer { body: self.body(&head)?, head })
    }

    /// The body of the answer whose head was read last.
    ///
    /// # Errors
    /// When the connection breaks before the end.
    pub fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let length = head.length();
        if self.stream.by_ref().take(length).read_to_end(&mut body)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(body)
    }

    /// The head of the next answer. That the connection has ended is `UnexpectedEof` only when a part of it was there.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is none.
    pub fn head(&mut self) -> io::Result<Head> {
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
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Head {
    /// The header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Bytes of the body.
    pub fn length(&self) -> u64 {
        if matches!(self.status, 204 | 304) {
            return 0;
        }
        self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default()
    }
}

impl Tls {
    /// A server of this name, whose certificate one of the authorities in a PEM file has signed.
    ///
    /// # Errors
    /// When the file can't be read, or the name is none.
    pub fn new(name: &str, authority: &Path) -> Result<Self> {
        let bad = |error: rustls::pki_types::pem::Error| file("read", authority)(io::Error::other(error));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(authority).map_err(bad)? {
            roots.add(certificate.map_err(bad)?).map_err(|error| file("trust", authority)(io::Error::other(error)))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions
            .map_err(|error| file("use", authority)(io::Error::other(error)))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).map_err(|error| file("ask", name)(io::Error::other(error)))?;
        Ok(Self { name, config: Arc::new(config) })
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The text of a request.
pub fn get(host: impl Display, path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {ACCEPT}\r\n{headers}\r\n")
}

/// Asks once, on a connection of its own.
///
/// # Errors
/// When nobody listens there, the connection breaks, or the answer is none.
pub fn fetch(address: SocketAddr, path: &str) -> io::Result<Answer> {
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
