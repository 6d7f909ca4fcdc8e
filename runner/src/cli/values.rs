//! Values of flags: durations, users, and words out of a short list.

use std::time::Duration;

use clap::ValueEnum;

/// The longest duration that a flag takes: a year. What is longer is a slip of the finger, and clocks can't add it.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A duration that is not zero: `90`, `90s`, `30m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = duration_or_none(text)?;
    if duration < Duration::from_secs(1) { Err("at least one second is wanted".to_owned()) } else { Ok(duration) }
}

/// A duration, or zero.
pub(crate) fn duration_or_none(text: &str) -> Result<Duration, String> {
    // kubectl takes a number without a unit for seconds, so this does too.
    let duration = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "a number of seconds is wanted, or a duration like `90s`, `30m`, `8h`".to_owned())?,
    };
    if duration > LONGEST { Err("that is more than a year".to_owned()) } else { Ok(duration) }
}

/// A tag, as the OCI distribution specification (1.1, "Pulling manifests") has them.
pub(crate) fn tag(text: &str) -> Result<String, &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let all = text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    if text.len() <= 128 && all && text.bytes().next().is_some_and(word) {
        Ok(text.to_owned())
    } else {
        Err("letters, digits, `_`, `.` and `-` make a tag, 128 at the most")
    }
}

/// How much is done in earnest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// nothing is tried, everything is done
    #[default]
    None,
    /// nothing is sent
    Client,
    /// the API server is asked whether it would take it
    Server,
}

/// A form of output for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// for programs
    Json,
    /// for people, and for `kubectl`
    Yaml,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duration_is_a_number_of_seconds_or_has_units() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("30m", 1800),
            ("8h", 28_800),
            ("1h30m", 5400),
            ("1h 5s", 3605),
            ("1.5h", 5400),
            ("1d", 86_400),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration_or_none("0"), Ok(Duration::ZERO));
        assert_eq!(duration_or_none("500ms"), Ok(Duration::from_millis(500)));
        let errors = ["", "0", "500ms", "-1", "soon", "10y", "99999999999999999999"];
        let errors = errors.map(|text| format!("`{text}`: {}", duration(text).unwrap_err()));
        insta::assert_snapshot!(errors.join("\n"), @r"
        ``: a number of seconds is wanted, or a duration like `90s`, `30m`, `8h`
        `0`: at least one second is wanted
        `500ms`: at least one second is wanted
        `-1`: a number of seconds is wanted, or a duration like `90s`, `30m`, `8h`
        `soon`: a number of seconds is wanted, or a duration like `90s`, `30m`, `8h`
        `10y`: that is more than a year
        `99999999999999999999`: a number of seconds is wanted, or a duration like `90s`, `30m`, `8h`
        ");
    }

    #[test]
    fn a_tag_is_what_the_specification_takes() {
        for text in ["latest", "3b0c", "_x", "v1.0-rc.1", &"a".repeat(128)] {
            assert_eq!(tag(text).as_deref(), Ok(text));
        }
        for text in ["", ".x", "-x", "a/b", "a:b", "a b", &"a".repeat(129)] {
            assert!(tag(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}") {
            let _ = (duration(&text), tag(&text));
        }
    }
}
