//! The keys object of a dict: a head, a table of indexes, and the entries in the order in
//! which they were made (`Include/internal/pycore_dict.h`).

use super::layout::{DictKeysLayout, Layout};
use super::view::View;
use crate::units::RemoteAddress;

/// An entry of a keys object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// `me_hash`; tables with `str` keys only do not keep it (from 3.11).
    pub(super) hash: Option<u64>,
    pub(super) key: RemoteAddress,
    pub(super) value: RemoteAddress,
}

/// Where a keys object has its entries.
pub(super) struct KeyTable {
    /// How far the first entry is behind the start, in bytes.
    entries: usize,
    count: usize,
    words_per_entry: usize,
}

impl KeyTable {
    /// The bytes of the longest head before the table of indexes.
    pub(super) const HEAD: usize = 40;
    /// The bytes of the longest entry.
    pub(super) const LONGEST_ENTRY: usize = 24;

    /// How far an entry is behind the start, in bytes; `None` if there are fewer.
    pub(super) fn offset_of(&self, index: usize) -> Option<usize> {
        let words = index.checked_mul(self.words_per_entry)?;
        let offset = self.entries.checked_add(words.checked_mul(8)?)?;
        (index < self.count).then_some(offset)
    }

    /// Where all entries lie: how far behind the start, and how many bytes.
    pub(super) fn extent(&self) -> Option<(usize, usize)> {
        let words = self.count.checked_mul(self.words_per_entry)?;
        Some((self.entries, words.checked_mul(8)?))
    }

    /// All entries from the bytes of that extent, in order.
    pub(super) fn all(&self, bytes: &[u8]) -> Vec<Entry> {
        let entries = bytes.chunks_exact(self.words_per_entry.saturating_mul(8));
        entries.filter_map(|entry| self.entry(View(entry))).collect()
    }

    /// An entry from its bytes.
    pub(super) fn entry(&self, bytes: View<'_>) -> Option<Entry> {
        match self.words_per_entry {
            2 => Some(Entry { hash: None, key: bytes.address(0)?, value: bytes.address(8)? }),
            _ => Some(Entry {
                hash: bytes.u64(0),
                key: bytes.address(8)?,
                value: bytes.address(16)?,
            }),
        }
    }

    /// From the head of a keys object; `None` if it has more than `most` entries.
    pub(super) fn parse(head: View<'_>, layout: &Layout, most: usize) -> Option<Self> {
        match layout.object.dict_keys_layout {
            DictKeysLayout::Sized => {
                let size = head.length(8, 1 << 20)?;
                let width = match size {
                    0..=0xff => 1,
                    0x100..=0xffff => 2,
                    _ => 4,
                };
                Some(Self {
                    entries: size.checked_mul(width)?.checked_add(40)?,
                    count: head.length(32, most)?,
                    words_per_entry: 3,
                })
            }
            DictKeysLayout::Logarithmic => {
                let index_bytes = head.u8(9).filter(|&log2| log2 <= 22)?;
                Some(Self {
                    entries: (1_usize << index_bytes).checked_add(32)?,
                    count: head.length(24, most)?,
                    words_per_entry: if head.u8(10)? == 0 { 3 } else { 2 },
                })
            }
        }
    }
}
