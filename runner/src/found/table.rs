//! Debug containers as a table for people and as JSON for programs.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Activity, Found};
use crate::progress::printable_line;
use crate::reentry::Condition;

/// What stands where there is nothing to say.
const NOTHING: &str = "-";
/// Between two columns, as kubectl has it.
const GAP: &str = "   ";

/// The table at the time `now`, with a line for the names of the columns. With `namespaces`, the first column is that.
#[must_use]
pub fn table(found: &[Found], now: Timestamp, namespaces: bool) -> String {
    let head = ["NAMESPACE", "POD", "CONTAINER", "TARGET", "TOOLS", "PRIVILEGES", "BY", "AGE", "IDLE", "STATE"];
    let lines = found.iter().map(|it| line(it, now));
    let mut lines: Vec<Vec<String>> = std::iter::once(head.map(str::to_owned).to_vec()).chain(lines).collect();
    if !namespaces {
        for line in &mut lines {
            line.remove(0);
        }
    }
    for cell in lines.iter_mut().flatten() {
        *cell = printable_line(cell);
    }
    align(&lines)
}

fn line(found: &Found, now: Timestamp) -> Vec<String> {
    let Found { namespace, pod, debugger, activity } = found;
    let tools: Vec<&str> = debugger.tools.iter().map(|(tool, _)| tool.as_str()).collect();
    let or_nothing = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| NOTHING.to_owned());
    vec![
        namespace.clone(),
        pod.clone(),
        debugger.name.clone(),
        debugger.target.clone(),
        or_nothing(Some(tools.join(","))),
        or_nothing(debugger.level.clone()),
        or_nothing(debugger.user.clone()),
        or_nothing(debugger.age(now).map(span)),
        or_nothing(activity.map(idle)),
        state(&debugger.state),
    ]
}

fn idle(activity: Activity) -> String {
    match activity.sessions {
        0 => span(activity.idle),
        1 => "1 session".to_owned(),
        sessions => format!("{sessions} sessions"),
    }
}

/// How it does, for people.
#[must_use]
pub fn state(state: &Condition) -> String {
    match state {
        Condition::Running => "running".to_owned(),
        Condition::Starting(reason) if reason.is_empty() => "starting".to_owned(),
        Condition::Starting(reason) => format!("starting ({reason})"),
        Condition::Ended(code) => format!("ended ({code})"),
    }
}

/// As kubectl writes ages: two units, the larger ones alone when they are large.
pub(super) fn span(duration: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let two = |number: u64, unit: &str, rest: u64, smaller: &str| match rest {
        0 => format!("{number}{unit}"),
        rest => format!("{number}{unit}{rest}{smaller}"),
    };
    match duration.as_secs() {
        seconds if seconds < 2 * MINUTE => format!("{seconds}s"),
        seconds if seconds < 10 * MINUTE => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        seconds if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        seconds if seconds < 8 * HOUR => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        seconds if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        seconds => format!("{}d", seconds / DAY),
    }
}

/// Columns as wide as their widest cell; nothing after the last.
fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join(GAP).trim_end());
        text.push('\n');
    }
    text
}

/// An array with an object for each. Times are in seconds; what is not known is left out.
#[must_use]
pub fn json(found: &[Found], now: Timestamp) -> Value {
    found.iter().map(|it| object(it, now)).collect()
}

fn object(found: &Found, now: Timestamp) -> Value {
    let Found { namespace, pod, debugger, activity } = found;
    let tools: Map<String, Value> =
        debugger.tools.iter().map(|(tool, version)| (tool.to_string(), version.as_str().into())).collect();
    let (state, why, code) = match &debugger.state {
        Condition::Starting(why) => ("starting", Some(why.as_str()).filter(|why| !why.is_empty()), None),
        Condition::Running => ("running", None, None),
        Condition::Ended(code) => ("ended", None, Some(code)),
    };
    let seconds = |duration: Option<Duration>| duration.map(|it| it.as_secs());
    let all = json!({
        "namespace": namespace,
        "pod": pod,
        "container": debugger.name,
        "target": debugger.target,
        "tools": tools,
        "privileges": debugger.level,
        "version": debugger.version,
        "user": debugger.user,
        "reason": debugger.reason,
        "image": debugger.image,
        "started": debugger.started.map(|time| time.to_string()),
        "age": seconds(debugger.age(now)),
        "idleLimit": seconds(debugger.idle),
        "ttl": seconds(debugger.ttl),
        "attached": debugger.attached,
        "state": state,
        "waitingFor": why,
        "exitCode": code,
        "sessions": activity.map(|it| it.sessions),
        "idle": seconds(activity.map(|it| it.idle)),
    });
    match all {
        Value::Object(all) => all.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reentry::Debugger;
    use kitbag_toolsets::Name;

    fn found() -> Vec<Found> {
        let debugger = Debugger {
            name: "kitbag-x2f5q".into(),
            target: "app".into(),
            listed: String::new(),
            tools: ["strace", "tcpdump"].map(|it| (Name::try_from(it.to_owned()).unwrap(), "1.0".to_owned())).to_vec(),
            version: Some("0.1.0".into()),
            level: Some("exact".into()),
            user: Some("jane".into()),
            reason: Some("SHOP-17".into()),
            image: "127.0.0.1:5005/strace/tcpdump@sha256:00".into(),
            started: Some("2026-01-01T11:30:00Z".parse().unwrap()),
            idle: Some(Duration::from_secs(1800)),
            ttl: Some(Duration::from_secs(28800)),
            context: Default::default(),
            becomes: false,
            view: Default::default(),
            attached: false,
            state: Condition::Running,
        };
        let starting = Debugger {
            name: "kitbag-9wz2c".into(),
            tools: Vec::new(),
            version: None,
            level: None,
            user: None,
            reason: None,
            started: None,
            state: Condition::Starting("ErrImagePull".into()),
            ..debugger.clone()
        };
        let ended = Debugger { name: "kitbag-b2c4d".into(), state: Condition::Ended(137), ..debugger.clone() };
        let busy = Some(Activity { sessions: 2, idle: Duration::ZERO });
        let at = |pod: &str, debugger: Debugger, activity| Found {
            namespace: "web".into(),
            pod: pod.into(),
            debugger,
            activity,
        };
        vec![
            at("shop-7c9f4d", debugger.clone(), Some(Activity { sessions: 0, idle: Duration::from_secs(754) })),
            at("shop-7c9f4d", starting, None),
            at("till", debugger, busy),
            at("till", ended, None),
        ]
    }

    const NOON: &str = "2026-01-01T12:00:00Z";

    #[test]
    fn people_get_a_table() {
        insta::assert_snapshot!(table(&found(), NOON.parse().unwrap(), false), @r"
        POD           CONTAINER      TARGET   TOOLS            PRIVILEGES   BY     AGE   IDLE         STATE
        shop-7c9f4d   kitbag-x2f5q   app      strace,tcpdump   exact        jane   30m   12m          running
        shop-7c9f4d   kitbag-9wz2c   app      -                -            -      -     -            starting (ErrImagePull)
        till          kitbag-x2f5q   app      strace,tcpdump   exact        jane   30m   2 sessions   running
        till          kitbag-b2c4d   app      strace,tcpdump   exact        jane   30m   -            ended (137)
        ");
        insta::assert_snapshot!(table(&found()[..1], NOON.parse().unwrap(), true), @r"
        NAMESPACE   POD           CONTAINER      TARGET   TOOLS            PRIVILEGES   BY     AGE   IDLE   STATE
        web         shop-7c9f4d   kitbag-x2f5q   app      strace,tcpdump   exact        jane   30m   12m    running
        ");
    }

    #[test]
    fn programs_get_json() {
        let json = json(&found()[..2], NOON.parse().unwrap());
        insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r#"
        [
          {
            "age": 1800,
            "attached": false,
            "container": "kitbag-x2f5q",
            "idle": 754,
            "idleLimit": 1800,
            "image": "127.0.0.1:5005/strace/tcpdump@sha256:00",
            "namespace": "web",
            "pod": "shop-7c9f4d",
            "privileges": "exact",
            "reason": "SHOP-17",
            "sessions": 0,
            "started": "2026-01-01T11:30:00Z",
            "state": "running",
            "target": "app",
            "tools": {
              "strace": "1.0",
              "tcpdump": "1.0"
            },
            "ttl": 28800,
            "user": "jane",
            "version": "0.1.0"
          },
          {
            "attached": false,
            "container": "kitbag-9wz2c",
            "idleLimit": 1800,
            "image": "127.0.0.1:5005/strace/tcpdump@sha256:00",
            "namespace": "web",
            "pod": "shop-7c9f4d",
            "state": "starting",
            "target": "app",
            "tools": {},
            "ttl": 28800,
            "waitingFor": "ErrImagePull"
          }
        ]
        "#);
    }

    #[test]
    fn what_others_wrote_forges_no_line() {
        let mut found = found();
        found.truncate(1);
        found[0].debugger.user = Some("jane\nshop   \u{1b}[2K".into());
        insta::assert_snapshot!(table(&found, NOON.parse().unwrap(), false), @r"
        POD           CONTAINER      TARGET   TOOLS            PRIVILEGES   BY                 AGE   IDLE   STATE
        shop-7c9f4d   kitbag-x2f5q   app      strace,tcpdump   exact        jane?shop   ?[2K   30m   12m    running
        ");
    }

    #[test]
    fn spans_are_as_kubectl_writes_them() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (330, "5m30s"),
            (600, "10m"),
            (3 * 3600 - 1, "179m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (9 * 3600 + 60, "9h"),
            (172_800, "2d"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }
}
