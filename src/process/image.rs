//! ELF files that are mapped into a target: where their sections and symbols are in its
//! memory.
//!
//! A file is opened as the target sees it (in its own root, or by the mapping itself when
//! it was deleted or replaced) and only believed if it is the very file that is mapped:
//! another one at the same path would be silently wrong.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goblin::elf::program_header::PT_LOAD;
use goblin::elf::{Elf, Sym};
use nix::sys::stat::makedev;
use rustc_hash::FxHashMap;

use super::cold::Mapping;
use super::{Error, FileIdentity, Process, Result};
use crate::units::RemoteAddress;

/// What is kept of an ELF file.
#[derive(Debug, Default)]
struct ElfFile {
    /// The page-aligned virtual address of the first loaded segment.
    first_segment: Option<u64>,
    sections: Vec<(String, u64)>,
    symbols: Vec<(String, u64)>,
}

/// Symbols that anyone here looks for; a table of all would be megabytes.
const SYMBOLS: [&str; 2] = ["_PyRuntime", "Py_Version"];

/// Sections that anyone here looks for.
const SECTIONS: [&str; 1] = [".PyRuntime"];

/// No interpreter's file is larger, in bytes.
const LARGEST_FILE: u64 = 1 << 30;

/// An ELF file at one place of a target's memory.
#[derive(Debug, Clone)]
pub struct Image {
    path: PathBuf,
    bias: u64,
    file: Arc<ElfFile>,
    writable: Vec<(RemoteAddress, RemoteAddress)>,
    is_executable: bool,
}

impl Image {
    /// An image described by hand, for saved memory whose files are not there: its path,
    /// sections and symbols by name and address, and its writable ranges (start and end).
    pub fn described(
        path: impl Into<PathBuf>,
        sections: &[(&str, RemoteAddress)],
        symbols: &[(&str, RemoteAddress)],
        writable: Vec<(RemoteAddress, RemoteAddress)>,
    ) -> Self {
        let entries = |named: &[(&str, RemoteAddress)]| {
            named.iter().map(|&(name, address)| (name.to_owned(), address.get())).collect()
        };
        let file =
            ElfFile { first_segment: None, sections: entries(sections), symbols: entries(symbols) };
        Self { path: path.into(), bias: 0, file: Arc::new(file), writable, is_executable: false }
    }

    /// The file, as the target names it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is the process' main executable.
    pub const fn is_executable(&self) -> bool {
        self.is_executable
    }

    /// Where a section begins in the target's memory.
    pub fn section(&self, name: &str) -> Option<RemoteAddress> {
        self.find(&self.file.sections, name)
    }

    /// Where a symbol is in the target's memory.
    pub fn symbol(&self, name: &str) -> Option<RemoteAddress> {
        self.find(&self.file.symbols, name)
    }

    /// Its writable memory, with what follows its last mapping without a gap and without
    /// a name (`.bss`): start and end of each range.
    pub fn writable(&self) -> &[(RemoteAddress, RemoteAddress)] {
        &self.writable
    }

    fn find(&self, entries: &[(String, u64)], name: &str) -> Option<RemoteAddress> {
        let (_, address) = entries.iter().find(|(known, _)| known == name)?;
        Some(RemoteAddress::new(address.wrapping_add(self.bias)))
    }
}

/// ELF files that were read before: the workers of a server share theirs.
#[derive(Debug, Default)]
pub struct Images {
    known: FxHashMap<FileIdentity, Arc<ElfFile>>,
}

impl Images {
    /// None read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The images in a process that may hold a Python interpreter: its executable and
    /// the files named `libpython…` or `python…`. The executable comes last, since it often
    /// holds nothing where there is a library.
    ///
    /// # Errors
    /// The process is gone, or its mappings may not be read.
    pub fn of_process(&mut self, process: &Process) -> Result<Vec<Image>> {
        let mappings = process.mappings()?;
        let exe = process.exe_identity().ok();
        let mut images = Vec::new();
        let mut denied = None;
        for (index, mapping) in mappings.iter().enumerate() {
            let Some(path) = &mapping.path else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Not the device: overlay and btrfs show another one in `maps` than in `stat`.
            let is_executable = exe.is_some_and(|exe| exe.inode == mapping.inode);
            let named = name.starts_with("libpython") || name.starts_with("python");
            if mapping.offset != 0 || !(is_executable || named) {
                continue;
            }
            match self.file(process, mapping) {
                Ok(file) => {
                    let Some(address) = file.first_segment else { continue };
                    images.push(Image {
                        path: path.clone(),
                        bias: mapping.start.get().wrapping_sub(address),
                        writable: writable(&mappings, index),
                        is_executable,
                        file,
                    });
                }
                Err(error @ Error::Denied { .. }) => denied = Some(error),
                Err(_) => {}
            }
        }
        images.sort_by_key(Image::is_executable);
        match denied {
            Some(error) if images.is_empty() => Err(error),
            _ => Ok(images),
        }
    }

    fn file(&mut self, process: &Process, mapping: &Mapping) -> Result<Arc<ElfFile>> {
        let identity = identity(mapping);
        if let Some(known) = self.known.get(&identity) {
            return Ok(Arc::clone(known));
        }
        let file = open_mapped(process, mapping)?;
        let incomplete = || Error::Incomplete {
            pid: process.pid(),
            what: mapping.path.as_deref().unwrap_or(Path::new("?")).display().to_string(),
        };
        // Read and not mapped: a file that is cut while mapped would end us with SIGBUS.
        let mut bytes = Vec::new();
        file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(|_| incomplete())?;
        let parsed = Arc::new(ElfFile::parse(&bytes).ok_or_else(incomplete)?);
        self.known.insert(identity, Arc::clone(&parsed));
        Ok(parsed)
    }
}

fn identity(mapping: &Mapping) -> FileIdentity {
    let (major, minor) = mapping.device;
    FileIdentity { device: makedev(major.into(), minor.into()), inode: mapping.inode }
}

/// Opens the file behind a mapping: by the mapping itself (needs privilege, and finds
/// even what was deleted), in the target's root, as the executable, or by its bare path
/// (a plain chroot's mappings show our paths).
fn open_mapped(process: &Process, mapping: &Mapping) -> Result<File> {
    let gone = Error::Incomplete { pid: process.pid(), what: "a mapped file".into() };
    let path = mapping.path.as_deref().ok_or_else(|| gone.clone())?;
    let (start, end) = (mapping.start.get(), mapping.end.get());
    let in_root = format!("root{}", path.display());
    let mut first_error = None;
    for place in [format!("map_files/{start:x}-{end:x}"), in_root, "exe".into()] {
        match process.open_file(&place) {
            Ok(file) if is_mapped(&file, mapping) => return Ok(file),
            Ok(_) => {}
            Err(error) => {
                // `map_files` is denied to all but root, so its error says nothing.
                if !place.starts_with("map_files") {
                    first_error.get_or_insert(error);
                }
            }
        }
    }
    match File::open(path) {
        Ok(file) if is_mapped(&file, mapping) => Ok(file),
        _ => Err(first_error.unwrap_or(gone)),
    }
}

fn is_mapped(file: &File, mapping: &Mapping) -> bool {
    // The inode alone, for the same reason.
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.ino() == mapping.inode)
}

/// The writable ranges that belong to the image whose first mapping is at `index`.
fn writable(mappings: &[Mapping], index: usize) -> Vec<(RemoteAddress, RemoteAddress)> {
    let Some(first) = mappings.get(index) else { return Vec::new() };
    let mut ranges = Vec::new();
    let mut end = first.start;
    for (position, mapping) in mappings.iter().enumerate().skip(index) {
        let same = mapping.path == first.path && mapping.inode == first.inode;
        let bss = mapping.path.is_none() && mapping.start == end;
        // The next image begins with a new first mapping, of this file or another.
        if !(same || bss) || (same && mapping.offset == 0 && position > index) {
            break;
        }
        end = mapping.end;
        if mapping.writable {
            ranges.push((mapping.start, mapping.end));
        }
    }
    ranges
}

impl ElfFile {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let elf = Elf::parse(bytes).ok()?;
        let first = elf.program_headers.iter().find(|header| header.p_type == PT_LOAD)?;
        let page = |address: u64| address & !0xfff;
        let sections = elf.section_headers.iter().filter_map(|section| {
            let name = elf.shdr_strtab.get_at(section.sh_name)?;
            SECTIONS.contains(&name).then(|| (name.to_owned(), section.sh_addr))
        });
        let wanted = |name: Option<&str>, symbol: Sym| {
            let name = name.filter(|name| SYMBOLS.contains(name))?;
            (symbol.st_value != 0).then(|| (name.to_owned(), symbol.st_value))
        };
        let dynamic = elf
            .dynsyms
            .iter()
            .filter_map(|symbol| wanted(elf.dynstrtab.get_at(symbol.st_name), symbol));
        let own =
            elf.syms.iter().filter_map(|symbol| wanted(elf.strtab.get_at(symbol.st_name), symbol));
        Some(Self {
            first_segment: Some(page(first.p_vaddr)),
            sections: sections.collect(),
            symbols: dynamic.chain(own).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Pid;

    #[test]
    fn our_own_executable_is_found_and_read() {
        let process = Process::open(Pid::new(std::process::id())).unwrap();
        let images = Images::new().of_process(&process).unwrap();
        let own = images.iter().find(|image| image.is_executable()).unwrap();
        assert_eq!(own.path(), std::env::current_exe().unwrap());
        assert!(!own.writable().is_empty());
        assert_eq!(own.symbol("_PyRuntime"), None);
    }

    #[test]
    fn a_described_image_says_what_it_was_told() {
        let at = RemoteAddress::new;
        let range = (at(0x3000), at(0x4000));
        let image = Image::described(
            "libpython3.9.so",
            &[(".PyRuntime", at(0x1000))],
            &[("_PyRuntime", at(0x2000))],
            vec![range],
        );
        assert_eq!(image.section(".PyRuntime"), Some(at(0x1000)));
        assert_eq!(
            (image.symbol("_PyRuntime"), image.symbol("Py_Version")),
            (Some(at(0x2000)), None)
        );
        assert_eq!((image.writable(), image.path()), (&[range][..], Path::new("libpython3.9.so")));
    }

    #[test]
    fn what_is_no_elf_file_is_none() {
        for end in 0..64 {
            assert!(ElfFile::parse(&[0x7f; 64][..end]).is_none());
        }
    }
}
