//! The catalog's document, as far as an installation is concerned: which generation it is, and whether it can be one.

use serde_json::Value;

/// The longest document that a ConfigMap takes, in bytes: 1 MiB with all its keys.
pub const LIMIT: usize = 1_000_000;

/// Why a document is no catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogFault {
    /// It is no JSON object.
    #[error("it is not a catalog: {0}")]
    Syntax(String),
    /// It names no generation.
    #[error("it is not a catalog: it has no `generation`")]
    NoGeneration,
    /// It does not fit.
    #[error("it has {0} bytes, and a ConfigMap takes {LIMIT}")]
    TooLong(usize),
}

/// The id of the generation that `text` describes.
///
/// # Errors
/// [`CatalogFault`].
pub fn generation(text: &str) -> Result<String, CatalogFault> {
    if text.len() > LIMIT {
        return Err(CatalogFault::TooLong(text.len()));
    }
    let document: Value = serde_json::from_str(text).map_err(|error| CatalogFault::Syntax(error.to_string()))?;
    let id = document["generation"].as_str().filter(|id| !id.is_empty());
    id.map(str::to_owned).ok_or(CatalogFault::NoGeneration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_catalog_names_its_generation() {
        assert_eq!(generation(r#"{"generation":"5c729eb85204","tools":{}}"#).as_deref(), Ok("5c729eb85204"));
        let long = format!("\"{}\"", "x".repeat(LIMIT));
        let faults = ["", "[]", "{}", r#"{"generation":""}"#, r#"{"generation":7}"#, "<html>", &long];
        let faults = faults.map(|text| generation(text).unwrap_err().to_string());
        insta::assert_snapshot!(faults.join("\n"), @r"
        it is not a catalog: EOF while parsing a value at line 1 column 0
        it is not a catalog: it has no `generation`
        it is not a catalog: it has no `generation`
        it is not a catalog: it has no `generation`
        it is not a catalog: it has no `generation`
        it is not a catalog: expected value at line 1 column 1
        it has 1000002 bytes, and a ConfigMap takes 1000000
        ");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = generation(&text);
        }
    }
}
