//! Suspended tasks, added up beside the threads: their seconds are no thread's.

use rustc_hash::FxHashMap;

use super::{Cell, Key, Profile};
use crate::model::{
    EndpointId, Evidence, Grade, OnId, ProcessId, StackId, State, Suspended, Tables, TaskLook,
    Thread,
};
use crate::units::{Nanos, Tid};

/// The sum of all that was seen of suspended tasks that have all this in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuspendedCell {
    /// The process.
    pub process: ProcessId,
    /// What they served.
    pub endpoint: EndpointId,
    /// Their coroutines.
    pub stack: Option<StackId>,
    /// What they waited on.
    pub on: Option<OnId>,
    /// What they waited for.
    pub state: State,
    /// The task-time that they stand for.
    pub weight: Nanos,
    /// How often one was seen.
    pub samples: u64,
}

/// How the tasks of a process were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TasksSeen {
    /// The process.
    pub process: ProcessId,
    /// How often it was looked.
    pub looks: u64,
    /// How many tasks there were, added up over the looks.
    pub tasks: u64,
    /// The most that there were at one look.
    pub most: u32,
    /// How many were looked at, added up.
    pub looked: u64,
    /// How many of these were not suspended, or went on meanwhile.
    pub moved: u64,
}

type SuspendedKey = (ProcessId, EndpointId, Option<StackId>, Option<OnId>, State);

/// Adds them up.
#[derive(Debug, Default)]
pub(super) struct SuspendedTasks {
    pub(super) cells: Vec<SuspendedCell>,
    index: FxHashMap<SuspendedKey, usize>,
    pub(super) seen: Vec<TasksSeen>,
}

impl SuspendedTasks {
    pub(super) fn add(&mut self, look: &TaskLook, tasks: &[Suspended]) {
        let TaskLook { process, tasks: count, looked, moved, .. } = *look;
        let known = self.seen.iter().position(|seen| seen.process == process);
        let position = known.unwrap_or_else(|| {
            let (looks, tasks, looked, moved) = (0, 0, 0, 0);
            self.seen.push(TasksSeen { process, looks, tasks, most: 0, looked, moved });
            self.seen.len() - 1
        });
        let seen = &mut self.seen[position];
        seen.looks += 1;
        seen.tasks += u64::from(count);
        seen.most = seen.most.max(count);
        seen.looked += u64::from(looked);
        seen.moved += u64::from(moved);
        for &Suspended { stack, endpoint, on, state, weight, .. } in tasks {
            let key = (process, endpoint, stack, on, state);
            let place = *self.index.entry(key).or_insert_with(|| {
                let (weight, samples) = (Nanos::ZERO, 0);
                let cell = SuspendedCell { process, endpoint, stack, on, state, weight, samples };
                self.cells.push(cell);
                self.cells.len() - 1
            });
            let cell = &mut self.cells[place];
            cell.weight += weight;
            cell.samples += 1;
        }
    }
}

impl Profile {
    /// What was seen of suspended tasks. Cells that became alike by a route that was found
    /// later stay apart.
    pub fn suspended(&self) -> &[SuspendedCell] {
        &self.suspended
    }

    /// How the tasks of each process were looked at, if it has any.
    pub fn tasks_seen(&self) -> &[TasksSeen] {
        &self.tasks_seen
    }

    /// The suspended tasks in place of the threads, so that whatever is drawn of threads is
    /// drawn of them: those of a process stand for one thread that is called
    /// `(suspended tasks)`.
    #[must_use]
    pub fn of_suspended(&self) -> Self {
        let mut tables = Tables::clone(&self.tables);
        let name = tables.intern_string("(suspended tasks)");
        let cells = self.suspended.iter().map(|cell| {
            let thread = Thread { process: cell.process, tid: Tid::new(0), name };
            let key = Key {
                thread: tables.intern_thread(thread),
                endpoint: cell.endpoint,
                stack: cell.stack,
                on: cell.on,
                statement: None,
                state: cell.state,
                evidence: Evidence::None,
                grade: Grade::Functions,
                holds_gil: false,
            };
            let (cpu, gil_held) = (Nanos::ZERO, Nanos::ZERO);
            Cell { key, weight: cell.weight, cpu, gil_held, samples: cell.samples }
        });
        let cells = cells.collect();
        Self {
            tables: tables.into(),
            cells,
            requests: Vec::new(),
            executions: Vec::new(),
            suspended: Vec::new(),
            ..self.clone()
        }
    }
}
