use super::*;
use crate::image::Image;
use crate::plan::{self, Plan};
use crate::privileges::{Level, Wishes, candidates, testing};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOON: &str = "2026-01-01T12:00:00Z";

fn container(name: &str, target: &str, tools: &str, args: &[&str]) -> Value {
    let command: Vec<&str> = [INIT].iter().chain(args).copied().collect();
    json!({
        "name": name, "image": "127.0.0.1:5005/strace@sha256:00", "command": command,
        "targetContainerName": target,
        "securityContext": { "runAsUser": 0 },
        "env": [
            { "name": "KITBAG_TARGET", "value": target },
            { "name": "KITBAG_TOOLS", "value": tools },
            { "name": "KITBAG_PRIVILEGES", "value": "exact" },
            { "name": "KITBAG_USER", "value": "jane" },
        ],
    })
}

fn since(time: &str) -> Value {
    json!({ "running": { "startedAt": time } })
}

fn pod(containers: &[(Value, Value)]) -> Pod {
    let specs: Vec<&Value> = containers.iter().map(|(spec, _)| spec).collect();
    let statuses: Vec<Value> =
        containers.iter().map(|(spec, state)| json!({ "name": spec["name"], "state": state })).collect();
    let pod = json!({
        "metadata": { "name": "shop" },
        "spec": { "containers": [], "ephemeralContainers": specs },
        "status": { "ephemeralContainerStatuses": statuses },
    });
    serde_json::from_value(pod).unwrap()
}

const FLAGS: &[&str] = &["--idle", "1800", "--ttl", "28800"];

#[test]
fn debug_containers_are_read_from_their_specification() {
    let mut shell = container("debugger-x", "app", "", &[]);
    shell["command"] = json!(["sh"]);
    let pod = pod(&[
        (container("kitbag-a", "app", "strace=6.1 tcpdump=4.99.6", FLAGS), since("2026-01-01T11:00:00Z")),
        (
            container("kitbag-b", "app", "strace=6.1", &["attached", "--idle", "60", "--", "x", "--ttl", "1"]),
            since("2026-01-01T11:30:00Z"),
        ),
        (container("kitbag-c", "proxy", "", &[]), json!({ "waiting": { "reason": "ErrImagePull" } })),
        (
            container("kitbag-d", "app", "strace=6.1", FLAGS),
            json!({ "terminated": { "exitCode": 137, "startedAt": "2026-01-01T10:00:00Z" } }),
        ),
        (shell, since(NOON)),
    ]);
    let now = NOON.parse().unwrap();
    let line = |it: &Debugger| {
        let tools: Vec<String> = it.tools.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let seconds = |duration: Option<Duration>| duration.map(|it| it.as_secs());
        format!(
            "{} {} [{}] {:?} idle {:?} ttl {:?} age {:?}{}",
            it.name,
            it.target,
            tools.join(", "),
            it.state,
            seconds(it.idle),
            seconds(it.ttl),
            seconds(it.age(now)),
            if it.attached { " attached" } else { "" }
        )
    };
    let lines = |all: &[Debugger]| all.iter().map(line).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(lines(&all(&pod)), @r#"
    kitbag-c proxy [] Starting("ErrImagePull") idle None ttl None age None
    kitbag-b app [strace 6.1] Running idle Some(60) ttl None age Some(1800) attached
    kitbag-a app [strace 6.1, tcpdump 4.99.6] Running idle Some(1800) ttl Some(28800) age Some(3600)
    kitbag-d app [strace 6.1] Ended(137) idle Some(1800) ttl Some(28800) age Some(7200)
    "#);
    insta::assert_snapshot!(lines(&running(&pod)), @r"
    kitbag-b app [strace 6.1] Running idle Some(60) ttl None age Some(1800) attached
    kitbag-a app [strace 6.1, tcpdump 4.99.6] Running idle Some(1800) ttl Some(28800) age Some(3600)
    ");
}

fn fitting_of(target: &str, tools: &[&str], covered: bool, containers: &[(Value, Value)]) -> Option<String> {
    let tools: Vec<Name> = tools.iter().map(|&tool| Name::try_from(tool.to_owned()).unwrap()).collect();
    let fits = |debugger: &Debugger| covered && debugger.context.run_as_user == Some(0);
    let wanted = Wanted { target, tools: &tools, fits: &fits };
    let pod = pod(containers);
    fitting(&running(&pod), &wanted, NOON.parse().unwrap()).map(|it| it.name.clone())
}

#[test]
fn the_newest_that_has_everything_is_entered_again() {
    let containers = [
        (container("kitbag-old", "app", "strace=6.1 tcpdump=4.99.6", FLAGS), since("2026-01-01T10:00:00Z")),
        (container("kitbag-mid", "app", "strace=6.1 tcpdump=4.99.6", FLAGS), since("2026-01-01T11:00:00Z")),
        (container("kitbag-new", "app", "strace=6.1", FLAGS), since("2026-01-01T11:30:00Z")),
        (container("kitbag-proxy", "proxy", "dig=9", FLAGS), since("2026-01-01T11:40:00Z")),
        (container("kitbag-busy", "app", "htop=3", &["attached", "--idle", "60"]), since("2026-01-01T11:50:00Z")),
    ];
    for (target, tools, covered, expected) in [
        ("app", &["strace"][..], true, Some("kitbag-new")),
        ("app", &["strace", "tcpdump"], true, Some("kitbag-mid")),
        ("app", &[], true, Some("kitbag-new")),
        ("proxy", &["dig"], true, Some("kitbag-proxy")),
        ("proxy", &["strace"], true, None),
        ("app", &["strace"], false, None),
        // It has its one session.
        ("app", &["htop"], true, None),
    ] {
        assert_eq!(
            fitting_of(target, tools, covered, &containers).as_deref(),
            expected,
            "{target} {tools:?} {covered}"
        );
    }
}

#[test]
fn one_that_is_about_to_end_is_not_entered() {
    for (ttl, started, expected) in [
        ("3600", "2026-01-01T11:02:00Z", true),
        ("3600", "2026-01-01T11:00:30Z", false),
        // The node's clock is ahead.
        ("3600", "2026-01-01T12:00:30Z", true),
    ] {
        let one = (container("kitbag-a", "app", "", &["--idle", "60", "--ttl", ttl]), since(started));
        assert_eq!(fitting_of("app", &[], true, &[one]).is_some(), expected, "{ttl} {started}");
    }
    let endless = (container("kitbag-a", "app", "", &["--idle", "60"]), since("2020-01-01T00:00:00Z"));
    assert!(fitting_of("app", &[], true, &[endless]).is_some());
}

#[test]
fn what_is_planned_is_read_again() {
    let planned = |level: Level, view: View| {
        let (needs, target) = (testing::needs("strace?target-attach"), testing::target(json!({}), json!({})));
        let candidates = candidates(&needs, &target, &Wishes::default());
        let candidate = candidates.iter().find(|candidate| candidate.level == level).unwrap();
        let image = Image { tools: "strace=6.1".to_owned(), needs, ..Image::default() };
        let plan = Plan {
            name: "kitbag-a",
            image: &image,
            target: &target,
            candidate,
            idle: Duration::from_secs(60),
            ttl: Duration::from_secs(600),
            user: None,
            reason: None,
            view,
            custom: None,
            attached: None,
        };
        let container = serde_json::to_value(plan::container(&plan).container).unwrap();
        (all(&pod(&[(container, since(NOON))])).remove(0), candidate.clone())
    };
    for (level, becomes) in [(Level::Exact, false), (Level::Baseline, true), (Level::Restricted, false)] {
        for view in [View { volumes: true, env: false }, View { volumes: false, env: true }] {
            let (found, candidate) = planned(level, view);
            assert_eq!((found.becomes, candidate.becomes, found.view), (becomes, becomes, view), "{level}");
            assert_eq!((found.level.as_deref(), &found.context), (Some(level.as_str()), &candidate.context));
            assert_eq!(found.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
        }
    }
}

proptest! {
    #[test]
    fn no_specification_makes_it_panic(text in "\\PC{0,40}", args in proptest::collection::vec("--(idle|ttl)?|[0-9]{0,30}|attached|\\PC{0,5}", 0..6)) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let found = all(&pod(&[(container("kitbag-a", "app", &text, &args), since(NOON))]));
        prop_assert_eq!(found.len(), 1);
        let _ = found[0].lasts(RESERVE, Timestamp::MAX);
    }
}
