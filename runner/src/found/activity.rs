//! What `kitbag-init status` says.

use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

/// What a debug container is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// How many sessions it has.
    pub sessions: u64,
    /// How long it has had none.
    pub idle: Duration,
}

/// An answer that makes no sense: another version's, perhaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`kitbag-init status` says something that is not a status")]
pub struct ActivityError;

impl FromStr for Activity {
    type Err = ActivityError;

    fn from_str(text: &str) -> Result<Self, ActivityError> {
        let status: Value = serde_json::from_str(text.trim()).map_err(|_| ActivityError)?;
        let number = |key: &str| status.get(key).and_then(Value::as_u64).ok_or(ActivityError);
        Ok(Self { sessions: number("sessions")?, idle: Duration::from_secs(number("idle")?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_status_is_read() {
        let activity = "{\"sessions\":1,\"idle\":90,\"age\":120,\"ttl\":28800}\n".parse();
        assert_eq!(activity, Ok(Activity { sessions: 1, idle: Duration::from_secs(90) }));
        for text in ["", "{}", "[]", r#"{"sessions":-1,"idle":0}"#, r#"{"sessions":1}"#] {
            assert_eq!(text.parse::<Activity>(), Err(ActivityError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\{?\"?sessions\"?:?[0-9]{0,22},\"idle\":\\PC{0,20}") {
            let _ = text.parse::<Activity>();
        }
    }
}
