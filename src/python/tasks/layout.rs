//! Where each version keeps what is read of tasks and of coroutines that are suspended.
//!
//! | structure | source |
//! |---|---|
//! | tasks, futures | `Modules/_asynciomodule.c`: `TaskObj`, `FutureObj` |
//! | coroutines | `Include/cpython/genobject.h` (3.14: `pycore_interpframe_structs.h`) |
//! | their frames | `Include/cpython/frameobject.h`, from 3.11 `pycore_frame.h` |
//! | sets, weak references | `Include/cpython/setobject.h`, `Include/cpython/weakrefobject.h` |
//!
//! From 3.14 on the target states in its section `.AsyncioDebug` where tasks are listed and
//! where their coroutines are (`Modules/_asynciomodule.c`, `Py_AsyncioModuleDebugOffsets`).
//! All rows were compared with running interpreters of builds with a GIL; of those without
//! none was at hand, so their tasks are not looked for.

// A constant table, indexed at compile time: a wrong index is a build failure.
#![allow(clippy::indexing_slicing)]

use crate::python::version::Version;
use crate::python::view::View;

/// One version.
#[derive(Debug, Clone, Copy)]
pub(super) struct TaskLayout {
    pub(super) listed: Listed,
    /// `task_coro`. `task_fut_waiter` is the word before.
    pub(super) coroutine: usize,
    /// `fut_state`: an `int`, 0 while pending.
    pub(super) future_state: usize,
    pub(super) generator: Generator,
    pub(super) stack_top: StackTop,
    /// The type of the callback that wakes a task up, and where it has the task: `ww_task`
    /// of a `TaskWakeupMethWrapper`, from 3.10 `m_self` of a built-in function.
    pub(super) wakeup: (&'static str, u64),
    /// `func_closure` of `PyFunctionObject`.
    pub(super) function_closure: u64,
}

/// Where all tasks are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    /// In a `WeakSet` that is this global of the module `asyncio.tasks`.
    WeakSet(&'static str),
    /// In a list of each thread and one of each interpreter, as `.AsyncioDebug` states.
    Lists,
}

/// How a coroutine, generator or asynchronous generator leads to its frame.
#[derive(Debug, Clone, Copy)]
pub(super) enum Generator {
    /// `gi_frame` points to it, and it says itself whether it is suspended (up to 3.10).
    Pointer { frame: usize, suspended: HeapState },
    /// It is part of the object. `gi_frame_state` is one of these while suspended.
    Embedded { frame: usize, state: usize, suspended: [i8; 2], created: i8 },
}

/// How a heap frame says that it is suspended.
#[derive(Debug, Clone, Copy)]
pub(super) enum HeapState {
    /// `f_executing` is 0 and `f_stacktop` is not null (3.8, 3.9).
    NotExecuting { executing: usize, stacktop: usize },
    /// `f_state` (3.10).
    State { state: usize, suspended: i8, created: i8 },
}

/// Where the topmost word of a suspended frame's stack of values is: what it awaits.
#[derive(Debug, Clone, Copy)]
pub(super) enum StackTop {
    /// The word before the one that this points to (`f_stacktop`).
    Pointer(usize),
    /// `f_valuestack`, and how many words it holds (`f_stackdepth`).
    Depth { values: usize, depth: usize },
    /// How many words of `localsplus` are in use (`stacktop`).
    Index(usize),
    /// So many words before the one that this points to (`stackpointer`).
    Stackpointer { offset: usize, words_before: u64 },
}

/// `PyWeakReference`: what it refers to, the first word after the head.
pub(super) const REFERENT: u64 = 16;

/// What lies behind the first word after the head of an object that only stands between a
/// coroutine and what it awaits: `cw_coroutine`, `ags_gen`, `agt_gen`, `FutureIter.future`,
/// `anext_awaitable.wrapped` (`Objects/genobject.c`, `Objects/iterobject.c`).
pub(super) const WRAPPED: u64 = 16;

/// `PySetObject`: how many are in it, its mask and its table; entries are a key and a hash.
pub(super) mod set {
    pub(in super::super) const USED: usize = 24;
    pub(in super::super) const MASK: usize = 32;
    pub(in super::super) const TABLE: usize = 40;
    pub(in super::super) const ENTRY: usize = 16;
}

/// `tp_base` of `PyTypeObject`.
pub(super) const TYPE_BASE: u64 = 256;

/// The row of a version, if there is one.
pub(super) fn row(version: Version) -> Option<TaskLayout> {
    if version.major != 3 {
        return None;
    }
    let column = usize::from(version.minor).checked_sub(8)?;
    COLUMNS.get(column).copied()
}

static COLUMNS: [TaskLayout; 8] =
    [column(0), column(1), column(2), column(3), column(4), column(5), column(6), column(7)];

const fn column(v: usize) -> TaskLayout {
    const ALL: Listed = Listed::WeakSet("_all_tasks");
    const SCHEDULED: Listed = Listed::WeakSet("_scheduled_tasks");
    const fn heap(executing: usize, stacktop: usize) -> Generator {
        let suspended = HeapState::NotExecuting { executing, stacktop };
        Generator::Pointer { frame: 16, suspended }
    }
    const fn embedded(frame: usize, state: usize, suspended: [i8; 2], created: i8) -> Generator {
        Generator::Embedded { frame, state, suspended, created }
    }
    const WRAPPER: (&str, u64) = ("TaskWakeupMethWrapper", 16);
    const BUILT_IN: (&str, u64) = ("builtin_function_or_method", 24);
    //  fields                  3.8   3.9  3.10  3.11  3.12  3.13  3.14  3.15
    TaskLayout {
        listed: [ALL, ALL, ALL, ALL, SCHEDULED, SCHEDULED, Listed::Lists, Listed::Lists][v],
        coroutine: [112, 152, 160, 136, 136, 120, 128, 128][v],
        future_state: [72, 80, 88, 88, 88, 96, 104, 104][v],
        generator: [
            heap(116, 72),
            heap(116, 72),
            Generator::Pointer {
                frame: 16,
                suspended: HeapState::State { state: 108, suspended: -1, created: -2 },
            },
            embedded(80, 75, [-1, -1], -2),
            embedded(72, 67, [-1, -1], -2),
            embedded(72, 67, [-2, -1], -3),
            embedded(72, 67, [-2, -1], -3),
            embedded(72, 67, [1, 3], 0),
        ][v],
        stack_top: [
            StackTop::Pointer(72),
            StackTop::Pointer(72),
            StackTop::Depth { values: 64, depth: 80 },
            StackTop::Index(64),
            StackTop::Index(64),
            StackTop::Index(64),
            StackTop::Stackpointer { offset: 64, words_before: 1 },
            StackTop::Stackpointer { offset: 64, words_before: 2 },
        ][v],
        wakeup: [WRAPPER, WRAPPER, BUILT_IN, BUILT_IN, BUILT_IN, BUILT_IN, BUILT_IN, BUILT_IN][v],
        function_closure: [48, 48, 72, 72, 72, 72, 72, 72][v],
    }
}

/// What `.AsyncioDebug` states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) coroutine: usize,
    /// `task_node`, by which tasks are linked.
    pub(super) node: u64,
    /// The heads of the lists in an interpreter and in a thread.
    pub(super) interpreter_head: u64,
    pub(super) thread_head: u64,
}

/// How long `.AsyncioDebug` is: thirteen numbers of eight bytes, of the task (`size`, `name`,
/// `awaited_by`, `is_task`, `awaited_by_is_set`, `coro`, `node`), the interpreter (`size`,
/// `tasks_head`) and the thread (`size`, `running_loop`, `running_task`, `tasks_head`).
pub(super) const STATED: usize = 104;

impl Stated {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        /// No structure of these is larger.
        const LARGEST: u64 = 1 << 20;
        let view = View(bytes);
        let stated = |index: usize, within: usize| {
            let size = view.u64(within.checked_mul(8)?).filter(|&size| size < LARGEST)?;
            view.u64(index.checked_mul(8)?).filter(|&offset| offset < size)
        };
        Some(Self {
            coroutine: usize::try_from(stated(5, 0)?).ok()?,
            node: stated(6, 0)?,
            interpreter_head: stated(8, 7)?,
            thread_head: stated(12, 9)?,
        })
    }
}
