//! The slow ones: what each request did that took longer than was asked for, from its first
//! look to its last.

use super::flights::{Flight, from_to};
use super::latency::middle;
use crate::model::{
    EndpointId, FunctionId, OnId, RequestId, Sample, StackId, State, StatementId, Tables, ThreadId,
};
use crate::units::Nanos;

/// How many are kept: the slowest.
const MOST_KEPT: usize = 100;

/// How many parts a time line has at the most; then the shortest neighbours are joined.
const MOST_PARTS: usize = 128;

/// A request that took longer than was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowRequest {
    /// Its number.
    pub id: RequestId,
    /// The thread that served it.
    pub thread: ThreadId,
    /// The endpoint it was last seen with.
    pub endpoint: EndpointId,
    /// When it began by the server's own account, in nanoseconds since the recording began;
    /// `None` where that is not known.
    pub started: Option<i64>,
    /// The first look that saw it.
    pub first: Nanos,
    /// The last one.
    pub last: Nanos,
    /// How long it took: from its start, or else from when it was first seen, until between
    /// the last look that saw it and the next one.
    pub duration: Nanos,
    /// Whether it was seen to end.
    pub ended: bool,
    /// What it did, in the order of time.
    pub parts: Vec<SlowPart>,
}

/// A part of a request's time line: looks one after the other that found the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowPart {
    /// From when, since the recording began: the look before the first of them.
    pub from: Nanos,
    /// Until when: the last of them.
    pub until: Nanos,
    /// What the thread was doing.
    pub state: State,
    /// What it waited on.
    pub on: Option<OnId>,
    /// What a database was being asked.
    pub statement: Option<StatementId>,
    /// Its stack at the first of the looks.
    pub stack: Option<StackId>,
    /// Whether shorter parts were joined to it, for want of room.
    pub joined: bool,
}

/// A request's time line as it grows.
#[derive(Debug, Default)]
pub(super) struct Over {
    parts: Vec<SlowPart>,
}

impl Over {
    /// What a look has found.
    pub(super) fn add(&mut self, at: Nanos, sample: &Sample, tables: &Tables) {
        let leaf = |stack: Option<StackId>| leaf_function(tables, stack);
        let from = match self.parts.last_mut() {
            Some(part)
                if (part.state, part.on, part.statement)
                    == (sample.state, sample.on, sample.statement)
                    && leaf(part.stack) == leaf(sample.stack) =>
            {
                part.until = at;
                return;
            }
            Some(part) => part.until,
            None => at.saturating_sub(sample.weight),
        };
        if self.parts.len() >= MOST_PARTS {
            self.join_shortest();
        }
        let &Sample { state, on, statement, stack, .. } = sample;
        let part = SlowPart { from, until: at, state, on, statement, stack, joined: false };
        self.parts.push(part);
    }

    /// Joins the two neighbours that are shortest together into what the longer one was.
    fn join_shortest(&mut self) {
        let length = |pair: &[SlowPart]| match pair {
            [one, other] => other.until.saturating_sub(one.from),
            _ => Nanos::ZERO,
        };
        let shortest = self.parts.windows(2).enumerate().min_by_key(|(_, pair)| length(pair));
        let Some((index, &[one, other])) = shortest else {
            return;
        };
        let time = |part: &SlowPart| part.until.saturating_sub(part.from);
        let longer = if time(&other) > time(&one) { other } else { one };
        self.parts[index] = SlowPart { from: one.from, until: other.until, joined: true, ..longer };
        self.parts.remove(index + 1);
    }
}

fn leaf_function(tables: &Tables, stack: Option<StackId>) -> Option<FunctionId> {
    stack.map(|stack| tables.frame(tables.stack(stack).frame).function)
}

/// The slowest requests of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowLog {
    /// What they took longer than.
    pub threshold: Nanos,
    /// How many did.
    pub count: u64,
    /// The slowest hundred of them, slowest first.
    pub kept: Vec<SlowRequest>,
}

impl SlowLog {
    pub(super) const fn new(threshold: Nanos) -> Self {
        Self { threshold, count: 0, kept: Vec::new() }
    }

    /// A request is over, or was in flight when the recording ended.
    pub(super) fn offer(&mut self, flight: Flight, end: Option<Nanos>) {
        let Flight { id, thread, endpoint, started, first, last, over, .. } = flight;
        let start = started.unwrap_or(first.as_nanos().cast_signed());
        let duration = middle(from_to(start, last), end.map(|end| from_to(start, end)));
        if duration < self.threshold {
            return;
        }
        self.count += 1;
        let place = self.kept.partition_point(|kept| kept.duration >= duration);
        if place >= MOST_KEPT {
            return;
        }
        self.kept.truncate(MOST_KEPT - 1);
        let ended = end.is_some();
        let parts = over.parts;
        self.kept.insert(
            place,
            SlowRequest { id, thread, endpoint, started, first, last, duration, ended, parts },
        );
    }
}
