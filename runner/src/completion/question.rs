//! What the last of the words stands for: a walk along the words and clap's definition of the command line.

use clap::{Arg, ArgAction, Command, ValueHint};

use super::Candidate;
use crate::target::{Reference, Workload};

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Of which kind.
    pub(crate) what: What,
    /// What stands before the part that is completed: `--namespace=`, `deploy/`.
    pub(crate) before: String,
    /// How the part that is completed begins.
    pub(crate) prefix: String,
    /// Flags and their values so far: some say which cluster is asked.
    pub(crate) flags: Vec<String>,
}

/// Kinds of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Words of the command line's own.
    Words(Vec<Candidate>),
    /// Pods, and kinds of what has pods.
    Targets,
    /// Names of objects.
    Objects(Workload),
    /// Containers of a pod: its own, or debug containers.
    Containers { reference: Reference, debug: bool },
    /// Tools and sets that are not among these.
    Tools(Vec<String>),
    /// Commands of these tools.
    Commands(Vec<String>),
    /// Namespaces of the cluster.
    Namespaces,
    /// Contexts of the kubeconfig.
    Contexts,
    /// Clusters of the kubeconfig.
    Clusters,
    /// Users of the kubeconfig.
    Users,
    /// Files of this machine.
    Files,
    /// Whatever one likes.
    Nothing,
}

/// The words before the last one, understood.
struct Walk<'a> {
    root: &'a Command,
    command: &'a Command,
    /// The flag whose value comes next.
    pending: Option<&'a Arg>,
    positionals: Vec<String>,
    selector: Option<String>,
    flags: Vec<String>,
    seen: Vec<&'a str>,
    /// Words after `--`.
    beyond: Option<usize>,
}

/// What the last of `words` stands for.
pub(crate) fn question(definition: &Command, words: &[String]) -> Question {
    let (current, before) = words.split_last().map_or(("", [].as_slice()), |(last, rest)| (last.as_str(), rest));
    let mut walk = Walk {
        root: definition,
        command: definition,
        pending: None,
        positionals: Vec::new(),
        selector: None,
        flags: Vec::new(),
        seen: Vec::new(),
        beyond: None,
    };
    before.iter().for_each(|word| walk.step(word));
    walk.last(current)
}

impl<'a> Walk<'a> {
    fn step(&mut self, word: &str) {
        if let Some(flag) = self.pending.take() {
            self.value(flag, word);
        } else if let Some(beyond) = &mut self.beyond {
            *beyond += 1;
        } else if word == "--" {
            self.beyond = Some(0);
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            if let Some(flag) = self.command.get_arguments().find(|flag| flag.get_long() == Some(name)) {
                self.flag(flag, value);
            }
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            self.letters(letters);
        } else if self.is_root() {
            // What `rbac` takes is a command line again.
            let known = self.command.find_subcommand(word).filter(|command| command.get_name() != "rbac");
            self.command = known.unwrap_or(self.command);
        } else {
            self.positionals.push(word.to_owned());
        }
    }

    /// Letters of flags without values, and perhaps one with a value, which is what follows.
    fn letters(&mut self, letters: &str) {
        for (index, letter) in letters.char_indices() {
            let Some(flag) = self.command.get_arguments().find(|flag| flag.get_short() == Some(letter)) else { return };
            let rest = &letters[index + letter.len_utf8()..];
            if takes_value(flag) {
                let rest = rest.strip_prefix('=').unwrap_or(rest);
                return self.flag(flag, Some(rest).filter(|rest| !rest.is_empty()));
            }
            self.flag(flag, None);
        }
    }

    fn flag(&mut self, flag: &'a Arg, value: Option<&str>) {
        if !matches!(flag.get_action(), ArgAction::Append) {
            self.seen.push(flag.get_id().as_str());
        }
        match value {
            Some(value) => self.value(flag, value),
            None if takes_value(flag) => self.pending = Some(flag),
            None => self.flags.extend(flag.get_long().map(|long| format!("--{long}"))),
        }
    }

    fn value(&mut self, flag: &Arg, value: &str) {
        if flag.get_id() == "selector" {
            self.selector = Some(value.to_owned());
        }
        self.flags.extend(flag.get_long().map(|long| format!("--{long}={value}")));
    }

    fn last(self, current: &str) -> Question {
        let ask = |what: What, before: &str, prefix: &str, flags: Vec<String>| Question {
            what,
            before: before.to_owned(),
            prefix: prefix.to_owned(),
            flags,
        };
        if let Some(flag) = self.pending {
            return ask(self.value_of(flag), "", current, self.flags);
        }
        if let Some(beyond) = self.beyond {
            let what = if beyond == 0 { What::Commands(self.tools()) } else { What::Nothing };
            return ask(what, "", current, self.flags);
        }
        if let Some((name, value)) = current.strip_prefix("--").and_then(|long| long.split_once('=')) {
            let flag = self.command.get_arguments().find(|flag| flag.get_long() == Some(name));
            let what = flag.map_or(What::Nothing, |flag| self.value_of(flag));
            return ask(what, &format!("--{name}="), value, self.flags);
        }
        if current.starts_with('-') {
            return ask(What::Words(self.flag_names()), "", current, self.flags);
        }
        if self.is_root() {
            return ask(What::Words(self.command_names()), "", current, self.flags);
        }
        let what = self.positional();
        match current.split_once('/') {
            Some((kind, name)) if what == What::Targets => {
                let what = Workload::parse(kind).map_or(What::Nothing, What::Objects);
                ask(what, &format!("{kind}/"), name, self.flags)
            }
            // Several names of tools may be one word.
            _ if matches!(what, What::Tools(_)) => {
                let (before, prefix) = current.rfind('/').map_or(("", current), |slash| current.split_at(slash + 1));
                ask(what, before, prefix, self.flags)
            }
            _ => ask(what, "", current, self.flags),
        }
    }

    /// What the next positional argument is.
    fn positional(&self) -> What {
        let positionals: Vec<&Arg> =
            self.command.get_positionals().filter(|argument| !argument.is_last_set()).collect();
        let index = self.positionals.len()
            + usize::from(self.selector.is_some() && positionals.first().is_some_and(|first| is_target(first)));
        let Some(argument) = positionals.get(index).or(positionals.last().filter(|last| is_repeated(last))) else {
            return What::Nothing;
        };
        let words = possible(argument);
        match argument.get_id().as_str() {
            _ if !words.is_empty() => What::Words(words),
            "target" => What::Targets,
            "tools" => What::Tools(self.tools()),
            _ => What::Nothing,
        }
    }

    /// The tools that have been named.
    fn tools(&self) -> Vec<String> {
        let has_target = self.command.get_positionals().next().is_some_and(is_target) && self.selector.is_none();
        let words = self.positionals.iter().skip(usize::from(has_target));
        words.flat_map(|word| word.split('/')).map(str::to_owned).collect()
    }

    fn value_of(&self, flag: &Arg) -> What {
        let words = possible(flag);
        match flag.get_id().as_str() {
            _ if !words.is_empty() => What::Words(words),
            "namespace" => What::Namespaces,
            "context" => What::Contexts,
            "cluster" => What::Clusters,
            "user" => What::Users,
            "container" => {
                let selector = self.selector.as_deref().map(Reference::selector);
                let named = self.positionals.first().map(|target| target.parse());
                let debug = self.command.get_name() != "debug";
                let reference = selector.or(named).and_then(Result::ok);
                reference.map_or(What::Nothing, |reference| What::Containers { reference, debug })
            }
            _ if flag.get_value_hint() == ValueHint::FilePath => What::Files,
            _ => What::Nothing,
        }
    }

    fn flag_names(&self) -> Vec<Candidate> {
        let shown = |flag: &&Arg| !flag.is_hide_set() && !self.seen.contains(&flag.get_id().as_str());
        let flags = self.command.get_arguments().filter(shown);
        flags
            .filter_map(|flag| Some(Candidate::new(format!("--{}", flag.get_long()?), help(flag.get_help()))))
            .collect()
    }

    fn command_names(&self) -> Vec<Candidate> {
        let commands = self.command.get_subcommands().filter(|command| !command.is_hide_set());
        commands.map(|command| Candidate::new(command.get_name(), help(command.get_about()))).collect()
    }

    fn is_root(&self) -> bool {
        std::ptr::eq(self.root, self.command)
    }
}

fn is_target(argument: &Arg) -> bool {
    argument.get_id() == "target"
}

fn is_repeated(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}

/// Whether the next word is its value.
fn takes_value(flag: &Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

fn possible(argument: &Arg) -> Vec<Candidate> {
    let values = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
    values.map(|value| Candidate::new(value.get_name(), help(value.get_help()))).collect()
}

fn help(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}
