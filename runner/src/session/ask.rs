//! A question to the container's first process, by way of an exec: `kitbag-init status`, `kitbag-init end`.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::connect::{Stdin, To, connect};
use super::output::{Captured, Which};
use super::pump::Broken;
use super::{Place, SessionError};
use crate::channel::{self, Incoming};
use crate::error::Error;
use crate::plan::INIT;

/// How long an answer may be, in bytes.
const LONGEST: usize = 64 * 1024;
/// How long it may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs kitbag-init with these arguments. Returns what it says.
///
/// # Errors
/// [`SessionError`], or what the API server refuses.
pub async fn ask(place: &Place, arguments: &[&str]) -> Result<String, Error> {
    let command = std::iter::once(INIT).chain(arguments.iter().copied()).map(str::to_owned).collect();
    let answer = async {
        let socket = connect(place, To::Exec(command, Stdin::None)).await?;
        listen(socket).await.map_err(|broken| place.explain(broken, false))
    };
    timeout(LIMIT, answer).await.unwrap_or_else(|_| {
        Err(SessionError::Silent { container: place.container.clone(), seconds: LIMIT.as_secs() }.into())
    })
}

/// The answer, to its end.
async fn listen(mut socket: impl Stream<Item = Result<Message, SocketError>> + Unpin) -> Result<String, Broken> {
    let mut said = Captured::default();
    while let Some(message) = socket.next().await {
        let Message::Binary(frame) = message.map_err(|error| Broken::Lost(error.to_string()))? else { continue };
        match channel::decode(frame)? {
            Incoming::Stdout(data) => said.keep(Which::Stdout, &data, LONGEST),
            Incoming::Stderr(data) => said.keep(Which::Stderr, &data, LONGEST),
            Incoming::Status(status) => {
                return match channel::exit_code(&status)? {
                    0 => Ok(String::from_utf8_lossy(&said.stdout).into_owned()),
                    code => Err(SessionError::unopened(code, &String::from_utf8_lossy(&said.stderr)).into()),
                };
            }
            Incoming::Nothing => {}
        }
    }
    Err(Broken::Lost("it was closed without an answer".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::stream;

    fn answer(frames: &[&'static [u8]]) -> Result<String, String> {
        let messages: Vec<_> = frames.iter().map(|frame| Ok(Message::Binary(Bytes::from_static(frame)))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(listen(stream::iter(messages))).map_err(|broken| match broken {
            Broken::Lost(reason) => reason,
            broken => format!("{broken:?}"),
        })
    }

    #[test]
    fn an_answer_is_whole_or_an_error() {
        const STATUS: &[u8] = b"\x03{\"status\":\"Success\"}";
        const USAGE: &[u8] = br#"_{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"125"}]}}"#;
        let usage: &'static [u8] = Vec::leak([b"\x03", &USAGE[1..]].concat());
        assert_eq!(answer(&[b"\x01{\"idle\"", b"\x02warning", b"\x01:0}\n", STATUS]), Ok("{\"idle\":0}\n".to_owned()));
        insta::assert_snapshot!(answer(&[b"\x01{\"idle\""]).unwrap_err(), @"it was closed without an answer");
        insta::assert_snapshot!(answer(&[b"\x02usage: kitbag-init session\n", usage]).unwrap_err(), @"Session(Generation)");
    }
}
