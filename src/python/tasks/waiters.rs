//! From work that a pool's thread does to the task that waits for it.
//!
//! ```text
//! WorkerThread.run    local future ───────────────────────────┐  anyio
//! _WorkItem.run       local self ─► future ─► _done_callbacks │  concurrent.futures:
//!                       ─► _call_set_state ─► destination ────┤  run_in_executor, to_thread
//!                                                             ▼
//!                                     future ─► callback ─► task
//!                                               └► a function that passes it on to another
//!                                                  future (asyncio.shield): once more
//! ```

use super::Tasks;
use super::chain::{Kind, Walking};
use crate::model::Tables;
use crate::process::ReadMemory;
use crate::python::{Error, Runtime};
use crate::units::RemoteAddress;

/// `fut_callback0` of `FutureObj` (`Modules/_asynciomodule.c`): after the loop.
const FIRST_CALLBACK: u64 = 24;

/// `ob_item` of `PyListObject`.
const LIST_ITEMS: u64 = 24;

/// How often a result is passed on from one future to another.
const MOST_FUTURES: usize = 3;

/// The most variables of a function's closure that are looked at.
const MOST_CELLS: usize = 8;

impl Runtime {
    /// The future that the result of a `concurrent.futures.thread._WorkItem` is passed on to.
    pub fn future_of_work(
        &mut self,
        memory: &dyn ReadMemory,
        tasks: &mut Tasks,
        item: RemoteAddress,
    ) -> Option<RemoteAddress> {
        let mut objects = self.objects(memory);
        let [future] = objects.attributes(item, ["future"]);
        let [callbacks] = objects.attributes(future?, ["_done_callbacks"]);
        let class = objects.type_of(callbacks?)?;
        (tasks.types.of(class, &mut objects)?.name.as_ref() == "list").then_some(())?;
        let items = objects.address(callbacks?.plus(LIST_ITEMS))?;
        let callback = objects.address(items)?;
        self.future_behind(memory, tasks, callback, None)
    }

    /// The task that is woken up when this future is done.
    pub fn task_waiting_for(
        &mut self,
        memory: &dyn ReadMemory,
        tasks: &mut Tasks,
        future: RemoteAddress,
    ) -> Option<RemoteAddress> {
        let layout = self.task_layout()?;
        let mut future = future;
        for _ in 0..MOST_FUTURES {
            let mut objects = self.objects(memory);
            let class = objects.type_of(future)?;
            let name = &tasks.types.of(class, &mut objects)?.name;
            name.starts_with("_asyncio.").then_some(())?;
            let callback = objects.address(future.plus(FIRST_CALLBACK))?;
            let class = objects.type_of(callback)?;
            let name = &tasks.types.of(class, &mut objects)?.name;
            let (wakes, offset) = layout.wakeup;
            if **name == *wakes {
                let task = objects.address(callback.plus(offset))?;
                let class = objects.type_of(task)?;
                let kind = tasks.types.of(class, &mut objects)?.kind;
                return (kind == Kind::Task).then_some(task);
            }
            future = self.future_behind(memory, tasks, callback, Some(future))?;
        }
        None
    }

    /// The future among the variables of a function's closure that is not `but` this one.
    fn future_behind(
        &mut self,
        memory: &dyn ReadMemory,
        tasks: &mut Tasks,
        function: RemoteAddress,
        but: Option<RemoteAddress>,
    ) -> Option<RemoteAddress> {
        let closure = self.task_layout()?.function_closure;
        let cell_value = self.layout.object.cell_value as u64;
        let mut objects = self.objects(memory);
        let class = objects.type_of(function)?;
        (tasks.types.of(class, &mut objects)?.name.as_ref() == "function").then_some(())?;
        let cells = objects.address(function.plus(closure)).filter(|at| at.is_plausible())?;
        let cells = objects.tuple(cells)?;
        cells.into_iter().take(MOST_CELLS).find_map(|cell| {
            let value = objects.address(cell.plus(cell_value)).filter(|at| at.is_plausible())?;
            let class = objects.type_of(value)?;
            let is_future = tasks.types.of(class, &mut objects)?.name.as_ref() == "_asyncio.Future";
            (is_future && Some(value) != but).then_some(value)
        })
    }

    /// Looks at one task; see [`Runtime::look_at_tasks`].
    ///
    /// # Errors
    /// [`Error::Process`] when the memory cannot be read at all.
    pub fn look_at_task(
        &mut self,
        memory: &dyn ReadMemory,
        tables: &mut Tables,
        tasks: &mut Tasks,
        task: RemoteAddress,
    ) -> Result<(), Error> {
        self.look_from(memory, tables, tasks, std::iter::once(Walking::new(task, false)))
    }
}
