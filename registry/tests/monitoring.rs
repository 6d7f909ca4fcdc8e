//! The alerts and the dashboard of the chart are about metrics that the registry has.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use kitbag_registry::metrics::{Kind, Metrics, render};

/// Names of metrics in a text: words that begin as ours do.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("kitbag_registry_") || word.starts_with("process_")).collect()
}

/// What a registry shows that has answered something.
fn shown() -> String {
    let (metrics, names) = Metrics::new();
    metrics.serve(["5c729eb85204"]);
    metrics.request(Kind::Manifest, StatusCode::OK, 1, Duration::from_micros(5));
    render(&names)
}

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/chart/files").join(name)).unwrap()
}

#[test]
fn whatever_is_watched_is_there() {
    let shown = shown();
    let there = names(&shown);
    for name in ["rules.yaml", "rules.test.yaml", "dashboard.json"] {
        let text = file(name);
        let missing: Vec<_> = names(&text).difference(&there).copied().collect();
        assert_eq!(missing, [""; 0], "{name}");
    }
}

#[test]
fn what_is_worth_an_alert_or_a_look_is_watched() {
    let text = file("rules.yaml") + &file("dashboard.json");
    let watched = names(&text);
    for name in [
        "kitbag_registry_blobs_damaged",
        // What tells the registry's process from others.
        "kitbag_registry_build_info",
        "kitbag_registry_composed_total",
        "kitbag_registry_connections_refused_total",
        "kitbag_registry_generation",
        "kitbag_registry_request_duration_seconds_bucket",
        "kitbag_registry_requests_total",
        "kitbag_registry_store_refusals_total",
        "process_anonymous_memory_bytes",
        "process_cpu_seconds_total",
    ] {
        assert!(watched.contains(name), "{name}");
    }
}

#[test]
fn the_dashboard_has_a_place_for_each_panel() {
    let dashboard: serde_json::Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert((x, y)), "{} lies upon another", panel["title"]);
        }
    }
}
