//! `kubectl kitbag needs`: what tools want of a pod.

use kitbag_toolsets::ImagePath;

use crate::cli::Needs;
use crate::error::Error;
use crate::inventory::{self, Inventory, Stock};
use crate::progress::Progress;
use crate::sentences;
use crate::tools::ToolsError;

/// Runs the command.
pub(crate) async fn run(arguments: &Needs) -> Result<u8, Error> {
    let progress = Progress::new(arguments.whose.common.verbose);
    let Stock { inventory, source, .. } = inventory::find(&arguments.whose, progress.clock()).await?;
    progress.say(&format!("asked: {source}"));
    super::print(text(&inventory, &arguments.tools)?)
}

fn text(inventory: &Inventory, names: &[String]) -> Result<String, ToolsError> {
    let path = ImagePath::from_names(names.iter().map(String::as_str))?;
    Ok(sentences::needs(&inventory.needs(&path)?))
}

#[cfg(test)]
mod tests {
    use kitbag_toolsets::Catalog;

    use super::*;

    #[test]
    fn sets_are_expanded_and_near_names_told() {
        let inventory = Inventory::of(&Catalog::builtin().unwrap());
        let told = |names: &str| {
            let names: Vec<String> = names.split(' ').map(str::to_owned).collect();
            text(&inventory, &names).unwrap_or_else(|error| error.to_string())
        };
        insta::assert_snapshot!(told("net strace"), @r"
        dig
          needs nothing               works in every pod

        strace
          target-attach (optional)    to attach to the target's processes with ptrace
          where nothing is refused    root with KILL, SYS_PTRACE and nothing else
          in baseline                 target-attach: sessions become the target's user; not for a target that hides itself or has added capabilities
          in restricted               target-attach: the container runs as the target's user; not for a target that hides itself

        tcpdump
          raw-socket (required)       raw and packet sockets
          where nothing is refused    root with NET_RAW and nothing else
          in baseline                 raw-socket: works where the runtime gives NET_RAW by default (containerd does, CRI-O does not)
          in restricted               raw-socket: refused
        ");
        insta::assert_snapshot!(told("strac"), @"unknown tool `strac`: did you mean `strace` or `stat` (of `busybox`) or `trace`?");
    }
}
