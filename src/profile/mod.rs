//! What the samples of a recording add up to; every report is drawn from it.
//!
//! ```text
//! Sink ──► Builder ──finish(tables)──► Profile ──select(&Selection)──► narrower Profile
//! ```
//!
//! Samples that differ in weight only fall into one [`Cell`], so a profile grows
//! with the number of distinct stacks and not with time.

mod builder;
#[cfg(test)]
pub(crate) mod handmade;
mod requests;
mod routings;
mod select;

use std::sync::Arc;

pub use builder::Builder;
pub use requests::RequestsSeen;
pub use select::{Pattern, Selection};

use crate::model::{
    EndpointId, Evidence, Executions, Grade, Note, OnId, ProcessFacts, ProcessId, Progress,
    Session, StackId, State, StatementId, Tables, ThreadId,
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
    /// What it waited on.
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
    /// The thread-time they stand for.
    pub weight: Nanos,
    /// CPU time charged to the thread in that time.
    pub cpu: Nanos,
    /// Time in the kernel's run queue in that time.
    pub runqueue: Nanos,
    /// How many samples.
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
    executions: Vec<Executions>,
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

    /// What was seen of executions of statements: one for each thread, endpoint, statement
    /// and what was waited on.
    pub fn executions(&self) -> &[Executions] {
        &self.executions
    }

    /// How long a process was there to be sampled.
    pub fn observed(&self, facts: &ProcessFacts) -> Nanos {
        facts.left.unwrap_or(self.progress.elapsed).saturating_sub(facts.joined)
    }
}
