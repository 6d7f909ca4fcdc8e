//! The report, for people and for programs: pure. Much of it are words of others (nodes, registries, pods), which must not
//! reach a terminal as they are.

use serde_json::json;

use super::facts::Who;
use super::finding::{Finding, Status, Summary, counted};
use crate::progress::{printable, printable_line};

/// Wide enough for the longest status and the longest check, and a gap.
const STATUS: usize = 9;
const CHECK: usize = 14;

/// Who asks, which is what decides on what can be looked at.
#[must_use]
pub fn who(who: &Who) -> String {
    let Who { user, namespace, platform } = who;
    let (user, namespace) = (printable_line(user), printable_line(namespace));
    if *platform {
        format!("asked by `{user}`, who may look at the nodes and the registry; for namespace `{namespace}`\n\n")
    } else {
        format!("asked by `{user}`, who may not look at everything; for namespace `{namespace}`\n\n")
    }
}

/// A line for each, what to do indented below it.
#[must_use]
pub fn findings(findings: &[Finding], colour: bool) -> String {
    findings.iter().map(|finding| line(finding, colour)).collect()
}

fn line(finding: &Finding, colour: bool) -> String {
    let status = format!("{:<STATUS$}", finding.status.as_str());
    let status = if colour { format!("{}{status}\u{1b}[0m", paint(finding.status)) } else { status };
    let mut text = format!("{status}{:<CHECK$}{}\n", finding.check.as_str(), indented(&finding.text, STATUS + CHECK));
    if let Some(fix) = &finding.fix {
        let indent = STATUS + CHECK + 2;
        text.push_str(&format!("{:indent$}{}\n", "", indented(fix, indent)));
    }
    text
}

/// Each line but the first behind so many spaces.
fn indented(text: &str, indent: usize) -> String {
    printable(text.trim_end()).replace('\n', &format!("\n{:indent$}", ""))
}

const fn paint(status: Status) -> &'static str {
    match status {
        Status::Ok => "\u{1b}[32m",
        Status::Warning => "\u{1b}[33m",
        Status::Failure => "\u{1b}[1;31m",
        Status::Skipped => "\u{1b}[2m",
    }
}

/// The last line.
#[must_use]
pub fn summary(findings: &[Finding]) -> String {
    let Summary { ok, warnings, failures, skipped } = Summary::of(findings);
    let verdict = match (failures, warnings) {
        (0, 0) => "nothing is wrong",
        (0, _) => "it works",
        _ => "it does not work as it should",
    };
    format!(
        "\n{verdict}: {}, {}, {ok} ok, {skipped} skipped\n",
        counted(failures, "failure"),
        counted(warnings, "warning")
    )
}

/// All of it in one object, as text.
#[must_use]
pub fn json(who: &Who, findings: &[Finding]) -> String {
    let Who { user, namespace, platform } = who;
    let object = json!({
        "user": user,
        "namespace": namespace,
        "platform": platform,
        "findings": findings,
        "summary": Summary::of(findings),
    });
    // JSON lets some control characters stand that a terminal heeds.
    let shown =
        |it: char| if it.is_control() && it != '\n' { format!("\\u{:04x}", u32::from(it)) } else { it.to_string() };
    format!("{object:#}\n").chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Check;

    fn report() -> Vec<Finding> {
        vec![
            Finding::ok(Check::Version, "Kubernetes v1.36.3"),
            Finding::warning(Check::Nodes, "node `n2` runs `docker://24.0.7`").fix("kubectl get nodes\n# and so on"),
            Finding::failure(Check::Discovery, "there is no ConfigMap").fix("kubectl kitbag install"),
            Finding::skipped(Check::PodSecurity, "only who may get the namespace\ncan look at that"),
        ]
    }

    #[test]
    fn a_fix_stands_below_what_it_mends() {
        let findings = self::findings(&report(), false);
        insta::assert_snapshot!(findings + &summary(&report()), @r"
        ok       version       Kubernetes v1.36.3
        warning  nodes         node `n2` runs `docker://24.0.7`
                                 kubectl get nodes
                                 # and so on
        FAILURE  discovery     there is no ConfigMap
                                 kubectl kitbag install
        skipped  pod-security  only who may get the namespace
                               can look at that

        it does not work as it should: 1 failure, 1 warning, 1 ok, 1 skipped
        ");
        let verdicts = [summary(&report()[..1]), summary(&report()[..2])].concat();
        insta::assert_snapshot!(verdicts, @r"
        nothing is wrong: 0 failures, 0 warnings, 1 ok, 0 skipped

        it works: 0 failures, 1 warning, 1 ok, 0 skipped
        ");
    }

    #[test]
    fn only_the_status_has_a_colour() {
        let findings = self::findings(&report()[..1], true);
        assert_eq!(findings, "\u{1b}[32mok       \u{1b}[0mversion       Kubernetes v1.36.3\n");
    }

    #[test]
    fn words_of_others_do_not_move_the_cursor() {
        let evil = "a\u{1b}]0;title\u{7}\nb\u{9b}2J";
        let finding = Finding::failure(Check::Pull, evil).fix(evil);
        let who = Who { user: evil.to_owned(), namespace: evil.to_owned(), platform: false };
        let texts = [
            self::who(&who),
            self::findings(std::slice::from_ref(&finding), false),
            json(&who, std::slice::from_ref(&finding)),
        ];
        assert!(!texts.concat().chars().any(|it| it.is_control() && it != '\n'), "{texts:?}");
        assert!(
            texts[1].starts_with("FAILURE  pull          a?]0;title?\n                       b?2J\n"),
            "{}",
            texts[1]
        );
        let read: serde_json::Value = serde_json::from_str(&texts[2]).unwrap();
        assert_eq!((&read["findings"][0]["text"], &read["user"]), (&evil.into(), &evil.into()));
    }

    #[test]
    fn who_asks_is_said_first() {
        let mut it = Who { user: "jane".to_owned(), namespace: "web".to_owned(), platform: false };
        let user = who(&it);
        it.platform = true;
        insta::assert_snapshot!(user + &who(&it), @r"
        asked by `jane`, who may not look at everything; for namespace `web`

        asked by `jane`, who may look at the nodes and the registry; for namespace `web`
        ");
    }

    #[test]
    fn programs_get_an_object() {
        let who = Who { user: "jane".to_owned(), namespace: "web".to_owned(), platform: false };
        insta::assert_snapshot!(json(&who, &report()[1..3]), @r#"
        {
          "findings": [
            {
              "check": "nodes",
              "fix": "kubectl get nodes\n# and so on",
              "status": "warning",
              "text": "node `n2` runs `docker://24.0.7`"
            },
            {
              "check": "discovery",
              "fix": "kubectl kitbag install",
              "status": "failure",
              "text": "there is no ConfigMap"
            }
          ],
          "namespace": "web",
          "platform": false,
          "summary": {
            "failures": 1,
            "ok": 0,
            "skipped": 0,
            "warnings": 1
          },
          "user": "jane"
        }
        "#);
    }
}
