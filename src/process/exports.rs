//! The symbols that a mapped ELF file exports, read from the target's memory alone: right
//! whatever became of the file on disk, whichever root it lies in, whoever may open it.
//!
//! ```text
//! ELF header ─► PT_DYNAMIC ─► DT_GNU_HASH: filter ─ bucket ─ chain ─► DT_SYMTAB, DT_STRTAB
//! ```
//!
//! The tables are those that the dynamic linker itself searches (System V ABI; DT_GNU_HASH
//! as in glibc's `elf/dl-lookup.c`). A file that exports nothing of ours is told by the
//! filter, after four reads.

use std::cell::RefCell;

use goblin::elf::Sym;
use goblin::elf::dynamic::{DT_GNU_HASH, DT_HASH, DT_NULL, DT_STRTAB, DT_SYMTAB};

use super::elf::{CONTEXT, Head, SYMBOL_SIZE, is_defined};
use super::{Batch, ReadMemory};
use crate::units::RemoteAddress;

/// The most entries of a dynamic section that are read; usual ones have about thirty.
const MOST_DYNAMIC: u64 = 1024;

/// The most links of a hash chain that are followed. Chains are short by design.
const MOST_LINKS: u32 = 1024;

/// An ELF file at one place of a target's memory.
pub(super) struct Exports<'a> {
    memory: &'a dyn ReadMemory,
    batch: RefCell<&'a mut Batch>,
    /// What is to be added to the file's virtual addresses.
    bias: u64,
    tables: Option<Tables>,
}

/// Where the dynamic linker's tables are.
struct Tables {
    symbols: u64,
    strings: u64,
    hash: Hash,
}

#[derive(Clone, Copy)]
enum Hash {
    Gnu(u64),
    SystemV(u64),
}

impl<'a> Exports<'a> {
    /// Of the file whose first page is mapped at `start`. `None` if that is no ELF file.
    pub(super) fn read(
        start: RemoteAddress,
        memory: &'a dyn ReadMemory,
        batch: &'a mut Batch,
    ) -> Option<Self> {
        let mut exports = Self { memory, batch: RefCell::new(batch), bias: 0, tables: None };
        let head =
            Head::read(|offset, length| exports.prefix(start.get().wrapping_add(offset), length))?;
        exports.bias = start.get().wrapping_sub(head.first_address()?);
        exports.tables = exports.find_tables(start.get(), &head);
        Some(exports)
    }

    /// What is to be added to the file's virtual addresses.
    pub(super) const fn bias(&self) -> u64 {
        self.bias
    }

    /// The symbol's address in the target's memory, if the file exports it.
    pub(super) fn find(&self, name: &str) -> Option<RemoteAddress> {
        let tables = self.tables.as_ref()?;
        let symbol = match tables.hash {
            Hash::Gnu(table) => self.find_gnu(table, name),
            Hash::SystemV(table) => self.find_system_v(table, name),
        }?;
        Some(RemoteAddress::new(self.bias.wrapping_add(symbol.st_value)))
    }

    fn find_tables(&self, start: u64, head: &Head) -> Option<Tables> {
        let (address, length) = head.dynamic()?;
        let length = usize::try_from(length.min(MOST_DYNAMIC.saturating_mul(16))).ok()?;
        let bytes = self.prefix(self.bias.wrapping_add(address), length)?;
        let end = self.bias.wrapping_add(head.end_address()?);
        let entry = |wanted: u64| {
            let entries = bytes.chunks_exact(16).map(|entry| (word(entry, 0), word(entry, 8)));
            let mut entries = entries.take_while(|(tag, _)| *tag != Some(DT_NULL));
            let (_, value) = entries.find(|(tag, _)| *tag == Some(wanted))?;
            // Some dynamic linkers put the address in its place, others leave the file's.
            let value = value?;
            let is_inside = |address: &u64| (start..end).contains(address);
            Some(value).filter(is_inside).or(Some(self.bias.wrapping_add(value)).filter(is_inside))
        };
        let gnu = entry(DT_GNU_HASH).map(Hash::Gnu);
        Some(Tables {
            symbols: entry(DT_SYMTAB)?,
            strings: entry(DT_STRTAB)?,
            hash: gnu.or_else(|| entry(DT_HASH).map(Hash::SystemV))?,
        })
    }

    /// `struct { u32 buckets, first, words, shift; u64 filter[words]; u32 bucket[buckets],
    /// chain[]; }`, the symbols before `first` not being in it.
    fn find_gnu(&self, table: u64, name: &str) -> Option<Sym> {
        let head = self.exactly(table, 16)?;
        let [buckets, first, words, shift] =
            [half(&head, 0)?, half(&head, 4)?, half(&head, 8)?, half(&head, 12)?];
        let hash = gnu_hash(name);
        let filter = table.wrapping_add(16);
        let place = (hash >> 6).checked_rem(words)?;
        let bits =
            word(&self.exactly(filter.wrapping_add(u64::from(place).wrapping_mul(8)), 8)?, 0)?;
        let bit = |hash: u32| bits >> (hash & 63) & 1 == 1;
        if !bit(hash) || !bit(hash.checked_shr(shift)?) {
            return None;
        }
        let bucket = filter.wrapping_add(u64::from(words).wrapping_mul(8));
        let at = |base: u64, index: u32| base.wrapping_add(u64::from(index).wrapping_mul(4));
        let start = half(&self.exactly(at(bucket, hash.checked_rem(buckets)?), 4)?, 0)?;
        let chain = at(bucket, buckets);
        for link in 0..MOST_LINKS {
            let index = start.checked_add(link)?;
            let found = half(&self.exactly(at(chain, index.checked_sub(first)?), 4)?, 0)?;
            if (found ^ hash) >> 1 == 0
                && let Some(symbol) = self.symbol(index, name)
            {
                return Some(symbol);
            }
            if found & 1 == 1 {
                return None;
            }
        }
        None
    }

    /// `struct { u32 buckets, chains, bucket[buckets], chain[chains]; }`.
    fn find_system_v(&self, table: u64, name: &str) -> Option<Sym> {
        let at = |index: u32| table.wrapping_add(u64::from(index).wrapping_mul(4));
        let entry = |index: u32| half(&self.exactly(at(index), 4)?, 0);
        let buckets = entry(0)?;
        let bucket = system_v_hash(name).checked_rem(buckets)?;
        let mut index = entry(bucket.checked_add(2)?)?;
        for _ in 0..MOST_LINKS {
            if index == 0 {
                return None;
            }
            if let Some(symbol) = self.symbol(index, name) {
                return Some(symbol);
            }
            index = entry(buckets.checked_add(2)?.checked_add(index)?)?;
        }
        None
    }

    /// The symbol with this number, if it has this name and a place.
    fn symbol(&self, index: u32, name: &str) -> Option<Sym> {
        let Tables { symbols, strings, .. } = self.tables.as_ref()?;
        let offset = u64::from(index).wrapping_mul(SYMBOL_SIZE as u64);
        let bytes = self.exactly(symbols.wrapping_add(offset), SYMBOL_SIZE)?;
        let symbol = Sym::parse(&bytes, 0, 1, CONTEXT).ok()?.pop()?;
        let text =
            self.exactly(strings.wrapping_add(symbol.st_name as u64), name.len().checked_add(1)?)?;
        let is_it = text.strip_suffix(&[0]) == Some(name.as_bytes());
        (is_it && is_defined(&symbol)).then_some(symbol)
    }

    /// Up to so many bytes: memory may end before.
    fn prefix(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        let mut batch = self.batch.borrow_mut();
        batch.clear();
        let slot = batch.ask(RemoteAddress::new(address), length);
        self.memory.read(&mut batch).ok()?;
        batch.prefix(slot).map(<[u8]>::to_vec)
    }

    fn exactly(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        self.prefix(address, length).filter(|bytes| bytes.len() == length)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn gnu_hash(name: &str) -> u32 {
    name.bytes().fold(5381, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte.into()))
}

fn system_v_hash(name: &str) -> u32 {
    name.bytes().fold(0_u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(byte.into());
        let high = hash & 0xf000_0000;
        (hash ^ high >> 24) & !high
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{LiveMemory, Process, SnapshotMemory};
    use crate::units::Pid;

    fn own_libc() -> (Process, RemoteAddress) {
        let process = Process::open(Pid::new(std::process::id())).unwrap();
        let libc = process.mappings().unwrap().into_iter().find(|mapping| {
            let path = mapping.path.as_ref().map(|path| path.to_string_lossy().into_owned());
            mapping.offset == 0 && path.is_some_and(|path| path.contains("libc.so"))
        });
        (process, libc.expect("tests are linked dynamically").start)
    }

    #[test]
    fn what_our_own_c_library_exports_is_where_its_file_says() {
        let (process, libc) = own_libc();
        let mappings = process.mappings().unwrap();
        let mapping = mappings.iter().find(|mapping| mapping.start == libc).unwrap();
        let bytes = std::fs::read(mapping.path.as_ref().unwrap()).unwrap();
        let elf = goblin::elf::Elf::parse(&bytes).unwrap();
        let memory = LiveMemory::new(process);
        let mut batch = Batch::new();
        let exports = Exports::read(libc, &memory, &mut batch).unwrap();
        let named = |symbol: &Sym| elf.dynstrtab.get_at(symbol.st_name).unwrap();
        let mut count = 0;
        for symbol in elf.dynsyms.iter().filter(is_defined).step_by(7) {
            let name = named(&symbol);
            let found = exports.find(name).unwrap_or_else(|| panic!("{name}")).get();
            // Several versions of a symbol share its name.
            let mut same = elf.dynsyms.iter().filter(|other| named(other) == name);
            assert!(same.any(|other| found == exports.bias() + other.st_value), "{name}");
            count += 1;
        }
        assert!(count > 200, "{count}");
        assert_eq!(exports.find("_PyRuntime"), None);
        assert_eq!(exports.find(""), None);
    }

    #[test]
    fn hashes_are_those_of_the_format() {
        // From the examples of the System V ABI and of glibc's own tests.
        assert_eq!((gnu_hash(""), gnu_hash("printf")), (0x1505, 0x156b_2bb8));
        assert_eq!((system_v_hash(""), system_v_hash("printf")), (0, 0x0779_05a6));
    }

    #[test]
    fn memory_that_lies_is_not_followed_far() {
        let (process, libc) = own_libc();
        let memory = LiveMemory::new(process);
        let mut saved = SnapshotMemory::new();
        let mut batch = Batch::new();
        let slot = batch.ask(libc, 1 << 18);
        memory.read(&mut batch).unwrap();
        saved.insert(libc, batch.prefix(slot).unwrap().to_vec());
        for at in 0..1024 {
            for value in [0, 0xff] {
                let mut damaged = saved.clone();
                *damaged.byte_mut(libc.plus(at)).unwrap() = value;
                let mut batch = Batch::new();
                if let Some(exports) = Exports::read(libc, &damaged, &mut batch) {
                    assert_eq!(exports.find("_PyRuntime"), None);
                }
                assert!(batch.calls() < 4096);
            }
        }
    }
}
