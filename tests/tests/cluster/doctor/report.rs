//! What doctor reports, and what it says to do about it, done.

use serde_json::Value;

use kitbag_tests::printed;

use crate::world::World;

/// A report.
pub(crate) struct Report {
    /// The exit code.
    pub(crate) code: Option<i32>,
    /// All of it, for those who have to find out what went wrong.
    pub(crate) text: String,
    findings: Vec<Value>,
}

/// `kubectl kitbag doctor`, as the administrator.
pub(crate) fn examine(world: &World, more: &[&str]) -> Report {
    let seen = world.kitbag(&[&["doctor", "-o", "json"], more].concat());
    let object: Value = serde_json::from_str(&seen.stdout).unwrap_or_default();
    let findings = object["findings"].as_array().unwrap_or_else(|| panic!("{}{}", seen.stdout, seen.stderr)).clone();
    Report { code: seen.code, text: seen.stdout, findings }
}

/// The same as somebody who may do nothing but what was given to them.
pub(crate) fn examine_as_dev(world: &World) -> Report {
    let dev = world.first().dev_kubeconfig();
    examine(world, &["--kubeconfig", dev.to_str().unwrap()])
}

/// Nothing at all is wrong.
#[track_caller]
pub(crate) fn all_is_well(world: &World, more: &[&str]) -> Report {
    let report = examine(world, more);
    let wrong = |finding: &Value| matches!(finding["status"].as_str(), Some("failure" | "warning"));
    assert!(report.code == Some(0) && !report.findings.iter().any(wrong), "{}", report.text);
    report
}

impl Report {
    /// The fix of the failure of this check that says so.
    #[track_caller]
    pub(crate) fn failure(&self, check: &str, words: &str) -> String {
        assert_eq!(self.code, Some(1), "{}", self.text);
        self.finding("failure", check, words)
    }

    /// The fix of a warning.
    #[track_caller]
    pub(crate) fn warning(&self, check: &str, words: &str) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self.finding("warning", check, words)
    }

    /// That is as it should be.
    #[track_caller]
    pub(crate) fn ok(&self, check: &str, words: &str) {
        self.finding("ok", check, words);
    }

    /// The fix, if there is one, of the finding of this check that says so.
    #[track_caller]
    pub(crate) fn finding(&self, status: &str, check: &str, words: &str) -> String {
        let is_meant = |finding: &&Value| {
            finding["check"] == check
                && finding["status"] == status
                && finding["text"].as_str().is_some_and(|text| text.contains(words))
        };
        let found = self.findings.iter().find(is_meant);
        let found = found.unwrap_or_else(|| panic!("no {status} of {check} with {words}: {}", self.text));
        found["fix"].as_str().unwrap_or_default().to_owned()
    }

    /// How the first finding of a check is.
    pub(crate) fn status(&self, check: &str) -> &str {
        let found = self.findings.iter().find(|finding| finding["check"] == check);
        found.and_then(|finding| finding["status"].as_str()).unwrap_or_default()
    }
}

/// Types each line of a fix into a shell, as it was printed.
#[track_caller]
pub(crate) fn mend(world: &World, fix: &str) {
    let commands = fix.lines().filter(|line| !line.starts_with('#'));
    for line in commands {
        let mut command = world.first().client_command("sh");
        command.args(["-c", line]);
        printed::run(command, b"").expect_code(0);
    }
}
