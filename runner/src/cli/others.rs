//! The command lines of everything but `debug`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::common::{Common, Whose};
use super::debug::Pods;
use super::values;

/// Lists debug containers: in which pod, with which tools, for whom, since when, how long idle.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag list                   those of the namespace
  kubectl kitbag list deploy/shop       those of one Deployment's pods
  kubectl kitbag list -l app=shop       those of the pods with a label
  kubectl kitbag list -A -o json        all that there are, for a program")]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) pods: Pods,
    /// Those of every namespace.
    #[arg(short = 'A', long, conflicts_with_all = ["target", "selector"])]
    pub(crate) all_namespaces: bool,
    /// Those that have ended, too.
    #[arg(long)]
    pub(crate) ended: bool,
    /// Prints an array with an object for each.
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    pub(crate) format: Option<ListFormat>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// A form of output for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// for programs
    Json,
}

/// Opens one more session in a debug container that runs.
///
/// Nothing is added to the pod.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag attach shop                   a shell in the youngest debug container of pod `shop`
  kubectl kitbag attach shop -c kitbag-b2c4d   a shell in that one
  kubectl kitbag attach shop -- htop -t        a command of its tools")]
pub(crate) struct Attach {
    #[command(flatten)]
    pub(crate) pods: Pods,
    /// What to run. Without it: an interactive shell.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// The debug container, or the container that it is beside [default: the youngest debug container].
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Passes standard input on.
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Gives the command a terminal; implies -i.
    #[arg(short = 't', long)]
    pub(crate) tty: bool,
    /// How long the command goes on without a sign of life from this client.
    #[arg(long, value_name = "DURATION", default_value = "45s", value_parser = values::duration)]
    pub(crate) patience: Duration,
    /// Says why, in the event that is written to the pod.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Ends debug containers, and every session in them.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag end shop                      all of pod `shop`
  kubectl kitbag end shop -c kitbag-b2c4d      one of them
  kubectl kitbag end -l app=shop               those of the pods with a label")]
pub(crate) struct End {
    #[command(flatten)]
    pub(crate) pods: Pods,
    /// The debug container, or the container that it is beside [default: every debug container].
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Tells what tools need of a pod, and what works without it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag needs strace           one tool
  kubectl kitbag needs net busybox      a set and a tool")]
pub(crate) struct Needs {
    /// Tools, sets of tools, or commands that a tool provides.
    #[arg(value_name = "TOOL", required = true)]
    pub(crate) tools: Vec<String>,
    #[command(flatten)]
    pub(crate) whose: Whose,
}

/// Prints the least Role that a command line of this program takes.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag rbac                                          for `debug` of a pod
  kubectl kitbag rbac debug deploy/shop strace -n web          for exactly this
  kubectl kitbag rbac list | kubectl apply -f -                for `list`")]
pub(crate) struct Rbac {
    /// The command line, without `kubectl kitbag`.
    #[arg(value_name = "COMMAND LINE", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) line: Vec<String>,
}

/// Lists the tools and sets that there are.
///
/// They are those of the cluster, where kitbag is installed in it; else those of this program's own catalog, which says so.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag tools                  all of them
  kubectl kitbag tools dns              those with the word in a name, a command or the summary")]
pub(crate) struct Tools {
    /// A word that has to stand in a name, a command or the summary.
    #[arg(value_name = "WORD")]
    pub(crate) word: Option<String>,
    #[command(flatten)]
    pub(crate) whose: Whose,
}

/// Prints a script that completes command lines: pods, containers and tools too.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag completion kubectl > ~/.local/bin/kubectl_complete-kitbag
  chmod +x ~/.local/bin/kubectl_complete-kitbag
                                        `kubectl kitbag ...`, with kubectl's own completion (1.26 and later)
  source <(kubectl-kitbag completion bash)
                                        `kubectl-kitbag ...`")]
pub(crate) struct Completion {
    /// For whom.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Who wants to complete command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// kubectl itself, by the executable `kubectl_complete-kitbag`
    Kubectl,
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Prints the manual, for `man -l -`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag man | man -l -         to read it
  kubectl kitbag man > ~/.local/share/man/man1/kubectl-kitbag.1
                                        to keep it")]
pub(crate) struct Man {}

/// Prints what the last of the words can become: the protocol of kubectl and Cobra.
#[derive(Clone, Debug, Args)]
pub(crate) struct Complete {
    /// The words after the program's name; the last one is not finished, and may be empty.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}
