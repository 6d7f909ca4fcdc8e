use super::*;
use crate::plan::INIT;
use serde_json::json;

/// `NAME TARGET TOOL MINUTE`, and `attached`, `starting` or `ended`: a debug container that was started in that minute.
fn pod(lines: &[&str]) -> Pod {
    let mut specs = Vec::new();
    let mut statuses = Vec::new();
    for line in lines {
        let [name, target, tool, minute, state] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let started = format!("2026-01-01T11:{minute}:00Z");
        let command: &[&str] = if state == "attached" { &[INIT, "attached", "--idle", "9"] } else { &[INIT] };
        let state = match state {
            "starting" => json!({ "waiting": { "reason": "ErrImagePull" } }),
            "ended" => json!({ "terminated": { "exitCode": 0, "startedAt": started } }),
            _ => json!({ "running": { "startedAt": started } }),
        };
        specs.push(json!({ "name": name, "command": command, "env": [
            { "name": "KITBAG_TARGET", "value": target },
            { "name": "KITBAG_TOOLS", "value": format!("{tool}=1") },
        ] }));
        statuses.push(json!({ "name": name, "state": state }));
    }
    let pod = json!({
        "metadata": { "name": "shop", "namespace": "web" },
        "spec": { "containers": [], "ephemeralContainers": specs },
        "status": { "ephemeralContainerStatuses": statuses },
    });
    serde_json::from_value(pod).unwrap()
}

const PODS: [&str; 6] = [
    "kitbag-a app strace 10 runs",
    "kitbag-b app busybox 20 runs",
    "kitbag-c proxy strace 15 runs",
    "kitbag-d app strace 30 attached",
    "kitbag-e app strace 05 ended",
    "kitbag-f app strace 00 starting",
];

fn chosen(lines: &[&str], name: Option<&str>) -> String {
    match choose(&pod(lines), name) {
        Ok(debugger) => debugger.name,
        Err(error) => {
            format!("{}: {error}\n  hint: {}", error.kind().exit_code(), error.hint().unwrap())
        }
    }
}

#[test]
fn the_newest_that_takes_a_session_is_meant_unless_one_is_named() {
    insta::assert_snapshot!([
        chosen(&PODS, None),
        chosen(&PODS, Some("kitbag-a")),
        chosen(&PODS, Some("proxy")),
        chosen(&PODS, Some("app")),
        chosen(&PODS, Some("nope")),
        chosen(&PODS, Some("kitbag-d")),
        chosen(&PODS, Some("kitbag-e")),
        chosen(&PODS, Some("kitbag-f")),
        chosen(&PODS[3..4], None),
        chosen(&PODS[4..], None),
    ].join("\n"), @r"
    kitbag-b
    kitbag-a
    kitbag-c
    kitbag-b
    66: no debug container runs in pod `shop` beside container `nope`
      hint: `kubectl kitbag debug shop` adds one
    67: debug container `kitbag-d` of pod `shop` was made for one session, and has it
      hint: `kubectl kitbag debug shop` adds another; where `pods/exec` is permitted, one serves many sessions
    67: debug container `kitbag-e` of pod `shop` does not run: ended (0)
      hint: `kubectl kitbag debug shop` adds one
    67: debug container `kitbag-f` of pod `shop` does not run: starting (ErrImagePull)
      hint: `kubectl kitbag debug shop` adds one
    67: debug container `kitbag-d` of pod `shop` was made for one session, and has it
      hint: `kubectl kitbag debug shop` adds another; where `pods/exec` is permitted, one serves many sessions
    66: no debug container runs in pod `shop`
      hint: `kubectl kitbag debug shop` adds one
    ");
}

#[test]
fn all_that_run_are_to_end_unless_one_is_named() {
    let ended =
        |name: Option<&str>| to_end(&pod(&PODS), name).into_iter().map(|it| it.name).collect::<Vec<_>>().join(" ");
    assert_eq!(ended(None), "kitbag-d kitbag-b kitbag-c kitbag-a");
    assert_eq!(ended(Some("kitbag-c")), "kitbag-c");
    assert_eq!(ended(Some("app")), "kitbag-d kitbag-b kitbag-a");
    assert_eq!(ended(Some("kitbag-e")), "");
}

#[test]
fn a_shell_is_run_where_there_is_one() {
    let catalog = Catalog::builtin().unwrap();
    let run = |tool: &str, words: &[&str]| {
        let debugger = choose(&pod(&[&format!("kitbag-a app {tool} 10 runs")]), None).unwrap();
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        command(&debugger, &words, &catalog).map(|words| words.join(" ")).map_err(|error| error.to_string())
    };
    assert_eq!(run("busybox", &[]).as_deref(), Ok("sh"));
    assert_eq!(run("from-a-newer-catalog", &[]).as_deref(), Ok("sh"));
    assert_eq!(run("strace", &["strace", "-p", "1"]).as_deref(), Ok("strace -p 1"));
    assert_eq!(run("strace", &[]).unwrap_err(), "debug container `kitbag-a` has no shell: its tools are strace");
}
