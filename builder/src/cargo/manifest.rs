//! A manifest of the workspace, made to stand alone. Pure.

use std::collections::BTreeSet;

use toml::{Table, Value};

/// The manifest `member` with all that it inherits from `workspace` written out, without what only development needs.
///
/// # Errors
/// What does not fit, in words.
pub fn standalone(member: &str, workspace: &str) -> Result<Table, String> {
    let member: Table = member.parse().map_err(|error| format!("the member's manifest: {error}"))?;
    let workspace: Table = workspace.parse().map_err(|error| format!("the workspace's manifest: {error}"))?;
    let workspace = workspace.get("workspace").and_then(Value::as_table).ok_or("there is no `[workspace]`")?;
    let section = |name: &str| workspace.get(name).and_then(Value::as_table).cloned().unwrap_or_default();
    let mut package = member.get("package").and_then(Value::as_table).cloned().ok_or("there is no `[package]`")?;
    let inherited = section("package");
    for (key, value) in &mut package {
        if inherits(value) {
            *value = inherited.get(key).cloned().ok_or_else(|| format!("the workspace has no `{key}` to inherit"))?;
        }
    }
    let mut dependencies = member.get("dependencies").and_then(Value::as_table).cloned().unwrap_or_default();
    let inherited = section("dependencies");
    for (name, value) in &mut dependencies {
        if inherits(value) {
            let from = inherited.get(name).ok_or_else(|| format!("the workspace has no dependency `{name}`"))?;
            *value = merged(value, from);
        }
    }
    let profile: Table = PROFILE.parse().map_err(|error| format!("the profile: {error}"))?;
    let mut all = Table::new();
    all.insert("package".to_owned(), package.into());
    all.insert("dependencies".to_owned(), dependencies.into());
    // Whatever stands in a directory above is none of its business.
    all.insert("workspace".to_owned(), Table::new().into());
    all.extend(profile);
    Ok(all)
}

/// Small before quick: it is in every image.
const PROFILE: &str = "[profile.release]\nopt-level = 'z'\nlto = 'fat'\ncodegen-units = 1\npanic = 'abort'\n\
                       strip = 'symbols'\ndebug = false\n";

/// Names of the packages that a manifest depends on.
#[must_use]
pub fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let dependencies = manifest.get("dependencies").and_then(Value::as_table).cloned().unwrap_or_default();
    let package =
        |(name, value): (String, Value)| value.get("package").and_then(Value::as_str).map_or(name, str::to_owned);
    dependencies.into_iter().map(package).collect()
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// The workspace's dependency with the member's additions: features add up, the rest is the member's.
fn merged(member: &Value, workspace: &Value) -> Value {
    let mut all = match workspace {
        Value::Table(table) => table.clone(),
        version => [("version".to_owned(), version.clone())].into_iter().collect(),
    };
    for (key, value) in member.as_table().into_iter().flatten().filter(|(key, _)| *key != "workspace") {
        match (all.get_mut(key), value) {
            (Some(Value::Array(features)), Value::Array(more)) if key == "features" => features.extend(more.clone()),
            _ => drop(all.insert(key.clone(), value.clone())),
        }
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "[workspace]\nmembers = ['a']\n[workspace.package]\nversion = '1.2.3'\nedition = '2024'\n\
                             [workspace.dependencies]\nplain = '1'\nrich = { version = '2', default-features = false, features = ['x'] }\n";

    #[test]
    fn what_was_inherited_is_written_out() {
        let member = "[package]\nname = 'a'\nversion.workspace = true\nedition.workspace = true\n[lints]\nworkspace = true\n\
                      [dependencies]\nplain.workspace = true\nrich = { workspace = true, features = ['y'] }\nown = '3'\n\
                      [dev-dependencies]\ntempfile.workspace = true\n";
        let manifest = standalone(member, WORKSPACE).unwrap();
        assert_eq!(dependencies(&manifest), ["own", "plain", "rich"].map(str::to_owned).into());
        insta::assert_snapshot!(manifest.to_string(), @r#"
        [dependencies]
        own = "3"

        [dependencies.plain]
        version = "1"

        [dependencies.rich]
        default-features = false
        features = ["x", "y"]
        version = "2"

        [package]
        edition = "2024"
        name = "a"
        version = "1.2.3"

        [profile.release]
        codegen-units = 1
        debug = false
        lto = "fat"
        opt-level = "z"
        panic = "abort"
        strip = "symbols"

        [workspace]
        "#);
    }

    #[test]
    fn what_cannot_be_inherited_is_named() {
        let error = |more: &str| standalone(&format!("[package]\nname = 'a'\n{more}"), WORKSPACE).unwrap_err();
        assert_eq!(error("license.workspace = true"), "the workspace has no `license` to inherit");
        assert_eq!(error("[dependencies]\ngone.workspace = true"), "the workspace has no dependency `gone`");
    }
}
