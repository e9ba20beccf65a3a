//! Addresses that are asked for in every walk because they were met lately.

use rustc_hash::FxHashMap;

use super::{MOST_FRAMES, Pass};
use crate::process::{Batch, Slot};
use crate::units::RemoteAddress;

/// For how many walks an address is asked for after it was last met.
const PATIENCE: u64 = 64;

/// How many addresses are kept that the last walk did not meet.
const MOST_IDLE: usize = 48;

/// A range of memory, and where its bytes are in the batch: as they were before the
/// instant and after it. The same slot when it was read once only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) address: RemoteAddress,
    before: Slot,
    after: Slot,
    met: u64,
}

impl Range {
    pub(super) const fn slot(&self, pass: Pass) -> Slot {
        match pass {
            Pass::Before => self.before,
            Pass::After => self.after,
        }
    }

    /// Whether both readings are readings of their own.
    pub(super) fn was_read_twice(&self) -> bool {
        self.before != self.after
    }
}

/// Ranges that start at addresses met lately.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    ranges: Vec<Range>,
    positions: FxHashMap<RemoteAddress, usize>,
    met_now: usize,
    /// The number of this walk.
    now: u64,
}

impl Remembered {
    /// Asks for all of them: before the instant, or after it in reverse order.
    pub(super) fn ask(&mut self, pass: Pass, length: usize, batch: &mut Batch) {
        match pass {
            Pass::Before => {
                for range in &mut self.ranges {
                    range.before = batch.ask(range.address, length);
                }
            }
            Pass::After => {
                for range in self.ranges.iter_mut().rev() {
                    range.after = batch.ask(range.address, length);
                }
            }
        }
    }

    /// Asks for them once, both before and after: for what cannot be torn.
    pub(super) fn ask_once(&mut self, length: usize, batch: &mut Batch) {
        for range in &mut self.ranges {
            range.before = batch.ask(range.address, length);
            range.after = range.before;
        }
    }

    /// The range at this address, which the walk has just met.
    pub(super) fn meet(&mut self, address: RemoteAddress) -> Option<Range> {
        let range = self.ranges.get_mut(*self.positions.get(&address)?)?;
        if range.met != self.now {
            range.met = self.now;
            self.met_now = self.met_now.saturating_add(1);
        }
        Some(*range)
    }

    /// The range at this address.
    pub(super) fn get(&self, address: RemoteAddress) -> Option<&Range> {
        self.ranges.get(*self.positions.get(&address)?)
    }

    /// Asks for a range that was not known; whether there is room for it. The reading of what
    /// comes after the instant has to be made once more: one alone shows nothing.
    pub(super) fn add(&mut self, address: RemoteAddress, length: usize, batch: &mut Batch) -> bool {
        if self.ranges.len() >= MOST_FRAMES {
            return false;
        }
        let slot = batch.ask(address, length);
        self.positions.insert(address, self.ranges.len());
        self.ranges.push(Range { address, before: slot, after: slot, met: self.now });
        self.met_now = self.met_now.saturating_add(1);
        true
    }

    /// Lets go of what was not met for long, at the end of a walk.
    pub(super) fn tidy(&mut self) {
        let idle = self.ranges.len().saturating_sub(self.met_now);
        self.met_now = 0;
        let oldest = self.now.saturating_sub(if idle > MOST_IDLE { 0 } else { PATIENCE });
        self.now = self.now.wrapping_add(1);
        if self.ranges.iter().all(|range| range.met >= oldest) {
            return;
        }
        self.ranges.retain(|range| range.met >= oldest);
        self.positions.clear();
        let numbered = self.ranges.iter().enumerate();
        self.positions.extend(numbered.map(|(position, range)| (range.address, position)));
    }
}
