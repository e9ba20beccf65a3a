//! What the samples of a recording add up to; every report is drawn from it.
//!
//! ```text
//! Sink ──► Builder ──finish(tables)──► Profile ──select(&Selection)──► narrower Profile
//! ```
//!
//! Samples that differ in weight only fall into one [`Cell`], so a profile grows
//! with the number of distinct stacks and not with time. Their weights are not simply those
//! of their samples: how much time a thread spent on CPUs, and in waiting for one, the
//! kernel counts exactly, and samples only say where (`sharing.rs`).

mod buckets;
mod builder;
mod cells;
mod flights;
#[cfg(test)]
pub(crate) mod handmade;
mod latency;
mod loops;
mod requests;
mod routings;
mod select;
mod sharing;
mod slow;
mod suspended;
mod woken;

use std::sync::Arc;

pub use builder::Builder;
pub use latency::{Estimate, Latency};
pub use loops::LoopHolder;
pub use requests::RequestsSeen;
pub use select::{Pattern, Selection};
pub use slow::{SlowLog, SlowPart, SlowRequest};
pub use suspended::{SuspendedCell, TasksSeen};

use flights::RequestTimes;
use latency::{Durations, Gaps};

use crate::model::{
    EndpointId, Evidence, Executions, Grade, ListenQueue, Note, OnId, ProcessFacts, ProcessId,
    Progress, RequestId, Sample, Session, StackId, State, StatementId, Tables, ThreadId,
};
use crate::units::Nanos;

/// What samples have in common that fall into one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The thread.
    pub thread: ThreadId,
    /// What it served.
    pub endpoint: EndpointId,
    /// Its stack; `None` when it had no Python frame. In a finished profile a
    /// `partial` sample ends in `(unsettled)` and a `lost` one is `(lost)` alone.
    pub stack: Option<StackId>,
    /// What it waited on. A `runnable` thread with a [`crate::model::On::Holder`] waits for
    /// the GIL, and for a CPU to find that it still has to.
    pub on: Option<OnId>,
    /// What a database was being asked.
    pub statement: Option<StatementId>,
    /// What it was doing.
    pub state: State,
    /// How that was told.
    pub evidence: Evidence,
    /// How far the reads agreed.
    pub grade: Grade,
    /// Whether it held the GIL.
    pub holds_gil: bool,
}

/// The sum of all samples with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// What they have in common.
    pub key: Key,
    /// The thread-time they stand for, once the kernel's counters have been shared out over
    /// samples (see `sharing.rs`).
    pub weight: Nanos,
    /// The CPU time in that, by the kernel: of a running thread all of it, where the kernel
    /// counts.
    pub cpu: Nanos,
    /// For how long the thread held the GIL: as far as the key says so, the time since its
    /// last sample each.
    pub gil_held: Nanos,
    /// How many samples. [`State::Runnable`] is mostly told by counters alone and has none.
    pub samples: u64,
}

/// A recording, added up.
#[derive(Debug, Clone)]
pub struct Profile {
    tables: Arc<Tables>,
    session: Session,
    processes: Vec<(ProcessId, ProcessFacts)>,
    progress: Progress,
    complete: bool,
    notes: Vec<Note>,
    notes_left_out: u64,
    cells: Vec<Cell>,
    requests: Vec<RequestsSeen>,
    times: Vec<RequestTimes>,
    gaps: Gaps,
    most_in_flight: Vec<(EndpointId, u64)>,
    slow: Option<SlowLog>,
    executions: Vec<Executions>,
    listen: Vec<ListenQueue>,
    suspended: Vec<SuspendedCell>,
    tasks_seen: Vec<TasksSeen>,
    loop_holders: Vec<LoopHolder>,
}

impl Profile {
    /// What the handles of the cells point into.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What was known when the recording began.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What was last known of each process, in the order in which they joined.
    pub fn processes(&self) -> &[(ProcessId, ProcessFacts)] {
        &self.processes
    }

    /// How the sampling went: totals, for all processes even in a selection. The
    /// time elapsed is never before the last tick.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether the recording reached its end; `false` when it was cut short.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// What a person should be told, oldest first.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// How many notes beyond the first thousand were left out.
    pub fn notes_left_out(&self) -> u64 {
        self.notes_left_out
    }

    /// The sums, in the order in which their keys were first seen.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The requests seen, by thread and endpoint.
    pub fn requests(&self) -> &[RequestsSeen] {
        &self.requests
    }

    /// What is to be said of the requests under each endpoint of the processes that are
    /// wanted, in the order of the endpoints: how many there were, and how long they took.
    /// Where one thread has many requests at a time, that is not known, and nothing said.
    pub fn estimates(&self, wanted: impl Fn(ProcessId) -> bool) -> Vec<(EndpointId, Estimate)> {
        let mut sums: std::collections::BTreeMap<EndpointId, Durations> = Default::default();
        for of in self.times.iter().filter(|of| wanted(of.process)) {
            sums.entry(of.endpoint).or_default().merge(&of.durations);
        }
        let visibility = self.gaps.visibility();
        sums.into_iter().map(|(of, durations)| (of, durations.estimate(&visibility))).collect()
    }

    /// The most requests that were in flight at the same time under each endpoint, in all
    /// processes; empty in a selection of processes or threads.
    pub fn most_in_flight(&self) -> &[(EndpointId, u64)] {
        &self.most_in_flight
    }

    /// The slowest requests, if it was asked for them.
    pub const fn slow(&self) -> Option<&SlowLog> {
        self.slow.as_ref()
    }

    /// What was seen of executions of statements: one for each thread, endpoint, statement
    /// and what was waited on.
    pub fn executions(&self) -> &[Executions] {
        &self.executions
    }

    /// The addresses at which the servers listen, in the order in which they were first
    /// looked at: all that was seen of each over the recording, added up.
    pub fn listen(&self) -> &[ListenQueue] {
        &self.listen
    }

    /// Who held event loops for long.
    pub fn loop_holders(&self) -> &[LoopHolder] {
        &self.loop_holders
    }

    /// How long a process was there to be sampled.
    pub fn observed(&self, facts: &ProcessFacts) -> Nanos {
        facts.left.unwrap_or(self.progress.elapsed).saturating_sub(facts.joined)
    }
}

/// What a thread was last seen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    request: Option<RequestId>,
    endpoint: EndpointId,
    is_idle: bool,
}

impl Last {
    fn of(sample: &Sample) -> Self {
        let is_idle = sample.state == State::Idle;
        Self { request: sample.request, endpoint: sample.endpoint, is_idle }
    }

    /// Whether the thread was at the same thing all the time from one look to the next.
    fn is_one_with(&self, next: &Self) -> bool {
        let unserved = self.endpoint == next.endpoint && !self.is_idle && !next.is_idle;
        self.request == next.request && (next.request.is_some() || unserved)
    }
}
