//! Completion of command lines: what the last word can become.
//!
//! One mechanism for kubectl, bash, zsh and fish: each calls the hidden command `__complete` with the words so far, by
//! the protocol of kubectl and Cobra, a candidate per line and then a directive. [`question`] finds out what is wanted,
//! without asking anybody; [`sources`] asks.

pub(crate) mod question;
pub(crate) mod scripts;
pub(crate) mod sources;

use question::{Question, What};

/// What a word can become, and what that is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    /// The word, without what stands before the part that is completed.
    pub(crate) word: String,
    /// A few words for people; may be empty.
    pub(crate) about: String,
}

/// Directives of the protocol: bits.
const NO_SPACE: u8 = 2;
const NO_FILES: u8 = 4;

impl Candidate {
    pub(crate) fn new(word: impl Into<String>, about: impl Into<String>) -> Self {
        Self { word: word.into(), about: about.into() }
    }
}

/// The answer in the protocol's form: candidates that begin as the word does, and the directive.
pub(crate) fn answer(question: &Question, candidates: Vec<Candidate>) -> String {
    let mut fitting: Vec<Candidate> =
        candidates.into_iter().filter(|candidate| candidate.word.starts_with(&question.prefix)).collect();
    fitting.sort();
    fitting.dedup_by(|one, other| one.word == other.word);
    let mut text = String::new();
    for Candidate { word, about } in &fitting {
        let about = about.lines().next().unwrap_or_default().trim_end_matches('.');
        let tab = if about.is_empty() { "" } else { "\t" };
        text += &format!("{}{word}{tab}{about}\n", question.before);
    }
    let directive = match (&question.what, fitting.as_slice()) {
        (What::Files, _) => 0,
        // There is more to come.
        (_, [only]) if only.word.ends_with('/') => NO_SPACE | NO_FILES,
        _ => NO_FILES,
    };
    text + &format!(":{directive}\n")
}

#[cfg(test)]
mod tests;
