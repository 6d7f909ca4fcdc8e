//! The gate for programs: nothing gets into a layer that needs a loader, a library or the place where it was built.
//!
//! A pure function of a file's bytes. That a program also runs is for the recipe's checks to prove.

use kitbag_toolsets::Arch;
use memchr::memmem;
use object::LittleEndian;
use object::elf;
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _, SectionHeader as _};

/// Why a file must not be in a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfFault {
    /// Nothing in it: what some tools leave when they mean to strip.
    #[error("it is empty")]
    Empty,
    /// Begins like an ELF file and is none.
    #[error("it is damaged: {0}")]
    Malformed(String),
    /// Not 64-bit little-endian.
    #[error("it is not a 64-bit little-endian ELF file")]
    Class,
    /// For another processor.
    #[error("it is for {found}, not for {wanted}")]
    Machine {
        /// What it is for.
        found: String,
        /// What it should be for.
        wanted: Arch,
    },
    /// An object file, a core: nothing that runs.
    #[error("it is no program but {0}")]
    NotAProgram(&'static str),
    /// `PT_INTERP`.
    #[error("it is dynamic: it asks for the loader `{0}`; link it with `-static`")]
    Interpreter(String),
    /// `DT_NEEDED`.
    #[error("it is dynamic: it needs {}; link it with `-static`", quoted(.0))]
    Needed(Vec<String>),
    /// A symbol table or debugging information.
    #[error("it is not stripped: it has the section `{0}`; link it with `-s`")]
    NotStripped(String),
    /// A place of the build machine.
    #[error("it holds the path `{text}` of the build, at byte {offset}; another build would make other bytes")]
    BuildPath {
        /// The path.
        text: String,
        /// Where it stands.
        offset: usize,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Checks one file of a layer for `arch`. `forbidden` are paths that must not stand in it, whatever it is; the other
/// rules are for ELF files.
///
/// # Errors
/// The first [`ElfFault`] found.
pub fn check(bytes: &[u8], arch: Arch, forbidden: &[&str]) -> Result<(), ElfFault> {
    if bytes.is_empty() {
        return Err(ElfFault::Empty);
    }
    if is_elf(bytes) {
        program(bytes, arch)?;
    }
    for text in forbidden {
        if let Some(offset) = memmem::find(bytes, text.as_bytes()) {
            return Err(ElfFault::BuildPath { text: (*text).to_owned(), offset });
        }
    }
    Ok(())
}

/// Whether `bytes` begin as ELF files do.
#[must_use]
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

type Elf<'a> = ElfFile64<'a, LittleEndian>;

const ENDIAN: LittleEndian = LittleEndian;

fn program(bytes: &[u8], arch: Arch) -> Result<(), ElfFault> {
    // Class and byte order (System V ABI, "ELF Identification").
    if bytes.get(4..6) != Some(&[elf::ELFCLASS64, elf::ELFDATA2LSB]) {
        return Err(ElfFault::Class);
    }
    let file = Elf::parse(bytes).map_err(malformed)?;
    machine(&file, arch)?;
    let dynamic = Dynamic::read(&file, bytes)?;
    kind(&file, &dynamic)?;
    if let Some(interpreter) = interpreter(&file, bytes)? {
        return Err(ElfFault::Interpreter(interpreter));
    }
    if !dynamic.needed.is_empty() {
        return Err(ElfFault::Needed(dynamic.needed));
    }
    entry(&file, bytes)?;
    stripped(&file)
}

fn machine(file: &Elf, wanted: Arch) -> Result<(), ElfFault> {
    let found = match file.elf_header().e_machine(ENDIAN) {
        elf::EM_X86_64 => Arch::Amd64.to_string(),
        elf::EM_AARCH64 => Arch::Arm64.to_string(),
        other => format!("machine number {other}"),
    };
    if found == wanted.as_str() { Ok(()) } else { Err(ElfFault::Machine { found, wanted }) }
}

/// A program has fixed addresses, or says that it is position-independent.
fn kind(file: &Elf, dynamic: &Dynamic) -> Result<(), ElfFault> {
    match file.elf_header().e_type(ENDIAN) {
        elf::ET_EXEC => Ok(()),
        // Some linkers leave the flag out when they set an interpreter; that is the better thing to say then.
        elf::ET_DYN if dynamic.pie || interpreter(file, file.data())?.is_some() => Ok(()),
        elf::ET_DYN => Err(ElfFault::NotAProgram("a shared library")),
        elf::ET_REL => Err(ElfFault::NotAProgram("an object file")),
        elf::ET_CORE => Err(ElfFault::NotAProgram("a core dump")),
        _ => Err(ElfFault::NotAProgram("something unknown")),
    }
}

fn interpreter(file: &Elf, bytes: &[u8]) -> Result<Option<String>, ElfFault> {
    for segment in file.elf_program_headers() {
        if let Some(path) = segment.interpreter(ENDIAN, bytes).map_err(malformed)? {
            return Ok(Some(text(path)));
        }
    }
    Ok(None)
}

/// What the dynamic section says, found as the kernel and the loader find it: by segment, not by section.
#[derive(Default)]
struct Dynamic {
    needed: Vec<String>,
    pie: bool,
}

impl Dynamic {
    fn read(file: &Elf, bytes: &[u8]) -> Result<Self, ElfFault> {
        let mut entries: Vec<elf::Dyn64<LittleEndian>> = Vec::new();
        for segment in file.elf_program_headers() {
            entries.extend(segment.dynamic(ENDIAN, bytes).map_err(malformed)?.unwrap_or_default());
        }
        let value = |tag| entries.iter().find(|entry| entry.d_tag(ENDIAN) == tag).map(|entry| entry.d_val(ENDIAN));
        let strings = value(elf::DT_STRTAB).zip(value(elf::DT_STRSZ)).and_then(|(address, size)| {
            let segments = file.elf_program_headers().iter();
            segments.filter_map(|segment| segment.data_range(ENDIAN, bytes, address, size).ok()?).next()
        });
        let name = |offset: u64| {
            let rest = strings?.get(usize::try_from(offset).ok()?..)?;
            Some(text(rest.split(|&byte| byte == 0).next()?))
        };
        let needed = entries.iter().filter(|entry| entry.d_tag(ENDIAN) == elf::DT_NEEDED);
        Ok(Self {
            needed: needed.map(|entry| name(entry.d_val(ENDIAN)).unwrap_or_else(|| "?".to_owned())).collect(),
            pie: value(elf::DT_FLAGS_1).is_some_and(|flags| flags & u64::from(elf::DF_1_PIE) != 0),
        })
    }
}

/// The program must be there in its full length, and begin in it.
fn entry(file: &Elf, bytes: &[u8]) -> Result<(), ElfFault> {
    let start = file.elf_header().e_entry(ENDIAN);
    let mut found = false;
    for segment in file.elf_program_headers().iter().filter(|segment| segment.p_type(ENDIAN) == elf::PT_LOAD) {
        let data = segment.data(ENDIAN, bytes);
        data.map_err(|()| ElfFault::Malformed("a segment reaches beyond the end of the file".to_owned()))?;
        let address = segment.p_vaddr(ENDIAN);
        let executable = segment.p_flags(ENDIAN) & elf::PF_X != 0;
        found |= executable && (address..address.saturating_add(segment.p_filesz(ENDIAN))).contains(&start);
    }
    if found { Ok(()) } else { Err(ElfFault::Malformed("its entry point is not in executable code".to_owned())) }
}

fn stripped(file: &Elf) -> Result<(), ElfFault> {
    let sections = file.elf_section_table();
    for section in sections.iter() {
        let name = sections.section_name(ENDIAN, section).unwrap_or_default();
        let debugging = [&b".debug"[..], b".zdebug", b".stab"].iter().any(|prefix| name.starts_with(prefix));
        if debugging || section.sh_type(ENDIAN) == elf::SHT_SYMTAB {
            return Err(ElfFault::NotStripped(text(name)));
        }
    }
    Ok(())
}

fn malformed(error: object::read::Error) -> ElfFault {
    ElfFault::Malformed(error.to_string())
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
pub(crate) mod tests;
