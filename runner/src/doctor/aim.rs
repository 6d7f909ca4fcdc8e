//! For which cluster the printed commands are: what is pasted has to go where was looked, and not wherever the shell's
//! kubeconfig points to. Pure.

use super::Finding;
use super::facts::Who;
use super::fix::FOR_PLATFORM;
use crate::shell::quoted;

/// What helm calls kubectl's flags. It has none for an entry of the kubeconfig's clusters.
const HELM: [(&str, &str); 6] = [
    ("context", "kube-context"),
    ("kubeconfig", "kubeconfig"),
    ("server", "kube-apiserver"),
    ("certificate-authority", "kube-ca-file"),
    ("insecure-skip-tls-verify", "kube-insecure-skip-tls-verify"),
    ("tls-server-name", "kube-tls-server-name"),
];
/// Flags that name files of this machine.
const FILES: [&str; 2] = ["kubeconfig", "certificate-authority"];

/// The flags that say which cluster is meant, by kubectl's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aim(Vec<(&'static str, String)>);

impl Aim {
    /// Those that were given.
    pub fn new(flags: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Self {
        Self(flags.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// The same findings, whose commands are for that cluster.
    #[must_use]
    pub fn at(&self, findings: Vec<Finding>, who: &Who) -> Vec<Finding> {
        let aimed = |finding: Finding| {
            let fix = finding.fix.as_deref().map(|fix| self.fix(fix, who));
            Finding { fix, ..finding }
        };
        findings.into_iter().map(aimed).collect()
    }

    fn fix(&self, fix: &str, who: &Who) -> String {
        // Others have not the files of this machine.
        let is_passed_on = !who.platform && fix.starts_with(FOR_PLATFORM);
        let flags: Vec<&(&str, String)> =
            self.0.iter().filter(|(name, _)| !is_passed_on || !FILES.contains(name)).collect();
        fix.lines().map(|line| line_for(line, &flags)).collect::<Vec<_>>().join("\n")
    }
}

fn line_for(line: &str, flags: &[&(&str, String)]) -> String {
    if line.starts_with('#') || flags.is_empty() {
        return line.to_owned();
    }
    let mut untold = Vec::new();
    let commands: Vec<String> = commands(line)
        .map(|command| {
            let mut aimed = command.to_owned();
            let program = command.split(' ').next();
            for (name, value) in flags {
                let helms = HELM.iter().find(|(known, _)| known == name).map(|(_, helms)| *helms);
                match (program, helms) {
                    (Some("kubectl"), _) => aimed.push_str(&format!(" --{name}={}", quoted(value))),
                    (Some("helm"), Some(name)) => aimed.push_str(&format!(" --{name}={}", quoted(value))),
                    (Some("helm"), None) => untold.push(format!("# it is for {name} {}:\n", quoted(value))),
                    _ => {}
                }
            }
            aimed
        })
        .collect();
    untold.concat() + &commands.join(" | ")
}

/// The commands of a pipe, as a shell tells them apart.
fn commands(line: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let ends = move |it: char| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match it {
            _ if was_escaped => {}
            '\\' if !is_quoted => is_escaped = true,
            '\'' => is_quoted = !is_quoted,
            '|' => return !is_quoted,
            _ => {}
        }
        false
    };
    line.split(ends).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Check;
    use crate::doctor::testing::{jane, told};

    fn aimed(flags: &[(&'static str, &str)], who: &Who, fix: &str) -> String {
        let aim = Aim::new(flags.iter().map(|(name, value)| (*name, Some((*value).to_owned()))));
        told(&aim.at(vec![Finding::failure(Check::Pull, "x").fix(fix)], who))
    }

    #[test]
    fn each_command_is_for_the_cluster_that_was_looked_at() {
        let fix = "# a word | kubectl x\nkubectl kitbag rbac debug any -n web | kubectl apply -f -\nss -ltnp 'sport = :5050'\n\
                   helm upgrade kit CHART -n tools --reset-then-reuse-values\nkubectl create x --user='a | kubectl'\\''s | kubectl b'";
        let flags = [("context", "prod eu"), ("kubeconfig", "k.yaml"), ("cluster", "c1")];
        insta::assert_snapshot!(aimed(&flags, &jane(), fix), @r"
        FAILURE  pull          x
                                 # a word | kubectl x
                                 kubectl kitbag rbac debug any -n web --context='prod eu' --kubeconfig=k.yaml --cluster=c1 | kubectl apply -f - --context='prod eu' --kubeconfig=k.yaml --cluster=c1
                                 ss -ltnp 'sport = :5050'
                                 # it is for cluster c1:
                                 helm upgrade kit CHART -n tools --reset-then-reuse-values --kube-context='prod eu' --kubeconfig=k.yaml
                                 kubectl create x --user='a | kubectl'\''s | kubectl b' --context='prod eu' --kubeconfig=k.yaml --cluster=c1
        ");
        assert_eq!(
            aimed(&[], &jane(), fix),
            aimed(&[("context", "x")], &jane(), fix).replace(" --context=x", "").replace(" --kube-context=x", "")
        );
    }

    #[test]
    fn who_it_is_passed_on_to_has_no_files_of_this_machine() {
        let fix = format!("{FOR_PLATFORM}:\nkubectl kitbag install");
        let flags = [("context", "prod"), ("kubeconfig", "k.yaml")];
        let texts = [jane(), Who { platform: true, ..jane() }].map(|who| aimed(&flags, &who, &fix));
        insta::assert_snapshot!(texts.concat(), @r"
        FAILURE  pull          x
                                 # for the platform team:
                                 kubectl kitbag install --context=prod
        FAILURE  pull          x
                                 # for the platform team:
                                 kubectl kitbag install --context=prod --kubeconfig=k.yaml
        ");
    }

    #[test]
    fn no_name_of_others_leaves_its_quotes_by_a_flag() {
        let fix = format!("kubectl get x {}", quoted("a' | kubectl ;id; '"));
        let text = aimed(&[("context", "p'q")], &jane(), &fix);
        assert!(text.contains(&format!("{fix} --context='p'\\''q'")), "{text}");
    }
}
