//! ELF files, as far as finding an interpreter needs them: where sections and symbols
//! lie. Only the parts of a file that say so are read, since a process may have hundreds of
//! large ones.
//!
//! The format is that of the System V ABI (`/usr/include/elf.h`), 64-bit and little-endian.

use std::fs::File;
use std::os::unix::fs::FileExt;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::program_header::{PT_DYNAMIC, PT_LOAD};
use goblin::elf::section_header::{SHT_DYNSYM, SHT_NOBITS, SHT_SYMTAB};
use goblin::elf::{Elf, Header, ProgramHeader, SectionHeader, Sym};

/// Symbols that anyone here looks for; a table of all would be megabytes.
pub(super) const SYMBOLS: [&str; 2] = ["_PyRuntime", "Py_Version"];

/// Sections that anyone here looks for.
const SECTIONS: [&str; 2] = [".PyRuntime", ".AsyncioDebug"];

/// How much of a file's start is read at once: the header, and nearly always the program
/// headers.
pub(super) const HEAD: usize = 4096;

/// The most program headers and section headers that are looked at.
const MOST_HEADERS: u16 = 4096;

/// The largest tables that are read, in bytes: of names, and of symbols.
const LARGEST_TABLE: u64 = 256 << 20;

/// How many bytes of a symbol table are read at once.
const SYMBOLS_AT_ONCE: usize = 24 << 14;

/// The numbers of this format.
pub(super) const CONTEXT: Ctx = Ctx { container: Container::Big, le: Endian::Little };

/// `sizeof(Elf64_Sym)`.
pub(super) const SYMBOL_SIZE: usize = 24;

/// What the start of an ELF file says.
pub(super) struct Head {
    header: Header,
    programs: Vec<ProgramHeader>,
}

impl Head {
    /// `read` gives up to so many bytes from an offset on.
    pub(super) fn read(read: impl Fn(u64, usize) -> Option<Vec<u8>>) -> Option<Self> {
        let bytes = read(0, HEAD)?;
        let header = Elf::parse_header(&bytes).ok()?;
        if header.container().ok()? != Container::Big || header.endianness().ok()? != Endian::Little
        {
            return None;
        }
        let count = usize::from(header.e_phnum.min(MOST_HEADERS));
        let length = count.checked_mul(ProgramHeader::size(CONTEXT))?;
        let bytes = read(header.e_phoff, length)?;
        let programs = ProgramHeader::parse(&bytes, 0, count, CONTEXT).ok()?;
        Some(Self { header, programs })
    }

    fn loaded(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.programs.iter().filter(|program| program.p_type == PT_LOAD)
    }

    /// The page-aligned virtual address at which the file's first page is loaded.
    pub(super) fn first_address(&self) -> Option<u64> {
        let page = |address: u64| address & !0xfff;
        let first = self.loaded().find(|program| page(program.p_offset) == 0)?;
        Some(page(first.p_vaddr))
    }

    /// The virtual address after the last that is loaded.
    pub(super) fn end_address(&self) -> Option<u64> {
        self.loaded().map(|program| program.p_vaddr.saturating_add(program.p_memsz)).max()
    }

    /// The virtual address and the length of the dynamic section.
    pub(super) fn dynamic(&self) -> Option<(u64, u64)> {
        let program = self.programs.iter().find(|program| program.p_type == PT_DYNAMIC)?;
        Some((program.p_vaddr, program.p_memsz))
    }
}

/// What is kept of an ELF file: names and virtual addresses.
#[derive(Debug, Default)]
pub(super) struct ElfFile {
    pub(super) sections: Vec<(&'static str, u64)>,
    pub(super) symbols: Vec<(&'static str, u64)>,
}

impl ElfFile {
    /// Reads a file's section headers, and its symbols where no section says enough.
    /// `None` if it is no ELF file or has no section headers.
    pub(super) fn read(file: &File) -> Option<Self> {
        let read = |at, length| read_at(file, at, length);
        let header = Head::read(read)?.header;
        let count = usize::from(header.e_shnum.min(MOST_HEADERS));
        let bytes = read(header.e_shoff, count.checked_mul(SectionHeader::size(CONTEXT))?)?;
        let headers = SectionHeader::parse_from(&bytes, 0, count, CONTEXT).ok()?;
        let names = read_section(file, headers.get(usize::from(header.e_shstrndx))?)?;
        let mut found = Self::default();
        for name in SECTIONS {
            let is_named = |header: &&SectionHeader| is_string_at(&names, header.sh_name, name);
            found
                .sections
                .extend(headers.iter().find(is_named).map(|header| (name, header.sh_addr)));
        }
        let tables = |kind| headers.iter().filter(move |header| header.sh_type == kind);
        for table in tables(SHT_DYNSYM).chain(tables(SHT_SYMTAB)) {
            let strings = usize::try_from(table.sh_link).ok().and_then(|link| headers.get(link));
            if let Some(strings) = strings {
                found.add_symbols(file, table, strings);
            }
        }
        Some(found)
    }

    /// Adds those of [`SYMBOLS`] that a table has and that are not known yet.
    fn add_symbols(&mut self, file: &File, table: &SectionHeader, strings: &SectionHeader) {
        let Some(strings) = read_section(file, strings) else { return };
        let mut wanted = Vec::new();
        for name in SYMBOLS {
            // A name may be the end of a longer one.
            let places = strings.windows(name.len()).enumerate();
            let places = places.filter(|(_, window)| *window == name.as_bytes());
            let places = places.filter_map(|(at, _)| u32::try_from(at).ok());
            wanted.extend(
                places.filter(|&at| is_string_at(&strings, at as usize, name)).map(|at| (at, name)),
            );
        }
        if wanted.is_empty() {
            return;
        }
        let end = table.sh_offset.saturating_add(table.sh_size.min(LARGEST_TABLE));
        let mut at = table.sh_offset;
        while at < end {
            let Some(bytes) = read_at(file, at, SYMBOLS_AT_ONCE) else { return };
            let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let count = bytes.len().min(left).checked_div(SYMBOL_SIZE).unwrap_or(0);
            let Ok(symbols) = Sym::parse(&bytes, 0, count, CONTEXT) else { return };
            for symbol in symbols {
                let name = wanted.iter().find(|(at, _)| usize::try_from(*at) == Ok(symbol.st_name));
                let Some(&(_, name)) = name else { continue };
                if is_defined(&symbol) && !self.symbols.iter().any(|(known, _)| *known == name) {
                    self.symbols.push((name, symbol.st_value));
                }
            }
            if count == 0 {
                return;
            }
            at = at.saturating_add(count.saturating_mul(SYMBOL_SIZE) as u64);
        }
    }
}

/// Whether a symbol has a place of its own in the file.
pub(super) fn is_defined(symbol: &Sym) -> bool {
    symbol.st_shndx != 0 && symbol.st_value != 0
}

/// Whether a table of names has this one, with its end, at this offset.
fn is_string_at(strings: &[u8], at: usize, name: &str) -> bool {
    let rest = strings.get(at..).unwrap_or_default();
    rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
}

fn read_section(file: &File, section: &SectionHeader) -> Option<Vec<u8>> {
    let length = usize::try_from(section.sh_size.min(LARGEST_TABLE)).ok()?;
    (section.sh_type != SHT_NOBITS).then(|| read_at(file, section.sh_offset, length))?
}

/// Up to so many bytes. Read and not mapped: a file that is cut while mapped would end us
/// with SIGBUS. No more room is taken than the file has bytes, whatever its headers say.
fn read_at(file: &File, at: u64, length: usize) -> Option<Vec<u8>> {
    let left = file.metadata().ok()?.len().saturating_sub(at);
    let mut bytes = vec![0; usize::try_from(left).map_or(length, |left| length.min(left))];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(filled);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A file with these bytes.
    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn what_is_no_elf_file_is_none() {
        for end in 0..64 {
            assert!(ElfFile::read(&file(&[0x7f; 64][..end])).is_none());
        }
        let shell = std::fs::read("/bin/sh").unwrap();
        assert!(ElfFile::read(&file(&shell)).is_some());
        assert!(ElfFile::read(&file(&shell[..HEAD])).is_none());
    }

    #[test]
    fn headers_that_lie_are_not_followed_far() {
        let own = std::fs::read("/bin/sh").unwrap();
        // e_phoff, e_shoff, and what is from e_phentsize on.
        for at in [32, 33, 40, 41, 47, 54, 56, 57, 58, 60, 61, 62, 63] {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = own.clone();
                bytes[at] = value;
                if let Some(found) = ElfFile::read(&file(&bytes)) {
                    assert!(found.sections.is_empty() && found.symbols.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_name_is_found_even_as_the_end_of_another() {
        let strings = b"\0x_PyRuntime\0_PyRuntimes\0";
        assert!(is_string_at(strings, 2, "_PyRuntime"));
        assert!(!is_string_at(strings, 13, "_PyRuntime"));
        assert!(!is_string_at(strings, 99, "_PyRuntime"));
    }
}
