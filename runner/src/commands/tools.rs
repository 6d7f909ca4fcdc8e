//! `kubectl kitbag tools`: what there is to choose from.

use kitbag_toolsets::Name;

use crate::cli::Tools;
use crate::error::Error;
use crate::inventory::{self, Inventory, Stock, Tool};
use crate::progress::Progress;
use crate::tools::ToolsError;

/// Commands that are listed of a tool; busybox has fifty.
const COMMANDS: usize = 8;

/// Runs the command.
pub(crate) async fn run(arguments: &Tools) -> Result<u8, Error> {
    let progress = Progress::new(arguments.whose.common.verbose);
    let Stock { inventory, source, .. } = inventory::find(&arguments.whose, progress.clock()).await?;
    progress.say(&format!("asked: {source}"));
    super::print(table(&inventory, arguments.word.as_deref().unwrap_or_default())?)
}

/// A line for each tool and set that `word` stands in.
fn table(inventory: &Inventory, word: &str) -> Result<String, ToolsError> {
    let wanted = word.to_lowercase();
    let found = |texts: &[&str]| texts.iter().any(|text| text.to_lowercase().contains(&wanted));
    let tools: Vec<&Tool> = inventory
        .tools
        .iter()
        .filter(|tool| {
            let commands: Vec<&str> = tool.commands.iter().map(String::as_str).collect();
            found(&[tool.name.as_str(), &tool.summary]) || found(&commands)
        })
        .collect();
    let sets: Vec<_> = inventory
        .sets
        .iter()
        .filter(|set| {
            let names: Vec<&str> = set.tools.iter().map(Name::as_str).collect();
            found(&[set.name.as_str(), &set.summary]) || found(&names)
        })
        .collect();
    if tools.is_empty() && sets.is_empty() {
        return Err(unknown(inventory, &wanted));
    }
    let summaries = tools.iter().map(|tool| &tool.summary).chain(sets.iter().map(|set| &set.summary));
    let width = summaries.map(|summary| summary.chars().count()).max().unwrap_or_default();
    let line = |name: &str, version: &str, summary: &str, rest: &str| {
        format!("{name:<12} {version:<10} {summary:<width$}  {rest}\n")
    };
    let mut text = String::new();
    if !tools.is_empty() {
        text += &line("TOOL", "VERSION", "", "COMMANDS");
    }
    for tool in tools {
        text += &line(tool.name.as_str(), &tool.version, &tool.summary, &commands(tool, &wanted));
    }
    if !sets.is_empty() {
        text += if text.is_empty() { "" } else { "\n" };
        text += &line("SET", "", "", "TOOLS");
    }
    for set in sets {
        let tools = set.tools.iter().map(Name::as_str).collect::<Vec<_>>().join(" ");
        text += &line(set.name.as_str(), "", &set.summary, &tools);
    }
    Ok(text)
}

/// Some of the tool's commands: those first that the word stands in.
fn commands(tool: &Tool, word: &str) -> String {
    let (mut commands, others): (Vec<&str>, Vec<&str>) =
        tool.commands.iter().map(String::as_str).partition(|command| command.contains(word));
    commands.extend(others);
    let more = commands.len().saturating_sub(COMMANDS);
    commands.truncate(COMMANDS);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", commands.join(" "))
}

fn unknown(inventory: &Inventory, word: &str) -> ToolsError {
    let near = Name::parse(word).map(|name| inventory.names().near(&name)).unwrap_or_default();
    ToolsError::NoMatch { word: word.to_owned(), near: near.iter().map(ToString::to_string).collect() }
}

#[cfg(test)]
mod tests {
    use kitbag_toolsets::Catalog;

    use super::*;

    fn listed(word: &str) -> String {
        table(&Inventory::of(&Catalog::builtin().unwrap()), word).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn a_word_is_looked_for_in_names_commands_and_summaries() {
        insta::assert_snapshot!(listed("DNS"), @r"
        TOOL         VERSION                                              COMMANDS
        dig          9.20.26    ask DNS servers, also over TLS and HTTPS  dig

        SET                                                               TOOLS
        net                     look at traffic and ask DNS               tcpdump dig
        ");
        insta::assert_snapshot!(listed("sort"), @r"
        TOOL         VERSION                                                               COMMANDS
        busybox      1.37.0     a shell and the common Unix commands in one small program  sort busybox sh ash vi wget nc telnet and 43 more
        ");
        insta::assert_snapshot!(listed("trace"), @r"
        TOOL         VERSION                                                       COMMANDS
        strace       6.1        trace system calls and signals                     strace

        SET                                                                        TOOLS
        trace                   look at processes and what they ask of the kernel  strace htop
        ");
    }

    #[test]
    fn without_a_word_everything_is_there() {
        let all = listed("");
        let catalog = Catalog::builtin().unwrap();
        assert_eq!(all.lines().count(), catalog.tools().count() + catalog.sets().len() + 3);
    }

    #[test]
    fn where_nothing_matches_near_names_are_told() {
        insta::assert_snapshot!(["tcpdmup", "nslokup", "kubernetes", "two words"].map(listed).join("\n"), @r"
        no tool, set, command or summary has the word `tcpdmup` in it: did you mean `tcpdump`?
        no tool, set, command or summary has the word `nslokup` in it
        no tool, set, command or summary has the word `kubernetes` in it
        no tool, set, command or summary has the word `two words` in it
        ");
    }
}
