//! What is to run, and which names the image path has for it: a pure function of the command line and the catalog.

use std::collections::BTreeMap;

use kitbag_toolsets::path::PathError;
use kitbag_toolsets::{Catalog, ImagePath, Name, Needs, ToolSet, UnknownName};

use crate::error::Kind;

/// The set that has a shell, and the shell's command.
const SHELL_SET: &str = "shell";
const SHELL: &str = "sh";

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The tools' names, as the registry is asked for them.
    pub path: ImagePath,
    /// What is run.
    pub command: Vec<String>,
    /// Nobody named a command: this is for a person.
    pub interactive: bool,
}

/// Names that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolsError {
    /// Not an image path.
    #[error("{0}")]
    Path(#[from] PathError),
    /// The command cannot be the name of a tool.
    #[error("no tool is called `{command}`: name the tools before `--`")]
    Command {
        /// The command.
        command: String,
    },
    /// The cluster's catalog, or the one that is compiled in, does not know a name.
    #[error("{0}")]
    Unknown(#[source] UnknownName),
    /// Nothing in the catalog has a word.
    #[error("no tool, set, command or summary has the word `{word}` in it{}", did_you_mean(.near))]
    NoMatch {
        /// The word.
        word: String,
        /// Known names like it.
        near: Vec<String>,
    },
}

impl ToolsError {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Path(_) | Self::Command { .. } => Kind::Usage,
            Self::Unknown(_) | Self::NoMatch { .. } => Kind::UnknownTool,
        }
    }
}

impl Request {
    /// From the tools and the command of the command line.
    ///
    /// # Errors
    /// [`ToolsError`] when a name is outside the grammar. Whether a name is known is for the registry to say.
    pub fn new(tools: &[String], command: &[String], catalog: &Catalog) -> Result<Self, ToolsError> {
        let Some(program) = command.first() else {
            let mut names: Vec<&str> = tools.iter().map(String::as_str).collect();
            if names.is_empty() || !provides(&ImagePath::from_names(names.iter().copied())?, SHELL, catalog) {
                names.push(SHELL_SET);
            }
            let path = ImagePath::from_names(names)?;
            return Ok(Self { path, command: vec![SHELL.to_owned()], interactive: true });
        };
        let path = if tools.is_empty() {
            let name = program.rsplit('/').next().unwrap_or(program);
            ImagePath::from_names([name]).map_err(|_| ToolsError::Command { command: program.clone() })?
        } else {
            ImagePath::from_names(tools.iter().map(String::as_str))?
        };
        Ok(Self { path, command: command.to_vec(), interactive: false })
    }

    /// The tool that the command runs. None for a shell, in which a person may use any, and for what no tool provides.
    #[must_use]
    pub fn tool(&self, catalog: &Catalog) -> Option<Name> {
        let program = self.command.first()?;
        let program = program.rsplit('/').next().unwrap_or(program);
        let is_shell = program == SHELL || provider(SHELL, catalog).is_some_and(|tool| tool.as_str() == program);
        provider(program, catalog).filter(|_| !is_shell)
    }

    /// The tools among those of the image that the user named; the shell that comes along for a prompt is not among them.
    /// None where the catalog does not know them all.
    #[must_use]
    pub fn named(tools: &[String], catalog: &Catalog) -> Option<ToolSet> {
        resolve(&ImagePath::from_names(tools.iter().map(String::as_str)).ok()?, catalog)
    }

    /// The tool that would have provided a command that was not found, where the image has it not.
    #[must_use]
    pub fn missing_tool(&self, catalog: &Catalog) -> Option<Name> {
        let program = self.command.first().filter(|program| !program.contains('/'))?;
        let tool = provider(program, catalog)?;
        let there = resolve(&self.path, catalog).is_some_and(|set| set.contains(tool.as_str()));
        (!there).then_some(tool)
    }
}

/// The tool that has this command.
fn provider(command: &str, catalog: &Catalog) -> Option<Name> {
    let provides = |tool: &&kitbag_toolsets::Recipe| tool.commands.iter().any(|known| known == command);
    catalog.tools().find(provides).map(|tool| tool.name.clone())
}

/// The tools of `path`, where the catalog that is compiled in knows all of them.
fn resolve(path: &ImagePath, catalog: &Catalog) -> Option<ToolSet> {
    catalog.names().resolve(path).ok()
}

/// What each tool of `set` needs.
pub(crate) fn needs_of(set: &ToolSet, catalog: &Catalog) -> BTreeMap<Name, Needs> {
    let needs = |tool: &Name| Some((tool.clone(), catalog.recipe(tool.as_str())?.needs.clone()));
    set.tools().iter().filter_map(needs).collect()
}

fn did_you_mean(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(" or ")) }
}

fn provides(path: &ImagePath, command: &str, catalog: &Catalog) -> bool {
    let provides = |tool: &Name| {
        catalog.recipe(tool.as_str()).is_some_and(|recipe| recipe.commands.iter().any(|known| known == command))
    };
    resolve(path, catalog).is_some_and(|set| set.tools().iter().any(provides))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(tools: &str, command: &str) -> Result<String, ToolsError> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let catalog = Catalog::builtin().unwrap();
        let request = Request::new(&words(tools), &words(command), &catalog)?;
        let interactive = if request.interactive { " (interactive)" } else { "" };
        Ok(format!("{}: {}{interactive}", request.path, request.command.join(" ")))
    }

    #[test]
    fn tools_and_command_decide_what_runs_in_which_image() {
        let requests = [
            ("strace", "strace -c -p 1"),
            ("net/strace htop", "sh -c true"),
            ("", "strace -p 1"),
            ("", "/usr/bin/nslookup shop"),
            ("strace", ""),
            ("strace busybox", ""),
            ("shell", ""),
            ("from-a-newer-catalog", ""),
            ("", ""),
        ];
        let lines = requests.map(|(tools, command)| request(tools, command).unwrap());
        insta::assert_snapshot!(lines.join("\n"), @r"
        strace: strace -c -p 1
        net/strace/htop: sh -c true
        strace: strace -p 1
        nslookup: /usr/bin/nslookup shop
        strace/shell: sh (interactive)
        strace/busybox: sh (interactive)
        shell: sh (interactive)
        from-a-newer-catalog/shell: sh (interactive)
        shell: sh (interactive)
        ");
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        let errors = [request("Strace", "true"), request("", "[ -e x ]"), request("a..b", "")];
        insta::assert_snapshot!(errors.map(|error| error.unwrap_err().to_string()).join("\n"), @r"
        component 1 of the image path: `Strace` is not a name: names are in small letters
        no tool is called `[`: name the tools before `--`
        component 1 of the image path: `a..b` is not a name: separators are one `.`, one or two `_`, or any number of `-`
        ");
    }

    #[test]
    fn a_command_that_is_missing_is_traced_to_its_tool() {
        let catalog = Catalog::builtin().unwrap();
        let missing = |tools: &str, command: &str| {
            let request = Request::new(&[tools.to_owned()], &[command.to_owned()], &catalog).unwrap();
            request.missing_tool(&catalog).map(String::from)
        };
        assert_eq!(missing("strace", "sh").as_deref(), Some("busybox"));
        assert_eq!(missing("shell", "sh"), None);
        assert_eq!(missing("strace", "no-such-command"), None);
        assert_eq!(missing("strace", "/bin/sh"), None);
    }
}
