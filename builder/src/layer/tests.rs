use std::collections::BTreeMap;
use std::io::Read as _;

use proptest::prelude::*;

use super::*;

const DATE: i64 = 1_735_689_600;

fn tree(entries: &[(&str, Entry)]) -> Tree {
    let mut tree = Tree::new();
    for (path, entry) in entries {
        tree.add(path, entry.clone()).unwrap();
    }
    tree
}

fn file(content: &[u8]) -> Entry {
    Entry::File { content: content.to_owned(), mode: 0o755 }
}

fn link(target: &str) -> Entry {
    Entry::Symlink { target: target.to_owned() }
}

fn sample() -> Tree {
    let long = format!("/usr/share/licenses/sample/{}", "x".repeat(120));
    tree(&[
        ("/usr/bin/sample", file(&b"program ".repeat(5000))),
        ("/usr/bin/sample-link", link("sample")),
        ("/usr/share/licenses/sample/COPYING", Entry::File { content: b"free".to_vec(), mode: 0o644 }),
        ("/usr/share/sample/n\u{e4}me", file(b"PAX, for a character")),
        (&long, file(b"PAX, for the length")),
        (&format!("/usr/share/{}/{}", "p".repeat(90), "q".repeat(90)), file(b"ustar's prefix is enough")),
        ("/tmp", Entry::Directory { mode: 0o1777 }),
        ("/bin", link("usr/bin")),
    ])
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

/// What an independent reader sees: path, entry, and the fields that must be the same everywhere.
fn unpack(tar: &[u8]) -> Vec<(String, Entry)> {
    let mut archive = tar::Archive::new(tar);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
        assert_eq!(header.mtime().unwrap(), DATE.unsigned_abs());
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mode = header.mode().unwrap();
        let found = match header.entry_type() {
            tar::EntryType::Regular => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                Entry::File { content, mode }
            }
            tar::EntryType::Symlink => {
                Entry::Symlink { target: String::from_utf8(entry.link_name_bytes().unwrap().into_owned()).unwrap() }
            }
            tar::EntryType::Directory => Entry::Directory { mode },
            other => panic!("unexpected {other:?}"),
        };
        (path, found)
    };
    archive.entries().unwrap().map(read).collect()
}

#[test]
fn the_bytes_never_change() {
    let layer = sample().pack(DATE);
    insta::assert_snapshot!(
        format!("tar {} {}\ngzip {} {}\nzstd {} {}",
            layer.tar_size, layer.diff_id,
            layer.gzip.bytes.len(), layer.gzip.digest,
            layer.zstd.bytes.len(), layer.zstd.digest),
        @r"
        tar 53248 sha256:c7c23808ced7bda6832198284105c02fc32c1e636118667f12694ff7c502744b
        gzip 606 sha256:69955491623db741d8e33c09d362568b56ecdb2061255c05b25de1b505d1ebb7
        zstd 456 sha256:900dcbabc203ebe92d5feb72d7f8f3ec325dd2c17cf0b9e65c427b5d6704408f
        "
    );
}

#[test]
fn both_forms_hold_the_tar() {
    let layer = sample().pack(DATE);
    let tar = gunzip(&layer.gzip.bytes);
    assert_eq!(tar.len() as u64, layer.tar_size);
    assert_eq!(sha256_digest(&sha256_hex(&tar)), layer.diff_id);
    assert_eq!(zstd::decode_all(&layer.zstd.bytes[..]).unwrap(), tar);
}

#[test]
fn headers_say_nothing_of_the_machine() {
    let layer = tree(&[("/usr/bin/a", file(b"a"))]).pack(DATE);
    // RFC 1952: no flags, no time, best compression, unknown system.
    assert_eq!(layer.gzip.bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
    // RFC 8878, 3.1.1.1: checksum and single segment, so that the window is the content.
    assert_eq!(layer.zstd.bytes[..4], [0x28, 0xb5, 0x2f, 0xfd]);
    assert_eq!(layer.zstd.bytes[4] & 0b0010_0100, 0b0010_0100);
}

#[test]
fn no_decoder_needs_a_window_above_eight_mebibytes() {
    let content = vec![b'x'; 9 << 20];
    let frame = compress::zstd(&content);
    let mut decoder = zstd::stream::read::Decoder::new(&frame[..]).unwrap();
    decoder.window_log_max(23).unwrap();
    let mut out = Vec::new();
    decoder.read_to_end(&mut out).unwrap();
    assert!(out == content);
}

#[test]
fn entries_are_sorted_and_every_parent_is_there_once() {
    let paths: Vec<String> =
        unpack(&gunzip(&sample().pack(DATE).gzip.bytes)).into_iter().map(|(path, _)| path).collect();
    let shown: Vec<String> = paths.iter().map(|path| path.chars().take(40).collect()).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    bin
    tmp/
    usr/
    usr/bin/
    usr/bin/sample
    usr/bin/sample-link
    usr/share/
    usr/share/licenses/
    usr/share/licenses/sample/
    usr/share/licenses/sample/COPYING
    usr/share/licenses/sample/xxxxxxxxxxxxxx
    usr/share/pppppppppppppppppppppppppppppp
    usr/share/pppppppppppppppppppppppppppppp
    usr/share/sample/
    usr/share/sample/näme
    ");
}

#[test]
fn the_mode_of_a_directory_can_be_given() {
    let entries = unpack(&gunzip(&sample().pack(DATE).gzip.bytes));
    assert!(entries.contains(&("tmp/".to_owned(), Entry::Directory { mode: 0o1777 })));
    assert!(entries.contains(&("usr/".to_owned(), Entry::Directory { mode: 0o755 })));
}

#[test]
fn what_cannot_be_in_a_layer_is_refused() {
    let refuse = |before: &[(&str, Entry)], path: &str, entry: Entry| {
        let mut tree = tree(before);
        let unchanged = tree.clone();
        let error = tree.add(path, entry).unwrap_err();
        assert_eq!(tree, unchanged);
        error.to_string()
    };
    let a = ("/usr/a", file(b"a"));
    let directory = |mode| Entry::Directory { mode };
    let lines = [
        refuse(&[], "/bin/sh", file(b"x")),
        refuse(&[], "/lib/x/y", directory(0o755)),
        refuse(&[], "/sbin", directory(0o755)),
        refuse(std::slice::from_ref(&a), "/usr/a", file(b"a")),
        refuse(&[("/d", directory(0o755))], "/d", directory(0o700)),
        refuse(std::slice::from_ref(&a), "/usr/a/b", file(b"b")),
        refuse(&[("/usr/a/b", file(b"b"))], "/usr/a", link("c")),
        refuse(&[], "usr/a", file(b"a")),
        refuse(&[], "/usr/../a", file(b"a")),
        refuse(&[], "/", directory(0o755)),
        refuse(&[], "/usr/a\n", file(b"a")),
        refuse(&[], "/usr/a", link("")),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    `/bin/sh` cannot be in a layer: `/bin` is a link in every image; put it at `/usr/bin/sh`
    `/lib/x/y` cannot be in a layer: `/lib` is a link in every image; put it at `/usr/lib/x/y`
    `/sbin` cannot be in a layer: `/sbin` is a link in every image; put it at `/usr/sbin`
    `/usr/a` is in the layer twice: remove one of the two outputs
    `/d` is in the layer twice: remove one of the two outputs
    `/usr/a/b` cannot be in the layer: `/usr/a` is there too and is not a directory
    `/usr/a/b` cannot be in the layer: `/usr/a` is there too and is not a directory
    `usr/a` cannot be a path in a layer: it must begin with `/`
    `/usr/../a` cannot be a path in a layer: a component is empty, `.` or `..`
    `/` cannot be a path in a layer: a component is empty, `.` or `..`
    `/usr/a\n` cannot be a path in a layer: it has a control character
    `/usr/a` cannot be a path in a layer: the link has no target
    ");
}

#[test]
fn the_same_directory_may_come_again() {
    let mut tree = tree(&[("/tmp", Entry::Directory { mode: 0o1777 })]);
    tree.directory("/tmp", 0o1777).unwrap();
    tree.file("/tmp/x", 0o644, b"x".to_vec()).unwrap();
    assert_eq!(tree.entries().count(), 2);
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        (proptest::collection::vec(any::<u8>(), 0..600), 0_u32..0o10000)
            .prop_map(|(content, mode)| Entry::File { content, mode }),
        "[a-z/.\u{e4}]{1,130}".prop_map(|target| Entry::Symlink { target }),
        (0_u32..0o10000).prop_map(|mode| Entry::Directory { mode }),
    ]
}

/// Names short and long, so that all of ustar's name, its prefix and PAX are needed.
fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec("[a-c]|[-a-z.+_\u{e4}]{1,9}x|[a-b]{95,105}", 1..6)
        .prop_map(|parts| format!("/{}", parts.join("/")))
}

proptest! {
    #[test]
    fn what_is_packed_is_what_is_unpacked(entries in proptest::collection::vec((path(), entry()), 0..12)) {
        let mut tree = Tree::new();
        let kept: Vec<_> = entries.into_iter().filter(|(path, entry)| tree.add(path, entry.clone()).is_ok()).collect();
        let mut reversed = Tree::new();
        for (path, entry) in kept.iter().rev() {
            reversed.add(path, entry.clone()).unwrap();
        }
        let tar = archive::write(&tree.with_parents(), DATE);
        prop_assert_eq!(&tar, &archive::write(&reversed.with_parents(), DATE));

        let unpacked = unpack(&tar);
        let mut sorted = unpacked.clone();
        sorted.sort_by(|(a, _), (b, _)| a.trim_end_matches('/').cmp(b.trim_end_matches('/')));
        prop_assert_eq!(&sorted, &unpacked);

        let mut found: BTreeMap<String, Entry> =
            unpacked.into_iter().map(|(path, entry)| (format!("/{}", path.trim_end_matches('/')), entry)).collect();
        for (path, entry) in tree.entries() {
            let same = found.remove(path);
            prop_assert_eq!(same.as_ref(), Some(entry));
        }
        for (path, entry) in &found {
            prop_assert_eq!(entry, &Entry::Directory { mode: 0o755 });
            prop_assert!(tree.entries().any(|(below, _)| below.starts_with(&format!("{path}/"))), "{}", path);
        }
    }
}
