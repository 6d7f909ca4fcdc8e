//! The alerts, the dashboard, and the objects that bring them to the Prometheus operator.

use std::fs;
use std::path::Path;
use std::process::Command;

use kitbag_tests::deploy_tools;
use serde_json::{Value, json};

use super::{deploy, raw, template};

fn promtool(arguments: &[&str], file: &Path) {
    let program = deploy_tools::promtool(&mut |text| eprintln!("{text}")).unwrap();
    let output = Command::new(&program).args(arguments).arg(file).output().unwrap();
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}: {}", file.display(), told.join("\n"));
}

#[test]
fn alerts_and_dashboard_come_with_the_chart() {
    let objects = template("kitbag", &["monitoring.enabled=true"]);
    let rules = &objects[r#""PrometheusRule" "kitbag"/"kitbag""#]["spec"]["groups"][0]["rules"];
    assert!(rules.as_array().is_some_and(|rules| rules.iter().all(|rule| rule["alert"].is_string())), "{rules}");
    let dashboard = &objects[r#""ConfigMap" "kitbag"/"kitbag-dashboard""#]["data"]["kitbag.json"];
    let dashboard: Value = serde_json::from_str(dashboard.as_str().unwrap()).unwrap();
    assert!(dashboard["panels"].is_array());
    // Without ports on the node's network there is nothing to scrape.
    assert!(objects.values().all(|object| object["kind"] != "PodMonitor"), "{objects:?}");
}

#[test]
fn a_monitor_selects_the_pods_that_have_metrics() {
    let values =
        ["monitoring.enabled=true", "central.enabled=true", "node.metrics.enabled=true", "node.metrics.port=5106"];
    let objects = template("kitbag", &values);
    for (monitor, registry) in [("central", "Deployment"), ("node", "DaemonSet")] {
        let monitor = &objects[&format!(r#""PodMonitor" "kitbag"/"kitbag-{monitor}""#)]["spec"];
        let pod = &objects[&format!(r#""{registry}" "kitbag"/"registry""#)]["spec"]["template"];
        assert_eq!(monitor["selector"]["matchLabels"], pod["metadata"]["labels"], "{registry}");
        let ports = &pod["spec"]["containers"][0]["ports"];
        match monitor["podMetricsEndpoints"][0]["port"].as_str() {
            Some(port) => assert!(ports.as_array().unwrap().iter().any(|it| it["name"] == port), "{ports}"),
            None => {
                // Its target has no port but this one.
                assert!(ports.is_null(), "{ports}");
                let address = &monitor["podMetricsEndpoints"][0]["relabelings"][0];
                assert_eq!(address["targetLabel"], "__address__");
                assert_eq!(address["replacement"], "$1:5106");
            }
        }
    }
}

#[test]
fn an_operator_finds_the_objects_by_its_labels() {
    let values = [
        "monitoring.enabled=true,central.enabled=true,node.metrics.enabled=true",
        "monitoring.labels.release=kube-prometheus-stack",
        r"monitoring.labels.app\.kubernetes\.io/name=elsewhere",
        "monitoring.labels.grafana_dashboard=folder",
    ];
    let objects = raw(&values);
    let ours = objects.iter().filter(|it| it["metadata"]["labels"]["app.kubernetes.io/component"] == "monitoring");
    let ours: Vec<&Value> = ours.collect();
    assert_eq!(ours.len(), 4);
    for object in ours {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["release"], "kube-prometheus-stack");
        assert_eq!(labels["app.kubernetes.io/name"], "kitbag");
        assert_eq!(labels["grafana_dashboard"], "folder");
    }
}

#[test]
fn the_alerts_begin_when_they_should() {
    promtool(&["check", "rules"], &deploy("chart/files/rules.yaml"));
    promtool(&["test", "rules"], &deploy("chart/files/rules.test.yaml"));
}

#[test]
fn prometheus_understands_the_dashboard() {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(deploy("chart/files/dashboard.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions: Vec<String> = targets
        .map(|target| target["expr"].as_str().unwrap())
        // As Grafana fills them in.
        .map(|text| text.replace("$__rate_interval", "5m").replace("$job", "a|b").replace("$instance", "c|d"))
        .collect();
    assert!(expressions.len() >= 10, "{expressions:?}");
    let rules: Vec<Value> =
        expressions.iter().enumerate().map(|(at, it)| json!({ "record": format!("panel:{at}"), "expr": it })).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dashboard.yaml");
    fs::write(&file, json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string()).unwrap();
    promtool(&["check", "rules"], &file);
}
