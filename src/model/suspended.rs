//! Tasks and greenlets that wait while no thread runs them.

use super::sample::RequestId;
use super::state::State;
use super::tables::{EndpointId, OnId, ProcessId, StackId};
use crate::units::Nanos;

/// One look at the tasks of a process.
///
/// A suspended task is on no thread, so it has no part in thread-seconds and no CPU time:
/// what it waits for is counted beside the samples of threads, never among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskLook {
    /// The process.
    pub process: ProcessId,
    /// When, since the recording began.
    pub at: Nanos,
    /// How many tasks there were, suspended or not.
    pub tasks: u32,
    /// How many of them were looked at: those stand for the others too.
    pub looked: u32,
    /// How many of these ran, had ended, or went on while they were read.
    pub moved: u32,
}

/// A task that was suspended at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspended {
    /// Its coroutines, from the one that it was made of to the one that waits.
    pub stack: Option<StackId>,
    /// What it serves, or a `(label)` where it serves no request.
    pub endpoint: EndpointId,
    /// What it waits on, where that is known.
    pub on: Option<OnId>,
    /// Which request it serves, where one could be told.
    pub request: Option<RequestId>,
    /// What it waits for: [`State::Io`], [`State::Lock`], [`State::Sleep`], [`State::Idle`],
    /// or [`State::Runnable`] if it only waits for the loop to go on with it.
    pub state: State,
    /// The time since the last look, times the tasks that it stands for.
    pub weight: Nanos,
}
