//! The registry's own image, with a store in it, as the builder makes it; imported on every node, with no registry.

use std::{fs, path::Path, process::Command};

use kitbag_tests::{Node, image::architecture, printed::run, programs::Programs};

/// An image of the registry that every node has.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Its tag, the id of the newest generation of its store.
    pub(crate) generation: String,
    /// What `kitbag-builder catalog` prints of its store.
    pub(crate) catalog: String,
}

/// What the builder calls it, without the tag.
pub(crate) const NAME: &str = "localhost/kitbag-registry";
/// What is built into a store that is new, and has one generation.
pub(crate) const FEW: &[&str] = &["strace", "tcpdump", "dig", "shell"];
/// The same for the next generation: all that there is.
pub(crate) const ALL: &[&str] = &[];

impl Server {
    /// Builds `tools` into the store at `dir`, which may have a generation already, and puts an image with all of it onto
    /// the nodes.
    pub(crate) fn build(programs: &Programs, dir: &Path, tools: &[&str], nodes: &[Node]) -> Self {
        builder(programs, &[&["build", "--store", dir.to_str().unwrap()], tools].concat());
        let catalog = builder(programs, &["catalog", "--store", dir.to_str().unwrap()]);
        let document: serde_json::Value = serde_json::from_str(&catalog).unwrap();
        let digest = document["generation"].as_str().unwrap().trim_start_matches("sha256:");
        let server = Self { generation: digest[..12].into(), catalog };

        let file = dir.with_extension(&server.generation);
        let (program, to) = (format!("--program-{}", architecture()), format!("oci-archive:{}", file.display()));
        let arguments = ["image", "--server", &program, programs.registry.to_str().unwrap(), "--to", &to];
        builder(programs, &[&arguments[..], &["--store", dir.to_str().unwrap()]].concat());
        let archive = fs::read(&file).unwrap();
        for node in nodes {
            node.import_image(&archive).unwrap();
        }
        server
    }

    /// Its name and tag.
    pub(crate) fn image(&self) -> String {
        format!("{NAME}:{}", self.generation)
    }
}

fn builder(programs: &Programs, arguments: &[&str]) -> String {
    let mut command = Command::new(&programs.builder);
    command.args(arguments);
    run(command, b"").expect_code(0).stdout
}
