//! Composition: from a generation and a tool set to the config, the manifests and the index of an image.
//!
//! A pure function: the same generation and set give the same bytes in the registry, the builder and the plugin.
//! (OCI image specification 1.1: "image configuration", "image manifest", "image index".)
//!
//! The documents are canonical JSON (see [`crate::canonical`]), but written straight down, key after key in their order:
//! a registry composes while a client waits. What depends on one layer alone is written once, when it is first wanted.

mod draft;
mod fragments;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use oci_spec::image::{Digest, MediaType};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::generation::{BlobRef, Generation, GenerationId, Layer, ToolRecord};
use crate::names::Name;
use crate::platform::Arch;
use crate::resolve::ToolSet;
use draft::Draft;
pub(crate) use fragments::Fragments;

/// Annotation: the tools and their versions, `strace=6.1 tcpdump=4.99.6`.
pub const TOOLS_ANNOTATION: &str = "dev.kitbag.tools";
/// Annotation: the needs of each tool, JSON: `{"strace":{"optional":["target-attach"]}}`.
pub const NEEDS_ANNOTATION: &str = "dev.kitbag.needs";
/// Annotation: the generation's id.
pub const GENERATION_ANNOTATION: &str = "dev.kitbag.generation";

/// The tag of the newest generation. Each generation's id is a tag too.
pub const LATEST: &str = "latest";
/// What a tag ends with that names the image with zstd layers.
pub const ZSTD: &str = "-zstd";

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
    pub bytes: Bytes,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Media type of the bytes.
    pub media_type: MediaType,
}

/// A composed image, in two forms that share configs: with gzip layers, which every client reads, and with zstd layers.
///
/// Each form has an index of its own. In one index, there would be two manifests for each platform, and some clients
/// (containerd 2 among them) fetch every manifest for their platform, with all its layers.
#[derive(Clone, Debug)]
pub struct Image {
    generation: GenerationId,
    platforms: Vec<PlatformImage>,
    gzip: Form,
    /// Composed when it is first asked for: most clients don't.
    zstd: OnceLock<Form>,
}

/// An image with one compression of its layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The index.
    pub index: Document,
    /// The manifest for each platform, in the order of [`Image::platforms`].
    pub manifests: Vec<Document>,
}

/// What both forms of an image have for one platform.
#[derive(Clone, Debug)]
pub struct PlatformImage {
    /// Its architecture.
    pub arch: Arch,
    /// Its config.
    pub config: Document,
    /// The layers: base first, then the tools by rank.
    pub layers: Vec<Arc<Layer>>,
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
        let mut platforms = Vec::with_capacity(Arch::ALL.len());
        let mut lacking = Vec::new();
        for arch in Arch::ALL {
            let Some(base) = self.base().get(&arch) else { continue };
            let layer = |tool: &Name| self.tools().get(tool).and_then(|platforms| platforms.get(&arch));
            let tools = set.tools().iter().filter_map(layer);
            let layers: Vec<Arc<Layer>> = std::iter::once(base).chain(tools).cloned().collect();
            if layers.len() > set.tools().len() {
                platforms.push(PlatformImage { arch, config: config(arch, &layers), layers });
            } else {
                lacking.push((arch, set.tools().iter().filter(|tool| layer(tool).is_none()).cloned().collect()));
            }
        }
        match (platforms.is_empty(), lacking.is_empty()) {
            (false, _) => Ok(Image::new(self.id().clone(), platforms)),
            (true, true) => Err(ComposeError::NoBase),
            (true, false) => Err(ComposeError::NoPlatform(lacking)),
        }
    }
}

impl Image {
    fn new(generation: GenerationId, platforms: Vec<PlatformImage>) -> Self {
        let gzip = Form::new(&generation, &platforms, Compression::Gzip);
        Self { generation, platforms, gzip, zstd: OnceLock::new() }
    }

    /// Each platform that has all the tools, in the order of [`Arch::ALL`].
    #[must_use]
    pub fn platforms(&self) -> &[PlatformImage] {
        &self.platforms
    }

    /// The image with this compression.
    #[must_use]
    pub fn form(&self, compression: Compression) -> &Form {
        match compression {
            Compression::Gzip => &self.gzip,
            Compression::Zstd => {
                self.zstd.get_or_init(|| Form::new(&self.generation, &self.platforms, Compression::Zstd))
            }
        }
    }

    /// The index or manifest with this digest.
    #[must_use]
    pub fn manifest(&self, digest: &Digest) -> Option<&Document> {
        let mut forms = Compression::ALL.into_iter().map(|compression| self.form(compression));
        forms.find_map(|form| form.documents().find(|document| document.digest == *digest))
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

impl Form {
    fn new(generation: &GenerationId, platforms: &[PlatformImage], compression: Compression) -> Self {
        // What the manifests and the index begin with: most often the same for all platforms, and hashed once.
        let mut first: Option<Draft> = None;
        let manifests = platforms.iter().map(|platform| {
            let mut own = annotations(generation, &platform.layers);
            let common = match &mut first {
                Some(first) if first.text() == own.text() => first,
                Some(_) => &mut own,
                None => first.insert(own),
            };
            manifest(common.fork(), platform, compression)
        });
        let manifests: Vec<Document> = manifests.collect();
        Self { index: index(first.unwrap_or_else(Draft::new), platforms, &manifests, compression), manifests }
    }

    /// The index, then the manifests.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        std::iter::once(&self.index).chain(&self.manifests)
    }
}

fn annotations(generation: &GenerationId, layers: &[Arc<Layer>]) -> Draft {
    let mut by_name: Vec<&Layer> = tools(layers).collect();
    by_name.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut draft = Draft::new();
    draft.push(r#"{"annotations":{"dev.kitbag.generation":""#).push(generation.as_str());
    draft.push(r#"","dev.kitbag.needs":"{"#).join(",", by_name.iter().map(|tool| &*tool.fragments().needs));
    draft.push(r#"}","dev.kitbag.tools":""#).join(" ", versions(layers)).push(r#""}"#);
    draft
}

fn manifest(mut draft: Draft, platform: &PlatformImage, compression: Compression) -> Document {
    let config = &platform.config;
    draft.push(r#","config":{"digest":""#).push(config.digest.as_ref());
    draft.push(r#"","mediaType":"application/vnd.oci.image.config.v1+json","size":"#).number(config.bytes.len());
    draft.push(r#"},"layers":["#);
    draft.join(",", platform.layers.iter().map(|layer| layer.fragments().descriptor(compression)));
    draft.push(r#"],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}"#);
    draft.finish(MediaType::ImageManifest)
}

/// The config knows nothing of the generation: as long as its tools stay the same, so does its digest.
fn config(arch: Arch, layers: &[Arc<Layer>]) -> Document {
    let newest = layers.iter().max_by_key(|layer| layer.source_date);
    let created = newest.map_or("null", |layer| &*layer.fragments().created);
    let shell = tools(layers).any(|tool| tool.fragments().shell);
    let command = if shell { r#""sh""# } else { tools(layers).next().map_or("", |tool| &*tool.fragments().command) };
    let mut licenses: Vec<(&str, &str)> =
        layers.iter().map(|layer| (&*layer.license, &*layer.fragments().license)).collect();
    licenses.sort_unstable();
    licenses.dedup();
    let fragments = || layers.iter().map(|layer| layer.fragments());
    let mut draft = Draft::new();
    draft.push(r#"{"architecture":""#).push(arch.as_str()).push(r#"","config":{"Cmd":["#).push(command);
    draft.push(r#"],"Env":[""#).push(PATH).push(r#"",""#).push(CERTIFICATES);
    draft.push(r#""],"Labels":{"org.opencontainers.image.created":"#).push(created);
    draft.push(r#","org.opencontainers.image.description":"debugging tools: "#).join(" ", versions(layers));
    draft.push(r#"","org.opencontainers.image.licenses":""#);
    draft.join(" AND ", licenses.into_iter().map(|(_, license)| license));
    draft.push(r#"","org.opencontainers.image.title":""#).join("/", tools(layers).map(|tool| tool.name.as_str()));
    draft.push(r#""}},"created":"#).push(created);
    draft.push(r#","history":["#).join(",", fragments().map(|fragments| &*fragments.history));
    draft.push(r#"],"os":"linux","rootfs":{"diff_ids":["#).join(",", fragments().map(|fragments| &*fragments.diff_id));
    draft.push(r#"],"type":"layers"}}"#);
    draft.finish(MediaType::ImageConfig)
}

fn index(mut draft: Draft, platforms: &[PlatformImage], manifests: &[Document], compression: Compression) -> Document {
    draft.push(r#","manifests":["#);
    for (position, (platform, manifest)) in platforms.iter().zip(manifests).enumerate() {
        draft.push(if position == 0 { "{" } else { ",{" });
        if compression == Compression::Zstd {
            // By it, containers/image knows that there is zstd without reading the manifest.
            draft.push(r#""annotations":{"io.github.containers.compression.zstd":"true"},"#);
        }
        draft.push(r#""digest":""#).push(manifest.digest.as_ref());
        draft.push(r#"","mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{"architecture":""#);
        draft.push(platform.arch.as_str()).push(r#"","os":"linux"},"size":"#).number(manifest.bytes.len());
        draft.push("}");
    }
    draft.push(r#"],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#);
    draft.finish(MediaType::ImageIndex)
}

fn tools(layers: &[Arc<Layer>]) -> impl Iterator<Item = &Layer> {
    layers.iter().map(|layer| &**layer).filter(|layer| !layer.base)
}

fn versions(layers: &[Arc<Layer>]) -> impl Iterator<Item = &str> {
    tools(layers).map(|tool| &*tool.fragments().version)
}

/// Seconds since 1970, as RFC 3339 in UTC. Dates that the calendar cannot hold become its beginning.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    date.format(&Rfc3339).unwrap_or_default()
}

impl Compression {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::canonical;
    use crate::generation::{sha256_digest, write_generation};
    use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
    use serde_json::Value;

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
        for form in Compression::ALL.map(|compression| image.form(compression)) {
            let index: ImageIndex = serde_json::from_slice(&form.index.bytes).unwrap();
            assert_eq!(index.manifests().len(), 2);
            let manifests = form.manifests.iter().zip(index.manifests());
            for (platform, (manifest, descriptor)) in image.platforms().iter().zip(manifests) {
                let config: ImageConfiguration = serde_json::from_slice(&platform.config.bytes).unwrap();
                let diff_ids: Vec<String> = platform.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
                assert_eq!(config.rootfs().diff_ids(), &diff_ids);
                let parsed: ImageManifest = serde_json::from_slice(&manifest.bytes).unwrap();
                assert_eq!(parsed.config().digest(), &platform.config.digest);
                assert_eq!(parsed.layers().len(), 3);
                assert_eq!(descriptor.digest(), &manifest.digest);
            }
        }
    }

    #[test]
    fn people_read_the_config_and_the_manifest() {
        let image = compose("tcpdump/strace").unwrap();
        let pretty = |document: &Document| {
            serde_json::to_string_pretty(&serde_json::from_slice::<Value>(&document.bytes).unwrap()).unwrap()
        };
        insta::assert_snapshot!("config", pretty(&image.platforms()[0].config));
        insta::assert_snapshot!("manifest", pretty(&image.form(Compression::Gzip).manifests[0]));
        insta::assert_snapshot!("index", pretty(&image.form(Compression::Gzip).index));
        insta::assert_snapshot!("index-zstd", pretty(&image.form(Compression::Zstd).index));
    }

    #[test]
    fn documents_are_canonical() {
        let mut odd = record("odd", 300, Arch::Amd64, r#"{"optional":["target-attach"]}"#);
        odd.version = r#"1 "a\b" é"#.to_owned();
        odd.license = "MIT OR Apache-2.0".to_owned();
        odd.commands = vec![r#"o"d"#.to_owned()];
        let records = [record("base", 0, Arch::Amd64, "{}"), odd];
        let described = records.map(|record| {
            let descriptor = Descriptor::new(MediaType::ImageManifest, 7_u64, record.diff_id.clone());
            (record, descriptor)
        });
        let generation = Generation::parse(&write_generation(&described, &BTreeMap::new())).unwrap();
        let odd = generation.compose(&generation.resolve(&"odd".parse().unwrap()).unwrap()).unwrap();
        for image in [odd, compose("strace/shell").unwrap()] {
            let forms = Compression::ALL.into_iter().flat_map(|compression| image.form(compression).documents());
            for document in forms.chain(image.platforms().iter().map(|platform| &platform.config)) {
                let value: Value = serde_json::from_slice(&document.bytes).unwrap();
                assert_eq!(canonical::to_vec(&value), document.bytes);
                assert_eq!(sha256_digest(&canonical::sha256_hex(&document.bytes)), document.digest);
            }
        }
    }

    #[test]
    fn digests_are_a_function_of_the_set() {
        let digests = |path: &str| {
            let image = compose(path).unwrap();
            Compression::ALL.map(|compression| image.form(compression).index.digest.to_string())
        };
        let golden = digests("strace/shell");
        insta::assert_snapshot!(golden.join(" "));
        assert_eq!(digests("sh/strace/busybox"), golden);
        assert_ne!(digests("strace"), golden);
    }

    #[test]
    fn a_platform_that_lacks_a_tool_is_left_out() {
        let image = compose("strace/tcpdump").unwrap();
        assert_eq!(image.platforms().iter().map(|platform| platform.arch).collect::<Vec<_>>(), [Arch::Amd64]);
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
            let config: ImageConfiguration = serde_json::from_slice(&image.platforms()[0].config.bytes).unwrap();
            config.config().as_ref().unwrap().cmd().clone().unwrap()
        };
        assert_eq!(command("strace"), ["strace"]);
        assert_eq!(command("strace/shell"), ["sh"]);
    }

    #[test]
    fn everything_in_an_image_is_found_by_digest() {
        let image = compose("strace").unwrap();
        for document in Compression::ALL.into_iter().flat_map(|compression| image.form(compression).documents()) {
            assert_eq!(image.manifest(&document.digest), Some(document));
        }
        for platform in image.platforms() {
            assert_eq!(image.config(&platform.config.digest), Some(&platform.config));
            for layer in &platform.layers {
                assert_eq!(image.layer(&layer.zstd.digest), Some(&layer.zstd));
            }
        }
        assert_eq!(image.manifest(&image.platforms()[0].config.digest), None);
    }
}
