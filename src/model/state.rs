//! What a thread was doing, what it waited on, and how that was told.

use super::tables::{EndpointId, FunctionId, StringId};

/// What a thread was doing at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// It was on a CPU.
    Running = 0,
    /// It wanted a CPU and had none.
    Runnable = 1,
    /// It wanted the GIL; the [`On`] is the function that held it.
    GilWait = 2,
    /// It was blocked on a socket, pipe or file; the [`On`] is the peer.
    Io = 3,
    /// It was blocked on a lock, condition, queue or pool.
    Lock = 4,
    /// It slept by its own wish.
    Sleep = 5,
    /// It waited for work to be given.
    Idle = 6,
    /// It could not be told.
    Unknown = 7,
}

impl State {
    /// All states, in the order in which reports list them.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Runnable,
        Self::GilWait,
        Self::Io,
        Self::Lock,
        Self::Sleep,
        Self::Idle,
        Self::Unknown,
    ];

    /// The word used in print and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Runnable => "runnable",
            Self::GilWait => "gil_wait",
            Self::Io => "io",
            Self::Lock => "lock",
            Self::Sleep => "sleep",
            Self::Idle => "idle",
            Self::Unknown => "unknown",
        }
    }

    /// The state that this word names.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What a state was told from, best first. Counted and printed, so that a reader
/// knows how much of a table rests on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Evidence {
    /// The kernel's word on the system call the thread is in, and its arguments.
    Syscall = 0,
    /// The thread's counters have not moved since it was last seen blocked, so
    /// what was told then still stands.
    Unchanged = 1,
    /// The system call together with the Python function that made it.
    SyscallAndFrame = 2,
    /// Only whether the kernel calls the thread runnable (`/proc/PID/task/TID/stat`).
    RunFlag = 3,
    /// Nothing could be read.
    None = 4,
}

impl Evidence {
    /// All kinds, best first.
    pub const ALL: [Self; 5] =
        [Self::Syscall, Self::Unchanged, Self::SyscallAndFrame, Self::RunFlag, Self::None];

    /// The word used in print and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Unchanged => "unchanged",
            Self::SyscallAndFrame => "syscall_and_frame",
            Self::RunFlag => "run_flag",
            Self::None => "none",
        }
    }
}

/// What a waiting thread waited on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum On {
    /// A peer, a kind of lock, a file: in words, such as `postgresql 10.0.0.5:5432`.
    Named(StringId),
    /// The GIL while this function, serving this endpoint, held it.
    Holder {
        /// The topmost function of the holding thread.
        function: FunctionId,
        /// What the holding thread served.
        endpoint: EndpointId,
    },
}
