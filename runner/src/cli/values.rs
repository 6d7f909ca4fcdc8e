//! Values of flags: durations, users, and words out of a short list.

use std::fmt;
use std::str::FromStr;
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

/// Who the debug container runs as: `UID[:GID]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The user's number.
    pub(crate) uid: i64,
    /// The group's.
    pub(crate) gid: Option<i64>,
}

impl FromStr for User {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let number = |text: &str| -> Result<i64, &'static str> {
            let number =
                text.parse::<u32>().ok().filter(|_| !text.starts_with('+')).and_then(|it| i32::try_from(it).ok());
            number.map(i64::from).ok_or("numbers are wanted, UID[:GID]: Kubernetes knows no names of users")
        };
        let (uid, gid) = text.split_once(':').map_or((text, None), |(uid, gid)| (uid, Some(gid)));
        Ok(Self { uid: number(uid)?, gid: gid.map(number).transpose()? })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uid)?;
        self.gid.map_or(Ok(()), |gid| write!(f, ":{gid}"))
    }
}

/// A profile of kubectl's `debug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// SYS_PTRACE
    General,
    /// nothing that Pod Security's level `baseline` refuses
    Baseline,
    /// nothing that Pod Security's level `restricted` refuses
    Restricted,
    /// NET_ADMIN and NET_RAW
    Netadmin,
    /// privileged
    Sysadmin,
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
    fn a_user_is_a_number_or_two() {
        assert_eq!("1000".parse(), Ok(User { uid: 1000, gid: None }));
        assert_eq!("0:65534".parse(), Ok(User { uid: 0, gid: Some(65534) }));
        for text in ["", ":", "1000:", ":0", "root", "-1", "+1", "1:2:3", "2147483648", " 1"] {
            assert!(text.parse::<User>().is_err(), "{text}");
        }
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
        fn what_is_printed_of_a_user_is_what_is_read(text in "[0-9]{1,10}(:[0-9]{1,10})?") {
            if let Ok(user) = text.parse::<User>() {
                prop_assert_eq!(user.to_string().parse(), Ok(user));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}") {
            let _ = (duration(&text), text.parse::<User>());
        }
    }
}
