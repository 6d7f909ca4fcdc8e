//! `kubectl kitbag needs`: what tools want of a pod.

use kitbag_toolsets::{Catalog, ImagePath};

use crate::cli::Needs;
use crate::error::Error;
use crate::tools::{self, ToolsError};

/// Runs the command.
pub(crate) fn run(arguments: &Needs) -> Result<u8, Error> {
    super::print(text(&Catalog::builtin()?, &arguments.tools)?)
}

/// A line for each need of each tool.
fn text(catalog: &Catalog, names: &[String]) -> Result<String, ToolsError> {
    let path = ImagePath::from_names(names.iter().map(String::as_str))?;
    let needs = tools::needs(&path, catalog)?;
    let mut text = String::new();
    for (tool, needs) in &needs {
        let words = [("required", &needs.required), ("optional", &needs.optional)];
        let words = words.into_iter().flat_map(|(kind, words)| words.iter().map(move |need| (kind, need)));
        let lines: Vec<String> =
            words.map(|(kind, need)| format!("{:<12} {:<15} {kind}\n", tool.as_str(), need.as_str())).collect();
        text += &if lines.is_empty() { format!("{:<12} nothing\n", tool.as_str()) } else { lines.concat() };
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_need_has_a_line() {
        let catalog = Catalog::builtin().unwrap();
        let told = |names: &str| {
            let names: Vec<String> = names.split(' ').map(str::to_owned).collect();
            text(&catalog, &names).unwrap_or_else(|error| error.to_string())
        };
        insta::assert_snapshot!(told("net strace"), @r"
        dig          nothing
        strace       target-attach   optional
        tcpdump      raw-socket      required
        ");
        insta::assert_snapshot!(told("strac"), @"unknown tool `strac`: did you mean `strace` or `stat` (of `busybox`) or `trace`?");
    }
}
