//! `kubectl kitbag man`: the manual, out of the definition of the command line.

use std::io;

use clap::{Args as _, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cli::{self, Common, common};
use crate::error::Error;

/// Runs the command.
pub(crate) fn run() -> Result<u8, Error> {
    super::print(page().map_err(Error::Output)?)
}

/// One page: the program, a section for each command, and what they have in common.
fn page() -> io::Result<String> {
    let definition = cli::definition();
    let mut page = Vec::new();
    let whole = Man::new(definition.clone()).title("KUBECTL-KITBAG");
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    preformatted("SH", "SYNOPSIS", &synopsis(&definition)).to_writer(&mut page)?;
    for command in commands(&definition) {
        Roff::new().control("SH", [command.get_name().to_uppercase().as_str()]).to_writer(&mut page)?;
        page.extend(section(command)?.into_bytes());
    }
    // Once: every command that has a cluster has these.
    let flags = Common::augment_args(Command::new("kubectl-kitbag").disable_help_flag(true));
    Man::new(flags.mut_arg("verbose", |flag| flag.hide(true))).render_options_section(&mut page)?;
    preformatted("SH", "EXIT STATUS", &rest(&cli::exit_codes())).to_writer(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn commands(definition: &Command) -> impl Iterator<Item = &Command> {
    definition.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

/// A line for each command.
fn synopsis(definition: &Command) -> String {
    let usages = commands(definition).map(|command| usage(command.clone()));
    usages.collect::<Vec<_>>().join("\n")
}

fn usage(mut command: Command) -> String {
    let usage = command.render_usage().to_string();
    usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned()
}

/// What the command does, its flags, its examples.
fn section(command: &Command) -> io::Result<String> {
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let own = command.clone().mut_args(|argument| {
        let elsewhere = argument.get_help_heading() == Some(common::HEADING) || argument.get_id() == "help";
        argument.hide(elsewhere)
    });
    let own = Man::new(own.after_help(None::<&str>));
    let mut section = Vec::new();
    own.render_description_section(&mut section)?;
    own.render_options_section(&mut section)?;
    preformatted("SS", "EXAMPLES", &rest(&examples)).to_writer(&mut section)?;
    // What would be sections of a page of its own are parts of this one.
    let section =
        String::from_utf8_lossy(&section).replace("\n.SH ", "\n.SS ").replace("\n.SS DESCRIPTION\n", "\n.PP\n");
    Ok(section)
}

/// Lines that are kept as they are, under a heading.
fn preformatted(level: &str, heading: &str, lines: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control(level, [heading]).control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}

/// A text without its first line, which is a heading.
fn rest(text: &str) -> String {
    text.lines().skip(1).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_and_every_flag_once() {
        let page = page().unwrap();
        let definition = cli::definition();
        for command in commands(&definition) {
            assert!(page.contains(&format!(".SH {}\n", command.get_name().to_uppercase())), "{page}");
        }
        assert_eq!(page.matches("\\-\\-request\\-timeout").count(), 1, "{page}");
        assert!(!page.contains("__complete") && !page.contains("\\-\\-help"), "{page}");
    }

    #[test]
    fn examples_keep_their_lines() {
        let page = page().unwrap();
        let needs = page.split_once(".SH NEEDS\n").unwrap().1.split_once(".SH RBAC").unwrap().0;
        insta::assert_snapshot!(needs, @r"
        .ie \n(.g .ds Aq \(aq
        .el .ds Aq '
        .PP
        Tells what tools need of a pod, and what works without it
        .ie \n(.g .ds Aq \(aq
        .el .ds Aq '
        .SS OPTIONS
        .TP
        \fB\-\-registry\fR \fI<HOST>\fR
        The registry, where `debug` is given one: then the cluster is not asked what it has
        .TP
        <\fITOOL\fR>
        Tools, sets of tools, or commands that a tool provides
        .SS OPTIONS
        .TP
        \fB\-v\fR, \fB\-\-verbose\fR
        Says what is done and how long it takes
        .ie \n(.g .ds Aq \(aq
        .el .ds Aq '
        .SS EXAMPLES
        .nf
          kubectl kitbag needs strace           one tool
          kubectl kitbag needs net busybox      a set and a tool
        .fi
        .ie \n(.g .ds Aq \(aq
        .el .ds Aq '
        ");
    }
}
