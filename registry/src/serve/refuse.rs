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

/// The response, in full.
const REFUSAL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    content-type: application/json\r\n\
    content-length: 145\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\
    \r\n\
    {\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"this client has too many connections: close some, \
    or wait until they have ended\",\"detail\":null}]}";
/// Refused clients at a time that are given the time to read that. Others may find the connection cut before.
const AT_A_TIME: usize = 64;
/// How long they are given.
const TIME: Duration = Duration::from_secs(1);

pub(super) struct Refusals {
    permits: Arc<Semaphore>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

impl Refusals {
    /// Tells the client, if it can be told without a handshake, and closes the connection.
    pub(super) fn refuse(&self, Accepted { mut stream, client, tls }: Accepted) {
        tracing::debug!(?client, "a connection was refused: the client has too many");
        // Not through the runtime, which does not know yet that there is room.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let told = tls.is_none() && send(&stream, REFUSAL, flags).is_ok();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_has_the_length_that_it_says() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["errors"][0]["code"], "TOOMANYREQUESTS");
    }
}
