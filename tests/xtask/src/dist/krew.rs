//! The manifest by which krew, kubectl's manager of plugins, finds and checks the plugin (krew's developer guide, "Writing
//! Krew plugin manifests").

/// The plugin for one platform.
pub(super) struct Platform<'a> {
    /// As Go names it.
    pub(super) arch: &'a str,
    /// The archive's file name.
    pub(super) archive: String,
    /// Of the archive.
    pub(super) sha256: String,
}

/// The manifest; `url` is where the archives are, `version` begins with a `v`.
pub(super) fn manifest(version: &str, url: &str, platforms: &[Platform<'_>]) -> String {
    let url = url.trim_end_matches('/');
    let platforms: String = platforms.iter().map(|platform| entry(url, version, platform)).collect();
    format!(
        "\
apiVersion: krew.googlecontainertools.github.com/v1alpha2
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

fn entry(url: &str, version: &str, Platform { arch, archive, sha256 }: &Platform<'_>) -> String {
    format!(
        "  - selector:
      matchLabels:
        os: linux
        arch: {arch}
    uri: {url}/{version}/{archive}
    sha256: {sha256}
    bin: kubectl-kitbag
    files:
      - from: kubectl-kitbag
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
        let platform = |arch| Platform { arch, archive: format!("a_{arch}.tar.gz"), sha256: "0".repeat(64) };
        let text = manifest("v1.2.3", "https://tool.example/releases/", &[platform("amd64"), platform("arm64")]);
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
        os: linux
        arch: arm64
    uri: https://tool.example/releases/v1.2.3/a_arm64.tar.gz
";
        assert!(text.contains(expected), "{text}");
        assert!(text.starts_with("apiVersion: krew.googlecontainertools.github.com/v1alpha2\nkind: Plugin\n"));
    }
}
