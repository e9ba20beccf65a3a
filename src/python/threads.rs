//! The interpreters of a process and their threads.
//!
//! ```text
//! _PyRuntime ─► interpreter ─► interpreter ─► …        next
//!                  └► thread ─► thread ─► …            threads.head, next
//! ```
//!
//! Whatever was there the last time is asked for together, in one call, and its links are
//! compared; only what is new is followed link by link.

use rustc_hash::{FxHashMap, FxHashSet};

use super::layout::{GilPlace, Layout};
use super::objects::Objects;
use super::view::View;
use crate::process::{Batch, Slot};
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
    /// `pthread_self()` of the thread: what `threading` calls its `ident`.
    pub(crate) ident: u64,
    /// What the target itself says of the thread's number: `native_thread_id`, and the number in
    /// the C library's own `struct pthread`. The first counts if it is one of the process'
    /// threads: up to 3.10 there is none, and a program that forks without the interpreter's
    /// knowledge (uWSGI) leaves its parent's. In the target's own PID namespace; 0 where there
    /// is none.
    pub(crate) stated_tids: [u32; 2],
}

/// The interpreters of a process and their threads, each in the order of the process' own
/// lists: newest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists {
    pub(crate) interpreters: Vec<Interpreter>,
    pub(crate) threads: Vec<ThreadState>,
}

/// Where the C library keeps a thread's number, after the `struct pthread` that
/// `pthread_self()` points to: glibc 2.36 and 2.43, musl 1.2.
#[cfg(target_arch = "aarch64")]
const PTHREAD_TID: [u64; 2] = [208, 32];
#[cfg(not(target_arch = "aarch64"))]
const PTHREAD_TID: [u64; 2] = [720, 48];

/// All interpreters and threads at this moment. `known` is what was there before: the less
/// of it has changed, the fewer calls are made.
///
/// # Errors
/// The lists do not hold together. Threads come and go while they are read, so that is
/// worth another try, which may begin with what was found in this one.
pub(crate) fn discover(
    runtime: RemoteAddress,
    known: &Lists,
    objects: &mut Objects<'_>,
    layout: &Layout,
) -> Result<Lists, Lists> {
    let mut reader = Reader { runtime, layout, objects, ahead: Ahead::default() };
    let mut lists = Lists::default();
    let whole = reader.read_ahead(known).and_then(|first| reader.follow(first, &mut lists));
    add_pthread_tids(&mut lists.threads, reader.objects);
    match whole {
        Some(()) => Ok(lists),
        None => Err(lists),
    }
}

/// A thread state as it is now. `None` if there is none of that interpreter any more.
pub(crate) fn renewed(
    state: ThreadState,
    objects: &mut Objects<'_>,
    layout: &Layout,
) -> Option<ThreadState> {
    let bytes = objects.bytes(state.address, fields_size(layout))?;
    let fields = fields(View(bytes), layout)?;
    let mut renewed =
        [ThreadState { ident: fields.ident, stated_tids: [fields.native, 0], ..state }];
    if fields.interpreter != state.interpreter {
        return None;
    }
    add_pthread_tids(&mut renewed, objects);
    renewed.first().copied()
}

/// One reading of the lists.
struct Reader<'r, 'o> {
    runtime: RemoteAddress,
    layout: &'r Layout,
    objects: &'r mut Objects<'o>,
    ahead: Ahead,
}

/// What was read before it was come by.
#[derive(Default)]
struct Ahead {
    interpreters: FxHashMap<RemoteAddress, Links>,
    threads: FxHashMap<RemoteAddress, Fields>,
}

/// The links of an interpreter.
#[derive(Clone, Copy)]
struct Links {
    next: RemoteAddress,
    threads_head: RemoteAddress,
    gil: RemoteAddress,
}

/// Where an interpreter's links are being read to.
#[derive(Clone, Copy)]
struct LinkSlots {
    next: Slot,
    threads_head: Slot,
    gil: Option<Slot>,
}

/// The fields of a thread state.
#[derive(Clone, Copy)]
struct Fields {
    next: RemoteAddress,
    interpreter: RemoteAddress,
    ident: u64,
    native: u32,
    from_pthread: Option<u32>,
}

impl Reader<'_, '_> {
    /// Reads everything that was known before in as few calls as can be, and the address of
    /// the first interpreter.
    fn read_ahead(&mut self, known: &Lists) -> Option<RemoteAddress> {
        let layout = self.layout;
        let batch = &mut *self.objects.batch;
        batch.clear();
        let first = batch.ask(self.runtime.plus(layout.runtime.interpreters_head as u64), 8);
        let interpreters: Vec<_> = known
            .interpreters
            .iter()
            .map(|known| (known.address, ask_links(known.address, layout, batch)))
            .collect();
        let threads: Vec<_> = known
            .threads
            .iter()
            .map(|known| {
                let fields = batch.ask(known.address, fields_size(layout));
                let pthread =
                    (known.ident != 0).then(|| (known.ident, ask_pthread(known.ident, batch)));
                (known.address, fields, pthread)
            })
            .collect();
        self.objects.memory.read(batch).ok()?;
        for (address, slots) in interpreters {
            let links = links(slots, self.runtime, layout, batch);
            self.ahead.interpreters.extend(links.map(|links| (address, links)));
        }
        for (address, slot, pthread) in threads {
            let Some(mut fields) = batch.bytes(slot).and_then(|b| fields(View(b), layout)) else {
                continue;
            };
            fields.from_pthread = pthread
                .filter(|(ident, _)| *ident == fields.ident)
                .map(|(_, slots)| pthread_tid(slots, batch));
            self.ahead.threads.insert(address, fields);
        }
        View(batch.bytes(first)?).address(0)
    }

    /// Follows all links. `None` if they do not hold together; what was found until then is
    /// in `lists` all the same.
    fn follow(&mut self, first: RemoteAddress, lists: &mut Lists) -> Option<()> {
        // Each try at a torn list that is a ring would read it up to the limit.
        let mut seen = FxHashSet::default();
        let mut next = first;
        while !next.is_null() {
            let full = lists.interpreters.len() >= MOST_INTERPRETERS;
            if full || !next.is_plausible() || !seen.insert(next) {
                return None;
            }
            let address = next;
            let Links { next: following, threads_head, gil } = self.links(address)?;
            lists.interpreters.push(Interpreter { address, gil, threads_head });
            let mut thread = threads_head;
            while !thread.is_null() {
                let full = lists.threads.len() >= MOST_THREADS;
                if full || !thread.is_plausible() || !seen.insert(thread) {
                    return None;
                }
                let fields = self.fields(thread)?;
                if fields.interpreter != address {
                    return None;
                }
                lists.threads.push(ThreadState {
                    address: thread,
                    interpreter: address,
                    gil,
                    ident: fields.ident,
                    stated_tids: [fields.native, fields.from_pthread.unwrap_or(0)],
                });
                thread = fields.next;
            }
            next = following;
        }
        Some(())
    }

    fn links(&mut self, interpreter: RemoteAddress) -> Option<Links> {
        if let Some(&links) = self.ahead.interpreters.get(&interpreter) {
            return Some(links);
        }
        let batch = &mut *self.objects.batch;
        batch.clear();
        let slots = ask_links(interpreter, self.layout, batch);
        self.objects.memory.read(batch).ok()?;
        links(slots, self.runtime, self.layout, batch)
    }

    fn fields(&mut self, thread: RemoteAddress) -> Option<Fields> {
        if let Some(&fields) = self.ahead.threads.get(&thread) {
            return Some(fields);
        }
        let bytes = self.objects.bytes(thread, fields_size(self.layout))?;
        fields(View(bytes), self.layout)
    }
}

/// Asks the C library for the numbers of those threads that do not say theirs, all together.
fn add_pthread_tids(threads: &mut [ThreadState], objects: &mut Objects<'_>) {
    let batch = &mut *objects.batch;
    batch.clear();
    let missing =
        threads.iter_mut().filter(|thread| thread.stated_tids[1] == 0 && thread.ident != 0);
    let asked: Vec<_> = missing
        .map(|thread| {
            let slots = ask_pthread(thread.ident, batch);
            (thread, slots)
        })
        .collect();
    if asked.is_empty() || objects.memory.read(batch).is_err() {
        return;
    }
    for (thread, slots) in asked {
        thread.stated_tids[1] = pthread_tid(slots, batch);
    }
}

fn ask_links(interpreter: RemoteAddress, layout: &Layout, batch: &mut Batch) -> LinkSlots {
    let mut ask = |offset: usize| batch.ask(interpreter.plus(offset as u64), 8);
    LinkSlots {
        next: ask(layout.interpreter.next),
        threads_head: ask(layout.interpreter.threads_head),
        gil: match layout.gil.place {
            GilPlace::InRuntime(_) => None,
            GilPlace::BehindInterpreter(offset) => Some(ask(offset)),
        },
    }
}

fn links(
    slots: LinkSlots,
    runtime: RemoteAddress,
    layout: &Layout,
    batch: &Batch,
) -> Option<Links> {
    let word = |slot| View(batch.bytes(slot)?).address(0);
    let gil = match (layout.gil.place, slots.gil) {
        (GilPlace::InRuntime(offset), _) => runtime.plus(offset as u64),
        (GilPlace::BehindInterpreter(_), slot) => word(slot?)?,
    };
    Some(Links { next: word(slots.next)?, threads_head: word(slots.threads_head)?, gil })
}

/// How many bytes of a thread state have all of [`Fields`].
fn fields_size(layout: &Layout) -> usize {
    let thread = &layout.thread;
    let native = thread.native_thread_id.unwrap_or(0);
    let last = thread.next.max(thread.interp).max(thread.thread_id).max(native);
    last.saturating_add(8)
}

fn fields(bytes: View<'_>, layout: &Layout) -> Option<Fields> {
    let thread = &layout.thread;
    let native = thread.native_thread_id.and_then(|offset| bytes.u64(offset));
    Some(Fields {
        next: bytes.address(thread.next)?,
        interpreter: bytes.address(thread.interp)?,
        ident: bytes.u64(thread.thread_id)?,
        native: native.and_then(|number| u32::try_from(number).ok()).unwrap_or(0),
        from_pthread: None,
    })
}

fn ask_pthread(ident: u64, batch: &mut Batch) -> [Slot; 2] {
    PTHREAD_TID.map(|offset| batch.ask(RemoteAddress::new(ident).plus(offset), 4))
}

fn pthread_tid(slots: [Slot; 2], batch: &Batch) -> u32 {
    let number = |slot| View(batch.bytes(slot)?).u32(0);
    // PIDs end at 2^22 on Linux.
    let is_tid = |number: &u32| (1..=1 << 22).contains(number);
    slots.into_iter().filter_map(number).find(is_tid).unwrap_or(0)
}
