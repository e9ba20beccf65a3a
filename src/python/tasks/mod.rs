//! Tasks of `asyncio` that are suspended: what each waits in, read from outside.
//!
//! ```text
//! list    which tasks there are           (a set, or rings of nodes)
//! choose  some of them: the caller's business
//! chain   task ─► coroutine ─► what it awaits ─► … ─► a future, a lock, another task
//! ```
//!
//! | version | tasks | read |
//! |---|---|---|
//! | 3.8 to 3.11 | the `WeakSet` `asyncio.tasks._all_tasks` | yes |
//! | 3.12, 3.13 | the `WeakSet` `asyncio.tasks._scheduled_tasks` | yes |
//! | 3.14, 3.15 | lists of threads and interpreters, by `.AsyncioDebug` | yes |
//! | without a GIL | | no |
//!
//! Tasks of `_asyncio` are read, whichever loop runs them (uvloop's too) and if they are of a
//! class derived from that. A task that is written in Python (`asyncio.tasks._PyTask`) is
//! not. A coroutine that was compiled by Cython has no frame: it ends the chain.

mod chain;
mod layout;
mod list;
mod waiters;

use std::ops::Range;

use chain::{Context, End, Link, Types, Walking};
use layout::TaskLayout;
use list::{List, Source};

use super::code::{Check, CodeId};
use super::objects::Objects;
use super::stack::{FoundFrame, RawPlace};
use super::{Error, Runtime};
use crate::model::Tables;
use crate::process::{Batch, ReadMemory};
use crate::units::RemoteAddress;

/// The most ranges that one look at tasks reads.
const MOST_RANGES: usize = 8192;

/// The tasks of one process, and what the last look found of those that were chosen.
#[derive(Debug, Default)]
pub struct Tasks {
    source: Option<Source>,
    list: List,
    types: Types,
    links: Vec<Link>,
    walking: Vec<Walking>,
    active: Vec<usize>,
    /// How many ranges the last look read.
    ranges: usize,
    used: Vec<CodeId>,
    checks: Vec<Check>,
    frames: Vec<FoundFrame>,
    found: Vec<SuspendedTask>,
    moved: usize,
}

/// A task that was suspended when it was looked at.
#[derive(Debug, Clone)]
pub struct SuspendedTask {
    /// Where it is.
    pub address: RemoteAddress,
    /// Its frames among [`Tasks::frames`], root first. None for a task that has not begun.
    frames: Range<usize>,
    /// What its innermost coroutine awaits: mostly a future.
    pub awaits: Option<RemoteAddress>,
    /// The type of that.
    class: Option<RemoteAddress>,
    /// Whether what it waits for is done, so that it only waits for the loop.
    pub is_ready: bool,
}

impl Tasks {
    /// Whether tasks are found in this process.
    pub const fn are_found(&self) -> bool {
        self.source.is_some()
    }

    /// How many there are, as of the last [`Runtime::list_tasks`].
    pub const fn count(&self) -> usize {
        self.list.count
    }

    /// How many of them may be looked at: by their positions from 0.
    pub fn listed(&self) -> usize {
        self.list.entries.len()
    }

    /// The suspended tasks among those that were last looked at.
    pub fn suspended(&self) -> &[SuspendedTask] {
        &self.found
    }

    /// How many of those that were last looked at were not suspended, or went on meanwhile.
    pub const fn moved(&self) -> usize {
        self.moved
    }

    /// A task's frames, root first.
    pub fn frames(&self, task: &SuspendedTask) -> &[FoundFrame] {
        self.frames.get(task.frames.clone()).unwrap_or_default()
    }

    /// The name of the type of what a task awaits: `_asyncio.Future`, say.
    pub fn awaited_type(&self, task: &SuspendedTask) -> Option<&str> {
        self.types.name(task.class?)
    }

    /// How many pieces of memory the last look read: what it cost.
    pub const fn ranges(&self) -> usize {
        self.ranges
    }
}

impl Runtime {
    /// Whether the tasks of this version and build can be read.
    pub fn knows_tasks(&self) -> bool {
        self.task_layout().is_some()
    }

    /// Whether the target states itself where its tasks are (from 3.14).
    pub fn states_tasks(&self) -> bool {
        self.task_layout().is_some_and(|layout| layout.listed == layout::Listed::Lists)
    }

    fn task_layout(&self) -> Option<TaskLayout> {
        layout::row(self.version()).filter(|_| !self.is_free_threaded())
    }

    /// Finds where this process has its tasks, if `asyncio` is in use. `debug` is where its
    /// section `.AsyncioDebug` is, which versions before 3.14 do not have.
    pub fn find_tasks(
        &mut self,
        memory: &dyn ReadMemory,
        tasks: &mut Tasks,
        debug: Option<RemoteAddress>,
    ) {
        let (Some(layout), Some(interpreter)) = (self.task_layout(), self.main_interpreter())
        else {
            return;
        };
        tasks.source = Source::find(&mut self.objects(memory), interpreter, &layout, debug);
    }

    /// Reads which tasks there are.
    ///
    /// # Errors
    /// [`Error::NotReady`] if that does not hold together at this moment.
    pub fn list_tasks(&mut self, memory: &dyn ReadMemory, tasks: &mut Tasks) -> Result<(), Error> {
        let Tasks { source, list, ranges, .. } = tasks;
        let threads = self.threads.iter().map(|thread| thread.state);
        // What was read of frames is gone with this.
        let batch = &mut self.suspended;
        let read =
            source.and_then(|source| list.read(source, &self.interpreters, threads, batch, memory));
        *ranges = batch.len();
        read.ok_or(Error::NotReady)
    }

    /// Looks at the tasks with these positions, all together.
    ///
    /// # Errors
    /// [`Error::Process`] when the memory cannot be read at all.
    pub fn look_at_tasks(
        &mut self,
        memory: &dyn ReadMemory,
        tables: &mut Tables,
        tasks: &mut Tasks,
        chosen: &[usize],
    ) -> Result<(), Error> {
        let list = std::mem::take(&mut tasks.list);
        let entries = chosen.iter().filter_map(|&index| list.entries.get(index));
        let walks = entries.map(|&entry| Walking::new(entry, list.are_references));
        let outcome = self.look_from(memory, tables, tasks, walks);
        tasks.list = list;
        outcome
    }

    fn look_from(
        &mut self,
        memory: &dyn ReadMemory,
        tables: &mut Tables,
        tasks: &mut Tasks,
        walks: impl Iterator<Item = Walking>,
    ) -> Result<(), Error> {
        let Some(layout) = self.task_layout() else { return Ok(()) };
        let Tasks { links, walking, found, frames, .. } = &mut *tasks;
        links.clear();
        walking.clear();
        found.clear();
        frames.clear();
        walking.extend(walks);
        self.bound_codes();
        let mut batch = std::mem::take(&mut self.suspended);
        batch.clear();
        let outcome = self.read_tasks(memory, tables, tasks, &layout, &mut batch);
        tasks.ranges = tasks.ranges.saturating_add(batch.len());
        self.suspended = batch;
        outcome
    }

    fn read_tasks(
        &mut self,
        memory: &dyn ReadMemory,
        tables: &mut Tables,
        tasks: &mut Tasks,
        layout: &TaskLayout,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let Tasks { types, links, walking, active, used, checks, .. } = tasks;
        active.clear();
        active.extend(0..walking.len());
        while !active.is_empty() && batch.len() < MOST_RANGES {
            for &index in &*active {
                if let Some(walk) = walking.get_mut(index) {
                    walk.ask(layout, batch);
                }
            }
            memory.read(batch)?;
            active.retain(|&index| {
                let Some(walk) = walking.get_mut(index) else { return false };
                self.advance_task(walk, layout, types, links, batch, memory, tables);
                walk.end.is_none()
            });
        }
        // The codes are those that were read if they are still so after the frames.
        used.clear();
        used.extend(links.iter().map(|link| link.code));
        used.sort_unstable();
        used.dedup();
        checks.clear();
        checks.extend(used.iter().filter_map(|&id| self.codes.ask(id, &self.layout, batch)));
        // Whether what is awaited is done by now.
        let states = batch.len();
        for walk in &*walking {
            batch.ask(walk.waiter.plus(layout.future_state as u64), 4);
        }
        memory.read(batch)?;
        for check in checks.drain(..) {
            self.codes.check(check, batch, self.tick);
        }
        let pending = batch.read_from(states).map(|(_, bytes)| bytes == [0; 4]);
        let mut pending = pending.chain(std::iter::repeat(false));
        tasks.moved = 0;
        for index in 0..tasks.walking.len() {
            let is_pending = pending.next().unwrap_or_default();
            if self.found_task(index, is_pending, tasks, tables).is_none() {
                tasks.moved = tasks.moved.saturating_add(1);
            }
        }
        Ok(())
    }

    /// What came of the walk at this position; `None` if its task is not suspended, or what
    /// was read of it does not hold together.
    fn found_task(
        &mut self,
        index: usize,
        is_pending: bool,
        tasks: &mut Tasks,
        tables: &mut Tables,
    ) -> Option<()> {
        let Tasks { links, walking, frames, found, .. } = tasks;
        let walk = walking.get(index)?;
        let (awaits, class) = match walk.end? {
            End::Awaits { object, class } => (Some(object), Some(class)),
            End::NotBegun => (None, None),
            End::Moved => return None,
        };
        let start = frames.len();
        let mut at = walk.innermost;
        while let Some(link) = at.and_then(|at| links.get(at as usize)) {
            at = link.awaited_by;
            let Some(frame) = self.task_frame(link, tables) else {
                frames.truncate(start);
                return None;
            };
            frames.push(frame);
        }
        frames.get_mut(start..)?.reverse();
        let frames = start..frames.len();
        let is_ready = walk.waiter.is_null() || !is_pending;
        found.push(SuspendedTask { address: walk.task, frames, awaits, class, is_ready });
        Some(())
    }

    /// Lets a task's walk go on, and reads the code objects that it meets.
    #[expect(clippy::too_many_arguments)]
    fn advance_task(
        &mut self,
        walk: &mut Walking,
        task_layout: &TaskLayout,
        types: &mut Types,
        links: &mut Vec<Link>,
        batch: &Batch,
        memory: &dyn ReadMemory,
        tables: &mut Tables,
    ) {
        let Self { codes, layout, objects_batch, names, tick, most_for_codes, .. } = self;
        let mut objects = Objects::new(memory, layout, objects_batch, names);
        // Once more after each code object that was read.
        for _ in 0..2 {
            let mut context = Context { layout, tasks: task_layout, types, links, codes };
            let Some(code) = walk.advance(batch, &mut context, &mut objects) else { return };
            let (calls, bytes) = *most_for_codes;
            let spent = &objects.batch;
            if spent.calls() >= calls || spent.bytes_read() >= bytes {
                break;
            }
            if codes.load(code, &mut objects, layout, tables, *tick).is_none() {
                break;
            }
        }
        walk.end = Some(End::Moved);
    }

    /// A coroutine's frame, if its code object is still what it was.
    fn task_frame(&mut self, link: &Link, tables: &mut Tables) -> Option<FoundFrame> {
        let address = self.codes.get(link.code)?.address;
        if !self.codes.is_checked(link.code, self.tick) || self.codes.at(address) != Some(link.code)
        {
            return None;
        }
        let frame = self.codes.frame(link.code, link.offset, &self.layout, tables)?;
        let function = tables.frame(frame).function;
        let raw = RawPlace {
            code: link.code,
            address: link.frame,
            place: link.place,
            is_suspended: true,
        };
        Some(FoundFrame { frame, function, raw })
    }

    /// The interpreter that was there first: the one in which `asyncio` is looked for.
    fn main_interpreter(&self) -> Option<RemoteAddress> {
        self.interpreters.last().map(|interpreter| interpreter.address)
    }
}
