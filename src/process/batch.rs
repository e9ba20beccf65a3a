//! Many remote ranges, read into one local buffer.
//!
//! ```text
//! ask(a, 64) ask(b, 8) ask(c, 4096)          remote   ┌a──┐   ┌b┐ ┌c────────┐
//!        one process_vm_readv                local    [a──][b][c────────]
//! ```
//!
//! A call costs the same for 8 bytes as for a page, and each further range about a
//! third of a call, so a whole tick's wishes are gathered here first. The buffers
//! are kept between ticks: in the steady state nothing is allocated.

use std::io::IoSliceMut;

use nix::sys::uio::RemoteIoVec;

use crate::units::RemoteAddress;

/// What was asked for, by the order of asking; valid until the batch is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

#[derive(Debug, Clone, Copy)]
struct Range {
    /// Where its bytes begin in the buffer.
    start: usize,
    length: usize,
    /// How many of its bytes were read, from its start.
    filled: usize,
}

/// Ranges to read and, afterwards, their bytes.
#[derive(Debug, Default)]
pub struct Batch {
    ranges: Vec<Range>,
    remote: Vec<RemoteIoVec>,
    buffer: Vec<u8>,
    /// Bytes asked for in all.
    wanted: usize,
    /// How many ranges have been offered to a reader.
    read: usize,
    calls: u64,
    bytes: u64,
}

impl Batch {
    /// The largest range that may be asked for, in bytes. Lengths come from targets;
    /// a longer one is cut to this.
    pub const LONGEST_RANGE: usize = 1 << 20;

    /// The kernel's limit on ranges in one call (`UIO_MAXIOV`).
    pub(crate) const RANGES_PER_CALL: usize = 1024;

    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all ranges and keeps the memory.
    pub fn clear(&mut self) {
        self.ranges.clear();
        self.remote.clear();
        self.wanted = 0;
        self.read = 0;
    }

    /// Whether nothing is waiting to be read.
    pub fn is_settled(&self) -> bool {
        self.read == self.ranges.len()
    }

    /// Whether a range has been offered to a reader yet.
    pub fn is_read(&self, slot: Slot) -> bool {
        (slot.0 as usize) < self.read
    }

    /// How many ranges were asked for since the batch was cleared.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether nothing was asked for since the batch was cleared.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Asks for `length` bytes at `address` with the next read.
    pub fn ask(&mut self, address: RemoteAddress, length: usize) -> Slot {
        let length = length.min(Self::LONGEST_RANGE);
        let slot = Slot(u32::try_from(self.ranges.len()).unwrap_or(u32::MAX));
        let base = usize::try_from(address.get()).unwrap_or(0);
        self.ranges.push(Range { start: self.wanted, length, filled: 0 });
        self.remote.push(RemoteIoVec { base, len: length });
        self.wanted = self.wanted.saturating_add(length);
        slot
    }

    /// The bytes of a range, if it was read whole.
    pub fn bytes(&self, slot: Slot) -> Option<&[u8]> {
        let range = self.ranges.get(slot.0 as usize)?;
        if range.filled < range.length {
            return None;
        }
        self.prefix(slot)
    }

    /// The bytes of a range up to where it stopped being readable.
    pub fn prefix(&self, slot: Slot) -> Option<&[u8]> {
        let range = self.ranges.get(slot.0 as usize)?;
        self.buffer.get(range.start..range.start.checked_add(range.filled)?)
    }

    /// How many bytes were asked for since the batch was cleared.
    pub(crate) const fn bytes_wanted(&self) -> usize {
        self.wanted
    }

    /// How many ranges have been offered to a reader.
    pub(crate) const fn read_count(&self) -> usize {
        self.read
    }

    /// What was read of the ranges from the `first` one on: address and bytes.
    pub(crate) fn read_from(&self, first: usize) -> impl Iterator<Item = (RemoteAddress, &[u8])> {
        let read = self.ranges.iter().zip(&self.remote).take(self.read).skip(first);
        read.filter_map(|(range, remote)| {
            let bytes = self.buffer.get(range.start..range.start.checked_add(range.filled)?)?;
            Some((RemoteAddress::new(remote.base as u64), bytes))
        })
    }

    /// System calls made for this batch since it was made.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// Bytes read into this batch since it was made.
    pub const fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// Reads everything that was asked for and not read yet. `read` fills a prefix of
    /// the local buffer from the remote ranges in order and says how long that
    /// prefix is; 0 or an error mean that the first range could not be read at all.
    /// A short count ends somewhere inside a range: what it holds of that range is
    /// kept, and reading goes on with the next one.
    ///
    /// # Errors
    /// The first error for which `is_fatal` holds: the rest would fail likewise.
    pub(crate) fn fill<E>(
        &mut self,
        mut read: impl FnMut(&mut IoSliceMut<'_>, &[RemoteIoVec]) -> Result<usize, E>,
        is_fatal: impl Fn(&E) -> bool,
    ) -> Result<(), E> {
        if self.buffer.len() < self.wanted {
            self.buffer.resize(self.wanted.next_power_of_two(), 0);
        }
        while let Some(first) = self.ranges.get(self.read).copied() {
            let end = self.ranges.len().min(self.read.saturating_add(Self::RANGES_PER_CALL));
            let (Some(remote), Some(last)) =
                (self.remote.get(self.read..end), self.ranges.get(end.saturating_sub(1)))
            else {
                break;
            };
            let stop = last.start.saturating_add(last.length);
            let Some(local) = self.buffer.get_mut(first.start..stop) else { break };
            self.calls = self.calls.saturating_add(1);
            let count = match read(&mut IoSliceMut::new(local), remote) {
                Ok(count) => count,
                Err(error) if is_fatal(&error) => return Err(error),
                Err(_) => 0,
            };
            self.bytes = self.bytes.saturating_add(count as u64);
            self.account(end, count);
        }
        Ok(())
    }

    /// Hands out the `count` bytes that a call read to the ranges from `self.read` to
    /// `end`. Moves on past a range that was read in part, and past the first one if
    /// nothing was read; a range at whose very start the count ends is asked for
    /// again, since a reader may stop there for reasons of its own.
    fn account(&mut self, end: usize, count: usize) {
        let mut left = count;
        let first = self.read;
        while self.read < end {
            let Some(range) = self.ranges.get_mut(self.read) else { return };
            if left == 0 && range.length > 0 && self.read > first {
                return;
            }
            self.read = self.read.saturating_add(1);
            range.filled = range.length.min(left);
            left = left.saturating_sub(range.filled);
            if range.filled < range.length {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: u64) -> RemoteAddress {
        RemoteAddress::new(address)
    }

    /// A reader of memory in which every byte is its address' low byte, with holes.
    fn fill(batch: &mut Batch, readable: impl Fn(usize) -> bool) -> Result<(), ()> {
        batch.fill(
            |local, remote| {
                let mut count = 0;
                for range in remote {
                    for address in range.base..range.base + range.len {
                        if !readable(address) {
                            return if count == 0 { Err(()) } else { Ok(count) };
                        }
                        local[count] = address as u8;
                        count += 1;
                    }
                }
                Ok(count)
            },
            |()| false,
        )
    }

    #[test]
    fn one_call_serves_many_ranges() {
        let mut batch = Batch::new();
        let one = batch.ask(at(0x1000), 4);
        let two = batch.ask(at(0x2010), 2);
        assert!(!batch.is_settled());
        fill(&mut batch, |_| true).unwrap();
        assert_eq!(batch.bytes(one), Some(&[0, 1, 2, 3][..]));
        assert_eq!(batch.bytes(two), Some(&[0x10, 0x11][..]));
        assert_eq!((batch.calls(), batch.bytes_read()), (1, 6));
    }

    #[test]
    fn a_hole_costs_its_own_range_only() {
        let mut batch = Batch::new();
        let bad_first = batch.ask(at(0x9000), 4);
        let good = batch.ask(at(0x1000), 2);
        let cut = batch.ask(at(0x8ffe), 4);
        let last = batch.ask(at(0x2000), 1);
        fill(&mut batch, |address| address < 0x9000).unwrap();
        assert_eq!(batch.bytes(bad_first), None);
        assert_eq!(batch.bytes(good), Some(&[0, 1][..]));
        assert_eq!((batch.bytes(cut), batch.prefix(cut)), (None, Some(&[0xfe, 0xff][..])));
        assert_eq!(batch.bytes(last), Some(&[0][..]));
        assert!(batch.is_settled());
    }

    #[test]
    fn ranges_may_be_added_after_a_read_and_old_bytes_stay() {
        let mut batch = Batch::new();
        let one = batch.ask(at(0x1001), 1);
        fill(&mut batch, |_| true).unwrap();
        let two = batch.ask(at(0x1002), 100);
        fill(&mut batch, |_| true).unwrap();
        assert_eq!(batch.bytes(one), Some(&[1][..]));
        assert_eq!(batch.bytes(two).map(<[u8]>::len), Some(100));
    }

    #[test]
    fn more_ranges_than_the_kernel_takes_are_cut_into_calls() {
        let mut batch = Batch::new();
        for index in 0..2500 {
            batch.ask(at(0x1000 + index), 1);
        }
        fill(&mut batch, |_| true).unwrap();
        assert_eq!(batch.calls(), 3);
    }
}
