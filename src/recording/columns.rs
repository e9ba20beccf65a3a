//! A sample as the numbers that are stored, and the differences between them.

use super::v1::Events;
use crate::model::{Evidence, Grade, Sample, State};

/// A sample with its handles as positions; where one may be missing, it is one
/// higher and 0 means none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RawSample {
    pub(super) thread: u64,
    pub(super) stack: u64,
    pub(super) endpoint: u64,
    pub(super) on: u64,
    pub(super) statement: u64,
    pub(super) request: u64,
    pub(super) weight: u64,
    pub(super) cpu: u64,
    pub(super) runqueue: u64,
    pub(super) flags: u32,
}

/// A table position as it is stored.
pub(super) fn position(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}

/// The position of an entry that may be missing, as it is stored.
pub(super) fn optional(index: Option<usize>) -> u64 {
    index.map_or(0, |index| position(index).saturating_add(1))
}

impl From<&Sample> for RawSample {
    fn from(sample: &Sample) -> Self {
        Self {
            thread: position(sample.thread.index()),
            stack: optional(sample.stack.map(|stack| stack.index())),
            endpoint: position(sample.endpoint.index()),
            on: optional(sample.on.map(|on| on.index())),
            statement: optional(sample.statement.map(|statement| statement.index())),
            request: sample.request.map_or(0, |request| request.get()),
            weight: sample.weight.as_nanos(),
            cpu: sample.cpu.as_nanos(),
            runqueue: sample.runqueue.as_nanos(),
            flags: flags(sample),
        }
    }
}

/// State in bits 0 to 3, evidence in 4 to 7, grade in 8 to 11, GIL in 12.
fn flags(sample: &Sample) -> u32 {
    sample.state as u32
        | (sample.evidence as u32) << 4
        | (sample.grade as u32) << 8
        | u32::from(sample.holds_gil) << 12
}

/// The state, evidence, grade and GIL mark in a sample's flags. A state or evidence
/// of a later build is unknown; a grade of one cannot be trusted at all.
pub(super) fn from_flags(flags: u32) -> (State, Evidence, Grade, bool) {
    let bits = |shift: u32| flags.checked_shr(shift).unwrap_or_default() & 0xf;
    let state = State::ALL.into_iter().find(|&state| state as u32 == bits(0));
    let evidence = Evidence::ALL.into_iter().find(|&evidence| evidence as u32 == bits(4));
    let grade = Grade::ALL.into_iter().find(|&grade| grade as u32 == bits(8));
    (
        state.unwrap_or(State::Unknown),
        evidence.unwrap_or(Evidence::None),
        grade.unwrap_or(Grade::Lost),
        bits(12) & 1 == 1,
    )
}

/// What the differences in a block are taken from: it starts at nothing, so that
/// each block can be read without the one before.
#[derive(Debug, Default)]
pub(super) struct Deltas {
    block: u64,
    at: u64,
    thread: u64,
    threads: Vec<(u64, Last)>,
}

/// What a thread had in its last sample in this block.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    stack: u64,
    endpoint: u64,
    on: u64,
    statement: u64,
    request: u64,
    weight: u64,
}

impl Deltas {
    /// A block begins.
    pub(super) fn restart(&mut self) {
        self.block = self.block.wrapping_add(1);
        self.at = 0;
        self.thread = 0;
    }

    /// A tick's time as it is stored.
    pub(super) fn put_at(&mut self, at: u64) -> i64 {
        put(&mut self.at, at)
    }

    /// The tick's time that was stored.
    pub(super) fn take_at(&mut self, stored: i64) -> u64 {
        take(&mut self.at, stored)
    }

    /// Appends a sample to its columns. `false` if its thread cannot be.
    pub(super) fn put_sample(&mut self, sample: &RawSample, into: &mut Events) -> bool {
        let thread = put(&mut self.thread, sample.thread);
        let Some(last) = self.last(sample.thread) else { return false };
        into.sample_thread.push(thread);
        into.sample_stack.push(put(&mut last.stack, sample.stack));
        into.sample_endpoint.push(put(&mut last.endpoint, sample.endpoint));
        into.sample_on.push(put(&mut last.on, sample.on));
        into.sample_statement.push(put(&mut last.statement, sample.statement));
        into.sample_request.push(put(&mut last.request, sample.request));
        into.sample_weight.push(put(&mut last.weight, sample.weight));
        into.sample_cpu.push(sample.cpu);
        into.sample_runqueue.push(sample.runqueue);
        into.sample_flags.push(sample.flags);
        true
    }

    /// The sample at this position of the columns; `None` if a column is shorter or
    /// the thread is not one of `threads`.
    pub(super) fn take_sample(
        &mut self,
        from: &Events,
        index: usize,
        threads: usize,
    ) -> Option<RawSample> {
        let thread = take(&mut self.thread, *from.sample_thread.get(index)?);
        if thread >= position(threads) {
            return None;
        }
        let last = self.last(thread)?;
        Some(RawSample {
            thread,
            stack: take(&mut last.stack, *from.sample_stack.get(index)?),
            endpoint: take(&mut last.endpoint, *from.sample_endpoint.get(index)?),
            on: take(&mut last.on, *from.sample_on.get(index)?),
            statement: match from.sample_statement.get(index) {
                Some(&stored) => take(&mut last.statement, stored),
                None if from.sample_statement.is_empty() => 0,
                None => return None,
            },
            request: take(&mut last.request, *from.sample_request.get(index)?),
            weight: take(&mut last.weight, *from.sample_weight.get(index)?),
            cpu: *from.sample_cpu.get(index)?,
            runqueue: *from.sample_runqueue.get(index)?,
            flags: *from.sample_flags.get(index)?,
        })
    }

    fn last(&mut self, thread: u64) -> Option<&mut Last> {
        let index = usize::try_from(thread).ok()?;
        if self.threads.len() <= index {
            self.threads.resize(index.checked_add(1)?, (0, Last::default()));
        }
        let (block, last) = self.threads.get_mut(index)?;
        if *block != self.block {
            (*block, *last) = (self.block, Last::default());
        }
        Some(last)
    }
}

/// The difference to the last value, which becomes this one. It wraps, so that any
/// two values have one.
fn put(last: &mut u64, value: u64) -> i64 {
    value.wrapping_sub(std::mem::replace(last, value)).cast_signed()
}

/// The value with this difference to the last one.
fn take(last: &mut u64, difference: i64) -> u64 {
    *last = last.wrapping_add(difference.cast_unsigned());
    *last
}
