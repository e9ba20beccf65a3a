//! One thread at one instant.

use super::state::{Evidence, State};
use super::tables::{EndpointId, OnId, ProcessId, StackId, StatementId, ThreadId};
use crate::units::Nanos;

/// One sampling instant of one process: all its threads are looked at in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// The process that was looked at.
    pub process: ProcessId,
    /// When, since the recording began.
    pub at: Nanos,
    /// How much later than planned. The samples' weights contain it.
    pub lateness: Nanos,
}

/// How far the reads that make up a sample agree with one another. The target runs
/// on while it is read, so agreement is checked for and never assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Grade {
    /// A second read found every link, function and line of the callers unchanged.
    Exact = 0,
    /// The functions hold; lines of the topmost frames may be of another moment.
    Functions = 1,
    /// The callers hold; the leaf is `(unsettled)`.
    Partial = 2,
    /// Nothing holds together; the weight is kept under `(lost)`.
    Lost = 3,
}

impl Grade {
    /// All grades, best first.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Functions, Self::Partial, Self::Lost];

    /// The word used in print and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Functions => "functions",
            Self::Partial => "partial",
            Self::Lost => "lost",
        }
    }
}

/// One pass through an endpoint, numbered within a recording from 1 in the order of
/// first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(std::num::NonZeroU64);

impl RequestId {
    /// The request with this number; `None` for 0, which stands for no request.
    pub const fn new(number: u64) -> Option<Self> {
        match std::num::NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// One thread at one tick. Handles and numbers only; it fits one cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Which thread.
    pub thread: ThreadId,
    /// Its stack; `None` when it has no Python frame.
    pub stack: Option<StackId>,
    /// What it served, or a `(label)` where it served no request.
    pub endpoint: EndpointId,
    /// What it waited on, where that is known.
    pub on: Option<OnId>,
    /// What a database was being asked, if the thread was in a driver's call that says so,
    /// whether it waited for the database or not.
    pub statement: Option<StatementId>,
    /// Which request it served, where one could be told.
    pub request: Option<RequestId>,
    /// The time since the thread's last tick: what this sample stands for.
    pub weight: Nanos,
    /// CPU time that the kernel charged to the thread since its last tick. Exact,
    /// though some of it may have been spent in other frames than this sample's.
    pub cpu: Nanos,
    /// Time since its last tick that the thread waited in the kernel's run queue.
    pub runqueue: Nanos,
    /// What it was doing.
    pub state: State,
    /// How the state was told.
    pub evidence: Evidence,
    /// How far the reads agree.
    pub grade: Grade,
    /// Whether it held its interpreter's GIL.
    pub holds_gil: bool,
}

const _: () = assert!(size_of::<Sample>() <= 64, "a sample fits one cache line");
