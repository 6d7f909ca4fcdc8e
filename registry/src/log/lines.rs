//! How a line looks. Those of the access log are made here: `tracing`'s own formatters take several times as long, and
//! there is a line for each request. All others are left to them.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::{Format, Sampler};
use crate::access::ACCESS;

/// The format of every line, with that of the others in it.
#[derive(Debug)]
pub(super) struct Lines<F> {
    others: F,
    format: Format,
    sampler: Arc<Sampler>,
}

impl<F> Lines<F> {
    pub(super) fn text(others: F, sampler: Arc<Sampler>) -> Self {
        Self { others, format: Format::Text, sampler }
    }

    pub(super) fn json(others: F, sampler: Arc<Sampler>) -> Self {
        Self { others, format: Format::Json, sampler }
    }
}

impl<S, N, F> FormatEvent<S, N> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        if metadata.target() != ACCESS {
            return self.others.format_event(context, to, event);
        }
        // What failed is always logged.
        if *metadata.level() >= Level::INFO && !self.sampler.pick() {
            return Ok(());
        }
        let level = metadata.level().as_str();
        match self.format {
            Format::Text => {
                timestamp(&mut to)?;
                write!(to, " {level:>5} {ACCESS}:")?;
                let mut fields = Text { to, result: Ok(()) };
                event.record(&mut fields);
                fields.result?;
                fields.to.write_char('\n')
            }
            Format::Json => {
                to.write_str("{\"timestamp\":\"")?;
                timestamp(&mut to)?;
                to.write_str("\",\"level\":\"")?;
                to.write_str(level)?;
                to.write_str("\",\"target\":\"")?;
                to.write_str(ACCESS)?;
                to.write_char('"')?;
                let mut fields = Json { to, result: Ok(()) };
                event.record(&mut fields);
                fields.result?;
                fields.to.write_str("}\n")
            }
        }
    }
}

/// ` name=value` for each field.
struct Text<'a> {
    to: Writer<'a>,
    result: fmt::Result,
}

impl Text<'_> {
    fn field(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let field = || {
            self.to.write_char(' ')?;
            self.to.write_str(field.name())?;
            self.to.write_char('=')?;
            write(&mut self.to)
        };
        self.result = self.result.and_then(|()| field());
    }
}

impl Visit for Text<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |to| number(to, value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
        self.field(field, |to| {
            if !value.is_empty() && value.bytes().all(plain) {
                return to.write_str(value);
            }
            to.write_char('"')?;
            Escaped(to).write_str(value)?;
            to.write_char('"')
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, |to| write!(Escaped(to), "{value:?}"));
    }
}

/// `,"name":value` for each field.
struct Json<'a> {
    to: Writer<'a>,
    result: fmt::Result,
}

impl Json<'_> {
    fn field(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let field = || {
            self.to.write_str(",\"")?;
            self.to.write_str(field.name())?;
            self.to.write_str("\":")?;
            write(&mut self.to)
        };
        self.result = self.result.and_then(|()| field());
    }
}

impl Visit for Json<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |to| number(to, value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |to| {
            to.write_char('"')?;
            Escaped(to).write_str(value)?;
            to.write_char('"')
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, |to| {
            to.write_char('"')?;
            write!(Escaped(to), "{value:?}")?;
            to.write_char('"')
        });
    }
}

/// Writes text so that it can stand in a JSON string, and on one line.
struct Escaped<'a, 'b>(&'a mut Writer<'b>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let special = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\' | 0x7f);
        let mut begin = 0;
        for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| special(*byte)) {
            self.0.write_str(&text[begin..at])?;
            match byte {
                b'"' | b'\\' => write!(self.0, "\\{}", char::from(byte))?,
                byte => write!(self.0, "\\u{byte:04x}")?,
            }
            begin = at + 1;
        }
        self.0.write_str(&text[begin..])
    }
}

/// Digits, without the options that `Display` has to look at.
fn number(to: &mut Writer<'_>, mut value: u64) -> fmt::Result {
    let mut digits = [0; 20];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        digits[begin] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    to.write_str(std::str::from_utf8(&digits[begin..]).map_err(|_| fmt::Error)?)
}

/// The time as RFC 3339 has it, with microseconds. What is before the point is made once a second.
fn timestamp(to: &mut Writer<'_>) -> fmt::Result {
    const LENGTH: usize = "2026-11-21T12:00:00.".len();
    thread_local! {
        static SECOND: Cell<(u64, [u8; LENGTH])> = const { Cell::new((u64::MAX, [0; LENGTH])) };
    }
    // A clock before 1970 is wrong in any case.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, mut text) = SECOND.get();
    if seconds != since.as_secs() {
        text = second(since.as_secs());
        SECOND.set((since.as_secs(), text));
    }
    let mut micros = *b"000000Z";
    let mut rest = since.subsec_micros();
    for digit in micros[..6].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    to.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)?;
    to.write_str(std::str::from_utf8(&micros).map_err(|_| fmt::Error)?)
}

fn second<const LENGTH: usize>(seconds: u64) -> [u8; LENGTH] {
    let at = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    let text = format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.",
        date.year(),
        u8::from(date.month()),
        date.day()
    );
    text.as_bytes().try_into().unwrap_or([b'?'; LENGTH])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_written_as_rfc_3339_has_it() {
        for (seconds, text) in [(0, "1970-01-01T00:00:00."), (1_795_262_400, "2026-11-21T12:00:00.")] {
            assert_eq!(second::<20>(seconds), text.as_bytes());
        }
    }
}
