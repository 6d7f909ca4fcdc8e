//! The tar files that images are carried in: regular files and directories, owned by root, from the beginning of time.
//! The same entries give the same bytes. How a layer's tar looks is the affair of [`crate::layer`].

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::PublishError;
use crate::fs::{self, At as _};

/// A tar in the making.
pub(super) struct Tarball<'a> {
    builder: Builder<BufWriter<&'a File>>,
    path: &'a Path,
}

/// Writes a tar to `path`, with what `fill` puts into it. Whoever opens `path` finds what was there before, or all of
/// it.
pub(super) fn write(
    path: &Path,
    fill: impl FnOnce(&mut Tarball<'_>) -> Result<(), PublishError>,
) -> Result<(), PublishError> {
    // The new file takes the place of what has the name. Of a device nothing would be left, nor of a link: `/dev/stdout`
    // is one, whatever it leads to.
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(PublishError::NotAFile(path.to_owned()));
    }
    fs::write_atomic_with(path, PublishError::Fs, |file| {
        let mut tarball = Tarball { builder: Builder::new(BufWriter::new(file)), path };
        fill(&mut tarball)?;
        let finished = tarball.builder.into_inner().and_then(|mut buffer| buffer.flush());
        finished.at("write", path).map_err(PublishError::Fs)
    })
}

impl Tarball<'_> {
    pub(super) fn directory(&mut self, name: &str) -> Result<(), PublishError> {
        self.append(&format!("{name}/"), EntryType::Directory, 0o755, &[])
    }

    pub(super) fn file(&mut self, name: &str, content: &[u8]) -> Result<(), PublishError> {
        self.append(name, EntryType::Regular, 0o644, content)
    }

    fn append(&mut self, name: &str, kind: EntryType, mode: u32, content: &[u8]) -> Result<(), PublishError> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        let named = header.set_path(name);
        header.set_cksum();
        let appended = named.and_then(|()| self.builder.append(&header, content));
        appended.at("write", self.path).map_err(PublishError::Fs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ordinary_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        let tar = |path: &Path| write(path, |tar| tar.file("a", b"new"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for refused in [dir.path(), &link] {
            assert!(matches!(tar(refused), Err(PublishError::NotAFile(_))), "{}", refused.display());
        }
        assert_eq!((std::fs::read(&file).unwrap(), link.is_symlink()), (b"old".to_vec(), true));
        tar(&file).unwrap();
        assert!(std::fs::read(&file).unwrap().starts_with(b"a\0"));
    }

    #[test]
    fn what_fails_on_the_way_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "old").unwrap();
        let stopped = write(&file, |tar| {
            tar.file("a", b"new")?;
            Err(PublishError::Busy(dir.path().to_owned()))
        });
        assert!(matches!(stopped, Err(PublishError::Busy(_))));
        assert_eq!(std::fs::read(&file).unwrap(), b"old");
        assert_eq!(fs::list(dir.path()).unwrap(), ["file"]);
    }
}
