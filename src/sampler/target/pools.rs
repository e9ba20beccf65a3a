//! Threads of pools that work for a task: a `def` endpoint of Starlette or FastAPI, Django's
//! `sync_to_async`, `asyncio.to_thread`, `run_in_executor`. The thread's own stack has no
//! request; the task that waits for its result has.

use super::{Common, Target};
use crate::endpoint::Attributed;
use crate::model::{FunctionId, State, Tables};
use crate::python::{FoundFrame, Stack, Tasks};
use crate::units::RemoteAddress;

/// What a function is to a pool, for all processes.
#[derive(Debug, Default)]
pub(in crate::sampler) struct KnownPools {
    by_function: Vec<Option<Option<Work>>>,
}

/// Where a function that carries out work has the future for its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// In the local `future`.
    Future,
    /// In its `_WorkItem`, the local `self`.
    Item,
}

/// The functions: the end of the file, the last part of the name.
const FUNCTIONS: &[(&str, &str, Work)] = &[
    // anyio 3 and 4: what Starlette and FastAPI run `def` endpoints with.
    ("/anyio/_backends/_asyncio.py", "run", Work::Future),
    // 3.8 to 3.15.
    ("/concurrent/futures/thread.py", "run", Work::Item),
];

impl KnownPools {
    fn of(&mut self, function: FunctionId, tables: &Tables) -> Option<Work> {
        let index = function.index();
        if self.by_function.len() <= index {
            self.by_function.resize(index + 1, None);
        }
        *self.by_function[index].get_or_insert_with(|| {
            let function = tables.function(function);
            let (name, file) = (tables.string(function.name), tables.string(function.file));
            let name = name.rsplit('.').next().unwrap_or(name);
            let known =
                FUNCTIONS.iter().find(|(end, known, _)| *known == name && file.ends_with(end));
            known.map(|&(.., work)| work)
        })
    }
}

impl Target {
    /// What the task serves that the thread at this position works for, if it does.
    pub(super) fn served_by_pool(
        &mut self,
        index: usize,
        common: &mut Common,
    ) -> Option<Attributed> {
        if !self.tasks.are_found() {
            return None;
        }
        let frames = self.runtime.threads().get(index)?.frames();
        let mut work = |frame: &FoundFrame| common.pools.of(frame.function, &common.tables);
        let (frame, work) = frames.iter().find_map(|frame| Some((*frame, work(frame)?)))?;
        let mut stack = Stack::of_thread(&mut self.runtime, &self.memory, index);
        let mut locals = stack.locals();
        let name = match work {
            Work::Future => "future",
            Work::Item => "self",
        };
        let local = locals.find(&frame, name)?;
        let value = locals.value(&frame, local)?;
        let mut tasks = self.tasks.take();
        let attributed = self.served_by_future(&mut tasks, work, value, common);
        self.tasks.put_back(tasks);
        attributed.filter(|attributed| attributed.request.is_some())
    }

    fn served_by_future(
        &mut self,
        tasks: &mut Tasks,
        work: Work,
        value: RemoteAddress,
        common: &mut Common,
    ) -> Option<Attributed> {
        let Self { runtime, memory, .. } = self;
        let future = match work {
            Work::Future => value,
            Work::Item => runtime.future_of_work(memory, tasks, value)?,
        };
        let task = runtime.task_waiting_for(memory, tasks, future)?;
        runtime.look_at_task(memory, &mut common.tables, tasks, task).ok()?;
        let task = tasks.suspended().first()?;
        // Of its state all that counts is that it is no idle one.
        Some(self.attribute_task(task, tasks.frames(task), State::Lock, common))
    }
}
