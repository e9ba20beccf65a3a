//! Memory that counts what is read of it, whoever reads.

use std::cell::Cell;

use farrier::process::{Batch, ReadMemory, Result};

/// The most that one look, or finding the interpreter, may cost.
const MOST_CALLS: u64 = 20_000;
const MOST_BYTES: u64 = 96 << 20;

pub(crate) struct Counted<'a> {
    memory: &'a dyn ReadMemory,
    pub(crate) calls: Cell<u64>,
    pub(crate) bytes: Cell<u64>,
}

impl<'a> Counted<'a> {
    pub(crate) fn new(memory: &'a dyn ReadMemory) -> Self {
        Self { memory, calls: Cell::new(0), bytes: Cell::new(0) }
    }

    /// What was read since this was last asked must be within bounds.
    pub(crate) fn check(&self, what: &str) {
        let (calls, bytes) = (self.calls.take(), self.bytes.take());
        assert!(calls <= MOST_CALLS, "{what}: {calls} calls");
        assert!(bytes <= MOST_BYTES, "{what}: {bytes} bytes");
    }
}

impl ReadMemory for Counted<'_> {
    fn read(&self, batch: &mut Batch) -> Result<()> {
        let (calls, bytes) = (batch.calls(), batch.bytes_read());
        let result = self.memory.read(batch);
        self.calls.set(self.calls.get() + batch.calls() - calls);
        self.bytes.set(self.bytes.get() + batch.bytes_read() - bytes);
        result
    }
}
