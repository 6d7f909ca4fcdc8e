//! The file of settings: TOML, read into texts that clap understands. What they mean is not known here.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// What a file says.
#[derive(Debug)]
pub(crate) struct File {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
}

/// One key, and its value or values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) values: Vec<String>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`], and those of [`File::parse`].
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`], [`ConfigError::Value`].
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let line = |at: usize| 1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count();
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line(error.span().map_or(0, |span| span.start)),
            reason: error.message().to_owned(),
        })?;
        let mut entries = Vec::new();
        for (key, value) in table.into_inner() {
            let line = line(key.span().start);
            let values = texts(value.get_ref()).ok_or_else(|| ConfigError::Value {
                path: path.to_owned(),
                line,
                reason: format!(
                    "`{}` is {}, but settings are texts, numbers, true, false, or lists of texts",
                    key.get_ref(),
                    kind(value.get_ref())
                ),
            })?;
            entries.push(Entry { key: key.into_inner().into_owned(), line, values });
        }
        entries.sort_by_key(|entry| entry.line);
        Ok(Self { path: path.to_owned(), entries })
    }

    /// The values of a key, if it is there.
    pub(crate) fn values(&self, key: &str) -> Option<&[String]> {
        self.entry(key).map(|entry| &entry.values[..])
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

fn texts(value: &DeValue) -> Option<Vec<String>> {
    match value {
        DeValue::Array(values) => values.iter().map(|value| text(value.get_ref())).collect(),
        value => text(value).map(|text| vec![text]),
    }
}

fn text(value: &DeValue) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => Some(match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.to_string(),
            Err(_) => number.as_str().to_owned(),
        }),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn kind(value: &DeValue) -> &'static str {
    match value {
        DeValue::Datetime(_) => "a date",
        DeValue::Table(_) => "a table",
        _ => "a list of lists, tables or dates",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<File, String> {
        File::parse(Path::new("kitbag.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn values_become_texts_with_their_lines() {
        let file = parse("# nodes\nlisten = [\"[::1]:5005\", 'unix:/run/x']\n\nscrub-rate = 0x1_000\nsample=0.5\nlog = \"warn\"\naccess-log = false").unwrap();
        let found: Vec<_> = file.entries.iter().map(|e| (&e.key[..], e.line, e.values.join("|"))).collect();
        let wanted = [
            ("listen", 2, "[::1]:5005|unix:/run/x"),
            ("scrub-rate", 4, "4096"),
            ("sample", 5, "0.5"),
            ("log", 6, "warn"),
            ("access-log", 7, "false"),
        ];
        assert_eq!(found, wanted.map(|(key, line, values)| (key, line, values.to_owned())));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        insta::assert_snapshot!(parse("store = '/store'\nlog = \"warn\n").unwrap_err(), @r#"`kitbag.toml`, line 2: invalid basic string, expected `"`"#);
        insta::assert_snapshot!(parse("a = 1\na = 2").unwrap_err(), @"`kitbag.toml`, line 2: duplicate key");
        insta::assert_snapshot!(parse("\n[tls]\ncertificate = 'x'").unwrap_err(), @"`kitbag.toml`, line 2: `tls` is a table, but settings are texts, numbers, true, false, or lists of texts");
        insta::assert_snapshot!(parse("drain = 2026-01-01").unwrap_err(), @"`kitbag.toml`, line 1: `drain` is a date, but settings are texts, numbers, true, false, or lists of texts");
        insta::assert_snapshot!(parse("listen = [['x']]").unwrap_err(), @"`kitbag.toml`, line 1: `listen` is a list of lists, tables or dates, but settings are texts, numbers, true, false, or lists of texts");
    }

    proptest! {
        #[test]
        fn any_text_is_a_file_or_an_error(text in "[a-z=\\[\\]\"' \n.#0-9x_-]{0,60}|\\PC*") {
            let _ = parse(&text);
        }
    }
}
