//! The grammar of one name: of a tool, a set, a path component.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A component of a repository name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
///
/// OCI distribution specification 1.1, "Pulling manifests".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(SmolStr);

/// Why a text is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a name: {reason}")]
pub struct NameError {
    /// The text, as it came, control characters escaped.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Name {
    /// Parses one component.
    ///
    /// # Errors
    /// [`NameError`] names the text and the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match fault(text.as_bytes()) {
            None => Ok(Self(SmolStr::new(text))),
            Some(reason) => Err(NameError { text: text.escape_default().to_string(), reason }),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The component under which `version` of the tool `self` is found: `strace` and `6.1` make `strace-6.1`.
    ///
    /// What the grammar has no room for is mapped: capitals to small letters, other characters to `-`. `None` where
    /// nothing readable is left.
    #[must_use]
    pub fn with_version(&self, version: &str) -> Option<Self> {
        let mut text = format!("{self}-");
        for character in version.chars() {
            let mapped = match character.to_ascii_lowercase() {
                c @ ('a'..='z' | '0'..='9') => c,
                '.' if text.ends_with(|c: char| c.is_ascii_alphanumeric()) => '.',
                _ => '-',
            };
            if mapped == '-' && text.ends_with('.') {
                text.pop();
            }
            text.push(mapped);
        }
        Self::parse(text.trim_end_matches(['-', '.'])).ok().filter(|name| name != self)
    }
}

/// The rule that `text` breaks, if it breaks one.
fn fault(text: &[u8]) -> Option<&'static str> {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(&first), Some(&last)) = (text.first(), text.last()) else {
        return Some("it is empty");
    };
    if text.contains(&b'%') {
        return Some("percent-encoding has no place in a name");
    }
    if text.iter().any(u8::is_ascii_uppercase) {
        return Some("names are in small letters");
    }
    if !text.iter().all(|&byte| alphanumeric(byte) || matches!(byte, b'.' | b'_' | b'-')) {
        return Some("only a-z, 0-9 and the separators `.`, `_`, `-` may stand in it");
    }
    if !alphanumeric(first) || !alphanumeric(last) {
        return Some("it must begin and end with a letter or a digit");
    }
    let separators = text.split(|&byte| alphanumeric(byte)).filter(|run| !run.is_empty());
    for run in separators {
        let valid = matches!(run, b"." | b"_" | b"__") || run.iter().all(|&byte| byte == b'-');
        if !valid {
            return Some("separators are one `.`, one or two `_`, or any number of `-`");
        }
    }
    None
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_the_grammar_of_the_specification() {
        for good in ["strace", "a", "0", "gdb-16.3", "a.b", "a_b", "a__b", "a---b", "blobs", "net-tools_2"] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn refuses_everything_else_and_says_why() {
        for (bad, reason) in [
            ("", "empty"),
            ("Strace", "small letters"),
            ("a%2fb", "percent"),
            ("..", "begin and end"),
            (".a", "begin and end"),
            ("a-", "begin and end"),
            ("a..b", "separators"),
            ("a___b", "separators"),
            ("a._b", "separators"),
            ("g++", "only a-z"),
            ("a b", "only a-z"),
            ("é", "only a-z"),
        ] {
            let error = Name::parse(bad).unwrap_err();
            assert!(error.reason.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn a_version_becomes_part_of_a_name() {
        let name = |version| Name::parse("ncurses").unwrap().with_version(version).map(String::from);
        assert_eq!(name("6.5").as_deref(), Some("ncurses-6.5"));
        assert_eq!(name("6.5+20250216").as_deref(), Some("ncurses-6.5-20250216"));
        assert_eq!(name("1.0~RC1").as_deref(), Some("ncurses-1.0-rc1"));
        assert_eq!(name("1..2").as_deref(), Some("ncurses-1-2"));
        assert_eq!(name("+++"), None);
    }

    proptest! {
        #[test]
        fn parsing_agrees_with_the_specifications_expression(text in "[a-z0-9._%A-]{0,12}") {
            // The expression, by hand: components of letters and digits, divided by one of the separators.
            let normalized = text.replace("__", "_");
            let parts: Vec<&str> = normalized.split('_').flat_map(|p| p.split('.')).collect();
            let expected = parts.iter().all(|part| {
                !part.is_empty()
                    && !part.starts_with('-')
                    && !part.ends_with('-')
                    && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            });
            prop_assert_eq!(Name::parse(&text).is_ok(), expected, "{}", text);
        }

        #[test]
        fn any_version_gives_a_name_or_nothing(version in "\\PC{0,16}") {
            let name = Name::parse("t").unwrap();
            if let Some(versioned) = name.with_version(&version) {
                prop_assert_eq!(Name::parse(versioned.as_str()), Ok(versioned));
            }
        }
    }
}
