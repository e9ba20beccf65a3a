//! The suspended tasks of a process: which of them are looked at, how often, and what each
//! stands for.
//!
//! A server may have a thousand tasks that wait, each in a dozen coroutines, and a read for
//! each of those at every tick would cost more than all threads. So looks are paid for: one
//! that read many pieces of memory is followed by a longer pause. At most 64 tasks are looked
//! at, spread evenly over all there are from a random one on, and each stands for its share
//! of all of them and for the time since the last look. What is seen of a thousand tasks is
//! right on average like what is seen of ten; it only takes longer to become exact.

use rustc_hash::FxHashMap;

use super::super::awaited::Upstreams;
use super::{Common, Target};
use crate::endpoint::{Attributed, ThreadRequest};
use crate::model::{
    FunctionId, Grade, On, OnId, StackId, StackNode, State, Suspended, Tables, TaskLook,
};
use crate::python::{FoundFrame, Stack, SuspendedTask, Tasks};
use crate::state::{AwaitMark, awaited};
use crate::units::{Nanos, RemoteAddress};

/// The most tasks that one look reads.
const MOST_LOOKED_AT: usize = 64;

/// For how long a look pays for each piece of memory that it read. A piece takes less than
/// half a microsecond with all that is made of it, so this is one percent of a CPU.
const PAUSE_PER_PIECE: Nanos = Nanos::from_micros(40);

/// For how long at the least, if there are no tasks at all.
const PAUSE_WITHOUT: Nanos = Nanos::from_millis(100);

/// Calls for locals and attributes cost more.
const PIECES_PER_CALL: u64 = 3;

/// How soon it is looked again for a process' tasks if none were found; later and later.
const FIRST_SEARCH: Nanos = Nanos::from_millis(250);
const LATEST_SEARCH: Nanos = Nanos::from_millis(8000);

/// After so many failures in a row the tasks are searched for anew.
const MOST_FAILURES: u32 = 50;

/// What is known of tasks is forgotten if they were not seen for so many looks.
const FORGOTTEN_AFTER: u64 = 512;

/// The suspended tasks of one process.
#[derive(Debug, Default)]
pub(super) struct TaskSampling {
    tasks: Tasks,
    next_search: Nanos,
    search_interval: Nanos,
    failures: u32,
    next_look: Nanos,
    looked: Option<Nanos>,
    looks: u64,
    chosen: Vec<usize>,
    random: fastrand::Rng,
    known: FxHashMap<RemoteAddress, Known>,
    upstreams: Upstreams,
    look: Option<TaskLook>,
    suspended: Vec<Suspended>,
}

/// What is known of a task.
#[derive(Debug, Default)]
struct Known {
    request: ThreadRequest,
    /// The function of its first coroutine, and that function's name.
    root: Option<(FunctionId, String)>,
    /// The look at which it was last seen.
    seen: u64,
}

/// What is known of functions in chains of awaits, whatever the process.
#[derive(Debug, Default)]
pub(in crate::sampler) struct KnownAwaits {
    by_function: Vec<Option<AwaitMark>>,
    event_loop: Option<OnId>,
}

impl KnownAwaits {
    fn of(&mut self, function: FunctionId, tables: &Tables) -> AwaitMark {
        let index = function.index();
        if self.by_function.len() <= index {
            self.by_function.resize(index + 1, None);
        }
        *self.by_function[index].get_or_insert_with(|| {
            let function = tables.function(function);
            AwaitMark::of(tables.string(function.name), tables.string(function.file))
        })
    }

    /// What a task waits for that could go on.
    fn event_loop(&mut self, tables: &mut Tables) -> OnId {
        *self.event_loop.get_or_insert_with(|| {
            let words = tables.intern_string("event loop");
            tables.intern_on(On::Named(words))
        })
    }
}

impl Target {
    /// What the last tick found of suspended tasks, if it looked.
    pub(in crate::sampler) fn suspended(&self) -> Option<(&TaskLook, &[Suspended])> {
        Some((self.tasks.look.as_ref()?, &self.tasks.suspended))
    }

    /// Looks at tasks, if it is time to.
    pub(super) fn look_at_tasks(
        &mut self,
        now: Nanos,
        (period, longest): (Nanos, Nanos),
        common: &mut Common,
    ) {
        self.tasks.look = None;
        self.tasks.suspended.clear();
        if !self.tasks.tasks.are_found() {
            self.search_tasks(now, common);
        }
        let calls = self.runtime.costs().0;
        let sampling = &mut self.tasks;
        if !sampling.tasks.are_found() || now < sampling.next_look {
            return;
        }
        if self.runtime.list_tasks(&self.memory, &mut sampling.tasks).is_err() {
            sampling.failures += 1;
            if sampling.failures >= MOST_FAILURES {
                sampling.tasks = Tasks::default();
                sampling.failures = 0;
            }
            return;
        }
        sampling.failures = 0;
        sampling.choose();
        let (memory, tables) = (&self.memory, &mut common.tables);
        let chosen = &sampling.chosen;
        let looked = self.runtime.look_at_tasks(memory, tables, &mut sampling.tasks, chosen);
        if looked.is_err() {
            // Gone; the next tick finds out.
            return;
        }
        let since = now.saturating_sub(sampling.looked.unwrap_or(now));
        let since = if since == Nanos::ZERO || since > longest { period } else { since };
        sampling.looked = Some(now);
        sampling.looks += 1;
        let count = sampling.tasks.count();
        let weight = since.as_nanos().saturating_mul(count as u64);
        let weight = Nanos::from_nanos(weight / (sampling.chosen.len().max(1) as u64));
        let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        if count > 0 {
            sampling.look = Some(TaskLook {
                process: self.id,
                at: now,
                tasks: narrow(count),
                looked: narrow(sampling.chosen.len()),
                moved: narrow(sampling.tasks.moved()),
            });
        }
        let tasks = std::mem::take(&mut self.tasks.tasks);
        for task in tasks.suspended() {
            let suspended = self.suspended_task(task, tasks.frames(task), &tasks, now, common);
            self.tasks.suspended.push(Suspended { weight, ..suspended });
        }
        let sampling = &mut self.tasks;
        sampling.tasks = tasks;
        sampling.forget();
        let calls = self.runtime.costs().0.saturating_sub(calls);
        let pieces = sampling.tasks.ranges() as u64 + calls.saturating_mul(PIECES_PER_CALL);
        let pause = pieces.saturating_mul(PAUSE_PER_PIECE.as_nanos());
        let pause = if count == 0 { pause.max(PAUSE_WITHOUT.as_nanos()) } else { pause };
        sampling.next_look = now.saturating_add(Nanos::from_nanos(pause));
    }

    /// Looks whether `asyncio` is in use.
    fn search_tasks(&mut self, now: Nanos, common: &mut Common) {
        let sampling = &mut self.tasks;
        if now < sampling.next_search || !self.runtime.knows_tasks() {
            return;
        }
        let twice = sampling.search_interval.saturating_add(sampling.search_interval);
        sampling.search_interval = twice.clamp(FIRST_SEARCH, LATEST_SEARCH);
        sampling.next_search = now.saturating_add(sampling.search_interval);
        let debug = if self.runtime.states_tasks() {
            common.images.asyncio_debug(&self.process).ok().flatten()
        } else {
            None
        };
        self.runtime.find_tasks(&self.memory, &mut sampling.tasks, debug);
    }

    /// What is told of one task; its weight is left to the caller.
    fn suspended_task(
        &mut self,
        task: &SuspendedTask,
        frames: &[FoundFrame],
        tasks: &Tasks,
        now: Nanos,
        common: &mut Common,
    ) -> Suspended {
        let Common { tables, awaits, names, .. } = common;
        let marks = frames.iter().rev().map(|frame| awaits.of(frame.function, tables));
        let awaited = awaited(marks, tasks.awaited_type(task));
        let (state, on) = if task.is_ready && awaited.state != State::Idle {
            (State::Runnable, Some(awaits.event_loop(tables)))
        } else {
            let (process, namespace) = (&self.process, self.net_namespace);
            let upstreams = &mut self.tasks.upstreams;
            (awaited.state, upstreams.on(awaited, process, namespace, now, names, tables))
        };
        let stack = stack_of(frames, common.max_depth, tables);
        let attributed = self.attribute_task(task, frames, state, common);
        let Attributed { endpoint, request } = attributed;
        Suspended { stack, endpoint, on, request, state, weight: Nanos::ZERO }
    }

    /// What a task serves.
    pub(super) fn attribute_task(
        &mut self,
        task: &SuspendedTask,
        frames: &[FoundFrame],
        state: State,
        common: &mut Common,
    ) -> Attributed {
        let sampling = &mut self.tasks;
        let known = sampling.known.entry(task.address).or_default();
        known.seen = sampling.looks;
        let root = frames.first().map(|frame| frame.function);
        let name = match (root, &mut known.root) {
            (None, _) => "task",
            (Some(root), Some((function, name))) if *function == root => name,
            (Some(root), known) => {
                let name = common.tables.function(root).name;
                let name = common.tables.string(name).to_owned();
                &known.insert((root, name)).1
            }
        };
        let (runtime, memory) = (&mut self.runtime, &self.memory);
        // What holds of a chain is of one instant.
        let mut stack = Stack::of_frames(runtime, memory, frames, Grade::Exact);
        let (request, shared) = (&mut known.request, &mut common.requests);
        self.attribution.attribute(&mut stack, request, state, name, shared, &mut common.tables)
    }
}

impl TaskSampling {
    /// Whether the process has any.
    pub(super) const fn are_found(&self) -> bool {
        self.tasks.are_found()
    }

    /// Gives the tasks away to be looked at; what is known of them stays.
    pub(super) fn take(&mut self) -> Tasks {
        std::mem::take(&mut self.tasks)
    }

    /// Takes them back.
    pub(super) fn put_back(&mut self, tasks: Tasks) {
        self.tasks = tasks;
    }

    /// Chooses the tasks to look at: all, or some that are spread evenly.
    fn choose(&mut self) {
        let listed = self.tasks.listed();
        self.chosen.clear();
        if listed <= MOST_LOOKED_AT {
            self.chosen.extend(0..listed);
            return;
        }
        let first = self.random.usize(0..listed);
        let spread = (0..MOST_LOOKED_AT).map(|number| first + number * listed / MOST_LOOKED_AT);
        self.chosen.extend(spread.map(|index| index % listed));
    }

    /// Forgets tasks that have not been seen for long.
    fn forget(&mut self) {
        const MOST_KNOWN: usize = 4096;
        if self.known.len() > MOST_KNOWN {
            let looks = self.looks;
            self.known.retain(|_, known| looks.saturating_sub(known.seen) < FORGOTTEN_AFTER);
            if self.known.len() > MOST_KNOWN {
                self.known.clear();
            }
        }
    }
}

/// The handle of a chain of frames, root first. Of one deeper than `most` the leaf is what
/// is kept.
fn stack_of(frames: &[FoundFrame], most: usize, tables: &mut Tables) -> Option<StackId> {
    let kept = frames.get(frames.len().saturating_sub(most)..).unwrap_or_default();
    let stack = |parent, frame: &FoundFrame| {
        Some(tables.intern_stack(StackNode { parent, frame: frame.frame }))
    };
    kept.iter().fold(None, stack)
}
