//! The frames of an exec, `v5.channel.k8s.io`: the first byte of each is the channel. Pure; the socket is the session's.

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

use crate::session::SessionError;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;

/// A frame from the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// Output.
    Stdout(Bytes),
    /// Output for the other stream.
    Stderr(Bytes),
    /// The end.
    Status(Box<Status>),
    /// A greeting, or a channel that says nothing here.
    Nothing,
}

/// Reads a frame.
///
/// # Errors
/// [`SessionError::Status`] when the status is not one.
pub fn decode(mut frame: Bytes) -> Result<Incoming, SessionError> {
    if frame.len() < 2 {
        return Ok(Incoming::Nothing);
    }
    let data = frame.split_off(1);
    match frame[0] {
        STDOUT => Ok(Incoming::Stdout(data)),
        STDERR => Ok(Incoming::Stderr(data)),
        STATUS => {
            let status = serde_json::from_slice(&data).map_err(|error| SessionError::Status(error.to_string()))?;
            Ok(Incoming::Status(Box::new(status)))
        }
        _ => Ok(Incoming::Nothing),
    }
}

/// A frame of input.
#[must_use]
pub fn stdin(data: &[u8]) -> Bytes {
    [&[STDIN], data].concat().into()
}

/// The command's exit code.
///
/// # Errors
/// [`SessionError::Exec`] when there was no command to have one.
pub fn exit_code(status: &Status) -> Result<u8, SessionError> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let mut codes = causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = codes.find_map(|cause| cause.message.as_deref()?.parse().ok());
    match (status.reason.as_deref(), code) {
        (Some("NonZeroExitCode"), Some(code)) => Ok(code),
        _ => Err(SessionError::Exec(status.message.clone().unwrap_or_else(|| "no reason was given".to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(status: &str) -> Result<u8, String> {
        exit_code(&serde_json::from_str(status).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_status_has_the_commands_exit_code() {
        assert_eq!(code(r#"{"status":"Success"}"#), Ok(0));
        let failure = |code: &str| {
            format!(
                r#"{{"status":"Failure","reason":"NonZeroExitCode","message":"command terminated with non-zero exit code",
                    "details":{{"causes":[{{"reason":"ExitCode","message":"{code}"}}]}}}}"#
            )
        };
        assert_eq!(code(&failure("7")), Ok(7));
        assert_eq!(code(&failure("143")), Ok(143));
        assert!(code(&failure("x")).is_err());
        insta::assert_snapshot!(
            code(r#"{"status":"Failure","reason":"InternalError","message":"container not found (\"kitbag-b2c4d\")"}"#).unwrap_err(),
            @r#"the session could not be started: container not found ("kitbag-b2c4d")"#
        );
    }

    #[test]
    fn frames_are_what_the_protocol_says() {
        assert_eq!(stdin(b"ab")[..], *b"\0ab");
        assert_eq!(decode(Bytes::from_static(b"\x01out")).unwrap(), Incoming::Stdout(Bytes::from_static(b"out")));
        assert_eq!(decode(Bytes::from_static(b"\x02err")).unwrap(), Incoming::Stderr(Bytes::from_static(b"err")));
        assert_eq!(decode(Bytes::from_static(b"\x01")).unwrap(), Incoming::Nothing);
        assert_eq!(decode(Bytes::from_static(b"\x09x")).unwrap(), Incoming::Nothing);
        assert!(decode(Bytes::from_static(b"\x03{")).is_err());
    }

    proptest! {
        #[test]
        fn no_frame_makes_it_panic(frame in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(Incoming::Status(status)) = decode(frame.into()) {
                let _ = exit_code(&status);
            }
        }
    }
}
