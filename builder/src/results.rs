//! What a build has made, apart from the place where it was made: a set of files, kept as one tar in the build cache.

use std::collections::{BTreeMap, BTreeSet};
use std::fs as std_fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use memchr::memmem;
use tar::{Archive, EntryType, Header};

use crate::fs::{self, At as _, FsError};
use crate::layer::Entry;
use crate::toolchain::remove_tree;

/// Stands for the prefix in files of a library that name it.
const PREFIX: &str = "@KITBAG_PREFIX@";
const FILES: &str = "files/";
const LICENSES: &str = "licenses/";

/// The files of a finished build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Of a library or generator: its prefix, by relative path. Of anything else: its part of the image, likewise.
    pub entries: BTreeMap<String, Entry>,
    /// Licence texts, by file name.
    pub licenses: BTreeMap<String, Vec<u8>>,
}

/// A file of a library that names the directory in which it was built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` holds the path `{text}` of the build, at byte {offset}; another build would make other bytes")]
pub struct BuildPath {
    /// The file, relative to the prefix.
    pub path: String,
    /// The path in it.
    pub text: String,
    /// Where it stands.
    pub offset: usize,
}

impl Files {
    /// What stands in the directory `prefix`, but for `others`, which were there before.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn of_prefix(prefix: &Path, others: &BTreeSet<String>) -> Result<Self, FsError> {
        let mut entries = BTreeMap::new();
        let mut open = vec![String::new()];
        while let Some(dir) = open.pop() {
            for name in fs::list(&prefix.join(&dir))? {
                let relative = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                let path = prefix.join(&relative);
                let metadata = std_fs::symlink_metadata(&path).at("read", &path)?;
                let mode = metadata.permissions().mode() & 0o7777;
                if metadata.is_dir() {
                    open.push(relative);
                } else if others.contains(&relative) {
                    // Another library's.
                } else if metadata.is_symlink() {
                    let target = std_fs::read_link(&path).at("read", &path)?.to_string_lossy().into_owned();
                    entries.insert(relative, Entry::Symlink { target });
                } else {
                    let content = fs::read(&path)?;
                    entries.insert(relative, Entry::File { content, mode });
                }
            }
        }
        for (path, entry) in &mut entries {
            if let (true, Entry::File { content, .. }) = (names_its_prefix(path), entry) {
                *content = replaced(content, &prefix.to_string_lossy(), PREFIX);
            }
        }
        Ok(Self { entries, licenses: BTreeMap::new() })
    }

    /// The first file that names one of `forbidden`.
    #[must_use]
    pub fn build_path(&self, forbidden: &[&str]) -> Option<BuildPath> {
        self.entries.iter().find_map(|(path, entry)| {
            let Entry::File { content, .. } = entry else { return None };
            forbidden.iter().find_map(|text| {
                let offset = memmem::find(content, text.as_bytes())?;
                Some(BuildPath { path: path.clone(), text: (*text).to_owned(), offset })
            })
        })
    }

    /// Writes the files into the directory `prefix`, which may hold those of others.
    ///
    /// # Errors
    /// [`FsError`]; also where a file of the same name is there already.
    pub fn install(&self, prefix: &Path) -> Result<(), FsError> {
        for (relative, entry) in &self.entries {
            let path = prefix.join(relative);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            match entry {
                Entry::Directory { .. } => fs::create_dir_all(&path)?,
                Entry::Symlink { target } => symlink(target, &path).at("create", &path)?,
                Entry::File { content, mode } => {
                    let mut file = std_fs::File::create_new(&path).at("create", &path)?;
                    let own;
                    let content = if names_its_prefix(relative) {
                        own = replaced(content, PREFIX, &prefix.to_string_lossy());
                        &own
                    } else {
                        content
                    };
                    io::Write::write_all(&mut file, content).at("write", &path)?;
                    file.set_permissions(std_fs::Permissions::from_mode(*mode)).at("write", &path)?;
                }
            }
        }
        Ok(())
    }

    /// The files as one tar.
    #[must_use]
    pub fn to_tar(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let licenses = self
            .licenses
            .iter()
            .map(|(name, text)| (format!("{LICENSES}{name}"), Entry::File { content: text.clone(), mode: 0o644 }));
        let entries = self.entries.iter().map(|(path, entry)| (format!("{FILES}{path}"), entry.clone()));
        for (path, entry) in licenses.chain(entries) {
            append(&mut builder, &path, &entry).expect("writing into memory does not fail");
        }
        builder.into_inner().expect("writing into memory does not fail")
    }

    /// Reads what [`Self::to_tar`] wrote.
    ///
    /// # Errors
    /// [`io::Error`] for anything else.
    pub fn from_tar(bytes: &[u8]) -> io::Result<Self> {
        let mut files = Self::default();
        let mut archive = Archive::new(bytes);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().into_owned();
            let mode = entry.header().mode()?;
            let made = match entry.header().entry_type() {
                EntryType::Symlink => {
                    let target = entry.link_name()?.map(|target| target.to_string_lossy().into_owned());
                    Entry::Symlink { target: target.unwrap_or_default() }
                }
                EntryType::Directory => Entry::Directory { mode },
                _ => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    Entry::File { content, mode }
                }
            };
            if let Some(path) = path.strip_prefix(FILES) {
                files.entries.insert(path.trim_end_matches('/').to_owned(), made);
            } else if let (Some(name), Entry::File { content, .. }) = (path.strip_prefix(LICENSES), made) {
                files.licenses.insert(name.to_owned(), content);
            }
        }
        Ok(files)
    }
}

fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    match entry {
        Entry::Directory { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            header.set_size(0);
            builder.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Entry::Symlink { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            builder.append_link(&mut header, path, target)
        }
        Entry::File { content, mode } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, path, content.as_slice())
        }
    }
}

/// Whether a file of a prefix is one of those that say where the prefix is.
fn names_its_prefix(path: &str) -> bool {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    (dir == "lib/pkgconfig" && name.ends_with(".pc")) || (dir == "bin" && name.ends_with("-config"))
}

/// `bytes` with every `from` as `to`.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut done = 0;
    for start in memmem::find_iter(bytes, from.as_bytes()) {
        out.extend_from_slice(&bytes[done..start]);
        out.extend_from_slice(to.as_bytes());
        done = start + from.len();
    }
    out.extend_from_slice(&bytes[done..]);
    out
}

/// The build cache: results by what went into them.
#[derive(Clone, Debug)]
pub struct BuildCache {
    dir: PathBuf,
}

impl BuildCache {
    /// The cache in `dir`, which need not exist.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where the result of the build `label` with this input hash is, or will be.
    #[must_use]
    pub fn path(&self, label: &str, input_hash: &str) -> PathBuf {
        self.dir.join(format!("{label}-{input_hash}.tar"))
    }

    /// Whether it is there.
    #[must_use]
    pub fn has(&self, label: &str, input_hash: &str) -> bool {
        self.path(label, input_hash).exists()
    }

    /// Reads it, if it is there and readable.
    #[must_use]
    pub fn load(&self, label: &str, input_hash: &str) -> Option<Files> {
        Files::from_tar(&fs::read(&self.path(label, input_hash)).ok()?).ok()
    }

    /// Puts it there, wholly or not at all.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn save(&self, label: &str, input_hash: &str, files: &Files) -> Result<(), FsError> {
        fs::create_dir_all(&self.dir)?;
        let path = self.path(label, input_hash);
        if path.is_dir() {
            remove_tree(&path)?;
        }
        fs::write_atomic(&path, &files.to_tar())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(content: &str) -> Entry {
        Entry::File { content: content.as_bytes().to_vec(), mode: 0o644 }
    }

    #[test]
    fn what_was_collected_comes_back_and_is_the_same_in_another_place() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two-longer"));
        fs::create_dir_all(&one.join("lib/pkgconfig")).unwrap();
        std_fs::write(one.join("lib/pkgconfig/x.pc"), format!("prefix={0}\nLibs: -L{0}/lib\n", one.display())).unwrap();
        std_fs::write(one.join("lib/other.h"), "not ours").unwrap();
        symlink("x.pc", one.join("lib/pkgconfig/y.pc")).unwrap();
        let files = Files::of_prefix(&one, &["lib/other.h".to_owned()].into()).unwrap();
        assert_eq!(files.entries.keys().collect::<Vec<_>>(), ["lib/pkgconfig/x.pc", "lib/pkgconfig/y.pc"]);
        assert_eq!(Files::from_tar(&files.to_tar()).unwrap(), files);

        files.install(&two).unwrap();
        let text = std_fs::read_to_string(two.join("lib/pkgconfig/y.pc")).unwrap();
        assert_eq!(text, format!("prefix={0}\nLibs: -L{0}/lib\n", two.display()));
        assert_eq!(Files::of_prefix(&two, &BTreeSet::new()).unwrap(), files);
    }

    #[test]
    fn two_libraries_cannot_bring_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { entries: [("include/a.h".to_owned(), file("a"))].into(), licenses: BTreeMap::new() };
        files.install(dir.path()).unwrap();
        assert!(files.install(dir.path()).unwrap_err().to_string().contains("include/a.h"));
    }

    #[test]
    fn a_build_path_is_found() {
        let files =
            Files { entries: [("lib/a.a".to_owned(), file("xx/tmp/build/1"))].into(), licenses: BTreeMap::new() };
        assert_eq!(files.build_path(&["/other"]), None);
        insta::assert_snapshot!(files.build_path(&["/tmp/build"]).unwrap().to_string(), @"`lib/a.a` holds the path `/tmp/build` of the build, at byte 2; another build would make other bytes");
    }

    #[test]
    fn the_cache_gives_back_what_it_was_given_and_nothing_that_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let cache = BuildCache::new(dir.path().join("builds"));
        assert_eq!(cache.load("a-1-amd64", "00"), None);
        let files = Files {
            entries: [("usr/bin/a".to_owned(), file("a"))].into(),
            licenses: [("L".to_owned(), vec![1])].into(),
        };
        cache.save("a-1-amd64", "00", &files).unwrap();
        assert_eq!(cache.load("a-1-amd64", "00"), Some(files));
        std_fs::write(cache.path("a-1-amd64", "00"), "not a tar, and long enough to be read as a header").unwrap();
        assert_eq!(cache.load("a-1-amd64", "00"), None);
    }

    proptest! {
        #[test]
        fn a_replacement_can_be_taken_back(text in "[ab/]{0,40}") {
            let there = replaced(text.as_bytes(), "a/b", "@");
            prop_assert_eq!(String::from_utf8(replaced(&there, "@", "a/b")).unwrap(), text);
        }
    }
}
