//! ELF files that are mapped into a target: where their sections and symbols are in its
//! memory.
//!
//! | what says it | of which files | where |
//! |---|---|---|
//! | exported symbols | the executable, `python…`, `libpython…` | the target's memory |
//! | `.PyRuntime`, `.symtab` | the same | the file |
//! | both, if nothing was found so far | all others with executable mappings | both |
//!
//! A file is opened as the target sees it (in its own root, or by the mapping itself when
//! it was deleted or replaced) and only believed if it is the very file that is mapped:
//! another one at the same path would be silently wrong.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::stat::makedev;
use rustc_hash::{FxHashMap, FxHashSet};

use super::cold::Mapping;
use super::elf::{ElfFile, HEAD, SYMBOLS};
use super::exports::Exports;
use super::{Batch, FileIdentity, LiveMemory, Process, ReadMemory, Result};
use crate::units::RemoteAddress;

/// Names and where they are.
type Places = Vec<(String, RemoteAddress)>;

/// An ELF file at one place of a target's memory.
#[derive(Debug, Clone)]
pub struct Image {
    path: PathBuf,
    sections: Places,
    symbols: Places,
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
        let places = |named: &[(&str, RemoteAddress)]| {
            named.iter().map(|&(name, address)| (name.to_owned(), address)).collect()
        };
        let (sections, symbols) = (places(sections), places(symbols));
        Self { path: path.into(), sections, symbols, writable, is_executable: false }
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
        find(&self.sections, name)
    }

    /// Where a symbol is in the target's memory.
    pub fn symbol(&self, name: &str) -> Option<RemoteAddress> {
        find(&self.symbols, name)
    }

    /// Its writable memory, with what follows its last mapping without a gap and without
    /// a name (`.bss`): start and end of each range. Neighbours are one range.
    pub fn writable(&self) -> &[(RemoteAddress, RemoteAddress)] {
        &self.writable
    }

    /// Whether anything that is looked for lies in it.
    fn has_places(&self) -> bool {
        !self.sections.is_empty() || !self.symbols.is_empty()
    }
}

fn find(places: &Places, name: &str) -> Option<RemoteAddress> {
    places.iter().find(|(known, _)| known == name).map(|&(_, address)| address)
}

/// A file in the state in which it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FileState {
    identity: FileIdentity,
    size: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

/// ELF files that were read before: the workers of a server share theirs.
#[derive(Debug, Default)]
pub struct Images {
    /// What a file said; `None` if it is no ELF file or says nothing.
    known: FxHashMap<FileState, Option<Arc<ElfFile>>>,
    batch: Batch,
}

/// The mapping of a file's start, and what belongs to it.
struct Candidate<'a> {
    index: usize,
    mapping: &'a Mapping,
    path: &'a Path,
    is_executable: bool,
}

impl Images {
    /// None read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The images in a process that may hold a Python interpreter: its executable, the
    /// files named `libpython…` or `python…` and, if none of these says where one is, every
    /// other one that does. The executable comes last, since it often holds nothing where
    /// there is a library. A file that is mapped more than once is there more than once.
    ///
    /// # Errors
    /// The process is gone, or its mappings or its memory may not be read.
    pub fn of_process(&mut self, process: &Process) -> Result<Vec<Image>> {
        let mappings = process.mappings()?;
        let exe = process.exe_identity().ok();
        let memory = LiveMemory::new(process.clone());
        let candidates = mappings.iter().enumerate().filter_map(|(index, mapping)| {
            let path = mapping.path.as_deref()?;
            // Not the device: overlay and btrfs show another one in `maps` than in `stat`.
            let is_executable = exe.is_some_and(|exe| exe.inode == mapping.inode);
            let is_start = mapping.offset == 0 && mapping.inode != 0 && mapping.readable;
            is_start.then_some(Candidate { index, mapping, path, is_executable })
        });
        let (likely, others): (Vec<_>, Vec<_>) = candidates.partition(|candidate| {
            let name = candidate.path.file_name().unwrap_or_default().to_string_lossy();
            candidate.is_executable || name.starts_with("libpython") || name.starts_with("python")
        });
        let mut images = Vec::new();
        for candidate in &likely {
            images.extend(self.image(candidate, &mappings, process, &memory)?);
        }
        if !images.iter().any(Image::has_places) {
            // Data files are mapped too: an image has code.
            let executable = mappings.iter().filter(|mapping| mapping.executable);
            let with_code: FxHashSet<_> =
                executable.map(|mapping| (mapping.device, mapping.inode)).collect();
            for other in &others {
                if with_code.contains(&(other.mapping.device, other.mapping.inode)) {
                    let image = self.image(other, &mappings, process, &memory)?;
                    images.extend(image.filter(Image::has_places));
                }
            }
        }
        images.sort_by_key(Image::is_executable);
        Ok(images)
    }

    /// Where the section is in which `asyncio` states its own offsets (from 3.14): in the
    /// extension module `_asyncio`, or where that is built in. `None` if it is not loaded.
    ///
    /// # Errors
    /// The process is gone, or its mappings may not be read.
    pub fn asyncio_debug(&mut self, process: &Process) -> Result<Option<RemoteAddress>> {
        let mappings = process.mappings()?;
        let exe = process.exe_identity().ok();
        let memory = LiveMemory::new(process.clone());
        for mapping in &mappings {
            let Some(path) = mapping.path.as_deref() else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let likely = ["_asyncio.", "libpython"].iter().any(|start| name.starts_with(start));
            let is_executable = exe.is_some_and(|exe| exe.inode == mapping.inode);
            let is_start = mapping.offset == 0 && mapping.inode != 0 && mapping.readable;
            if !is_start || !(likely || is_executable) {
                continue;
            }
            self.batch.clear();
            let slot = self.batch.ask(mapping.start, HEAD);
            memory.read(&mut self.batch)?;
            let head = self.batch.prefix(slot).unwrap_or_default().to_vec();
            let Some(exports) = Exports::read(mapping.start, &memory, &mut self.batch) else {
                continue;
            };
            let bias = exports.bias();
            let file = self.file(process, mapping, &head);
            let sections = file.iter().flat_map(|file| &file.sections);
            let mut named = sections.filter(|(name, _)| *name == ".AsyncioDebug");
            if let Some((_, address)) = named.next() {
                return Ok(Some(RemoteAddress::new(address.wrapping_add(bias))));
            }
        }
        Ok(None)
    }

    /// What is known of a candidate; `None` if it is no ELF file.
    ///
    /// # Errors
    /// The process is gone, or its memory may not be read at all.
    fn image(
        &mut self,
        candidate: &Candidate<'_>,
        mappings: &[Mapping],
        process: &Process,
        memory: &dyn ReadMemory,
    ) -> Result<Option<Image>> {
        let start = candidate.mapping.start;
        self.batch.clear();
        let slot = self.batch.ask(start, HEAD);
        memory.read(&mut self.batch)?;
        let head = self.batch.prefix(slot).unwrap_or_default().to_vec();
        let Some(exports) = Exports::read(start, memory, &mut self.batch) else { return Ok(None) };
        let bias = exports.bias();
        let mut symbols: Places = Vec::new();
        for name in SYMBOLS {
            let Some(address) = exports.find(name) else { break };
            symbols.push((name.to_owned(), address));
        }
        // What is exported needs no file.
        let file =
            if symbols.is_empty() { self.file(process, candidate.mapping, &head) } else { None };
        let placed = |(name, address): &(&str, u64)| {
            ((*name).to_owned(), RemoteAddress::new(address.wrapping_add(bias)))
        };
        let mut sections = Places::new();
        if let Some(file) = file {
            sections.extend(file.sections.iter().map(placed));
            symbols.extend(file.symbols.iter().map(placed));
        }
        Ok(Some(Image {
            path: candidate.path.to_owned(),
            sections,
            symbols,
            writable: writable(mappings, candidate.index),
            is_executable: candidate.is_executable,
        }))
    }

    /// What a mapped file says, if it can be had; `head` is its start in memory.
    fn file(&mut self, process: &Process, mapping: &Mapping, head: &[u8]) -> Option<Arc<ElfFile>> {
        let file = open_mapped(process, mapping, head)?;
        let metadata = file.metadata().ok()?;
        let state = FileState {
            identity: FileIdentity { device: metadata.dev(), inode: metadata.ino() },
            size: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        let read = || ElfFile::read(&file).map(Arc::new);
        self.known.entry(state).or_insert_with(read).clone()
    }
}

/// Opens the file behind a mapping: by the mapping itself (needs privilege, and finds
/// even what was deleted), in the target's root, as the executable, or by its bare path
/// (a plain chroot's mappings show our paths).
fn open_mapped(process: &Process, mapping: &Mapping, head: &[u8]) -> Option<File> {
    let path = mapping.path.as_deref()?;
    let (start, end) = (mapping.start.get(), mapping.end.get());
    let in_root = format!("root{}", path.display());
    let places = [format!("map_files/{start:x}-{end:x}"), in_root, "exe".into()];
    let as_seen = places.iter().map(|place| process.open_file(place).ok());
    let by_path = std::iter::once_with(|| File::open(path).ok());
    as_seen.chain(by_path).flatten().find(|file| is_mapped(file, mapping, head))
}

/// Whether this is the file that is mapped. Overlay and btrfs show another device in
/// `maps` than in `stat`; there the inode and the file's first page must do, in which the
/// linker puts a number of its own for each build.
fn is_mapped(file: &File, mapping: &Mapping, head: &[u8]) -> bool {
    let Ok(metadata) = file.metadata() else { return false };
    if !metadata.is_file() || metadata.ino() != mapping.inode {
        return false;
    }
    let (major, minor) = mapping.device;
    if metadata.dev() == makedev(major.into(), minor.into()) {
        return true;
    }
    let mut bytes = vec![0; head.len()];
    !head.is_empty() && file.read_exact_at(&mut bytes, 0).is_ok() && bytes == head
}

/// The writable ranges that belong to the image whose first mapping is at `index`.
fn writable(mappings: &[Mapping], index: usize) -> Vec<(RemoteAddress, RemoteAddress)> {
    let Some(first) = mappings.get(index) else { return Vec::new() };
    let mut ranges: Vec<(RemoteAddress, RemoteAddress)> = Vec::new();
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
            match ranges.last_mut() {
                // An object may begin in a page of the file and end in `.bss`.
                Some(last) if last.1 == mapping.start => last.1 = mapping.end,
                _ => ranges.push((mapping.start, mapping.end)),
            }
        }
    }
    ranges
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
}
