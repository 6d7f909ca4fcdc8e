//! What falls short, for people: from what is known beforehand, or from what a session reports, to sentences that say what
//! does not work, why, and what still does. Pure; when they are said is for others to decide.

mod needs;
mod phrases;

use std::collections::BTreeMap;
use std::fmt;

use kitbag_toolsets::{Name, Need, Needs};

use crate::privileges::{self, Candidate, Hindrance, Level, Unmet, is_of_target, measured};
use crate::report::Report;
use crate::target::Target;
use phrases::Scene;

pub use needs::needs;
pub(crate) use needs::{in_baseline, in_restricted};

/// What a session is for, and what it said of itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What the session reports.
    pub report: &'a Report,
    /// What its container was given.
    pub level: Level,
    /// The tools that matter: all of an image for a shell, one for a command.
    pub needs: &'a BTreeMap<Name, Needs>,
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The target.
    pub target: &'a Target,
}

/// What is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Sentences for people, most important first. None where everything works as it should.
    pub notes: Vec<String>,
    /// The tools that are of no use, each with the error that it is for a command that runs it.
    pub missing: BTreeMap<Name, Short>,
    /// The target's user and group, where the container was given others and a second container would help:
    /// [`privileges::Candidate::corrected`]. What else is said is then about the first one.
    pub uid_differs: Option<(u32, u32)>,
}

/// A required need is not met: the tools are of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    sentences: Vec<String>,
    hint: Option<String>,
}

impl Short {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl std::error::Error for Short {}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentences.join("\n"))
    }
}

/// What a session has to say before its prompt.
#[must_use]
pub fn of(facts: &Facts<'_>) -> Said {
    let Facts { report, level, needs, namespace, target } = *facts;
    let scene = Scene { level, namespace, target, report: Some(report) };
    let hindered: Vec<Hindered<'_>> = needs
        .iter()
        .flat_map(|(tool, needs)| needs.all().map(move |need| (tool, need, needs.required.contains(&need))))
        .filter_map(|(tool, need, required)| {
            Some(Hindered { tool, need, required, why: measured(need, report, level, target)? })
        })
        .collect();
    let mut notes: Vec<String> = standing(facts).into_iter().collect();
    notes.extend(sentences(&hindered, &scene));
    if !hindered.is_empty() {
        notes.extend(phrases::still_works(needs, &hindered, report));
    }
    let missing = needs.keys().filter_map(|tool| {
        let of_tool: Vec<Hindered<'_>> = hindered.iter().filter(|it| it.required && it.tool == tool).cloned().collect();
        (!of_tool.is_empty()).then(|| (tool.clone(), short(&of_tool, &scene)))
    });
    Said { notes, missing: missing.collect(), uid_differs: uid_differs(facts) }
}

fn short(hindered: &[Hindered<'_>], scene: &Scene<'_>) -> Short {
    Short { sentences: sentences(hindered, scene), hint: phrases::options(hindered, scene) }
}

/// What is known beforehand to be of no use is refused with this, and nothing is added to the pod.
#[must_use]
pub fn unmet(unmet: &Unmet, namespace: &str, target: &Target) -> Short {
    let scene = Scene { level: unmet.level, namespace, target, report: None };
    let hindered: Vec<Hindered<'_>> = unmet
        .missing
        .iter()
        .map(|it| Hindered { tool: &it.tool, need: it.need, required: true, why: it.why.clone() })
        .collect();
    short(&hindered, &scene)
}

/// Said before a second container is added.
#[must_use]
pub fn second(report: &Report, (uid, gid): (u32, u32)) -> String {
    format!("the target runs as {uid}:{gid}, not {}:{}: adding a second debug container", report.uid, report.gid)
}

/// What a container asks for and which tools want it: `NET_RAW, SYS_PTRACE (strace: target-attach; tcpdump: raw-socket)`.
#[must_use]
pub fn asks(needs: &BTreeMap<Name, Needs>, candidate: &Candidate) -> String {
    let context = &candidate.context;
    let added = context.capabilities.as_ref().and_then(|it| it.add.as_ref()).map(|names| names.join(", "));
    let added = added.unwrap_or_else(|| "no capability".to_owned());
    match candidate.level {
        Level::Exact | Level::Fewer => {
            let matters = |needs: &Needs, need: Need| {
                let wanted = candidate.level == Level::Exact || needs.required.contains(&need);
                wanted && !privileges::capabilities(need).is_empty()
            };
            let of_tool = |(tool, needs): (&Name, &Needs)| {
                let words: Vec<&str> =
                    needs.all().filter(|need| matters(needs, *need)).map(|need| need.as_str()).collect();
                (!words.is_empty()).then(|| format!("{tool}: {}", words.join(", ")))
            };
            let tools: Vec<String> = needs.iter().filter_map(of_tool).collect();
            if tools.is_empty() { added } else { format!("{added} ({})", tools.join("; ")) }
        }
        Level::Baseline if context.capabilities.is_none() => "root with the runtime's default capabilities".to_owned(),
        Level::Baseline => format!("root with {added}"),
        Level::Restricted => {
            let number = |number: Option<i64>| number.unwrap_or_default();
            format!("user {}:{} with {added}", number(context.run_as_user), number(context.run_as_group))
        }
        Level::Chosen if context.privileged == Some(true) => "a privileged container, as chosen".to_owned(),
        Level::Chosen => {
            let user = context.run_as_user.map(|uid| format!("user {uid}, ")).unwrap_or_default();
            let drop = context.capabilities.as_ref().and_then(|it| it.drop.as_ref());
            let drop = drop.map(|names| format!(", without {}", names.join(", "))).unwrap_or_default();
            format!("{user}{added} added{drop}, as chosen")
        }
    }
}

/// A need of a tool that is not met.
#[derive(Clone)]
struct Hindered<'a> {
    tool: &'a Name,
    need: Need,
    required: bool,
    why: Hindrance,
}

/// One sentence for each reason, with all that it hinders.
fn sentences(hindered: &[Hindered<'_>], scene: &Scene<'_>) -> Vec<String> {
    let causes = grouped(hindered.iter().map(|it| (phrases::cause(it, scene), phrases::effect(it))));
    let sentence = |(cause, effects): (String, Vec<(String, &str)>)| {
        let effects = grouped(effects.into_iter().map(|(who, cannot)| (cannot, who)));
        let effects: Vec<String> =
            effects.into_iter().map(|(cannot, who)| format!("{} {cannot}", who.join(", "))).collect();
        format!("{cause}: {}", effects.join("; "))
    };
    causes.into_iter().map(sentence).collect()
}

/// Values of the same key together, keys and values in the order in which they first come.
fn grouped<K: PartialEq, V: PartialEq>(pairs: impl Iterator<Item = (K, V)>) -> Vec<(K, Vec<V>)> {
    let mut groups: Vec<(K, Vec<V>)> = Vec::new();
    for (key, value) in pairs {
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) if values.contains(&value) => {}
            Some((_, values)) => values.push(value),
            None => groups.push((key, vec![value])),
        }
    }
    groups
}

/// Whom tools run as where that is not the usual.
fn standing(facts: &Facts<'_>) -> Option<String> {
    let Facts { report, level, needs, namespace, .. } = facts;
    let seen = report.target.as_ref().filter(|seen| (seen.uid, seen.gid) == (report.uid, report.gid))?;
    let of_target = needs.values().flat_map(Needs::all).any(is_of_target);
    match level {
        Level::Baseline if of_target => {
            Some(format!("namespace `{namespace}` allows baseline: tools run as the target's user {}", seen.uid))
        }
        Level::Restricted if of_target => Some(format!(
            "namespace `{namespace}` allows restricted: tools run as the target's user {}, without capabilities",
            seen.uid
        )),
        _ => None,
    }
}

fn uid_differs(facts: &Facts<'_>) -> Option<(u32, u32)> {
    let Facts { report, level, needs, target, .. } = facts;
    let seen = report.target.as_ref()?;
    let differs = (seen.uid, seen.gid) != (report.uid, report.gid);
    let possible = *level == Level::Restricted && (seen.uid != 0 || privileges::in_user_namespace(target));
    let matters = needs.values().flat_map(Needs::all).any(is_of_target);
    (differs && possible && matters).then_some((seen.uid, seen.gid))
}

#[cfg(test)]
mod tests;
