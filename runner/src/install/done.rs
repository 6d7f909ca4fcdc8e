//! How far an installation, or its removal, has come: for whoever has to go on from there.

use std::fmt;

/// What has been done, in the order in which it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    lines: Vec<String>,
    went_back: bool,
}

impl Done {
    /// Remembers that something was done.
    pub fn add(&mut self, what: String) {
        self.lines.push(what);
    }

    /// Remembers that discovery tells of an earlier generation.
    pub fn went_back(&mut self, what: String) {
        self.went_back = true;
        self.add(what);
    }

    /// What has been done, a line each.
    #[must_use]
    pub fn lines(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Where it leaves people when it goes no further, and nothing was touched that is not named.
    pub(super) fn afterwards(&self) -> String {
        let discovery = self.discovery();
        format!("the same command again goes on from there, `kubectl kitbag uninstall` takes it back; {discovery}")
    }

    /// What became of discovery.
    pub(super) const fn discovery(&self) -> &'static str {
        if self.went_back {
            "discovery names the earlier generation, which the registries of before serve too"
        } else {
            "discovery was not changed"
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// The end of an error's text; empty where nothing was done.
impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        f.write_str("\ndone before:")?;
        self.lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}
