//! Which candidate is tried, and which after a refusal: the cluster's words decide, and what the tools cannot do without.

use std::collections::BTreeMap;

use kitbag_toolsets::{Name, Need, Needs};

use super::capability::Set;
use super::{Candidate, Hindrance, Level, outlook};
use crate::refusal::Refusal;
use crate::target::Target;

/// The candidates, and what they are for.
#[derive(Clone, Debug)]
pub struct Attempts<'a> {
    /// Strongest first.
    pub candidates: &'a [Candidate],
    /// The tools that the user named. The shell that comes along for a prompt is not among them: it is of use always.
    pub wanted: &'a BTreeMap<Name, Needs>,
    /// The tool that the command runs. None for a shell, where a person may use one tool or another.
    pub run: Option<&'a Name>,
    /// The target.
    pub target: &'a Target,
}

/// A need that will not be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Whose need.
    pub tool: Name,
    /// The need.
    pub need: Need,
    /// Why.
    pub why: Hindrance,
}

/// A candidate that is of no use: what is wanted would not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The candidate's level.
    pub level: Level,
    /// What would not work, a required need each.
    pub missing: Vec<Missing>,
}

impl<'a> Attempts<'a> {
    /// What to try first.
    ///
    /// # Errors
    /// [`Unmet`] where no candidate would be of use: nothing should be added to the pod.
    pub fn first(&self) -> Result<&'a Candidate, Unmet> {
        self.useful(self.candidates.iter())?.ok_or_else(|| Unmet { level: Level::Exact, missing: Vec::new() })
    }

    /// What to try after `tried` was refused. None where the refusal is the last word: it is not about our container, or
    /// nothing weaker is left.
    ///
    /// # Errors
    /// [`Unmet`] where what is left would be of no use: nothing should be added to the pod.
    pub fn after(&self, tried: &Candidate, refusal: &Refusal) -> Result<Option<&'a Candidate>, Unmet> {
        let position = self.candidates.iter().position(|candidate| candidate == tried);
        let left = position.map_or(&[][..], |position| &self.candidates[position + 1..]);
        let exact = self.candidates.first().map(added).unwrap_or_default();
        let worth_it = |candidate: &&Candidate| match refusal {
            Refusal::PodSecurity { ours, .. } if ours.is_empty() => false,
            // What `restricted` allows is one thing only. Of the capabilities that `baseline` lets anybody add, the
            // candidate of that name has all.
            Refusal::PodSecurity { level, .. } if level.starts_with("restricted") => {
                candidate.level == Level::Restricted
            }
            Refusal::PodSecurity { .. } => candidate.level != Level::Fewer,
            Refusal::Policy { message } => blames_what_is_optional(message, candidate, exact),
            // That is the status which a ValidatingAdmissionPolicy answers with.
            Refusal::Invalid { message } if message.contains("denied request") => {
                blames_what_is_optional(message, candidate, exact)
            }
            _ => false,
        };
        self.useful(left.iter().filter(worth_it))
    }

    /// The first that is of use. The fault of the strongest where there are some and none is.
    fn useful(&self, candidates: impl Iterator<Item = &'a Candidate>) -> Result<Option<&'a Candidate>, Unmet> {
        let mut unmet = None;
        for candidate in candidates {
            let missing = self.missing(candidate);
            if !self.is_useless(&missing) {
                return Ok(Some(candidate));
            }
            unmet.get_or_insert(Unmet { level: candidate.level, missing });
        }
        unmet.map_or(Ok(None), Err)
    }

    /// The required needs of the tools that `candidate` will certainly not meet: worth a word also where it is of use.
    #[must_use]
    pub fn missing(&self, candidate: &Candidate) -> Vec<Missing> {
        let required =
            self.wanted.iter().flat_map(|(tool, needs)| needs.required.iter().map(move |need| (tool, *need)));
        let why = |(tool, need): (&Name, Need)| {
            Some(Missing { tool: tool.clone(), need, why: outlook(need, candidate, self.target)? })
        };
        required.filter_map(why).collect()
    }

    /// A command must work; of several tools in a shell, one.
    fn is_useless(&self, missing: &[Missing]) -> bool {
        let lacks = |tool: &Name| missing.iter().any(|missing| missing.tool == *tool);
        match self.run {
            Some(tool) => lacks(tool),
            None => !self.wanted.is_empty() && self.wanted.keys().all(lacks),
        }
    }
}

/// For [`Level::Fewer`]: the refusal names a capability that it leaves out, and none that it adds.
fn blames_what_is_optional(message: &str, candidate: &Candidate, exact: Set) -> bool {
    if candidate.level != Level::Fewer {
        return true;
    }
    let still = added(candidate);
    let named = |set: Set| set.names().into_iter().any(|name| names(message, name));
    named(exact.without(still)) && !named(still)
}

/// Whether `name` stands in the text as a word, with `CAP_` or without: `NET_RAW` is not in `NET_RAWLING`.
fn names(message: &str, name: &str) -> bool {
    let words = message.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.map(|word| word.strip_prefix("CAP_").unwrap_or(word)).any(|word| word == name)
}

fn added(candidate: &Candidate) -> Set {
    let capabilities = candidate.context.capabilities.as_ref();
    capabilities.and_then(|it| it.add.as_ref()).map(Set::of).unwrap_or_default()
}

#[cfg(test)]
mod tests;
