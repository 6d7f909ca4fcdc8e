//! Asks an instance whether it is ready, or live. For probes that are processes: small, and without a runtime.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::AdminError;
use crate::listen::{Endpoint, connect_unix};

/// How long all of it may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer.
const LONGEST: u64 = 64 << 10;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether all is well, so that clients may come.
    Ready,
    /// Whether it answers at all: if not, only a new start helps.
    Live,
}

impl Question {
    const fn path(self) -> &'static str {
        match self {
            Self::Ready => "/readyz",
            Self::Live => "/livez",
        }
    }
}

/// What an instance says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is ready, or live, as was asked.
    pub yes: bool,
    /// `ok`, or why it is not.
    pub reason: String,
}

/// Asks whoever listens there.
///
/// # Errors
/// [`AdminError::Form`], [`AdminError::Unreachable`], [`AdminError::Silent`].
pub fn ask(endpoint: &Endpoint, question: Question) -> Result<Answer, AdminError> {
    let (tell, told) = mpsc::channel();
    let path = question.path();
    // In a thread, because connecting to a Unix socket has no time limit of its own.
    match endpoint.clone() {
        Endpoint::Tcp(address) => {
            thread::spawn(move || tell.send(TcpStream::connect(address).and_then(|stream| get(stream, path))))
        }
        Endpoint::Unix(socket) => {
            thread::spawn(move || tell.send(connect_unix(&socket).and_then(|stream| get(stream, path))))
        }
        Endpoint::Tls(_) | Endpoint::Systemd => return Err(AdminError::Form(endpoint.to_string())),
    };
    match told.recv_timeout(TIMEOUT) {
        Ok(Ok(text)) => parse(&text).ok_or_else(|| AdminError::Silent(endpoint.clone())),
        Ok(Err(source)) => Err(AdminError::Unreachable { endpoint: endpoint.clone(), source }),
        Err(_) => Err(AdminError::Silent(endpoint.clone())),
    }
}

fn get(mut stream: impl Read + Write, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: kitbag-registry\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?;
    // Of the checks, those that have failed.
    let failed: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("[-]")).collect();
    let reason = if failed.is_empty() { body.trim().to_owned() } else { failed.join("; ") };
    Some(Answer { yes: status == "200", reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let answer = |yes, reason: &str| Some(Answer { yes, reason: reason.to_owned() });
        assert_eq!(parse("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), answer(true, "ok"));
        let failed =
            "HTTP/1.1 503 Service Unavailable\r\n\r\n[+]start ok\n[-]serving it ends\n[-]blobs damaged: x\nfailed";
        assert_eq!(parse(failed), answer(false, "serving it ends; blobs damaged: x"));
        assert_eq!(parse("HTTP/1.1 404 Not Found\r\n\r\nnothing\n"), answer(false, "nothing"));
        assert_eq!(parse("SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse(""), None);
    }
}
