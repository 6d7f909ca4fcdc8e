//! The tar of a layer (POSIX.1-2017, "ustar Interchange Format", and "pax Extended Header" where a path needs it).

use std::collections::BTreeMap;

use tar::{Builder, EntryType, Header};

use super::Entry;

/// The entries as a tar, in the order of their paths. Directories end with `/`, no path begins with one.
pub(super) fn write(entries: &BTreeMap<&str, &Entry>, source_date: i64) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, entry) in entries {
        append(&mut builder, path.trim_start_matches('/'), entry, source_date);
    }
    builder.into_inner().expect(IN_MEMORY)
}

const IN_MEMORY: &str = "writing into memory does not fail";
/// Length of the fields `name` and `linkname` of a header.
const FIELD: usize = 100;

fn append(builder: &mut Builder<Vec<u8>>, path: &str, entry: &Entry, source_date: i64) {
    let mut header = Header::new_ustar();
    let mut extensions: Vec<(&str, &[u8])> = Vec::new();
    let directory_path = format!("{path}/");
    let (path, content, link): (&str, &[u8], Option<&str>) = match entry {
        Entry::File { content, mode } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            (path, content, None)
        }
        Entry::Symlink { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            (path, &[], Some(target))
        }
        Entry::Directory { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            (&directory_path, &[], None)
        }
    };
    if !path.is_ascii() || header.set_path(path).is_err() {
        extensions.push(("path", path.as_bytes()));
        header.set_path(shortened(path)).expect("a short path of ASCII fits");
    }
    if let Some(target) = link
        && (!target.is_ascii() || header.set_link_name_literal(target).is_err())
    {
        extensions.push(("linkpath", target.as_bytes()));
        header.set_link_name_literal(shortened(target)).expect("a short target fits");
    }
    header.set_size(content.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(source_date).unwrap_or(0));
    header.set_cksum();
    builder.append_pax_extensions(extensions).expect(IN_MEMORY);
    builder.append(&header, content).expect(IN_MEMORY);
}

/// What a reader that knows no extended headers sees instead: the characters that fit.
fn shortened(path: &str) -> String {
    let ascii = |character: char| if character.is_ascii() { character } else { '_' };
    let cut: String = path.chars().map(ascii).take(FIELD).collect();
    // What is left of a last component may be `.` or `..`, which would lead elsewhere.
    match cut.rsplit_once('/') {
        Some((parent, last @ ("." | ".."))) => format!("{parent}/{}", "_".repeat(last.len())),
        _ => cut,
    }
}
