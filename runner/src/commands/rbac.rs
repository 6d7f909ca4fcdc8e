//! `kubectl kitbag rbac`: the least Role that a command line takes.

use crate::access::rules::{Doing, Found};
use crate::cli::{Command, Rbac};
use crate::error::Error;
use crate::rbac;

/// The namespace of those who name none.
const DEFAULT: &str = "default";

/// Runs the command. The cluster is not asked.
pub(crate) fn run(arguments: &Rbac) -> Result<u8, Error> {
    super::print(role(&arguments.line)?)
}

fn role(line: &[String]) -> Result<String, Error> {
    if line.is_empty() {
        return Ok(rbac::role(Doing::Debug(Found::Pod), Some(DEFAULT)));
    }
    let (doing, common) = match Command::parse(line)? {
        Command::Debug(debug) => (Doing::Debug(Found::of(&debug.reference()?)), debug.common),
        Command::List(list) if list.all_namespaces => return Ok(rbac::role(Doing::List(Found::Pods), None)),
        Command::List(list) => {
            (Doing::List(list.pods.optional()?.as_ref().map_or(Found::Pods, Found::of)), list.common)
        }
        Command::Attach(attach) => (Doing::Attach(Found::of(&attach.pods.required()?)), attach.common),
        Command::End(end) => (Doing::End(Found::of(&end.pods.required()?)), end.common),
        Command::Tools(_) | Command::Needs(_) | Command::Policy(_) => {
            return Ok(format!(
                "# `kubectl kitbag {}` takes no Role: what it asks for, the cluster's catalog, `kubectl kitbag install` lets every user read\n",
                line.join(" ")
            ));
        }
        Command::Doctor(_) => {
            return Ok(format!(
                "# `kubectl kitbag {}` takes no Role: it leaves out what you may not see, and says what else is missing\n",
                line.join(" ")
            ));
        }
        Command::Install(_) | Command::Uninstall(_) => {
            return Ok(format!(
                "# `kubectl kitbag {}` is for a platform team: it names each permission that is missing before it touches anything\n",
                line.join(" ")
            ));
        }
        Command::Rbac(_) | Command::Completion(_) | Command::Man(_) | Command::Complete(_) => {
            return Ok(format!(
                "# `kubectl kitbag {}` takes no Role: it asks the cluster for nothing\n",
                line.join(" ")
            ));
        }
    };
    Ok(rbac::role(doing, Some(common.namespace.as_deref().unwrap_or(DEFAULT))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match role(&words) {
            Ok(comment) if comment.starts_with('#') => comment.trim_end().to_owned(),
            Ok(role) => {
                let wanted = ["  name", "    resources: ", "    verbs: "];
                let lines = role.lines().filter(|line| wanted.iter().any(|it| line.starts_with(it)));
                let lines: Vec<&str> = lines.map(|line| line.split_once(": ").map_or(line, |(_, it)| it)).collect();
                lines.join(" ")
            }
            Err(error) => format!("{error}"),
        }
    }

    #[test]
    fn a_command_line_takes_what_it_does() {
        let lines = [
            "",
            "debug shop strace -n web -- strace -n 3",
            "debug deploy/shop",
            "debug -l app=shop strace",
            "list",
            "list -A",
            "attach sts/shop -n web",
            "end job/shop",
            "tools",
            "man",
            "debug",
        ];
        insta::assert_snapshot!(lines.map(|line| format!("{line}: {}", rules(line))).join("\n"), @r#"
        : kitbag-debug default ["pods"] ["get"] ["pods/ephemeralcontainers"] ["patch"] ["pods/exec"] ["create", "get"] ["pods"] ["watch"] ["events"] ["create"] ["events"] ["list"] ["events"] ["watch"]
        debug shop strace -n web -- strace -n 3: kitbag-debug web ["pods"] ["get"] ["pods/ephemeralcontainers"] ["patch"] ["pods/exec"] ["create", "get"] ["pods"] ["watch"] ["events"] ["create"] ["events"] ["list"] ["events"] ["watch"]
        debug deploy/shop: kitbag-debug default ["deployments"] ["get"] ["pods"] ["list"] ["pods/ephemeralcontainers"] ["patch"] ["pods/exec"] ["create", "get"] ["pods"] ["watch"] ["events"] ["create"] ["events"] ["list"] ["events"] ["watch"]
        debug -l app=shop strace: kitbag-debug default ["pods"] ["list"] ["pods/ephemeralcontainers"] ["patch"] ["pods/exec"] ["create", "get"] ["pods"] ["watch"] ["events"] ["create"] ["events"] ["list"] ["events"] ["watch"]
        list: kitbag-list default ["pods"] ["list"] ["pods/exec"] ["create", "get"]
        list -A: kitbag-list ["pods"] ["list"] ["pods/exec"] ["create", "get"]
        attach sts/shop -n web: kitbag-attach web ["statefulsets"] ["get"] ["pods"] ["list"] ["pods/exec"] ["create", "get"] ["events"] ["create"]
        end job/shop: kitbag-end default ["jobs"] ["get"] ["pods"] ["list"] ["pods/exec"] ["create", "get"] ["pods"] ["get"] ["pods"] ["watch"]
        tools: # `kubectl kitbag tools` takes no Role: what it asks for, the cluster's catalog, `kubectl kitbag install` lets every user read
        man: # `kubectl kitbag man` takes no Role: it asks the cluster for nothing
        debug: a TARGET is wanted, or a selector: -l app=shop
        "#);
    }
}
