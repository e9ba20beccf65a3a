//! The interpreters of a process and their threads.

use rustc_hash::FxHashSet;

use super::layout::{GilPlace, Layout};
use super::objects::Objects;
use super::view::View;
use crate::units::RemoteAddress;

/// The most interpreters of a process that are followed.
const MOST_INTERPRETERS: usize = 256;

/// The most threads of a process that are followed.
const MOST_THREADS: usize = 8192;

/// `PyInterpreterState`, as far as it stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interpreter {
    pub(crate) address: RemoteAddress,
    pub(crate) gil: RemoteAddress,
    /// The newest thread state.
    pub(crate) threads_head: RemoteAddress,
}

/// `PyThreadState`, as far as it stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadState {
    pub(crate) address: RemoteAddress,
    pub(crate) interpreter: RemoteAddress,
    pub(crate) gil: RemoteAddress,
    /// What the target itself says of the thread's number: first `native_thread_id`, then
    /// the number in the C library's own `struct pthread`. In the target's own PID
    /// namespace; 0 where there is none.
    pub(crate) stated_tids: [u32; 2],
}

/// Where the C library keeps a thread's number, after the `struct pthread` that
/// `pthread_self()` points to: glibc 2.36 and 2.43, musl 1.2.
#[cfg(target_arch = "aarch64")]
const PTHREAD_TID: [u64; 2] = [208, 32];
#[cfg(not(target_arch = "aarch64"))]
const PTHREAD_TID: [u64; 2] = [720, 48];

/// All interpreters and threads at this moment. Threads come newest first, as the
/// interpreter lists them. `None` if the lists do not hold together: threads come and go
/// while they are read, so that is worth another try.
pub(crate) fn discover(
    runtime: RemoteAddress,
    objects: &mut Objects<'_>,
    layout: &Layout,
) -> Option<(Vec<Interpreter>, Vec<ThreadState>)> {
    let mut interpreters = Vec::new();
    let mut threads = Vec::new();
    // Each try at a torn list that is a ring would read it up to the limit.
    let mut seen = FxHashSet::default();
    let mut next = objects.address(runtime.plus(layout.runtime.interpreters_head as u64))?;
    while !next.is_null() {
        if interpreters.len() >= MOST_INTERPRETERS || !next.is_plausible() || !seen.insert(next) {
            return None;
        }
        let address = next;
        let gil = match layout.gil.place {
            GilPlace::InRuntime(offset) => runtime.plus(offset as u64),
            GilPlace::BehindInterpreter(offset) => objects.address(address.plus(offset as u64))?,
        };
        let threads_head = objects.address(address.plus(layout.interpreter.threads_head as u64))?;
        interpreters.push(Interpreter { address, gil, threads_head });
        let mut thread = threads_head;
        while !thread.is_null() {
            if threads.len() >= MOST_THREADS || !thread.is_plausible() || !seen.insert(thread) {
                return None;
            }
            let (state, following) = thread_state(thread, address, gil, objects, layout)?;
            threads.push(state);
            thread = following;
        }
        next = objects.address(address.plus(layout.interpreter.next as u64))?;
    }
    Some((interpreters, threads))
}

fn thread_state(
    address: RemoteAddress,
    interpreter: RemoteAddress,
    gil: RemoteAddress,
    objects: &mut Objects<'_>,
    layout: &Layout,
) -> Option<(ThreadState, RemoteAddress)> {
    let fields = &layout.thread;
    let bytes = View(objects.bytes(address, fields.read_size)?);
    if bytes.address(fields.interp)? != interpreter {
        return None;
    }
    let next = bytes.address(fields.next)?;
    let pthread = bytes.address(fields.thread_id)?;
    let native = fields.native_thread_id.and_then(|offset| bytes.u64(offset));
    let native = native.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    let mut from_pthread = 0;
    for offset in PTHREAD_TID {
        let number = objects.bytes(pthread.plus(offset), 4).and_then(|bytes| View(bytes).u32(0));
        // PIDs end at 2^22 on Linux.
        if let Some(number) = number.filter(|number| (1..=1 << 22).contains(number)) {
            from_pthread = number;
            break;
        }
    }
    let stated_tids = [native, from_pthread];
    Some((ThreadState { address, interpreter, gil, stated_tids }, next))
}
