//! What a thread was doing, judged from evidence: the kernel's word on the system call
//! it is in, the descriptors in that call's arguments, and its topmost frames. Pure
//! functions; whoever samples reads for them.
//!
//! ```text
//! Syscall ─► wanted(call) ─► read, resolve ─► Seen ─► classify ─► Judged
//!                            (the sampler)             first match wins:
//!   running                                      ─► running (or runnable, by the counters)
//!   outside a call, on a disk                    ─► io on disk
//!   futex inside the GIL                         ─► gil_wait
//!   frames that wait for work                    ─► idle
//!   futex elsewhere                              ─► lock, named by the frames
//!   sleep; poll or select with no descriptor     ─► sleep
//!   set with a listening socket; accept          ─► idle
//!   descriptor of a client's connection          ─► io on client
//!   any other descriptor                         ─► io on the peer, pipe or file
//! ```
//!
//! The GIL comes before the frames, since an idle thread that wakes up waits for the
//! GIL like any other; the frames come before the sets, since a consumer waits for
//! work on an upstream.

mod awaits;
mod clients;
mod idle;
pub mod peers;
pub mod syscalls;
mod waits;

use std::net::SocketAddr;

pub use awaits::{AwaitMark, Awaited, awaited};
pub use clients::{HostPlace, is_host_name};
pub use idle::Marks;
pub use waits::{
    MOST_POLLED, POLLED_SIZE, Restarts, SOCKET_ADDRESS_SIZE, Wanted, connecting_to, polled,
    selected, wanted,
};

use crate::model::{Evidence, State};
use crate::process::{Call, Descriptor, PathId, RunFlag, Syscall, Watched};
use crate::units::RemoteAddress;
use idle::Said;
use syscalls::{Architecture, Class};

/// All the evidence on one thread at one tick.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    /// What the thread is in; `None` where that could not be read.
    pub syscall: Option<Syscall>,
    /// What the kernel calls it: needed if `syscall` is `None`, and to tell a disk
    /// wait if it is [`Syscall::Outside`].
    pub run_flag: Option<RunFlag>,
    /// Where the GIL's structure lies and how many bytes it has. `None` for a build
    /// without one, or when it was not found.
    pub gil: Option<(RemoteAddress, u64)>,
    /// The topmost frames, leaf first, [`Marks::FRAMES`] of them if there are. Empty
    /// for a thread that is in no Python function; `None` if its stack is not known.
    pub frames: Option<&'a [Marks]>,
    /// What [`wanted`] asked for, resolved; empty if it could not be read.
    pub descriptors: &'a [Descriptor],
    /// The same for [`Wanted::Epoll`].
    pub watched: Option<Watched>,
    /// The same for [`Wanted::Connection`].
    pub connecting_to: Option<SocketAddr>,
    /// The same for [`Wanted::Lock`]: the name of the type of the object that is locked.
    pub lock_type: Option<&'a str>,
}

/// What a thread waits on, without words where a number will do: most ticks repeat
/// what was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waiting {
    /// It does not wait, or it is not known on what.
    Nothing,
    /// Something of which the kind is all there is to say: `threading.Lock`, `disk`,
    /// `client`.
    Kind(&'static str),
    /// The far end of a connection; [`peers::describe`] names it.
    Peer(Connection),
    /// A unix socket and the path that it leads to, if that is known;
    /// [`peers::describe_path`] names it.
    UnixPeer(Option<PathId>),
    /// A file.
    File(PathId),
    /// Whoever holds the GIL.
    Gil,
}

/// A connection, or one that is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection {
    /// The near end, if there is one yet.
    pub local: Option<SocketAddr>,
    /// The far end.
    pub peer: SocketAddr,
}

impl Connection {
    /// Whether both ends are on this host (in this network namespace): the far end is
    /// reached from its own address only there.
    pub fn is_within_host(&self) -> bool {
        self.peer.ip().is_loopback() || self.local.is_some_and(|at| at.ip() == self.peer.ip())
    }
}

/// The verdict on one thread at one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What it was doing. [`State::Runnable`] is never given here: at one instant it
    /// cannot be told from [`State::Running`]; the counters tell it over an interval.
    pub state: State,
    /// What it waits on.
    pub on: Waiting,
    /// How that was told.
    pub evidence: Evidence,
}

impl Judged {
    const fn new(state: State, on: Waiting, evidence: Evidence) -> Self {
        Self { state, on, evidence }
    }

    const fn unknown(evidence: Evidence) -> Self {
        Self::new(State::Unknown, Waiting::Nothing, evidence)
    }
}

/// What the thread was doing.
pub fn classify(seen: &Seen<'_>) -> Judged {
    classify_on(Architecture::NATIVE, seen)
}

fn classify_on(architecture: Architecture, seen: &Seen<'_>) -> Judged {
    match seen.syscall {
        Some(Syscall::Running) => Judged::new(State::Running, Waiting::Nothing, Evidence::Syscall),
        Some(Syscall::Outside { .. }) => outside(seen),
        Some(Syscall::In(call)) => blocked(architecture, seen, &call),
        None => by_run_flag(seen),
    }
}

fn outside(seen: &Seen<'_>) -> Judged {
    match seen.run_flag {
        // A page of the program or of a mapped file has to be read.
        Some(RunFlag::Disk) => Judged::new(State::Io, Waiting::Kind("disk"), Evidence::RunFlag),
        _ => Judged::unknown(Evidence::Syscall),
    }
}

fn by_run_flag(seen: &Seen<'_>) -> Judged {
    let judged = |state, on| Judged::new(state, on, Evidence::RunFlag);
    match seen.run_flag {
        Some(RunFlag::Running) => judged(State::Running, Waiting::Nothing),
        Some(RunFlag::Disk) => judged(State::Io, Waiting::Kind("disk")),
        Some(RunFlag::Blocked) => match seen.say() {
            Said::Idle => judged(State::Idle, Waiting::Nothing),
            // It may as well wait for the GIL on its way out of the lock.
            Said::Lock(_) | Said::Nothing => judged(State::Unknown, Waiting::Nothing),
        },
        Some(RunFlag::Gone) | None => Judged::unknown(Evidence::None),
    }
}

fn blocked(architecture: Architecture, seen: &Seen<'_>, call: &Call) -> Judged {
    let told = |state, on| Judged::new(state, on, Evidence::Syscall);
    let Some(class) = syscalls::class(architecture, call.number) else {
        return match seen.run_flag {
            Some(RunFlag::Disk) => told(State::Io, Waiting::Kind("disk")),
            _ => Judged::unknown(Evidence::Syscall),
        };
    };
    if class == Class::Futex && seen.is_in_gil(call) {
        return told(State::GilWait, Waiting::Gil);
    }
    if may_be_idle(class) {
        match seen.frames {
            // uWSGI's and other embedders' threads between two requests.
            Some([]) => return told(State::Idle, Waiting::Nothing),
            _ if seen.say() == Said::Idle => {
                return Judged::new(State::Idle, Waiting::Nothing, Evidence::SyscallAndFrame);
            }
            _ => {}
        }
    }
    match class {
        Class::Futex => lock(seen, call),
        Class::Sleep | Class::Signal => told(State::Sleep, Waiting::Nothing),
        Class::Poll | Class::Select if !waits::has_set(class, call) => {
            told(State::Sleep, Waiting::Nothing)
        }
        Class::Poll | Class::Select => {
            if seen.descriptors.contains(&Descriptor::Listening) {
                return told(State::Idle, Waiting::Nothing);
            }
            told(State::Io, most_telling(seen.descriptors))
        }
        Class::Epoll => epoll(seen.watched.as_ref()),
        Class::Accept => told(State::Idle, Waiting::Nothing),
        Class::Read | Class::Write | Class::Transfer | Class::Connect => {
            if let Some(peer) = seen.connecting_to {
                return told(State::Io, Waiting::Peer(Connection { local: None, peer }));
            }
            match seen.descriptors.first() {
                Some(Descriptor::Listening) => told(State::Idle, Waiting::Nothing),
                Some(descriptor) => told(State::Io, on_descriptor(*descriptor)),
                None => told(State::Io, Waiting::Kind(unresolved(class))),
            }
        }
        Class::File => match seen.descriptors.first() {
            Some(Descriptor::File(path)) => told(State::Io, Waiting::File(*path)),
            _ => told(State::Io, Waiting::Kind("disk")),
        },
        Class::FileSystem => told(State::Io, Waiting::Kind("disk")),
        Class::IoUring => told(State::Io, Waiting::Kind("io_uring")),
        Class::Child => told(State::Io, Waiting::Kind("child process")),
        Class::FileLock => match seen.descriptors.first() {
            Some(Descriptor::File(path)) => told(State::Lock, Waiting::File(*path)),
            _ => told(State::Lock, Waiting::Kind("file lock")),
        },
        Class::Semaphore => told(State::Lock, Waiting::Kind("semaphore")),
        Class::MemoryMap => told(State::Lock, Waiting::Kind("memory map")),
        Class::Restart => Judged::unknown(Evidence::Syscall),
    }
}

/// Whether the frames of a thread with nothing to do can be blocked in such a call.
/// They can be in others as well, as when a worker writes its heartbeat to a slow
/// disk, but then it is that which it waits for.
const fn may_be_idle(class: Class) -> bool {
    matches!(
        class,
        Class::Read
            | Class::Transfer
            | Class::Accept
            | Class::Poll
            | Class::Select
            | Class::Epoll
            | Class::Futex
            | Class::Sleep
            | Class::Signal
            | Class::Child
            | Class::Restart
    )
}

impl Seen<'_> {
    fn is_in_gil(&self, call: &Call) -> bool {
        let [word, ..] = call.arguments;
        self.gil.is_some_and(|(start, length)| {
            RemoteAddress::new(word).bytes_since(start).is_some_and(|offset| offset < length)
        })
    }

    fn say(&self) -> Said {
        self.frames.map_or(Said::Nothing, Marks::say)
    }
}

fn lock(seen: &Seen<'_>, call: &Call) -> Judged {
    // A locked pthread mutex: FUTEX_WAIT_PRIVATE for the value 2 (glibc,
    // nptl/lowlevellock.c). Python's own locks wait in other ways.
    const WAIT_PRIVATE: u64 = 0x80;
    const LOCKED_WITH_WAITERS: u64 = 2;
    let [_, operation, value, ..] = call.arguments;
    match seen.say() {
        Said::Lock(name) => {
            Judged::new(State::Lock, Waiting::Kind(name), Evidence::SyscallAndFrame)
        }
        _ if operation == WAIT_PRIVATE && value == LOCKED_WITH_WAITERS => {
            Judged::new(State::Lock, Waiting::Kind("native mutex"), Evidence::Syscall)
        }
        _ => {
            let kind = seen.lock_type.map_or("threading.Lock", waits::lock_kind);
            Judged::new(State::Lock, Waiting::Kind(kind), Evidence::Syscall)
        }
    }
}

fn epoll(watched: Option<&Watched>) -> Judged {
    let told = |state, on| Judged::new(state, on, Evidence::Syscall);
    let Some(watched) = watched else { return Judged::unknown(Evidence::Syscall) };
    if watched.listens {
        return told(State::Idle, Waiting::Nothing);
    }
    match (watched.upstream.iter().flatten().next(), watched.clients) {
        (Some(upstream), _) => told(State::Io, on_descriptor(*upstream)),
        (None, true) => told(State::Io, Waiting::Kind(CLIENT)),
        (None, false) => told(State::Io, Waiting::Kind("event")),
    }
}

const CLIENT: &str = "client";

/// Of a set, the descriptor that says most: an event loop's own pipe stands beside
/// the connection that it waits for.
fn most_telling(descriptors: &[Descriptor]) -> Waiting {
    let rank = |descriptor: &&Descriptor| match descriptor {
        Descriptor::Tcp { accepted: false, .. } => 0,
        Descriptor::Unix { accepted: false, .. } => 1,
        Descriptor::Udp { .. } => 2,
        Descriptor::Tcp { .. } | Descriptor::Unix { .. } => 3,
        Descriptor::Socket => 4,
        Descriptor::Pipe => 5,
        Descriptor::EventDescriptor | Descriptor::Epoll => 6,
        Descriptor::File(_) | Descriptor::Listening | Descriptor::Other => 7,
    };
    descriptors.iter().min_by_key(rank).map_or(Waiting::Nothing, |best| on_descriptor(*best))
}

fn on_descriptor(descriptor: Descriptor) -> Waiting {
    match descriptor {
        Descriptor::Tcp { accepted: true, .. } | Descriptor::Unix { accepted: true, .. } => {
            Waiting::Kind(CLIENT)
        }
        Descriptor::Tcp { local, peer, .. } => {
            Waiting::Peer(Connection { local: Some(local), peer })
        }
        Descriptor::Udp { peer: Some(peer) } => Waiting::Peer(Connection { local: None, peer }),
        Descriptor::Unix { path, .. } => Waiting::UnixPeer(path),
        Descriptor::Udp { peer: None } => Waiting::Kind("udp socket"),
        Descriptor::Socket | Descriptor::Listening => Waiting::Kind("socket"),
        Descriptor::Pipe => Waiting::Kind("pipe"),
        Descriptor::EventDescriptor | Descriptor::Epoll => Waiting::Kind("event"),
        Descriptor::File(path) => Waiting::File(path),
        Descriptor::Other => Waiting::Kind("device"),
    }
}

const fn unresolved(class: Class) -> &'static str {
    match class {
        Class::Read | Class::Write => "file or pipe",
        _ => "socket",
    }
}

#[cfg(test)]
mod tests;
