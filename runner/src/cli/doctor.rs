//! The command line of `doctor`.

use std::time::Duration;

use clap::{ArgAction, Args};

use super::common::Common;
use super::others::ListFormat;
use super::values;

/// Examines whether debugging works in this cluster, and says what to do where it does not.
///
/// It first asks what you may look at. A Job on each of some nodes pulls one image of the registry; all of it is deleted
/// again. The exit code is 0 where nothing is wrong or there are warnings only, and 1 where something is.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl kitbag doctor                 all that you may look at
  kubectl kitbag doctor -n web          with what namespace `web` allows
  kubectl kitbag doctor --all-nodes     with a pull on every node
  kubectl kitbag doctor --no-pull -o json
                                        nothing is made, for a program")]
pub(crate) struct Doctor {
    /// Pulls on every node that is ready [default: on three].
    #[arg(long)]
    pub(crate) all_nodes: bool,
    /// Pulls nothing, so that nothing is made.
    #[arg(long = "no-pull", action = ArgAction::SetFalse, conflicts_with = "all_nodes")]
    pub(crate) pull: bool,
    /// How long all of it may take.
    #[arg(long, value_name = "DURATION", default_value = "60", value_parser = values::duration)]
    pub(crate) timeout: Duration,
    /// Prints an object with all findings.
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    pub(crate) format: Option<ListFormat>,
    #[command(flatten)]
    pub(crate) common: Common,
}
