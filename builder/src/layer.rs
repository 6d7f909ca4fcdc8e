//! Layers: from a set of files to one deterministic tar and its two compressed forms.
//!
//! The rules are the design's: entries sorted by path, every parent directory once, owner 0:0 without names, one
//! modification time, plain ustar. What is in a layer is decided elsewhere.

mod archive;
mod compress;

use std::collections::BTreeMap;

use kitbag_toolsets::canonical::sha256_hex;
use kitbag_toolsets::generation::sha256_digest;
use oci_spec::image::Digest;

/// Directories of the base layer's merged `/usr` that are links, and where they lead.
const MERGED: [(&str, &str); 4] =
    [("/bin", "/usr/bin"), ("/sbin", "/usr/sbin"), ("/lib", "/usr/lib"), ("/lib64", "/usr/lib64")];
/// Mode of directories that nobody asked for by name.
const PARENT_MODE: u32 = 0o755;

/// The files of a layer, by absolute path. The order in which they are added does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Entry>);

/// What stands at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File {
        /// Its content.
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// Its target, as it is written.
        target: String,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
    },
}

/// A packed layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the uncompressed tar (image specification, "Layer DiffID").
    pub diff_id: Digest,
    /// Size of the uncompressed tar in bytes.
    pub tar_size: u64,
    /// The tar as gzip.
    pub gzip: Blob,
    /// The tar as zstd.
    pub zstd: Blob,
}

/// Bytes and their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// SHA-256 of them.
    pub digest: Digest,
}

/// Why an entry cannot be in a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// Not a path that means one thing only.
    #[error("`{}` cannot be a path in a layer: {reason}", path.escape_debug())]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two different things at one path.
    #[error("`{path}` is in the layer twice: remove one of the two outputs")]
    Twice {
        /// The path.
        path: String,
    },
    /// A path leads through something that is not a directory.
    #[error("`{path}` cannot be in the layer: `{parent}` is there too and is not a directory")]
    Parent {
        /// The path.
        path: String,
        /// What it leads through.
        parent: String,
    },
    /// A path leads through a link of the base layer, which a directory would replace.
    #[error("`{path}` cannot be in a layer: `{link}` is a link in every image; put it at `{instead}`")]
    ThroughLink {
        /// The path.
        path: String,
        /// The link.
        link: &'static str,
        /// Where the same file would be right.
        instead: String,
    },
}

impl Tree {
    /// A tree of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    ///
    /// # Errors
    /// [`LayerError`] when it cannot stand at `path`.
    pub fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) -> Result<(), LayerError> {
        self.add(path, Entry::File { content, mode })
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// [`LayerError`] when it cannot stand at `path`.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), LayerError> {
        self.add(path, Entry::Symlink { target: target.to_owned() })
    }

    /// Adds a directory, for its mode or because it is to be there while empty. The same directory may come again.
    ///
    /// # Errors
    /// [`LayerError`] when it cannot stand at `path`.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<(), LayerError> {
        self.add(path, Entry::Directory { mode })
    }

    /// The entries that were added, sorted by path; parents that were not added by name are not among them.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Packs the layer; `source_date` in seconds since 1970 is the modification time of every entry. A pure function:
    /// the same entries give the same bytes.
    #[must_use]
    pub fn pack(&self, source_date: i64) -> Layer {
        let tar = archive::write(&self.with_parents(), source_date);
        Layer {
            diff_id: sha256_digest(&sha256_hex(&tar)),
            tar_size: tar.len() as u64,
            gzip: Blob::new(compress::gzip(&tar)),
            zstd: Blob::new(compress::zstd(&tar)),
        }
    }

    /// Packs the same tar as gzip alone, for archives that are no layer.
    #[must_use]
    pub fn pack_gzip(&self, source_date: i64) -> Blob {
        Blob::new(compress::gzip(&archive::write(&self.with_parents(), source_date)))
    }

    fn add(&mut self, path: &str, entry: Entry) -> Result<(), LayerError> {
        if let Some(reason) = fault(path, &entry) {
            return Err(LayerError::Path { path: path.to_owned(), reason });
        }
        through_link(path, &entry)?;
        let conflict =
            |path: &str, parent: &str| LayerError::Parent { path: path.to_owned(), parent: parent.to_owned() };
        for parent in parents(path) {
            if self.0.get(parent).is_some_and(|entry| !matches!(entry, Entry::Directory { .. })) {
                return Err(conflict(path, parent));
            }
        }
        if !matches!(entry, Entry::Directory { .. }) {
            let below = format!("{path}/");
            if let Some((child, _)) =
                self.0.range(below.clone()..).next().filter(|(child, _)| child.starts_with(&below))
            {
                return Err(conflict(child, path));
            }
        }
        match self.0.get(path) {
            None => {
                self.0.insert(path.to_owned(), entry);
                Ok(())
            }
            Some(same @ Entry::Directory { .. }) if *same == entry => Ok(()),
            Some(_) => Err(LayerError::Twice { path: path.to_owned() }),
        }
    }

    /// The entries, and each directory on the way to them.
    fn with_parents(&self) -> BTreeMap<&str, &Entry> {
        const PARENT: &Entry = &Entry::Directory { mode: PARENT_MODE };
        let mut all: BTreeMap<&str, &Entry> =
            self.0.keys().flat_map(|path| parents(path)).map(|p| (p, PARENT)).collect();
        all.extend(self.entries());
        all
    }
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: sha256_digest(&sha256_hex(&bytes)), bytes }
    }
}

/// `/usr` and `/usr/bin` for `/usr/bin/strace`.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.char_indices().skip(1).filter(|(_, character)| *character == '/').map(|(end, _)| &path[..end])
}

/// What is wrong with a path, or with the target of the link at it.
fn fault(path: &str, entry: &Entry) -> Option<&'static str> {
    let Some(relative) = path.strip_prefix('/') else { return Some("it must begin with `/`") };
    if relative.split('/').any(|component| matches!(component, "" | "." | "..")) {
        return Some("a component is empty, `.` or `..`");
    }
    if path.contains(char::is_control) {
        return Some("it has a control character");
    }
    match entry {
        Entry::Symlink { target } if target.is_empty() => Some("the link has no target"),
        Entry::Symlink { target } if target.contains(char::is_control) => Some("its target has a control character"),
        _ => None,
    }
}

/// Refuses what would turn a link of the merged `/usr` into a directory.
fn through_link(path: &str, entry: &Entry) -> Result<(), LayerError> {
    for (link, to) in MERGED {
        let Some(rest) = path.strip_prefix(link) else { continue };
        if rest.starts_with('/') || (rest.is_empty() && !matches!(entry, Entry::Symlink { .. })) {
            return Err(LayerError::ThroughLink { path: path.to_owned(), link, instead: format!("{to}{rest}") });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
