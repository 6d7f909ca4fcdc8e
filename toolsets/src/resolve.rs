//! From names to tools: what an image path means in one catalog or one generation.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::names::Name;
use crate::path::ImagePath;

/// What names mean: built once for a catalog or a generation, then asked many times.
///
/// A name is, in this order: a tool, a named set, `<tool>-<version>`, a command that exactly one tool provides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameIndex {
    tools: BTreeMap<Name, u32>,
    others: BTreeMap<Name, Other>,
}

/// What a name means that is no tool's. What comes first here goes before what comes later.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Other {
    Set(Vec<Name>),
    Version(Name),
    /// Of one tool, as a rule: two of a generation may claim it when one of them is older.
    Command(Vec<Name>),
}

/// A canonical set of tools: named sets expanded, sorted by rank (then name), nothing twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ToolSet(Vec<Name>);

/// A name that means nothing here, or not one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// The name.
    pub name: Name,
    /// Known names that look like it, the nearest first, three at the most; or the tools that have a command of this
    /// name.
    pub near: Vec<Near>,
    /// Whether it is a command of several tools.
    pub ambiguous: bool,
}

/// A name that may have been meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The name.
    pub name: Name,
    /// The tool that it is a command of, where the name is not the tool's.
    pub of: Option<Name>,
}

impl NameIndex {
    /// An index of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tool with its rank, version and commands.
    pub fn add_tool(&mut self, name: &Name, rank: u32, version: &str, commands: &[String]) {
        self.tools.insert(name.clone(), rank);
        for command in commands.iter().filter_map(|command| Name::parse(command).ok()) {
            match self.others.entry(command).or_insert_with(|| Other::Command(Vec::new())) {
                Other::Command(tools) if !tools.contains(name) => tools.push(name.clone()),
                _ => {}
            }
        }
        if let Some(versioned) = name.with_version(version) {
            let meaning = self.others.entry(versioned).or_insert_with(|| Other::Version(name.clone()));
            if matches!(meaning, Other::Command(_)) {
                *meaning = Other::Version(name.clone());
            }
        }
    }

    /// Adds a named set. A set goes before a command of the same name.
    pub fn add_set(&mut self, name: &Name, tools: &[Name]) {
        self.others.insert(name.clone(), Other::Set(tools.to_vec()));
    }

    /// The named sets, by name, as they were written.
    pub fn sets(&self) -> impl Iterator<Item = (&Name, &[Name])> {
        self.others.iter().filter_map(|(name, meaning)| match meaning {
            Other::Set(tools) => Some((name, tools.as_slice())),
            Other::Version(_) | Other::Command(_) => None,
        })
    }

    /// The set of all tools that `keep` keeps.
    pub(crate) fn all(&self, keep: impl Fn(&Name) -> bool) -> ToolSet {
        let mut tools: Vec<(u32, &Name)> = self.tools.iter().map(|(name, rank)| (*rank, name)).collect();
        tools.retain(|(_, name)| keep(name));
        tools.sort_unstable();
        ToolSet(tools.into_iter().map(|(_, name)| name.clone()).collect())
    }

    /// The canonical set that `path` names.
    ///
    /// # Errors
    /// [`UnknownName`] for the first name that means nothing.
    pub fn resolve(&self, path: &ImagePath) -> Result<ToolSet, UnknownName> {
        let mut found: Vec<(u32, &Name)> = Vec::with_capacity(path.names().len());
        for name in path.names() {
            if let Some(rank) = self.tools.get(name) {
                found.push((*rank, name));
                continue;
            }
            let tools = match self.others.get(name) {
                Some(Other::Set(tools)) => tools.as_slice(),
                Some(Other::Version(tool)) => std::slice::from_ref(tool),
                Some(Other::Command(tools)) if tools.len() == 1 => tools,
                Some(Other::Command(tools)) => return Err(UnknownName::ambiguous(name, tools)),
                None => return Err(UnknownName { name: name.clone(), near: self.near(name), ambiguous: false }),
            };
            found.extend(tools.iter().filter_map(|tool| Some((*self.tools.get(tool)?, tool))));
        }
        found.sort_unstable();
        found.dedup();
        Ok(ToolSet(found.into_iter().map(|(_, name)| name.clone()).collect()))
    }

    /// Known names that look like `name`, the nearest first.
    #[must_use]
    pub fn near(&self, name: &Name) -> Vec<Near> {
        let mut scored: Vec<(usize, &Name)> = self
            .tools
            .keys()
            .chain(self.others.keys())
            .filter_map(|known| {
                let distance = strsim::damerau_levenshtein(name.as_str(), known.as_str());
                let limit = if known.as_str().len() <= 3 { 1 } else { known.as_str().len().div_ceil(3) };
                (distance <= limit).then_some((distance, known))
            })
            .collect();
        scored.sort();
        scored.dedup();
        scored.into_iter().take(3).map(|(_, known)| Near { name: known.clone(), of: self.owner(known) }).collect()
    }

    /// The tool that `name` is a command of, if it is nothing else.
    fn owner(&self, name: &Name) -> Option<Name> {
        match self.others.get(name) {
            Some(Other::Command(tools)) if tools.len() == 1 && !self.tools.contains_key(name) => tools.first().cloned(),
            _ => None,
        }
    }
}

impl UnknownName {
    fn ambiguous(name: &Name, tools: &[Name]) -> Self {
        let near = tools.iter().map(|tool| Near { name: tool.clone(), of: None }).collect();
        Self { name: name.clone(), near, ambiguous: true }
    }
}

impl std::error::Error for UnknownName {}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let near: Vec<String> = self.near.iter().map(ToString::to_string).collect();
        let (name, near) = (&self.name, near.join(" or "));
        match (self.ambiguous, near.as_str()) {
            (true, _) => write!(f, "`{name}` is a command of several tools: name {near} instead"),
            (false, "") => write!(f, "unknown tool `{name}`: nothing here has a name like it"),
            (false, _) => write!(f, "unknown tool `{name}`: did you mean {near}?"),
        }
    }
}

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            Some(tool) => write!(f, "`{}` (of `{tool}`)", self.name),
            None => write!(f, "`{}`", self.name),
        }
    }
}

impl ToolSet {
    /// The tools, in the order of their layers.
    #[must_use]
    pub fn tools(&self) -> &[Name] {
        &self.0
    }

    /// Whether the set has the tool.
    #[must_use]
    pub fn contains(&self, tool: &str) -> bool {
        self.0.iter().any(|name| name.as_str() == tool)
    }
}

impl fmt::Display for ToolSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "/" };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn index() -> NameIndex {
        let mut index = NameIndex::new();
        index.add_tool(&name("strace"), 200, "6.1", &["strace".into()]);
        index.add_tool(&name("tcpdump"), 210, "4.99.6", &["tcpdump".into()]);
        index.add_tool(&name("dig"), 220, "9.20.26", &["dig".into(), "nslookup".into()]);
        index.add_tool(&name("busybox"), 100, "1.37.0", &["sh".into(), "[".into()]);
        index.add_tool(&name("busybox-extras"), 110, "1.37.0", &["telnet".into(), "sh-1".into()]);
        index.add_tool(&name("inetutils"), 120, "2.6", &["telnet".into(), "net".into(), "strace-6.1".into()]);
        index.add_tool(&name("sh-tool"), 130, "1", &["dig".into()]);
        index.add_set(&name("net"), &[name("dig"), name("tcpdump")]);
        index
    }

    fn resolve(path: &str) -> Result<String, UnknownName> {
        index().resolve(&path.parse().unwrap()).map(|set| set.to_string())
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        assert_eq!(resolve("tcpdump/strace/tcpdump").unwrap(), "strace/tcpdump");
    }

    #[test]
    fn sets_versions_and_commands_are_names_too() {
        assert_eq!(resolve("net").unwrap(), "tcpdump/dig");
        assert_eq!(resolve("nslookup").unwrap(), "dig");
        assert_eq!(resolve("strace-6.1/sh").unwrap(), "busybox/strace");
    }

    #[test]
    fn an_unknown_name_comes_with_near_ones() {
        assert_eq!(resolve("strac").unwrap_err().to_string(), "unknown tool `strac`: did you mean `strace`?");
        assert_eq!(
            resolve("strace/tpcdump").unwrap_err().to_string(),
            "unknown tool `tpcdump`: did you mean `tcpdump`?"
        );
        assert_eq!(resolve("dg").unwrap_err().to_string(), "unknown tool `dg`: did you mean `dig`?");
        assert_eq!(
            resolve("kubernetes").unwrap_err().to_string(),
            "unknown tool `kubernetes`: nothing here has a name like it"
        );
    }

    #[test]
    fn a_command_of_two_tools_is_neither() {
        let error = resolve("strace/telnet").unwrap_err();
        assert!(error.ambiguous);
        assert_eq!(
            error.to_string(),
            "`telnet` is a command of several tools: name `busybox-extras` or `inetutils` instead"
        );
    }

    #[test]
    fn a_tool_goes_before_a_set_a_set_before_a_version_and_a_version_before_a_command() {
        assert_eq!(resolve("dig").unwrap(), "dig");
        assert_eq!(resolve("net").unwrap(), "tcpdump/dig");
        assert_eq!(resolve("strace-6.1").unwrap(), "strace");
    }

    #[test]
    fn a_near_command_comes_with_its_tool() {
        assert_eq!(
            resolve("nslokup").unwrap_err().to_string(),
            "unknown tool `nslokup`: did you mean `nslookup` (of `dig`)?"
        );
    }

    proptest! {
        #[test]
        fn every_order_of_a_set_is_the_same_set(
            mut names in proptest::sample::subsequence(vec!["strace", "tcpdump", "dig", "busybox", "net"], 1..=5),
            rotation in 0_usize..5,
        ) {
            let straight = resolve(&names.join("/")).unwrap();
            let by = rotation % names.len();
            names.rotate_left(by);
            prop_assert_eq!(resolve(&names.join("/")).unwrap(), straight);
        }
    }
}
