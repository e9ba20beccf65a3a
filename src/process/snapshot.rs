//! Saved memory as [`ReadMemory`]: the double for tests and for the fuzzer.
//!
//! A snapshot file is a sequence of `address: u64, length: u64, bytes`, little
//! endian. Ranges may touch but not overlap.

use std::collections::BTreeMap;

use super::{Batch, ReadMemory, Result};
use crate::units::RemoteAddress;

/// Memory that was saved earlier, or made up.
#[derive(Debug, Clone, Default)]
pub struct SnapshotMemory {
    ranges: BTreeMap<u64, Vec<u8>>,
}

impl SnapshotMemory {
    /// No memory at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a range.
    pub fn insert(&mut self, address: RemoteAddress, bytes: Vec<u8>) {
        self.ranges.insert(address.get(), bytes);
    }

    /// The snapshot in a file's bytes. A cut or damaged tail is left out.
    pub fn parse(mut file: &[u8]) -> Self {
        let mut snapshot = Self::new();
        while let Some((header, rest)) = file.split_first_chunk::<16>() {
            let (address, length) = header.split_at(8);
            let word =
                |bytes: &[u8]| u64::from_le_bytes(<[u8; 8]>::try_from(bytes).unwrap_or_default());
            let Ok(length) = usize::try_from(word(length)) else { break };
            let Some((bytes, rest)) = rest.split_at_checked(length) else { break };
            snapshot.insert(RemoteAddress::new(word(address)), bytes.to_vec());
            file = rest;
        }
        snapshot
    }

    /// The bytes of a snapshot file that [`SnapshotMemory::parse`] reads.
    pub fn to_file(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for (address, bytes) in &self.ranges {
            file.extend_from_slice(&address.to_le_bytes());
            file.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            file.extend_from_slice(bytes);
        }
        file
    }

    /// The byte at `address`, for a test to change.
    pub fn byte_mut(&mut self, address: RemoteAddress) -> Option<&mut u8> {
        let (&start, bytes) = self.ranges.range_mut(..=address.get()).next_back()?;
        bytes.get_mut(usize::try_from(address.get().checked_sub(start)?).ok()?)
    }

    /// Every range.
    pub fn ranges(&self) -> impl Iterator<Item = (RemoteAddress, &[u8])> {
        self.ranges.iter().map(|(&address, bytes)| (RemoteAddress::new(address), &bytes[..]))
    }

    /// Copies as many bytes from `address` on as there are, at the most `into.len()`.
    fn copy(&self, mut address: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some((&start, bytes)) = self.ranges.range(..=address).next_back() else { break };
            let Some(from) = usize::try_from(address.wrapping_sub(start))
                .ok()
                .and_then(|offset| bytes.get(offset..))
                .filter(|from| !from.is_empty())
            else {
                break;
            };
            let count = from.len().min(rest.len());
            for (to, from) in rest.iter_mut().zip(from) {
                *to = *from;
            }
            done = done.saturating_add(count);
            address = address.saturating_add(count as u64);
        }
        done
    }
}

impl ReadMemory for SnapshotMemory {
    fn read(&self, batch: &mut Batch) -> Result<()> {
        let outcome: std::result::Result<(), ()> = batch.fill(
            |local, remote| {
                let mut total = 0;
                for range in remote {
                    let Some(into) =
                        local.get_mut(total..).and_then(|rest| rest.get_mut(..range.len))
                    else {
                        break;
                    };
                    let count = self.copy(range.base as u64, into);
                    total = total.saturating_add(count);
                    if count < range.len {
                        break;
                    }
                }
                if total == 0 { Err(()) } else { Ok(total) }
            },
            |()| false,
        );
        debug_assert!(outcome.is_ok(), "no error of a snapshot is fatal");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_round_trips_and_reads_cross_touching_ranges() {
        let mut snapshot = SnapshotMemory::new();
        snapshot.insert(RemoteAddress::new(0x1000), vec![1, 2]);
        snapshot.insert(RemoteAddress::new(0x1002), vec![3, 4]);
        let mut file = snapshot.to_file();
        file.truncate(file.len() - 1);
        let cut = SnapshotMemory::parse(&file);
        assert_eq!(cut.ranges().count(), 1);
        let mut batch = Batch::new();
        let across = batch.ask(RemoteAddress::new(0x1001), 3);
        let beyond = batch.ask(RemoteAddress::new(0x1003), 2);
        let none = batch.ask(RemoteAddress::new(0x900), 2);
        snapshot.read(&mut batch).unwrap();
        assert_eq!(batch.bytes(across), Some(&[2, 3, 4][..]));
        assert_eq!(batch.prefix(beyond), Some(&[4][..]));
        assert_eq!(batch.bytes(none), None);
    }
}
