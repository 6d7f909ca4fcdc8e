//! Software bills of materials: what a tool is made of, as SPDX 2.3 JSON.
//!
//! A pure function: the same build gives the same document, so nothing in it is random and no clock is read.

use kitbag_toolsets::compose::rfc3339;
use kitbag_toolsets::{Arch, canonical};
use serde_json::{Value, json};

/// What went into one tool for one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// The tool itself.
    pub tool: Component,
    /// Architecture of the build.
    pub architecture: Arch,
    /// Seconds since 1970; the document's date.
    pub source_date: i64,
    /// Hash of everything that went into the build, 64 hexadecimal digits.
    pub input_hash: String,
    /// What is linked into it or shipped with it.
    pub libraries: Vec<Component>,
    /// What ran while it was built: generators, compilers.
    pub build_tools: Vec<Component>,
}

/// A piece of software with its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Upstream's version.
    pub version: String,
    /// SPDX expression.
    pub license: String,
    /// Where upstream lives; may be empty.
    pub homepage: String,
    /// The archives that it is made from.
    pub sources: Vec<Archive>,
}

/// A pinned archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// File name.
    pub file: String,
    /// 64 hexadecimal digits.
    pub sha256: String,
    /// Where upstream has it, if it still has.
    pub url: Option<String>,
}

/// The document, as canonical JSON.
#[must_use]
pub fn spdx(bill: &Bill) -> Vec<u8> {
    let mut document = Document::default();
    let tool = document.component(&bill.tool);
    document.relate("SPDXRef-DOCUMENT", "DESCRIBES", &tool);
    for library in &bill.libraries {
        let library = document.component(library);
        document.relate(&tool, "STATIC_LINK", &library);
    }
    for build_tool in &bill.build_tools {
        let build_tool = document.component(build_tool);
        document.relate(&build_tool, "BUILD_TOOL_OF", &tool);
    }
    canonical::to_vec(&json!({
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "dataLicense": "CC0-1.0",
        "name": format!("{}-{}-{}", bill.tool.name, bill.tool.version, bill.architecture),
        "documentNamespace": namespace(bill),
        "creationInfo": { "created": rfc3339(bill.source_date), "creators": ["Tool: kitbag-builder"] },
        "packages": document.packages,
        "relationships": document.relationships,
    }))
}

#[derive(Default)]
struct Document {
    packages: Vec<Value>,
    relationships: Vec<Value>,
}

impl Document {
    /// Adds a component and its archives; gives the component's identifier.
    fn component(&mut self, component: &Component) -> String {
        let id = self.id(&component.name);
        let homepage = if component.homepage.is_empty() { "NOASSERTION" } else { &component.homepage };
        self.packages.push(json!({
            "SPDXID": id,
            "name": component.name,
            "versionInfo": component.version,
            "licenseDeclared": component.license,
            "licenseConcluded": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "downloadLocation": component.sources.iter().find_map(|s| s.url.as_deref()).unwrap_or("NOASSERTION"),
            "homepage": homepage,
            "filesAnalyzed": false,
        }));
        for source in &component.sources {
            let archive = self.archive(source);
            self.relate(&id, "GENERATED_FROM", &archive);
        }
        id
    }

    fn archive(&mut self, archive: &Archive) -> String {
        let id = self.id(&format!("source-{}", archive.file));
        self.packages.push(json!({
            "SPDXID": id,
            "name": archive.file,
            "packageFileName": archive.file,
            "primaryPackagePurpose": "SOURCE",
            "checksums": [{ "algorithm": "SHA256", "checksumValue": archive.sha256 }],
            "downloadLocation": archive.url.as_deref().unwrap_or("NOASSERTION"),
            "licenseDeclared": "NOASSERTION",
            "licenseConcluded": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "filesAnalyzed": false,
        }));
        id
    }

    /// An identifier for the next package: readable, of letters, digits, `.` and `-` (SPDX 2.3, clause 7.2), and unlike
    /// all others by its number.
    fn id(&self, name: &str) -> String {
        let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        format!("SPDXRef-{}-{}", self.packages.len(), name.chars().map(allowed).collect::<String>())
    }

    fn relate(&mut self, from: &str, how: &str, to: &str) {
        self.relationships.push(json!({
            "spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to,
        }));
    }
}

/// A URI of this document alone (SPDX 2.3, clause 6.5): a UUID of the custom version 8 (RFC 9562, section 5.8) made of
/// the input hash and the architecture.
fn namespace(bill: &Bill) -> String {
    let hash =
        canonical::sha256_hex(format!("{} {} {}", bill.tool.name, bill.architecture, bill.input_hash).as_bytes());
    format!("urn:uuid:{}-{}-8{}-8{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str, sources: &[(&str, Option<&str>)]) -> Component {
        let archive = |(file, url): &(&str, Option<&str>)| Archive {
            file: (*file).to_owned(),
            sha256: canonical::sha256_hex(file.as_bytes()),
            url: url.map(ToOwned::to_owned),
        };
        Component {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            license: "BSD-3-Clause".to_owned(),
            homepage: String::new(),
            sources: sources.iter().map(archive).collect(),
        }
    }

    fn bill() -> Bill {
        Bill {
            tool: Component {
                homepage: "https://www.tcpdump.org/".to_owned(),
                ..component("tcpdump", &[("tcpdump_1.0+ds.tar.gz", Some("https://www.tcpdump.org/release/x.tar.gz"))])
            },
            architecture: Arch::Amd64,
            source_date: 1_700_000_000,
            input_hash: "ab".repeat(32),
            libraries: vec![component("libpcap", &[("libpcap.tar.gz", None)])],
            build_tools: vec![component("flex", &[])],
        }
    }

    #[test]
    fn people_and_scanners_read_the_document() {
        let value: Value = serde_json::from_slice(&spdx(&bill())).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn every_reference_is_to_a_package_and_no_identifier_comes_twice() {
        let mut bill = bill();
        bill.libraries.push(component("tcpdump", &[("tcpdump_1.0+ds.tar.gz", None)]));
        let value: Value = serde_json::from_slice(&spdx(&bill)).unwrap();
        let packages = value["packages"].as_array().unwrap();
        let ids: std::collections::BTreeSet<&str> = packages.iter().map(|p| p["SPDXID"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), packages.len());
        for relationship in value["relationships"].as_array().unwrap() {
            let from = relationship["spdxElementId"].as_str().unwrap();
            assert!(from == "SPDXRef-DOCUMENT" || ids.contains(from), "{from}");
            assert!(ids.contains(relationship["relatedSpdxElement"].as_str().unwrap()));
        }
    }

    #[test]
    fn the_namespace_follows_the_inputs() {
        let other = Bill { input_hash: "cd".repeat(32), ..bill() };
        let arm = Bill { architecture: Arch::Arm64, ..bill() };
        assert_ne!(namespace(&bill()), namespace(&other));
        assert_ne!(namespace(&bill()), namespace(&arm));
        assert_eq!(namespace(&bill()).len(), "urn:uuid:".len() + 36);
    }
}
