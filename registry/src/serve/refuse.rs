//! What a client is told that has too many connections: cheaply, because it may ask again at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SendFlags, send};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::accept::Accepted;
use super::stream::Plain;
use crate::error::RequestError;
use crate::respond;

/// Refused clients at a time that are given the time to read that. Others may find the connection cut before.
pub(super) const AT_A_TIME: usize = 32;
/// How long they are given.
const TIME: Duration = Duration::from_secs(1);

pub(super) struct Refusals {
    refusal: Vec<u8>,
    permits: Arc<Semaphore>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { refusal: refusal(), permits: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

impl Refusals {
    /// Tells the client, if it can be told without a handshake, and closes the connection.
    pub(super) fn refuse(&self, Accepted { mut stream, client, tls }: Accepted) {
        tracing::debug!(?client, "a connection was refused: the client has too many");
        // Not through the runtime, which does not know yet that there is room.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let told = tls.is_none() && send(&stream, &self.refusal, flags).is_ok();
        if let (true, Ok(permit)) = (told, Arc::clone(&self.permits).try_acquire_owned()) {
            tokio::spawn(async move {
                let _ = timeout(TIME, finish(&mut stream)).await;
                drop(permit);
            });
        }
    }
}

/// Waits until the client has closed its end: what it sends meanwhile would otherwise cut the response off.
async fn finish(stream: &mut Plain) -> io::Result<()> {
    stream.shutdown().await?;
    while stream.read(&mut [0; 512]).await? > 0 {}
    Ok(())
}

/// The response, in full.
fn refusal() -> Vec<u8> {
    let (head, body) = respond::error(&RequestError::TooManyConnections).into_parts();
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(b"connection: close\r\n\r\n");
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_like_any_other_error() {
        insta::assert_snapshot!(String::from_utf8(refusal()).unwrap().replace("\r\n", "\n"), @r#"
        HTTP/1.1 429 Too Many Requests
        content-type: application/json
        content-length: 131
        warning: 299 - "this client has too many connections: close some, or wait until they have ended"
        cache-control: no-store
        retry-after: 1
        connection: close

        {"errors":[{"code":"TOOMANYREQUESTS","message":"this client has too many connections: close some, or wait until they have ended"}]}
        "#);
    }
}
