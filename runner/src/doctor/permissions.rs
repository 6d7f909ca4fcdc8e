//! What the user may do in the namespace: each rule of the one table, by itself.

use super::facts::Who;
use super::finding::{Check, Finding};
use crate::access::rules::{Doing, Found, Rule, Without};
use crate::access::{self, Answer, Permissions};
use crate::shell::quoted;

/// A finding for each rule that some command needs.
#[must_use]
pub(super) fn judge(permissions: &Permissions, who: &Who) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut fine: Vec<String> = Vec::new();
    for rule in rules() {
        let answers = rule.verbs.iter().map(|verb| permissions.may(verb, rule.group, rule.resource, None));
        let answers: Vec<Answer> = answers.collect();
        if answers.contains(&Answer::No) {
            findings.push(missing(&rule, permissions, who));
        } else if answers.contains(&Answer::Unknown) {
            let text = format!("the API server does not say whether `{}` may {}", who.user, words(&rule));
            findings.push(Finding::skipped(Check::Rbac, text));
        } else {
            fine.push(words(&rule));
        }
    }
    if !fine.is_empty() {
        let text = format!("`{}` may, in namespace `{}`: {}", who.user, who.namespace, fine.join("; "));
        findings.insert(0, Finding::ok(Check::Rbac, text));
    }
    findings
}

/// What the commands need, each once: `debug` first, because it is the one that people come for.
pub(super) fn rules() -> Vec<Rule> {
    let commands = [Doing::Debug(Found::Pod), Doing::List(Found::Pods)];
    let mut rules: Vec<Rule> = Vec::new();
    for rule in commands.into_iter().flat_map(Doing::rules) {
        // The same permission is wanted for several things: the first is what it is most needed for.
        if rules.iter().all(|known| (known.resource, known.verbs) != (rule.resource, rule.verbs)) {
            rules.push(rule);
        }
    }
    rules
}

fn words(rule: &Rule) -> String {
    format!("{} `{}`", rule.verbs.join(" and "), rule.resource)
}

fn missing(rule: &Rule, permissions: &Permissions, who: &Who) -> Finding {
    let text = format!("`{}` may not {} in namespace `{}`", who.user, words(rule), who.namespace);
    let finding = match rule.without {
        Without::Loses(what) => Finding::warning(Check::Rbac, format!("{text}, which {}: {what}", rule.why)),
        // Finding a pod by its name is enough for `debug`.
        Without::Fails if rule.verbs == ["list"] => {
            Finding::warning(Check::Rbac, format!("{text}: pods have to be named, and `list` does not work"))
        }
        Without::Takes(instead, what) if access::missing(permissions, &[*instead], None).is_empty() => {
            Finding::warning(Check::Rbac, format!("{text}: {what}"))
        }
        Without::Fails | Without::Takes(..) => Finding::failure(Check::Rbac, format!("{text}, which {}", rule.why)),
    };
    finding.fix(fix(rule, who))
}

/// The whole Role, and who gets it; the one rule is told beside it, for those who write their own.
fn fix(rule: &Rule, Who { user, namespace, .. }: &Who) -> String {
    let (name, command) =
        if (rule.resource, rule.verbs) == ("pods", &["list"]) { ("list", "list") } else { ("debug", "debug any") };
    let subject = match user.strip_prefix("system:serviceaccount:") {
        Some(account) => format!("--serviceaccount={}", quoted(account)),
        None => format!("--user={}", quoted(user)),
    };
    let Rule { group, resource, verbs, .. } = rule;
    let namespace = quoted(namespace);
    format!(
        "# for the platform team; the rule is {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{}]}}\n\
         kubectl kitbag rbac {command} -n {namespace} | kubectl apply -f -\n\
         kubectl create rolebinding kitbag-{name}-{} -n {namespace} --role=kitbag-{name} {subject} --dry-run=client -o yaml | kubectl apply -f -",
        verbs.join(", "),
        word(user),
    )
}

/// As a part of an object's name: each user has a binding of their own, so that giving it to one takes it from nobody.
fn word(user: &str) -> String {
    let plain = |it: char| if it.is_ascii_alphanumeric() || it == '.' { it.to_ascii_lowercase() } else { '-' };
    user.chars().map(plain).collect()
}

#[cfg(test)]
mod tests;
