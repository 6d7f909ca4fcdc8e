use proptest::prelude::*;

use super::*;

/// A little ELF file, by the layout of the System V ABI; each test breaks one thing in it.
struct Sample {
    class: u8,
    kind: u16,
    machine: u16,
    interpreter: Option<&'static str>,
    needed: Option<&'static str>,
    flags: Option<u64>,
    section: Option<(&'static str, u32)>,
    text: &'static [u8],
    entry: u64,
}

const BASE: u64 = 0x40_0000;
const EXEC: u16 = 2;
const DYN: u16 = 3;
const X86_64: u16 = 62;
const AARCH64: u16 = 183;
const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;

fn sample() -> Sample {
    Sample {
        class: 2,
        kind: EXEC,
        machine: X86_64,
        interpreter: None,
        needed: None,
        flags: None,
        section: None,
        text: b"code",
        entry: BASE,
    }
}

/// A program that passes, for other tests.
pub(crate) fn program(arch: Arch) -> Vec<u8> {
    let machine = match arch {
        Arch::Amd64 => X86_64,
        Arch::Arm64 => AARCH64,
    };
    Sample { machine, ..sample() }.bytes()
}

impl Sample {
    fn bytes(&self) -> Vec<u8> {
        const HEADER: usize = 64;
        const SEGMENT: usize = 56;
        let dynamic = self.needed.is_some() || self.flags.is_some();
        let segments = 1 + usize::from(self.interpreter.is_some()) + usize::from(dynamic);
        let mut body = self.text.to_vec();
        let start = HEADER + SEGMENT * segments;
        let mut headers = Vec::new();
        let mut segment = |kind: u32, offset: usize, size: usize| {
            headers.extend(kind.to_le_bytes());
            headers.extend(5_u32.to_le_bytes());
            for value in [offset as u64, BASE + offset as u64, 0, size as u64, size as u64, 8] {
                headers.extend(value.to_le_bytes());
            }
        };
        if let Some(interpreter) = self.interpreter {
            segment(3, start + body.len(), interpreter.len() + 1);
            body.extend(interpreter.bytes().chain([0]));
        }
        if dynamic {
            let strings = start + body.len();
            body.push(0);
            body.extend(self.needed.unwrap_or_default().bytes().chain([0]));
            let mut entries = vec![(5, BASE + strings as u64), (10, (start + body.len() - strings) as u64)];
            entries.extend(self.needed.map(|_| (1, 1)));
            entries.extend(self.flags.map(|flags| (0x6fff_fffb, flags)));
            entries.push((0, 0));
            segment(2, start + body.len(), entries.len() * 16);
            for (tag, value) in entries {
                body.extend(u64::to_le_bytes(tag).into_iter().chain(u64::to_le_bytes(value)));
            }
        }
        segment(1, 0, start + body.len());
        let (table, count) = self.sections(start, &mut body);

        let mut file = vec![0x7f, b'E', b'L', b'F', self.class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend([self.kind, self.machine].into_iter().flat_map(u16::to_le_bytes));
        file.extend(1_u32.to_le_bytes());
        file.extend([self.entry, HEADER as u64, table].into_iter().flat_map(u64::to_le_bytes));
        file.extend(0_u32.to_le_bytes());
        let sizes = [HEADER, SEGMENT, segments, 64, count, count.saturating_sub(1)];
        file.extend(sizes.into_iter().flat_map(|size| (size as u16).to_le_bytes()));
        file.extend(headers);
        file.extend(body);
        file
    }

    /// The empty section, the wanted one and the names.
    fn sections(&self, start: usize, body: &mut Vec<u8>) -> (u64, usize) {
        let Some((name, kind)) = self.section else { return (0, 0) };
        let names = start + body.len();
        let text = format!("\0{name}\0.shstrtab\0");
        body.extend(text.bytes());
        let table = start + body.len();
        let second = 2 + name.len() as u32;
        for (name, kind, offset, size) in [(0, 0, 0, 0), (1, kind, names, 0), (second, STRTAB, names, text.len())] {
            body.extend([name, kind].into_iter().flat_map(u32::to_le_bytes));
            body.extend([0, 0, offset as u64, size as u64].into_iter().flat_map(u64::to_le_bytes));
            // `sh_link` of a symbol table: its names.
            body.extend([2_u32, 0].into_iter().flat_map(u32::to_le_bytes));
            body.extend([1, if kind == SYMTAB { 24 } else { 0 }].into_iter().flat_map(u64::to_le_bytes));
        }
        (table as u64, 3)
    }
}

fn fault(sample: &Sample) -> String {
    check(&sample.bytes(), Arch::Amd64, &["/build/dir"]).unwrap_err().to_string()
}

#[test]
fn a_static_stripped_program_passes() {
    assert_eq!(check(&sample().bytes(), Arch::Amd64, &["/build/dir"]), Ok(()));
    let sections = Sample { section: Some((".text", PROGBITS)), ..sample() };
    assert_eq!(check(&sections.bytes(), Arch::Amd64, &[]), Ok(()));
    let static_pie = Sample { kind: DYN, flags: Some(0x0800_0000), ..sample() };
    assert_eq!(check(&static_pie.bytes(), Arch::Amd64, &[]), Ok(()));
}

#[test]
fn everything_else_is_refused_and_why() {
    let interpreter = Some("/lib64/ld-linux-x86-64.so.2");
    let texts = [
        fault(&Sample { class: 1, ..sample() }),
        fault(&Sample { machine: 183, ..sample() }),
        fault(&Sample { machine: 243, ..sample() }),
        fault(&Sample { kind: DYN, ..sample() }),
        fault(&Sample { kind: 1, ..sample() }),
        fault(&Sample { interpreter, ..sample() }),
        fault(&Sample { kind: DYN, interpreter, needed: Some("libc.so.6"), ..sample() }),
        fault(&Sample { needed: Some("libc.so.6"), ..sample() }),
        fault(&Sample { section: Some((".symtab", SYMTAB)), ..sample() }),
        fault(&Sample { section: Some((".debug_info", PROGBITS)), ..sample() }),
        fault(&Sample { text: b"at /build/dir/x.c", ..sample() }),
        fault(&Sample { entry: 1, ..sample() }),
    ];
    insta::assert_snapshot!(texts.join("\n"), @r"
    it is not a 64-bit little-endian ELF file
    it is for arm64, not for amd64
    it is for machine number 243, not for amd64
    it is no program but a shared library
    it is no program but an object file
    it is dynamic: it asks for the loader `/lib64/ld-linux-x86-64.so.2`; link it with `-static`
    it is dynamic: it asks for the loader `/lib64/ld-linux-x86-64.so.2`; link it with `-static`
    it is dynamic: it needs `libc.so.6`; link it with `-static`
    it is not stripped: it has the section `.symtab`; link it with `-s`
    it is not stripped: it has the section `.debug_info`; link it with `-s`
    it holds the path `/build/dir` of the build, at byte 123; another build would make other bytes
    it is damaged: its entry point is not in executable code
    ");
}

#[test]
fn a_cut_off_program_is_refused() {
    let bytes = sample().bytes();
    for length in 0..bytes.len() {
        assert!(check(&bytes[..length], Arch::Amd64, &[]).is_err() || length < 4, "{length}");
    }
}

#[test]
fn other_files_must_only_be_free_of_paths() {
    assert_eq!(check(b"#!/bin/sh\n", Arch::Arm64, &["/build/dir"]), Ok(()));
    assert_eq!(check(b"", Arch::Arm64, &[]), Err(ElfFault::Empty));
    let path = ElfFault::BuildPath { text: "/build/dir".to_owned(), offset: 2 };
    assert_eq!(check(b"# /build/dir", Arch::Arm64, &["/elsewhere", "/build/dir"]), Err(path));
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(place in 0_usize..400, byte in any::<u8>(), dynamic in any::<bool>()) {
        let needed = dynamic.then_some("libc.so.6");
        let mut bytes = Sample { needed, section: Some((".symtab", SYMTAB)), ..sample() }.bytes();
        let place = place % bytes.len();
        bytes[place] = byte;
        let _ = check(&bytes, Arch::Amd64, &[]);
    }
}
