//! The sums of a profile, by what its samples have in common.

use rustc_hash::FxHashMap;

use super::{Cell, Key};
use crate::units::Nanos;

/// Cells, found by their keys and named by their position.
#[derive(Debug, Default)]
pub(super) struct Cells {
    all: Vec<Cell>,
    index: FxHashMap<Key, u32>,
}

impl Cells {
    /// The cell with this key, new or known.
    pub(super) fn of(&mut self, key: Key) -> u32 {
        *self.index.entry(key).or_insert_with(|| {
            let zero = Nanos::ZERO;
            self.all.push(Cell { key, weight: zero, cpu: zero, gil_held: zero, samples: 0 });
            (self.all.len() - 1) as u32
        })
    }

    pub(super) fn get(&self, cell: u32) -> &Cell {
        &self.all[cell as usize]
    }

    pub(super) fn get_mut(&mut self, cell: u32) -> &mut Cell {
        &mut self.all[cell as usize]
    }

    /// Adds to the weight of a cell.
    pub(super) fn add(&mut self, cell: u32, nanos: u64) {
        self.get_mut(cell).weight += Nanos::from_nanos(nanos);
    }

    /// All of them, in the order in which their keys were first seen.
    pub(super) fn all(&self) -> &[Cell] {
        &self.all
    }

    pub(super) fn into_all(self) -> Vec<Cell> {
        self.all
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> (usize, usize) {
        (self.all.capacity(), self.index.capacity())
    }
}
