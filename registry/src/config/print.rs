//! `kitbag-registry config`: the effective settings, and where each comes from. Of secrets there are only file names.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde_json::json;

use super::load::{Origin, Setting};

/// How settings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// As a file for `--config`.
    Toml,
}

/// The settings as text that ends with a line end.
pub(crate) fn print(settings: &[Setting], output: Output) -> String {
    match output {
        Output::Text => text(settings),
        Output::Json => json(settings),
        Output::Toml => toml(settings),
    }
}

fn text(settings: &[Setting]) -> String {
    let rows: Vec<[String; 3]> = settings
        .iter()
        .map(|setting| {
            let value = if setting.values.is_empty() { "-".to_owned() } else { setting.values.join(",") };
            [setting.name.clone(), value, setting.origin.to_string()]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (names, values) = (width(0), width(1));
    rows.iter().fold(String::new(), |mut text, [name, value, origin]| {
        let _ = writeln!(text, "{name:names$}  {value:values$}  {origin}");
        text
    })
}

fn json(settings: &[Setting]) -> String {
    let entry = |setting: &Setting| {
        let value = match &setting.values[..] {
            [] => json!(null),
            [value] => json!(value),
            values => json!(values),
        };
        let (from, place) = match &setting.origin {
            Origin::Flag(name) => ("flag", json!(name)),
            Origin::Environment(name) => ("environment", json!(name)),
            Origin::File(path, line) => ("file", json!(format!("{}:{line}", path.display()))),
            Origin::Default => ("default", json!(null)),
        };
        (setting.name.clone(), json!({ "value": value, "from": from, "place": place }))
    };
    let all: serde_json::Map<String, serde_json::Value> = settings.iter().map(entry).collect();
    format!("{:#}\n", serde_json::Value::Object(all))
}

fn toml(settings: &[Setting]) -> String {
    let mut text = String::new();
    for setting in settings.iter().filter(|setting| setting.name != "config") {
        let values: Vec<String> = setting.values.iter().map(|value| quoted(value)).collect();
        let _ = match &values[..] {
            [] => Ok(()),
            [value] => writeln!(text, "{} = {value}", setting.name),
            values => writeln!(text, "{} = [{}]", setting.name, values.join(", ")),
        };
    }
    text
}

fn quoted(value: &str) -> String {
    match value.parse::<u32>() {
        Ok(number) => number.to_string(),
        Err(_) => toml::Value::from(value).to_string(),
    }
}
