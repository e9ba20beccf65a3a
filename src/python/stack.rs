//! A thread and its stack, as the last look found them.

use super::code::CodeId;
use super::threads::ThreadState;
use super::walk::Walk;
use super::{Locals, ReadMemory, Runtime};
use crate::model::{FrameId, FunctionId, Grade};
use crate::process::Slot;
use crate::units::RemoteAddress;

/// A Python thread of a target, and its stack at the last look.
#[derive(Debug)]
pub struct PythonThread {
    pub(super) state: ThreadState,
    pub(super) walk: Walk,
    pub(super) frames: Vec<FoundFrame>,
}

/// A frame of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundFrame {
    /// The function and the line.
    pub frame: FrameId,
    /// The function.
    pub function: FunctionId,
    pub(super) raw: RawPlace,
}

/// What [`super::Locals`] need of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawPlace {
    pub(super) code: CodeId,
    pub(super) address: RemoteAddress,
    pub(super) place: Option<(Slot, usize)>,
    /// Whether it was read with the suspended tasks, and not with the threads.
    pub(super) is_suspended: bool,
}

impl FoundFrame {
    pub(super) const fn raw(&self) -> RawPlace {
        self.raw
    }

    /// A number for the code object it runs: the same for the same code object within one
    /// [`super::Runtime::code_generation`].
    pub const fn code_index(&self) -> usize {
        self.raw.code.index()
    }
}

impl PythonThread {
    /// The address of its thread state: what [`super::Gil::holder`] names.
    pub const fn address(&self) -> RemoteAddress {
        self.state.address
    }

    /// `pthread_self()` of the thread: what `threading` calls its `ident`.
    pub const fn ident(&self) -> u64 {
        self.state.ident
    }

    /// What the target says of its thread number, in its own PID namespace and in the
    /// order of trust; 0 where it says nothing.
    pub const fn stated_tids(&self) -> [u32; 2] {
        self.state.stated_tids
    }

    /// The address of the GIL that it needs.
    pub const fn gil(&self) -> RemoteAddress {
        self.state.gil
    }

    /// Its frames at the last look, root first. With [`Grade::Partial`] the leaf is
    /// missing, with [`Grade::Lost`] all.
    pub fn frames(&self) -> &[FoundFrame] {
        &self.frames
    }

    /// How far the reads of the last look agree.
    pub const fn grade(&self) -> Grade {
        self.walk.grade()
    }
}

/// One stack as the last look found it, and the memory to read more from: a thread's, or
/// frames that are on no thread now, such as those of a coroutine that waits.
pub struct Stack<'a> {
    /// The interpreter.
    pub runtime: &'a mut Runtime,
    /// The process' memory.
    pub memory: &'a dyn ReadMemory,
    frames: Frames<'a>,
    work: Option<u64>,
}

/// Where the frames of a [`Stack`] are kept.
#[derive(Clone, Copy)]
enum Frames<'a> {
    /// By the thread with this position in [`Runtime::threads`].
    Thread(usize),
    Given(&'a [FoundFrame], Grade),
}

impl std::fmt::Debug for Stack<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Stack")
            .field("frames", &self.frames().len())
            .finish_non_exhaustive()
    }
}

impl<'a> Stack<'a> {
    /// The stack of the thread with this position in [`Runtime::threads`].
    pub fn of_thread(runtime: &'a mut Runtime, memory: &'a dyn ReadMemory, thread: usize) -> Self {
        Self { runtime, memory, frames: Frames::Thread(thread), work: None }
    }

    /// Frames that were found in another way, root first, and how far they hold together.
    pub fn of_frames(
        runtime: &'a mut Runtime,
        memory: &'a dyn ReadMemory,
        frames: &'a [FoundFrame],
        grade: Grade,
    ) -> Self {
        Self { runtime, memory, frames: Frames::Given(frames, grade), work: None }
    }

    /// Says which piece of work runs on it, by a number that no other of its process has at
    /// any time, such as that of an asyncio task.
    #[must_use]
    pub const fn with_work(mut self, number: u64) -> Self {
        self.work = Some(number);
        self
    }

    /// The number of the piece of work that runs on it, if it is known.
    pub const fn work(&self) -> Option<u64> {
        self.work
    }

    /// Its frames, root first.
    pub fn frames(&self) -> &[FoundFrame] {
        match self.frames {
            Frames::Thread(thread) => {
                self.runtime.threads().get(thread).map_or(&[], PythonThread::frames)
            }
            Frames::Given(frames, _) => frames,
        }
    }

    /// How far they hold together.
    pub fn grade(&self) -> Grade {
        match self.frames {
            Frames::Thread(thread) => {
                self.runtime.threads().get(thread).map_or(Grade::Lost, PythonThread::grade)
            }
            Frames::Given(_, grade) => grade,
        }
    }

    /// The locals of those frames, and the objects behind them.
    pub fn locals(&mut self) -> Locals<'_> {
        self.runtime.locals(self.memory)
    }
}
