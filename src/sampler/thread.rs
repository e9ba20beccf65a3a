//! One thread between ticks: its counters, its last sample, what it serves.

use super::executions::InProgress;
use super::requests::LastRequest;
use super::stacks::StackCache;
use crate::endpoint::ThreadRequest;
use crate::model::Sample;
use crate::process::{Error, Process, RunFlag, Schedstat, Syscall, ThreadFiles};
use crate::python::PythonThread;
use crate::statement::Execution;
use crate::units::{Nanos, RemoteAddress, Tid};

/// A thread that is being sampled.
///
/// A tick looks at it in this order, so that what it finds belongs together:
///
/// ```text
/// counters ─ unchanged, and blocked then? ─► the last sample stands
///    └ changed: system call ─► stack (all threads at once) ─► counters again
/// ```
#[derive(Debug)]
pub(super) struct Track {
    /// Its thread state's address.
    pub(super) address: RemoteAddress,
    /// The GIL that it needs.
    pub(super) gil: RemoteAddress,
    stated_tids: [u32; 2],
    /// Its number, where it could be told.
    pub(super) tid: Option<Tid>,
    /// Whether another thread state has the same number: one that was only just made still
    /// has its maker's, and a thread has one in each interpreter that it ever ran in.
    pub(super) shares_tid: bool,
    /// Whether it had frames when its number was last read: then the number is its own.
    pub(super) begun: bool,
    /// What it is called, once that is known.
    pub(super) name: Option<String>,
    /// How often its name was looked for in vain.
    pub(super) nameless: u8,
    files: Option<ThreadFiles>,
    pub(super) request: ThreadRequest,
    pub(super) last_request: LastRequest,
    pub(super) stacks: StackCache,
    counters: Option<Schedstat>,
    /// When it was last sampled.
    pub(super) sampled: Option<Nanos>,
    /// The last sample, if the thread was blocked in it from before the stack was read
    /// until after: it holds as long as the counters stand still.
    pub(super) standing: Option<Sample>,
    pub(super) seen: Seen,
    /// Where it ran when that was last asked, and how many ticks ago that was.
    cpu: Option<(usize, u32)>,
    /// What it was found to ask a database at this tick, and when that was read.
    pub(super) read: Option<(Execution, Nanos)>,
    /// The execution of its last sample.
    pub(super) last: Option<Execution>,
    /// The execution that it is in at this tick, to be looked at again.
    pub(super) in_progress: Option<InProgress>,
    /// Whether its last stack did not hold together.
    pub(super) was_torn: bool,
}

/// What a tick has seen of a thread so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) syscall: Option<Syscall>,
    pub(super) run_flag: Option<RunFlag>,
    /// What the kernel charged since the last tick.
    pub(super) cpu: Nanos,
    pub(super) runqueue: Nanos,
    /// Whether the thread did not run between the reading of its call and that of its
    /// stack.
    pub(super) stood_still: bool,
}

/// What is to be done about a thread in a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Glance {
    /// Nothing: it has not run since its last sample, which still holds.
    Stands,
    /// Its stack is to be read.
    Look,
    /// It has ended.
    Gone,
}

impl Track {
    /// Starts to follow a thread. `inner` maps numbers of the target's own PID
    /// namespace to ours.
    pub(super) fn new(thread: &PythonThread, process: &Process, inner: &[(u32, Tid)]) -> Self {
        let tid = thread.stated_tids().into_iter().find_map(|stated| {
            inner.iter().find(|&&(number, _)| number == stated).map(|&(_, tid)| tid)
        });
        Self {
            address: thread.address(),
            gil: thread.gil(),
            stated_tids: thread.stated_tids(),
            tid,
            shares_tid: false,
            begun: false,
            name: None,
            nameless: 0,
            files: tid.and_then(|tid| ThreadFiles::open(process, tid).ok()),
            request: ThreadRequest::default(),
            last_request: LastRequest::default(),
            stacks: StackCache::default(),
            counters: None,
            sampled: None,
            standing: None,
            seen: Seen::default(),
            cpu: None,
            read: None,
            last: None,
            in_progress: None,
            was_torn: false,
        }
    }

    /// Whether this is the thread that it was made for: thread states are freed and their
    /// memory used again.
    pub(super) fn is_of(&self, thread: &PythonThread) -> bool {
        self.address == thread.address() && self.stated_tids == thread.stated_tids()
    }

    /// Whether it has no name yet that could still be found: a thread is listed before its
    /// own Python code has begun and told its name.
    pub(super) const fn may_get_a_name(&self) -> bool {
        const TRIES: u8 = 4;
        self.name.is_none() && self.nameless < TRIES
    }

    /// The CPU that it runs on. If that was ours, it is believed to be so still: a thread
    /// that has moved away shows that soon, by being torn.
    pub(super) fn cpu(&mut self, ours: Option<usize>, calls: &mut u64) -> Option<usize> {
        /// For how many ticks it is believed.
        const PATIENCE: u32 = 16;
        let believed = self.cpu.filter(|&(cpu, age)| Some(cpu) == ours && age < PATIENCE);
        if let Some((cpu, age)) = believed.filter(|_| !self.was_torn) {
            self.cpu = Some((cpu, age + 1));
            return Some(cpu);
        }
        *calls += 1;
        self.cpu = self.files.as_ref()?.last_cpu().ok().map(|cpu| (cpu, 0));
        self.cpu.map(|(cpu, _)| cpu)
    }

    /// The first look of a tick. Adds the system calls it made to `calls`.
    pub(super) fn glance(&mut self, calls: &mut u64) -> Glance {
        self.seen = Seen::default();
        (self.read, self.in_progress) = (None, None);
        let Some(files) = &self.files else { return Glance::Look };
        *calls += 1;
        let counters = match files.schedstat() {
            // A thread that was never given a CPU cannot be seen: such counters are not
            // kept by this kernel, and would stand still for ever.
            Ok(counters) => Some(counters).filter(|counters| counters.slices > 0),
            Err(Error::Gone { .. }) => return Glance::Gone,
            Err(_) => None,
        };
        let before = std::mem::replace(&mut self.counters, counters);
        if let (Some(before), Some(counters)) = (before, counters) {
            self.seen.cpu = counters.cpu.saturating_sub(before.cpu);
            self.seen.runqueue = counters.runqueue.saturating_sub(before.runqueue);
            if self.standing.is_some() && before == counters {
                return Glance::Stands;
            }
        }
        *calls += 1;
        match files.syscall() {
            Ok(Syscall::Outside { stack_pointer, program_counter }) => {
                self.seen.syscall = Some(Syscall::Outside { stack_pointer, program_counter });
                *calls += 1;
                self.seen.run_flag = files.run_flag().ok();
            }
            Ok(syscall) => self.seen.syscall = Some(syscall),
            Err(Error::Gone { .. }) => return Glance::Gone,
            Err(_) => {
                *calls += 1;
                self.seen.run_flag = files.run_flag().ok();
            }
        }
        Glance::Look
    }

    /// Whether it has not run since this tick's first look.
    pub(super) fn has_not_run(&self, calls: &mut u64) -> bool {
        let Some(files) = &self.files else { return false };
        *calls += 1;
        self.counters.is_some() && files.schedstat().ok() == self.counters
    }

    /// The last look of a tick, after the stack was read. A thread that runs cannot
    /// stand still, and its counters lag, so it is not asked.
    pub(super) fn glance_again(&mut self, calls: &mut u64) {
        let Some(files) = &self.files else { return };
        if matches!(self.seen.syscall, Some(Syscall::Running) | None) {
            return;
        }
        *calls += 1;
        self.seen.stood_still = files.schedstat().is_ok_and(|now| Some(now) == self.counters);
        if !self.seen.stood_still {
            // It ran in between, and the stack may be of then. If it is in the same call
            // again, nothing is lost; otherwise that it ran is all that is known.
            *calls += 1;
            if files.syscall().ok() != self.seen.syscall {
                self.seen.syscall = Some(Syscall::Running);
            }
        }
    }
}
