//! Saved memory as [`ReadMemory`]: the double for tests and for the fuzzer; and how it is
//! saved, by keeping what was read of a live process.
//!
//! A snapshot file is a sequence of `address: u64, length: u64, bytes`, little
//! endian. Ranges may touch but not overlap.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

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

    /// Adds a range that overlaps none that is there.
    pub fn insert(&mut self, address: RemoteAddress, bytes: Vec<u8>) {
        self.ranges.insert(address.get(), bytes);
    }

    /// Adds those of the bytes at `address` that are not there yet: what was read first
    /// stays.
    pub fn keep(&mut self, address: RemoteAddress, bytes: &[u8]) {
        let stop = |(start, known): (&u64, &Vec<u8>)| start.saturating_add(known.len() as u64);
        let start = address.get();
        let end = start.saturating_add(bytes.len() as u64);
        let mut at = start;
        while at < end {
            let known = self.ranges.range(..=at).next_back().map(stop);
            if let Some(beyond) = known.filter(|&beyond| beyond > at) {
                at = beyond;
                continue;
            }
            let next = self.ranges.range((Excluded(at), Unbounded)).next();
            let gap = next.map_or(end, |(&next, _)| next.min(end));
            let offset = |address: u64| usize::try_from(address.saturating_sub(start)).ok();
            let piece = offset(at).zip(offset(gap)).and_then(|(from, to)| bytes.get(from..to));
            let piece = piece.unwrap_or_default();
            match self.ranges.range_mut(..at).next_back() {
                Some((&before, known)) if stop((&before, known)) == at => {
                    known.extend_from_slice(piece);
                }
                _ => {
                    self.ranges.insert(at, piece.to_vec());
                }
            }
            at = gap;
        }
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

/// Memory that keeps a copy of all that is read through it: how snapshots are made.
pub struct RecordingMemory<'a> {
    memory: &'a dyn ReadMemory,
    kept: RefCell<SnapshotMemory>,
}

impl std::fmt::Debug for RecordingMemory<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RecordingMemory").field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl<'a> RecordingMemory<'a> {
    /// Nothing was read of `memory` yet.
    pub fn new(memory: &'a dyn ReadMemory) -> Self {
        Self { memory, kept: RefCell::default() }
    }

    /// What was read. Of bytes that were read twice, the first are kept.
    pub fn into_snapshot(self) -> SnapshotMemory {
        self.kept.into_inner()
    }
}

impl ReadMemory for RecordingMemory<'_> {
    fn read(&self, batch: &mut Batch) -> Result<()> {
        let first = batch.read_count();
        self.memory.read(batch)?;
        let mut kept = self.kept.borrow_mut();
        for (address, bytes) in batch.read_from(first) {
            kept.keep(address, bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: u64) -> RemoteAddress {
        RemoteAddress::new(address)
    }

    #[test]
    fn bytes_that_overlap_are_kept_once_and_the_first_stay() {
        let mut snapshot = SnapshotMemory::new();
        snapshot.keep(at(0x1004), &[1; 4]);
        snapshot.keep(at(0x1010), &[2; 4]);
        snapshot.keep(at(0x1002), &[3; 0x12]);
        snapshot.keep(at(0x1006), &[4; 4]);
        snapshot.keep(at(0x1000), &[]);
        let mut batch = Batch::new();
        let all = batch.ask(at(0x1002), 0x12);
        snapshot.read(&mut batch).unwrap();
        let expected = [3, 3, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2];
        assert_eq!(batch.bytes(all), Some(&expected[..]));
        assert_eq!(snapshot.ranges().map(|(_, bytes)| bytes.len()).sum::<usize>(), 0x12);
    }

    #[test]
    fn a_recording_gives_the_same_bytes_again_from_a_file() {
        let mut source = SnapshotMemory::new();
        source.insert(at(0x1000), (0..=255).collect());
        let recording = RecordingMemory::new(&source);
        let mut batch = Batch::new();
        batch.ask(at(0x1010), 8);
        recording.read(&mut batch).unwrap();
        // Later reads of one batch, overlapping ranges and a hole.
        batch.ask(at(0x1014), 8);
        batch.ask(at(0x10fe), 8);
        batch.ask(at(0x9000), 8);
        recording.read(&mut batch).unwrap();
        let snapshot = SnapshotMemory::parse(&recording.into_snapshot().to_file());
        let kept: Vec<_> = snapshot.ranges().map(|(start, bytes)| (start, bytes.len())).collect();
        assert_eq!(kept, [(at(0x1010), 12), (at(0x10fe), 2)]);
        for (start, bytes) in snapshot.ranges() {
            assert_eq!(u64::from(bytes[0]), start.get() & 0xff);
        }
    }

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
