//! A thread and its stack, as the last look found them.

use super::code::CodeId;
use super::threads::ThreadState;
use super::walk::Walk;
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
