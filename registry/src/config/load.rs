//! Flags, environment, file and defaults, put together: which one wins, and where each value comes from.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Args as _, Command, CommandFactory, FromArgMatches as _};

use super::{Config, ConfigError, File};
use crate::cli::{Arguments, Task};

/// What the program was told.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What to do, with the settings for it.
    pub(crate) task: Task,
    /// The settings as text, in the order of the help.
    pub(crate) settings: Vec<Setting>,
}

/// A setting, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    /// None where it is not set and has no default.
    pub(crate) values: Vec<String>,
    pub(crate) origin: Origin,
}

/// Who says what a setting is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(String),
    Environment(String),
    File(PathBuf, usize),
    Default,
}

/// Reads all there is.
///
/// # Errors
/// [`ConfigError`]. Where it is `Arguments`, clap has the text, which can also be the help that was asked for.
pub(crate) fn load(arguments: &[OsString]) -> Result<Loaded, ConfigError> {
    let mut command = Arguments::command();
    let mut matches = command.try_get_matches_from_mut(arguments).map_err(|error| named(error, arguments))?;
    let path = matches.subcommand().and_then(|(_, given)| given.try_get_one::<PathBuf>("config").ok().flatten());
    let file = path.filter(|_| matches.subcommand_name() != Some("ready")).map(|path| File::read(path));
    let file = file.transpose()?;
    if let Some(file) = &file {
        check(file)?;
        command = ["serve", "config"].into_iter().fold(Arguments::command(), |command, task| {
            command.mut_subcommand(task, |task| task.mut_args(|argument| with_default(argument, file)))
        });
        matches = command.try_get_matches_from_mut(arguments)?;
    }
    let settings = settings(&matches, file.as_ref());
    let task = Arguments::from_arg_matches(&matches)?.task;
    if let Task::Serve(config) | Task::Config { config, .. } = &task {
        config.check()?;
    }
    Ok(Loaded { task, settings })
}

/// Every setting as clap knows it.
pub(super) fn declared() -> Command {
    Config::augment_args(Command::new("settings"))
}

/// Whether all that the file says are settings, with values that they can have.
fn check(file: &File) -> Result<(), ConfigError> {
    let declared = declared().no_binary_name(true).mut_args(|argument| argument.env(None::<&str>));
    // The file cannot name a file.
    let names = declared.get_arguments().filter_map(clap::Arg::get_long).filter(|name| *name != "config");
    let names: Vec<&str> = names.collect();
    for entry in &file.entries {
        if !names.contains(&entry.key.as_str()) {
            return Err(ConfigError::UnknownKey {
                path: file.path.clone(),
                line: entry.line,
                key: entry.key.clone(),
                near: near(&entry.key, &names).map(str::to_owned),
            });
        }
        let flags = entry.values.iter().map(|value| format!("--{}={value}", entry.key));
        declared.clone().try_get_matches_from(flags).map_err(|error| ConfigError::Value {
            path: file.path.clone(),
            line: entry.line,
            reason: reason(&error),
        })?;
    }
    Ok(())
}

/// The error with the name of the variable in it, where it is about one: clap only tells the flag of the same name.
fn named(error: clap::Error, arguments: &[OsString]) -> ConfigError {
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.split([' ', '=', '[']).next().unwrap_or_default().to_owned(),
        _ => return error.into(),
    };
    let names = |argument: &OsString| argument.to_string_lossy().split('=').next() == Some(&flag);
    let given = arguments.iter().any(names);
    let declared = declared();
    let mut all = declared.get_arguments();
    let setting = all.find(|argument| flag.strip_prefix("--") == argument.get_long());
    match setting.and_then(clap::Arg::get_env).filter(|variable| !given && std::env::var_os(variable).is_some()) {
        Some(variable) => {
            ConfigError::Variable { name: variable.to_string_lossy().into_owned(), reason: reason(&error) }
        }
        None => error.into(),
    }
}

/// clap's own text, without what only makes sense on a command line.
fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

fn near<'a>(key: &str, names: &[&'a str]) -> Option<&'a str> {
    /// More changes than these are another word.
    const FAR: usize = 4;
    let key = key.replace('_', "-").to_lowercase();
    let distance = |name: &&str| strsim::damerau_levenshtein(&key, name);
    names.iter().copied().filter(|name| distance(name) < FAR.min(name.len())).min_by_key(distance)
}

fn with_default(argument: clap::Arg, file: &File) -> clap::Arg {
    match argument.get_long().and_then(|name| file.values(name)) {
        Some(values) => {
            let values = values.to_vec();
            argument.default_values(values)
        }
        None => argument,
    }
}

fn settings(matches: &clap::ArgMatches, file: Option<&File>) -> Vec<Setting> {
    let Some((_, given)) = matches.subcommand() else { return Vec::new() };
    let declared = declared();
    declared
        .get_arguments()
        .filter_map(|argument| {
            let name = argument.get_long()?;
            let id = argument.get_id().as_str();
            let values = given.try_get_raw(id).ok()?.into_iter().flatten();
            let in_file = || file.and_then(|file| file.entry(name).map(|entry| (file.path.clone(), entry.line)));
            let origin = match given.value_source(id) {
                Some(ValueSource::CommandLine) => Origin::Flag(format!("--{name}")),
                Some(ValueSource::EnvVariable) => {
                    Origin::Environment(argument.get_env().unwrap_or_default().to_string_lossy().into_owned())
                }
                _ => in_file().map_or(Origin::Default, |(path, line)| Origin::File(path, line)),
            };
            let values = values.map(|value| value.to_string_lossy().into_owned()).collect();
            Some(Setting { name: name.to_owned(), values, origin })
        })
        .collect()
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Environment(name) => f.write_str(name),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}
