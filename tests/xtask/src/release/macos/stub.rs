//! What a linker must know of a framework: its name, and what it holds. No file of Apple's is needed for that.

use std::{collections::BTreeSet, fs, io, path::Path};

/// What the crate in these directories declares of the framework, by the linker's names.
pub(super) fn symbols<'a>(crates: impl Iterator<Item = &'a Path>) -> io::Result<BTreeSet<String>> {
    let mut symbols = BTreeSet::new();
    for directory in crates {
        let files = fs::read_dir(directory.join("src"))?.map(|entry| Ok(entry?.path()));
        for file in files.collect::<io::Result<Vec<_>>>()?.iter().filter(|file| file.is_file()) {
            symbols.extend(declared(&fs::read_to_string(file)?));
        }
    }
    Ok(symbols)
}

/// Functions and variables that are public: some are the crate's own, which nobody will look for in the framework.
fn declared(source: &str) -> impl Iterator<Item = String> {
    let items = source.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("pub fn ").or_else(|| line.strip_prefix("pub static "))
    });
    items.map(|item| {
        let end = item.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(item.len());
        format!("_{}", &item[..end])
    })
}

/// The framework as a text-based stub.
pub(super) fn stub(name: &str, symbols: &BTreeSet<String>) -> String {
    let symbols: Vec<_> = symbols.iter().map(String::as_str).collect();
    format!(
        "\
--- !tapi-tbd
tbd-version: 4
targets: [ x86_64-macos, arm64-macos ]
install-name: '/System/Library/Frameworks/{name}.framework/Versions/A/{name}'
current-version: 1.0
exports:
  - targets: [ x86_64-macos, arm64-macos ]
    symbols: [ {} ]
...
",
        symbols.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_names_what_the_crate_declares() {
        let dir = tempfile::tempdir().unwrap();
        let source = "\
unsafe extern \"C\" {
    pub fn SecTrustEvaluateWithError(trust: SecTrustRef, error: *mut CFErrorRef) -> bool;
    pub static kSecClass: CFStringRef;
}
fn own() {}
pub type Other = u32;
";
        fs::create_dir_all(dir.path().join("src/below")).unwrap();
        fs::write(dir.path().join("src/trust.rs"), source).unwrap();
        let symbols = symbols([dir.path()].into_iter()).unwrap();
        let stub = stub("Security", &symbols);
        let expected = "    symbols: [ _SecTrustEvaluateWithError, _kSecClass ]\n...\n";
        assert!(stub.ends_with(expected), "{stub}");
        assert!(stub.contains("install-name: '/System/Library/Frameworks/Security.framework/Versions/A/Security'\n"));
    }
}
