//! How the text of a setting becomes its value.

use std::time::Duration;

use bytesize::ByteSize;
use kitbag_registry::log;

/// `50s`, `1m 30s`, `500ms`, `0s`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for example `50s`, `1m 30s` or `500ms`"))
}

/// A time that is not zero.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("it must be more than nothing".to_owned()),
        duration => Ok(duration),
    }
}

/// `65536`, `4MiB`, `1.5GB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    text.parse().map(|ByteSize(bytes)| bytes).map_err(|_| "write for example `65536`, `4MiB` or `1.5GB`".to_owned())
}

/// `on`, `off`, and the other words that people use.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err("write `on` or `off`".to_owned()),
    }
}

/// A filter of the log, which stays text.
pub(super) fn filter(text: &str) -> Result<String, String> {
    log::check_filter(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_written_as_people_write_them() {
        assert_eq!(time("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("0s"), Ok(Duration::ZERO));
        assert_eq!(size("4MiB"), Ok(4 << 20));
        assert_eq!(size("1.5kB"), Ok(1500));
        assert_eq!(size("0"), Ok(0));
        assert_eq!((switch("on"), switch("false")), (Ok(true), Ok(false)));
    }

    #[test]
    fn what_is_no_value_is_refused_with_an_example() {
        insta::assert_snapshot!(time("50").unwrap_err(), @"time unit needed, for example 50sec or 50ms; write for example `50s`, `1m 30s` or `500ms`");
        insta::assert_snapshot!(some_time("0ms").unwrap_err(), @"it must be more than nothing");
        insta::assert_snapshot!(size("much").unwrap_err(), @"write for example `65536`, `4MiB` or `1.5GB`");
        insta::assert_snapshot!(switch("maybe").unwrap_err(), @"write `on` or `off`");
        insta::assert_snapshot!(filter("a=b=c").unwrap_err(), @r#"`a=b=c` is no filter for the log: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5; write for example `warn,kitbag_registry=info`"#);
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_an_error(text in any::<String>()) {
            let _ = (time(&text), size(&text), switch(&text));
        }

        #[test]
        fn times_are_read_as_they_are_printed(millis in any::<u32>()) {
            let duration = Duration::from_millis(u64::from(millis));
            prop_assert_eq!(time(&humantime::format_duration(duration).to_string()), Ok(duration));
        }
    }
}
