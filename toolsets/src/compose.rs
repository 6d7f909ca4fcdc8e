//! Composition: from a generation and a tool set to the config, the manifests and the index of an image.
//!
//! A pure function: the same generation and set give the same bytes in the registry, the builder and the plugin.
//! (OCI image specification 1.1: "image configuration", "image manifest", "image index".)

use std::collections::BTreeMap;

use oci_spec::image::{Digest, MediaType};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::canonical;
use crate::generation::{BlobRef, Generation, ToolRecord, sha256_digest};
use crate::names::Name;
use crate::platform::Arch;
use crate::resolve::ToolSet;

/// Annotation: the tools and their versions, `strace=6.1 tcpdump=4.99.6`.
pub const TOOLS_ANNOTATION: &str = "dev.kitbag.tools";
/// Annotation: the needs of each tool, JSON: `{"strace":{"optional":["target-attach"]}}`.
pub const NEEDS_ANNOTATION: &str = "dev.kitbag.needs";
/// Annotation: the generation's id.
pub const GENERATION_ANNOTATION: &str = "dev.kitbag.generation";
/// Annotation of the descriptors of zstd manifests, as containers/image reads and writes it.
const ZSTD_ANNOTATION: &str = "io.github.containers.compression.zstd";

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CERTIFICATES: &str = "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt";

/// How the layers of a manifest are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// gzip: every client reads it.
    Gzip,
    /// zstd: smaller, and faster to unpack.
    Zstd,
}

/// The bytes of a config, manifest or index, with what clients are told about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What is served.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Media type of the bytes.
    pub media_type: MediaType,
}

/// A composed image: an index and what it names.
///
/// The index lists, for each platform, the gzip manifest, then for each platform the zstd manifest (with the annotation
/// by which containers/image tells them apart): clients that take the first match get gzip.
#[derive(Clone, Debug)]
pub struct Image {
    /// The index.
    pub index: Document,
    /// Each platform that has all the tools, in the order of [`Arch::ALL`].
    pub platforms: Vec<PlatformImage>,
}

/// The image for one platform.
#[derive(Clone, Debug)]
pub struct PlatformImage {
    /// Its architecture.
    pub arch: Arch,
    /// Its config, which does not depend on the compression.
    pub config: Document,
    /// Manifest with gzip layers.
    pub gzip: Document,
    /// Manifest with zstd layers.
    pub zstd: Document,
    /// The layers: base first, then the tools by rank.
    pub layers: Vec<ToolRecord>,
}

/// Why there is no such image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// No platform has every tool of the set.
    #[error("no platform has all of these tools: {}", lacks(.0))]
    NoPlatform(Vec<(Arch, Vec<Name>)>),
    /// The generation has no base layer.
    #[error("the generation has no base layer: build `base`")]
    NoBase,
}

fn lacks(platforms: &[(Arch, Vec<Name>)]) -> String {
    let line = |(arch, tools): &(Arch, Vec<Name>)| {
        let tools: Vec<String> = tools.iter().map(|tool| format!("`{tool}`")).collect();
        format!("linux/{arch} lacks {}", tools.join(", "))
    };
    platforms.iter().map(line).collect::<Vec<_>>().join("; ")
}

impl Generation {
    /// Composes the image of `set`.
    ///
    /// # Errors
    /// [`ComposeError`] where no platform can have it.
    pub fn compose(&self, set: &ToolSet) -> Result<Image, ComposeError> {
        let mut platforms = Vec::new();
        let mut lacking = Vec::new();
        for arch in Arch::ALL {
            let Some(base) = self.base().get(&arch) else { continue };
            let record = |tool: &Name| self.tools().get(tool).and_then(|platforms| platforms.get(&arch));
            let missing: Vec<Name> = set.tools().iter().filter(|tool| record(tool).is_none()).cloned().collect();
            if missing.is_empty() {
                let layers: Vec<&ToolRecord> =
                    std::iter::once(base).chain(set.tools().iter().filter_map(record)).collect();
                platforms.push(self.platform_image(arch, &layers));
            } else {
                lacking.push((arch, missing));
            }
        }
        match (platforms.is_empty(), lacking.is_empty()) {
            (false, _) => Ok(Image { index: self.index(&platforms), platforms }),
            (true, true) => Err(ComposeError::NoBase),
            (true, false) => Err(ComposeError::NoPlatform(lacking)),
        }
    }

    fn platform_image(&self, arch: Arch, layers: &[&ToolRecord]) -> PlatformImage {
        let config = config(arch, layers);
        let manifest = |compression| self.manifest(&config, layers, compression);
        PlatformImage {
            arch,
            gzip: manifest(Compression::Gzip),
            zstd: manifest(Compression::Zstd),
            layers: layers.iter().map(|&layer| layer.clone()).collect(),
            config,
        }
    }

    fn manifest(&self, config: &Document, layers: &[&ToolRecord], compression: Compression) -> Document {
        let layers_json: Vec<Value> = layers
            .iter()
            .map(|record| {
                let blob = record.blob(compression);
                json!({ "mediaType": compression.media_type(), "digest": blob.digest, "size": blob.size })
            })
            .collect();
        Document::new(
            MediaType::ImageManifest,
            &json!({
                "schemaVersion": 2,
                "mediaType": MediaType::ImageManifest,
                "config": { "mediaType": MediaType::ImageConfig, "digest": config.digest, "size": config.bytes.len() },
                "layers": layers_json,
                "annotations": self.annotations(layers),
            }),
        )
    }

    fn index(&self, platforms: &[PlatformImage]) -> Document {
        let descriptor = |platform: &PlatformImage, compression| {
            let manifest = platform.manifest(compression);
            let mut descriptor = json!({
                "mediaType": MediaType::ImageManifest,
                "digest": manifest.digest,
                "size": manifest.bytes.len(),
                "platform": { "architecture": platform.arch, "os": "linux" },
            });
            if compression == Compression::Zstd {
                descriptor["annotations"] = json!({ ZSTD_ANNOTATION: "true" });
            }
            descriptor
        };
        let gzip = platforms.iter().map(|platform| descriptor(platform, Compression::Gzip));
        let zstd = platforms.iter().map(|platform| descriptor(platform, Compression::Zstd));
        let layers: Vec<&ToolRecord> = platforms.first().map(|first| first.layers.iter().collect()).unwrap_or_default();
        Document::new(
            MediaType::ImageIndex,
            &json!({
                "schemaVersion": 2,
                "mediaType": MediaType::ImageIndex,
                "manifests": gzip.chain(zstd).collect::<Vec<_>>(),
                "annotations": self.annotations(&layers),
            }),
        )
    }

    fn annotations(&self, layers: &[&ToolRecord]) -> BTreeMap<&'static str, String> {
        let tools: Vec<&ToolRecord> = tools(layers).collect();
        let needs: BTreeMap<&Name, _> = tools.iter().map(|tool| (&tool.name, &tool.needs)).collect();
        BTreeMap::from([
            (TOOLS_ANNOTATION, versions(&tools)),
            (NEEDS_ANNOTATION, canonical::to_string(&needs)),
            (GENERATION_ANNOTATION, self.id().to_string()),
        ])
    }
}

/// The config knows nothing of the generation: as long as its tools stay the same, so does its digest.
fn config(arch: Arch, layers: &[&ToolRecord]) -> Document {
    let tools: Vec<&ToolRecord> = tools(layers).collect();
    let created = rfc3339(layers.iter().map(|layer| layer.source_date).max().unwrap_or_default());
    let shell = tools.iter().any(|tool| tool.commands.iter().any(|command| command == "sh"));
    let command = if shell { Some("sh") } else { tools.first().and_then(|tool| Some(tool.commands.first()?.as_str())) };
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let licenses: BTreeMap<&str, ()> = layers.iter().map(|layer| (layer.license.as_str(), ())).collect();
    let licenses: Vec<String> = licenses
        .into_keys()
        .map(|license| if license.contains(' ') { format!("({license})") } else { license.to_owned() })
        .collect();
    let history: Vec<Value> = layers
        .iter()
        .map(|layer| {
            json!({
                "created": rfc3339(layer.source_date),
                "created_by": format!("kitbag: {} {}", layer.name, layer.version),
            })
        })
        .collect();
    Document::new(
        MediaType::ImageConfig,
        &json!({
            "architecture": arch,
            "os": "linux",
            "created": created,
            "config": {
                "Env": [PATH, CERTIFICATES],
                "Cmd": command.into_iter().collect::<Vec<_>>(),
                "Labels": {
                    "org.opencontainers.image.created": created,
                    "org.opencontainers.image.licenses": licenses.join(" AND "),
                    "org.opencontainers.image.title": names.join("/"),
                    "org.opencontainers.image.description": format!("debugging tools: {}", versions(&tools)),
                },
            },
            "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>() },
            "history": history,
        }),
    )
}

fn tools<'a>(layers: &'a [&'a ToolRecord]) -> impl Iterator<Item = &'a ToolRecord> {
    layers.iter().filter(|layer| !layer.base).copied()
}

fn versions(tools: &[&ToolRecord]) -> String {
    let pairs: Vec<String> = tools.iter().map(|tool| format!("{}={}", tool.name, tool.version)).collect();
    pairs.join(" ")
}

/// Seconds since 1970, as RFC 3339 in UTC. Dates that the calendar cannot hold become its beginning.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    date.format(&Rfc3339).unwrap_or_default()
}

impl Compression {
    /// Media type of a layer (image specification, "media types").
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

impl ToolRecord {
    /// The layer in one of its compressions.
    #[must_use]
    pub const fn blob(&self, compression: Compression) -> &BlobRef {
        match compression {
            Compression::Gzip => &self.gzip,
            Compression::Zstd => &self.zstd,
        }
    }
}

impl PlatformImage {
    /// The manifest in one of its compressions.
    #[must_use]
    pub const fn manifest(&self, compression: Compression) -> &Document {
        match compression {
            Compression::Gzip => &self.gzip,
            Compression::Zstd => &self.zstd,
        }
    }
}

impl Image {
    /// The index or manifest with this digest.
    #[must_use]
    pub fn manifest(&self, digest: &Digest) -> Option<&Document> {
        let manifests = self.platforms.iter().flat_map(|platform| [&platform.gzip, &platform.zstd]);
        std::iter::once(&self.index).chain(manifests).find(|document| document.digest == *digest)
    }

    /// The config with this digest.
    #[must_use]
    pub fn config(&self, digest: &Digest) -> Option<&Document> {
        self.platforms.iter().map(|platform| &platform.config).find(|document| document.digest == *digest)
    }

    /// The layer with this digest.
    #[must_use]
    pub fn layer(&self, digest: &Digest) -> Option<&BlobRef> {
        let layers = self.platforms.iter().flat_map(|platform| &platform.layers);
        layers.flat_map(|layer| [&layer.gzip, &layer.zstd]).find(|blob| blob.digest == *digest)
    }
}

impl Document {
    fn new(media_type: MediaType, value: &Value) -> Self {
        let bytes = canonical::to_vec(value);
        Self { digest: sha256_digest(&canonical::sha256_hex(&bytes)), bytes, media_type }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::write_generation;
    use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};

    fn record(name: &str, rank: u32, arch: Arch, needs: &str) -> ToolRecord {
        let digest = |salt: &str| sha256_digest(&canonical::sha256_hex(format!("{name}{arch}{salt}").as_bytes()));
        ToolRecord {
            name: Name::parse(name).unwrap(),
            base: name == "base",
            version: "1.0".to_owned(),
            architecture: arch,
            rank,
            summary: String::new(),
            license: "MIT".to_owned(),
            commands: if name == "busybox" { vec!["busybox".into(), "sh".into()] } else { vec![name.to_owned()] },
            needs: serde_json::from_str(needs).unwrap(),
            source_date: 1_700_000_000 + i64::from(rank),
            input_hash: "0".repeat(64),
            diff_id: digest("tar"),
            gzip: BlobRef { digest: digest("gzip"), size: 1000 },
            zstd: BlobRef { digest: digest("zstd"), size: 900 },
        }
    }

    fn generation() -> Generation {
        let mut records = Vec::new();
        for arch in Arch::ALL {
            records.push(record("base", 0, arch, "{}"));
            records.push(record("busybox", 100, arch, "{}"));
            records.push(record("strace", 200, arch, r#"{"optional":["target-attach"]}"#));
        }
        records.push(record("tcpdump", 210, Arch::Amd64, r#"{"required":["raw-socket"]}"#));
        let described = |record: ToolRecord| {
            let descriptor = Descriptor::new(MediaType::ImageManifest, 7_u64, record.diff_id.clone());
            (record, descriptor)
        };
        let sets = BTreeMap::from([(Name::parse("shell").unwrap(), vec![Name::parse("busybox").unwrap()])]);
        Generation::parse(&write_generation(&records.into_iter().map(described).collect::<Vec<_>>(), &sets)).unwrap()
    }

    fn compose(path: &str) -> Result<Image, ComposeError> {
        let generation = generation();
        generation.compose(&generation.resolve(&path.parse().unwrap()).unwrap())
    }

    #[test]
    fn documents_are_what_the_specification_says() {
        let image = compose("strace/shell").unwrap();
        let index: ImageIndex = serde_json::from_slice(&image.index.bytes).unwrap();
        assert_eq!(index.manifests().len(), 4);
        for platform in &image.platforms {
            let config: ImageConfiguration = serde_json::from_slice(&platform.config.bytes).unwrap();
            let diff_ids: Vec<String> = platform.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
            assert_eq!(config.rootfs().diff_ids(), &diff_ids);
            for manifest in [&platform.gzip, &platform.zstd] {
                let parsed: ImageManifest = serde_json::from_slice(&manifest.bytes).unwrap();
                assert_eq!(parsed.config().digest(), &platform.config.digest);
                assert_eq!(parsed.layers().len(), 3);
                assert!(index.manifests().iter().any(|descriptor| descriptor.digest() == &manifest.digest));
            }
        }
    }

    #[test]
    fn people_read_the_config_and_the_manifest() {
        let image = compose("tcpdump/strace").unwrap();
        let pretty = |document: &Document| {
            serde_json::to_string_pretty(&serde_json::from_slice::<Value>(&document.bytes).unwrap()).unwrap()
        };
        insta::assert_snapshot!("config", pretty(&image.platforms[0].config));
        insta::assert_snapshot!("manifest", pretty(&image.platforms[0].gzip));
        insta::assert_snapshot!("index", pretty(&image.index));
    }

    #[test]
    fn digests_are_a_function_of_the_set() {
        let golden = compose("strace/shell").unwrap().index.digest;
        insta::assert_snapshot!(golden.to_string());
        assert_eq!(compose("sh/strace/busybox").unwrap().index.digest, golden);
        assert_ne!(compose("strace").unwrap().index.digest, golden);
    }

    #[test]
    fn a_platform_that_lacks_a_tool_is_left_out() {
        let image = compose("strace/tcpdump").unwrap();
        assert_eq!(image.platforms.iter().map(|platform| platform.arch).collect::<Vec<_>>(), [Arch::Amd64]);
        let generation = generation();
        let set = generation.resolve(&"tcpdump".parse().unwrap()).unwrap();
        let mut without = generation;
        without = {
            let records: Vec<_> = without
                .records()
                .filter(|record| record.architecture == Arch::Arm64)
                .map(|record| {
                    (record.clone(), Descriptor::new(MediaType::ImageManifest, 7_u64, record.diff_id.clone()))
                })
                .collect();
            Generation::parse(&write_generation(&records, &BTreeMap::new())).unwrap()
        };
        assert_eq!(
            without.compose(&set).unwrap_err().to_string(),
            "no platform has all of these tools: linux/arm64 lacks `tcpdump`"
        );
    }

    #[test]
    fn the_command_is_a_shell_or_the_first_tool() {
        let command = |path: &str| {
            let image = compose(path).unwrap();
            let config: ImageConfiguration = serde_json::from_slice(&image.platforms[0].config.bytes).unwrap();
            config.config().as_ref().unwrap().cmd().clone().unwrap()
        };
        assert_eq!(command("strace"), ["strace"]);
        assert_eq!(command("strace/shell"), ["sh"]);
    }

    #[test]
    fn everything_in_an_image_is_found_by_digest() {
        let image = compose("strace").unwrap();
        for platform in &image.platforms {
            assert_eq!(image.manifest(&platform.zstd.digest), Some(&platform.zstd));
            assert_eq!(image.config(&platform.config.digest), Some(&platform.config));
            for layer in &platform.layers {
                assert_eq!(image.layer(&layer.zstd.digest), Some(&layer.zstd));
            }
        }
        assert_eq!(image.manifest(&image.platforms[0].config.digest), None);
    }
}
