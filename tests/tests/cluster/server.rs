//! The registry's own image, with a store in it, and how it gets onto the nodes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kitbag_tests::{
    Node,
    image::{Image, ImageFile, archive},
    printed::run,
    programs::Programs,
};

/// An image of the registry that every node has.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Its tag, the id of the newest generation of its store.
    pub(crate) generation: String,
    /// What `kitbag-builder catalog` prints of its store.
    pub(crate) catalog: String,
}

/// Its name, without the tag.
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

        let mut files = vec![file("/usr/bin/kitbag-registry".into(), 0o755, &programs.registry)];
        collect(dir, Path::new("/usr/share/kitbag/store"), &mut files);
        let image = Image { name: server.image(), command: vec!["/usr/bin/kitbag-registry".into()], user: None, files };
        let archive = archive(&[image]);
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

/// All files below `dir`, as they are to be below `to`.
fn collect(dir: &Path, to: &Path, files: &mut Vec<ImageFile>) {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = to.join(path.file_name().unwrap());
        if path.is_dir() {
            collect(&path, &name, files);
        } else {
            files.push(file(name.to_str().unwrap().into(), 0o644, &path));
        }
    }
}

fn file(path: String, mode: u32, from: &Path) -> ImageFile {
    ImageFile { path, mode, content: fs::read(from).unwrap() }
}
