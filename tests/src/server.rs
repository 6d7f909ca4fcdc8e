//! The registry's own image, with a store in it, as the builder makes it; imported on nodes, with no registry.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kitbag_builder::server::{PROGRAM, STORE};

use crate::{
    Node, Result,
    error::{Error, file, run},
    image::{Image, ImageFile, architecture, archive},
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
    /// The program in it.
    program: PathBuf,
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
        Ok(Self { generation, catalog, program: programs.registry.clone() })
    }

    /// Puts an image onto the nodes with the same program, and a store that it cannot read; its name and tag.
    ///
    /// # Errors
    /// When the program is not there, or a node does not take the image.
    pub fn with_a_newer_store(&self, nodes: &[Node]) -> Result<String> {
        let name = format!("{NAME}:newer");
        let program = fs::read(&self.program).map_err(file("read", &self.program))?;
        let layout = br#"{"imageLayoutVersion":"2.0.0"}"#.to_vec();
        let file = |path: &str, mode, content| ImageFile { path: path.to_owned(), mode, content };
        let image = archive(&[Image {
            name: name.clone(),
            command: vec![PROGRAM.to_owned(), "serve".to_owned()],
            user: None,
            files: vec![file(PROGRAM, 0o755, program), file(&format!("{STORE}/oci-layout"), 0o644, layout)],
        }]);
        nodes.iter().try_for_each(|node| node.import_image(&image))?;
        Ok(name)
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
