//! The manifest by which krew, kubectl's manager of plugins, finds and checks the plugin (krew's developer guide, "Writing
//! Krew plugin manifests").

/// The plugin for one platform.
pub(super) struct Platform<'a> {
    /// The operating system, as Go names it.
    pub(super) os: &'a str,
    /// The architecture, as Go names it.
    pub(super) arch: &'a str,
    /// The plugin's file name there.
    pub(super) program: &'a str,
    /// The archive's file name.
    pub(super) archive: String,
    /// Of the archive.
    pub(super) sha256: String,
}

/// Where archives are that nobody has published: a name that never resolves (RFC 2606).
const NOWHERE: &str = "https://kitbag.invalid/releases";
const UNPUBLISHED: &str = "\
# The archives are nowhere yet: `cargo xtask dist --url URL` names the place. To try this one,
#   kubectl krew install --manifest=kitbag.yaml --archive=kubectl-kitbag_VERSION_OS_ARCH.tar.gz (or .zip)
";

/// The manifest; `url` is where the archives are, if they are anywhere, `version` begins with a `v`.
pub(super) fn manifest(version: &str, url: Option<&str>, platforms: &[Platform<'_>]) -> String {
    let note = if url.is_some() { "" } else { UNPUBLISHED };
    let url = url.unwrap_or(NOWHERE).trim_end_matches('/');
    let platforms: String = platforms.iter().map(|platform| entry(url, version, platform)).collect();
    format!(
        "\
{note}apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: kitbag
spec:
  version: {version}
  shortDescription: Debug running pods with tools that they lack
  description: |
    Injects an image of just the tools that you name (strace, tcpdump, dig,
    htop and more) into a running pod as an ephemeral container, with just
    the privileges that these tools need.
  platforms:
{platforms}"
    )
}

fn entry(url: &str, version: &str, platform: &Platform<'_>) -> String {
    let Platform { os, arch, program, archive, sha256 } = platform;
    format!(
        "  - selector:
      matchLabels:
        os: {os}
        arch: {arch}
    uri: {url}/{version}/{archive}
    sha256: {sha256}
    bin: {program}
    files:
      - from: {program}
        to: .
      - from: LICENSE-*
        to: .
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn krew_finds_each_platform() {
        let platform = |os, arch, program| {
            let archive = format!("a_{arch}.tar.gz");
            Platform { os, arch, program, archive, sha256: "0".repeat(64) }
        };
        let platforms =
            [platform("linux", "amd64", "kubectl-kitbag"), platform("windows", "amd64", "kubectl-kitbag.exe")];
        let text = manifest("v1.2.3", Some("https://tool.example/releases/"), &platforms);
        let expected = "\
  platforms:
  - selector:
      matchLabels:
        os: linux
        arch: amd64
    uri: https://tool.example/releases/v1.2.3/a_amd64.tar.gz
    sha256: 0000000000000000000000000000000000000000000000000000000000000000
    bin: kubectl-kitbag
    files:
      - from: kubectl-kitbag
        to: .
      - from: LICENSE-*
        to: .
  - selector:
      matchLabels:
        os: windows
        arch: amd64
    uri: https://tool.example/releases/v1.2.3/a_amd64.tar.gz
    sha256: 0000000000000000000000000000000000000000000000000000000000000000
    bin: kubectl-kitbag.exe
    files:
      - from: kubectl-kitbag.exe
        to: .
      - from: LICENSE-*
        to: .
";
        assert!(text.contains(expected), "{text}");
        let start = "apiVersion: krew.googlecontainertools.github.com/v1alpha2\nkind: Plugin\n";
        assert!(text.starts_with(start), "{text}");
        let unpublished = manifest("v1.2.3", None, &platforms);
        assert!(unpublished.starts_with("# The archives are nowhere yet"), "{unpublished}");
        assert!(unpublished.contains("uri: https://kitbag.invalid/releases/v1.2.3/a_amd64.tar.gz"), "{unpublished}");
    }
}
