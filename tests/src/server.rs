//! The registry's own image, with a store in it, as the builder makes it; imported on nodes, with no registry.

use std::{fs, path::Path, process::Command};

use crate::{
    Node, Result,
    error::{Error, file, run},
    image::architecture,
    programs::Programs,
};

/// What the builder calls it, without the tag.
pub const NAME: &str = "localhost/kitbag-registry";
/// What is built into a store that is new, and has one generation.
pub const FEW: &[&str] = &["strace", "tcpdump", "dig", "shell"];
/// The same for the next generation: all that there is.
pub const ALL: &[&str] = &[];
/// Of the digest of a generation, so much is its id.
const ID: usize = 12;

/// An image of the registry that every node has.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its tag, the id of the newest generation of its store.
    pub generation: String,
    /// What `kitbag-builder catalog` prints of its store.
    pub catalog: String,
}

impl Server {
    /// Builds `tools` into the store at `dir`, which may have a generation already, and puts an image with all of it onto
    /// the nodes.
    ///
    /// # Errors
    /// When the builder fails or says something else than expected, or a node does not take the image.
    pub fn build(programs: &Programs, dir: &Path, tools: &[&str], nodes: &[Node]) -> Result<Self> {
        let builder = || Command::new(&programs.builder);
        run(builder().arg("build").arg("--store").arg(dir).args(tools))?;
        let catalog = run(builder().arg("catalog").arg("--store").arg(dir))?.stdout;
        let catalog = String::from_utf8_lossy(&catalog).into_owned();
        let generation = generation(&catalog)?;

        let archive = dir.with_extension(&generation);
        let mut image = builder();
        image.args(["image", "--server", "--store"]).arg(dir);
        image.arg(format!("--program-{}", architecture())).arg(&programs.registry);
        run(image.arg("--to").arg(format!("oci-archive:{}", archive.display())))?;
        let content = fs::read(&archive).map_err(file("read", &archive))?;
        for node in nodes {
            node.import_image(&content)?;
        }
        Ok(Self { generation, catalog })
    }

    /// Its name and tag.
    #[must_use]
    pub fn image(&self) -> String {
        format!("{NAME}:{}", self.generation)
    }
}

/// The id of the generation that a catalog is of.
fn generation(catalog: &str) -> Result<String> {
    let document: serde_json::Value = serde_json::from_str(catalog).unwrap_or_default();
    let digest = document["generation"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
    let id = digest.and_then(|digest| digest.get(..ID));
    id.map(str::to_owned).ok_or_else(|| Error::Answer { from: "kitbag-builder catalog".into(), answer: catalog.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_named_by_the_start_of_its_digest() {
        assert_eq!(generation(r#"{"generation":"sha256:0123456789abcdef"}"#).unwrap(), "0123456789ab");
        for catalog in ["", "{}", r#"{"generation":"sha256:01"}"#] {
            assert!(generation(catalog).unwrap_err().to_string().contains("kitbag-builder catalog"));
        }
    }
}
