//! What macOS wants of a program before it starts it: libraries that are there, and on Arm a signature, which may be
//! anybody's but has to fit the program to the last page. Pure.

use std::ops::Range;

use kitbag_toolsets::canonical::sha256_hex;
use object::{
    LittleEndian,
    macho::{CPU_TYPE_ARM64, LC_CODE_SIGNATURE, MachHeader64},
    read::macho::{LoadCommandVariant, MachHeader},
};

use crate::Result;

/// Of the signature (`cs_blobs.h` in Apple's open kernel).
const SUPER_BLOB: u32 = 0xfade_0cc0;
const CODE_DIRECTORY: u32 = 0xfade_0c02;
const SHA256: u8 = 2;
/// A SHA-256.
const HASH_SIZE: usize = 32;
/// Above it a page has no size that a number could say.
const MAX_PAGE_BITS: u8 = 24;

/// The C library, which is always there.
const SYSTEM: &str = "/usr/lib/libSystem.B.dylib";

/// Refuses a program for another processor (`CPU_TYPE_…`), one that wants more than the C library and these frameworks, and
/// one whose signature does not fit.
pub(super) fn check(program: &[u8], processor: u32, frameworks: &[&str]) -> Result {
    let header = MachHeader64::<LittleEndian>::parse(program, 0)?;
    let of = header.cputype(LittleEndian);
    if of != processor {
        return Err(format!("it is for the processor {of:#x} instead of {processor:#x}").into());
    }
    let mut commands = header.load_commands(LittleEndian, program, 0)?;
    let mut signature = None;
    while let Some(command) = commands.next()? {
        if let Some(library) = command.dylib()? {
            let name = String::from_utf8_lossy(command.string(LittleEndian, library.dylib.name)?).into_owned();
            let path = |framework| format!("/System/Library/Frameworks/{framework}.framework/Versions/A/{framework}");
            if name != SYSTEM && !frameworks.iter().any(|framework| name == path(framework)) {
                return Err(format!("it wants the library `{name}`").into());
            }
        }
        if let (LC_CODE_SIGNATURE, LoadCommandVariant::LinkeditData(place)) = (command.cmd(), command.variant()?) {
            let start = place.dataoff.get(LittleEndian) as usize;
            signature = Some(start..start + place.datasize.get(LittleEndian) as usize);
        }
    }
    match signature.map(|place| fits(program, place)) {
        Some(Some(true)) => Ok(()),
        None if processor != CPU_TYPE_ARM64 => Ok(()),
        None => Err("it is not signed".into()),
        Some(Some(false)) => Err("its pages are not what its signature says".into()),
        Some(None) => Err("its signature cannot be read".into()),
    }
}

/// Whether each page before the signature is what the signature says; nothing where that cannot be read.
fn fits(program: &[u8], signature: Range<usize>) -> Option<bool> {
    let start = signature.start;
    let signature = program.get(signature)?;
    let directory = signature.get(directory(signature)?..)?;
    let (hashes, pages) = (number(directory, 16)?, number(directory, 28)?);
    let end = number(directory, 32)?;
    let (size, kind, page_bits) = (*directory.get(36)?, *directory.get(37)?, *directory.get(39)?);
    if usize::from(size) != HASH_SIZE || kind != SHA256 || page_bits > MAX_PAGE_BITS || end != start {
        return None;
    }
    let code = program.get(..end)?.chunks(1 << page_bits);
    let hashes = directory.get(hashes..hashes + pages * HASH_SIZE)?.chunks(HASH_SIZE);
    let hex = |hash: &[u8]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Some(code.len() == pages && code.zip(hashes).all(|(page, hash)| sha256_hex(page) == hex(hash)))
}

/// Where in the signature the code directory is.
fn directory(signature: &[u8]) -> Option<usize> {
    let is = |at: usize, magic: u32| number(signature, at) == usize::try_from(magic).ok();
    if !is(0, SUPER_BLOB) {
        return None;
    }
    let count = number(signature, 8)?;
    let mut places = (0..count).map_while(|blob| number(signature, 12 + 8 * blob + 4));
    places.find(|place| is(*place, CODE_DIRECTORY))
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use object::macho::CPU_TYPE_X86_64;

    use super::*;

    /// A program of two pages, the last of which is short, with one command for each library and one for the signature.
    fn program(libraries: &[&str]) -> Vec<u8> {
        let mut commands = Vec::new();
        for library in libraries {
            let mut name = library.as_bytes().to_vec();
            name.resize(name.len().next_multiple_of(8) + 8, 0);
            let fields = [0xc, 24 + name.len() as u32, 24, 0, 0, 0];
            commands.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
            commands.extend(name);
        }
        let code = 4096 + 100_u32;
        let signature = [0x1d, 16, code, 20 + 44 + 64];
        commands.extend(signature.iter().flat_map(|field| field.to_le_bytes()));
        let header = [0xfeed_facf, CPU_TYPE_ARM64, 0, 2, libraries.len() as u32 + 1, commands.len() as u32, 0, 0];
        let mut program: Vec<u8> = header.iter().flat_map(|field: &u32| field.to_le_bytes()).collect();
        program.extend(commands);
        program.resize(code as usize, 7);
        let hashes: Vec<u8> = program.chunks(4096).flat_map(|page| unhex(&sha256_hex(page))).collect();
        let blob = [SUPER_BLOB, 20 + 44 + 64, 1, 0, 20];
        let directory = [CODE_DIRECTORY, 44 + 64, 0x2_0400, 2, 44, 44, 0, 2, code, 0x2002_000c, 0];
        program.extend(blob.iter().chain(&directory).flat_map(|field| field.to_be_bytes()));
        program.extend(hashes);
        program
    }

    fn unhex(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn said(program: &[u8]) -> String {
        check(program, CPU_TYPE_ARM64, &["Security"]).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn a_signed_program_with_known_libraries_starts() {
        let security = "/System/Library/Frameworks/Security.framework/Versions/A/Security";
        assert_eq!(said(&program(&[SYSTEM, security])), "fine");
        assert_eq!(said(&program(&["/opt/lib/libssl.dylib"])), "it wants the library `/opt/lib/libssl.dylib`");
        let other = check(&program(&[SYSTEM]), CPU_TYPE_X86_64, &[]).unwrap_err();
        assert_eq!(other.to_string(), "it is for the processor 0x100000c instead of 0x1000007");
        assert!(said(b"\x7fELF").contains("Mach-O"), "{}", said(b"\x7fELF"));
    }

    #[test]
    fn what_was_changed_after_signing_is_found() {
        for at in [2000, 4096 + 50] {
            let mut program = program(&[SYSTEM]);
            program[at] ^= 1;
            assert_eq!(said(&program), "its pages are not what its signature says", "{at}");
        }
        let whole = program(&[SYSTEM]);
        assert_eq!(said(&whole[..whole.len() - 1]), "its signature cannot be read");
    }
}
