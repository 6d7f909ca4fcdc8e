//! What Windows wants of a program before it starts it: libraries that are there. Pure.

use object::{
    LittleEndian,
    pe::IMAGE_FILE_MACHINE_AMD64,
    read::pe::{ImageNtHeaders, PeFile64},
};

use crate::Result;

/// Windows' own libraries, as far as the plugin needs them.
const SYSTEM: [&str; 10] = [
    "advapi32.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "crypt32.dll",
    "kernel32.dll",
    "ntdll.dll",
    "secur32.dll",
    "user32.dll",
    "userenv.dll",
    "ws2_32.dll",
];
/// What the names of others begin with, among them the C library (Windows 10 has it).
const API_SETS: &str = "api-ms-win-";

/// Refuses a program for another processor than x86-64, and one that wants a library that Windows does not bring.
pub(super) fn check(program: &[u8]) -> Result {
    let file = PeFile64::parse(program)?;
    let of = file.nt_headers().file_header().machine.get(LittleEndian);
    if of != IMAGE_FILE_MACHINE_AMD64 {
        return Err(format!("it is for the processor {of:#x} instead of {IMAGE_FILE_MACHINE_AMD64:#x}").into());
    }
    let mut libraries = Vec::new();
    if let Some(table) = file.import_table()? {
        let mut wanted = table.descriptors()?;
        while let Some(library) = wanted.next()? {
            libraries.push(table.name(library.name.get(LittleEndian))?);
        }
    }
    if let Some(table) = file.data_directories().delay_load_import_table(program, &file.section_table())? {
        let mut wanted = table.descriptors()?;
        while let Some(library) = wanted.next()? {
            libraries.push(table.name(library.dll_name_rva.get(LittleEndian))?);
        }
    }
    for name in libraries {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if !name.starts_with(API_SETS) && !SYSTEM.contains(&name.as_str()) {
            return Err(format!("it wants the library `{name}`").into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the one section lies, in the file and in memory.
    const SECTION: u32 = 0x200;
    /// Of the directories, those of imports: at once, and at the first use.
    const IMPORTS: usize = 1;
    const LATE_IMPORTS: usize = 13;

    /// A program that wants these libraries.
    fn program(processor: u16, directory: usize, libraries: &[&str]) -> Vec<u8> {
        // A descriptor's size, and where in it the library's name is.
        let (size, at) = if directory == IMPORTS { (20, 12) } else { (32, 4) };
        let mut section = vec![0; size * (libraries.len() + 1)];
        for (index, name) in libraries.iter().enumerate() {
            let place = SECTION + section.len() as u32;
            section[index * size + at..][..4].copy_from_slice(&place.to_le_bytes());
            // Names are looked up, and what is looked up is not read.
            section[index * size..][..4.min(at)].copy_from_slice(&1_u32.to_le_bytes());
            section.extend(name.bytes().chain([0]));
        }
        let mut header = vec![0; SECTION as usize];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &0x40_u32.to_le_bytes());
        put(0x40, b"PE\0\0");
        put(0x44, &processor.to_le_bytes());
        // One section, and the size and kind of the optional header with all 16 directories.
        put(0x46, &1_u16.to_le_bytes());
        put(0x54, &240_u16.to_le_bytes());
        put(0x58, &0x20b_u16.to_le_bytes());
        put(0x58 + 108, &16_u32.to_le_bytes());
        put(0x58 + 112 + 8 * directory, &SECTION.to_le_bytes());
        put(0x58 + 116 + 8 * directory, &(section.len() as u32).to_le_bytes());
        let length = section.len() as u32;
        for (index, field) in [length, SECTION, length, SECTION].iter().enumerate() {
            put(0x58 + 240 + 8 + 4 * index, &field.to_le_bytes());
        }
        header.extend(section);
        header
    }

    fn said(program: &[u8]) -> String {
        check(program).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn a_program_that_wants_what_windows_has_starts() {
        for directory in [IMPORTS, LATE_IMPORTS] {
            let program = |libraries: &[&str]| program(IMAGE_FILE_MACHINE_AMD64, directory, libraries);
            assert_eq!(said(&program(&["KERNEL32.dll", "api-ms-win-crt-heap-l1-1-0.dll"])), "fine");
            let foreign = program(&["kernel32.dll", "libgcc_s_seh-1.dll"]);
            assert_eq!(said(&foreign), "it wants the library `libgcc_s_seh-1.dll`");
        }
    }

    #[test]
    fn a_program_for_another_processor_and_what_is_none_is_refused() {
        assert_eq!(said(&program(0xaa64, IMPORTS, &[])), "it is for the processor 0xaa64 instead of 0x8664");
        assert!(said(b"\x7fELF").contains("DOS"), "{}", said(b"\x7fELF"));
    }
}
