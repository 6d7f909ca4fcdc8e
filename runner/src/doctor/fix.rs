//! Commands that mend several things.

use super::facts::Who;

/// Installs, or installs anew: the registry's image where it is known.
pub(super) fn install(image: Option<&str>) -> String {
    let image = image.filter(|image| !image.is_empty()).unwrap_or("REFERENCE");
    format!("kubectl kitbag install --image {image} --catalog catalog.json")
}

/// What only some may do; others can pass it on.
pub(super) fn for_platform(who: &Who, fix: &str) -> String {
    if who.platform { fix.to_owned() } else { format!("# for the platform team:\n{fix}") }
}
