//! One process' interpreter: what is kept between ticks, and one look at its threads.
//!
//! ```text
//! round 1   heads of the lists │ GIL │ thread A: first, second │ B: … │ codes │ GIL
//! round 2…  only what round 1 did not know: a new chunk, a generator, a code object
//! ```

mod rounds;

use rustc_hash::FxHashMap;

use super::arguments::Kinds;
use super::attributes::Names;
use super::code::{Check, CodeId, Codes};
use super::gil::{Gil, GilReads};
use super::layout::{Layout, Trust};
use super::locate::{self, Located};
use super::objects::Objects;
use super::render::Rendering;
use super::stack::{FoundFrame, PythonThread};
use super::thread_names;
use super::threads::{self, Interpreter, Lists, ThreadState};
use super::view::View;
use super::walk::Walk;
use super::{Error, Locals, Version, trial};
use crate::model::Tables;
use crate::process::{Batch, Image, ReadMemory, Slot};
use crate::units::RemoteAddress;

/// What one look may spend on code objects that are not known yet: calls and bytes. What is
/// left over comes with the next look, and until then its frames count as torn. It is more
/// than a thousand functions take; without a bound, a made-up stack of them could take
/// gigabytes.
const MOST_FOR_CODES: (u64, u64) = (12_000, 16 << 20);

/// An interpreter that is being read.
#[derive(Debug)]
pub struct Runtime {
    address: RemoteAddress,
    version: Version,
    pub(super) layout: Layout,
    pub(super) codes: Codes,
    pub(super) interpreters: Vec<Interpreter>,
    pub(super) threads: Vec<PythonThread>,
    batch: Batch,
    /// A second batch, for objects that are read in between.
    pub(super) objects_batch: Batch,
    /// What was read of suspended frames at the last look at tasks.
    pub(super) suspended: Batch,
    pub(super) names: Names,
    kinds: Kinds,
    rendering: Rendering,
    pub(super) tick: u64,
    /// Up to where the counts of `objects_batch` may grow in this look.
    pub(super) most_for_codes: (u64, u64),
    /// Codes that were used in the last look and whose fingerprints come with the next.
    used: Vec<CodeId>,
    fingerprints: Vec<Check>,
    unchecked: Vec<CodeId>,
    /// The heads of the lists of interpreters and threads, and what they were last.
    heads: Vec<(Slot, RemoteAddress)>,
    /// Threads of this look whose walk is not done.
    pending: Vec<usize>,
    gil_reads: Vec<GilReads>,
    /// Where each interpreter's count of freed code objects is in the batch.
    generations: Vec<Slot>,
    /// Where `gc.collecting` of an interpreter, or of all (3.8), is in the batch.
    collecting: Vec<(Option<RemoteAddress>, Slot)>,
}

/// What a look found besides the threads' stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether threads came since the list was last read: [`Runtime::refresh`] it.
    pub threads_changed: bool,
}

impl Runtime {
    /// Finds the interpreter in a process by what is mapped there.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn locate(images: &[Image], memory: &dyn ReadMemory) -> Result<Self, Error> {
        let (mut batch, mut names) = (Batch::new(), Names::default());
        let located = locate::locate(images, memory, &mut batch, &mut names)?;
        if located.layout.trust == Trust::Trial {
            // Of its own: what it remembers is numbered by tables that end with it.
            trial::hold(&mut Self::new(located.clone()), &located.layout.gil, memory)?;
        }
        Ok(Self { batch, names, ..Self::new(located) })
    }

    fn new(located: Located) -> Self {
        let Located { runtime, version, layout, lists } = located;
        let mut found = Self {
            address: runtime,
            version,
            layout,
            codes: Codes::default(),
            interpreters: lists.interpreters,
            threads: Vec::new(),
            batch: Batch::new(),
            objects_batch: Batch::new(),
            suspended: Batch::new(),
            names: Names::default(),
            kinds: Kinds::default(),
            rendering: Rendering::default(),
            tick: 0,
            most_for_codes: (0, 0),
            used: Vec::new(),
            fingerprints: Vec::new(),
            unchecked: Vec::new(),
            heads: Vec::new(),
            pending: Vec::new(),
            gil_reads: Vec::new(),
            generations: Vec::new(),
            collecting: Vec::new(),
        };
        found.adopt(lists.threads);
        found
    }

    /// Its version.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Whether it is a build without a GIL (PEP 703).
    pub const fn is_free_threaded(&self) -> bool {
        self.layout.free_threaded
    }

    /// Its threads, newest first, as of the last [`Runtime::refresh`].
    pub fn threads(&self) -> &[PythonThread] {
        &self.threads
    }

    /// System calls made and bytes read so far.
    pub const fn costs(&self) -> (u64, u64) {
        let (look, objects, tasks) = (&self.batch, &self.objects_batch, &self.suspended);
        (
            look.calls().saturating_add(objects.calls()).saturating_add(tasks.calls()),
            look.bytes_read()
                .saturating_add(objects.bytes_read())
                .saturating_add(tasks.bytes_read()),
        )
    }

    /// Reads the lists of interpreters and threads anew. Threads that are still there
    /// keep what is known of them.
    ///
    /// # Errors
    /// [`Error::NotReady`] when the lists do not hold together (threads come and go while
    /// they are read; the old list stays), [`Error::Process`] when the memory is gone.
    pub fn refresh(&mut self, memory: &dyn ReadMemory) -> Result<(), Error> {
        let mut objects =
            Objects::new(memory, &self.layout, &mut self.objects_batch, &mut self.names);
        // A process that is gone fails here, with a reason.
        objects.probe(self.address)?;
        let known = Lists {
            interpreters: self.interpreters.clone(),
            threads: self.threads.iter().map(|thread| thread.state).collect(),
        };
        let lists = threads::discover(self.address, &known, &mut objects, &self.layout)
            .map_err(|_| Error::NotReady)?;
        self.interpreters = lists.interpreters;
        self.adopt(lists.threads);
        if self.codes.is_mostly_stale() {
            self.codes.forget();
            self.used.clear();
        }
        Ok(())
    }

    /// Reads anew what a thread's state says of its number: it is given one only after it
    /// was listed. Its frames stay those of the last look.
    pub fn renew_tids(&mut self, memory: &dyn ReadMemory, index: usize) {
        let Some(thread) = self.threads.get_mut(index) else { return };
        let mut objects =
            Objects::new(memory, &self.layout, &mut self.objects_batch, &mut self.names);
        let renewed = threads::renewed(thread.state, &mut objects, &self.layout);
        thread.state = renewed.unwrap_or(thread.state);
    }

    /// What `threading` calls the threads with these positions in [`Runtime::threads`]: those
    /// that have a name, each with its position. At the most 64 characters, none of which a
    /// terminal would obey. Cheap enough for threads that are new, not for every tick.
    pub fn thread_names(
        &mut self,
        memory: &dyn ReadMemory,
        wanted: &[usize],
    ) -> Vec<(usize, String)> {
        let states =
            wanted.iter().filter_map(|&index| Some((index, self.threads.get(index)?.state)));
        let states: Vec<_> = states.collect();
        let mut objects =
            Objects::new(memory, &self.layout, &mut self.objects_batch, &mut self.names);
        thread_names::read(&mut objects, &self.layout, &states)
    }

    /// Changes when code objects are numbered anew, so that what is known by
    /// [`FoundFrame::code_index`] has to be forgotten.
    pub const fn code_generation(&self) -> u64 {
        self.codes.generation()
    }

    fn adopt(&mut self, states: Vec<ThreadState>) {
        let old = std::mem::take(&mut self.threads).into_iter();
        let mut old: FxHashMap<_, _> = old.map(|thread| (thread.state.address, thread)).collect();
        let new = |state: ThreadState| PythonThread {
            state,
            walk: Walk::new(state.address, state.interpreter, &self.layout),
            frames: Vec::new(),
        };
        let thread_of = |state: ThreadState| {
            let known = old.remove(&state.address).filter(|thread| thread.state == state);
            known.unwrap_or_else(|| new(state))
        };
        self.threads = states.into_iter().map(thread_of).collect();
    }

    /// Says whether the thread with this position in [`Runtime::threads`] may run while it is
    /// read: then a function that has to be looked up first does not count in that look.
    pub fn set_moves(&mut self, index: usize, moves: bool) {
        if let Some(thread) = self.threads.get_mut(index) {
            thread.walk.set_moves(moves);
        }
    }

    /// Reads the stacks of the threads with these positions in [`Runtime::threads`], all
    /// together, and the GILs around them.
    ///
    /// # Errors
    /// [`Error::Process`] when the memory cannot be read at all.
    pub fn look(
        &mut self,
        memory: &dyn ReadMemory,
        tables: &mut Tables,
        wanted: &[usize],
    ) -> Result<Look, Error> {
        self.tick = self.tick.saturating_add(1);
        self.bound_codes();
        self.batch.clear();
        self.ask_first_round(wanted);
        memory.read(&mut self.batch)?;
        let threads_changed = self.lists_changed();
        self.codes.set_stamp(self.code_stamp());
        self.check_fingerprints();
        let mut pending = std::mem::take(&mut self.pending);
        pending.clear();
        pending.extend_from_slice(wanted);
        let outcome = loop {
            pending.retain(|&index| self.advance(index, memory, tables));
            if pending.is_empty() {
                break Ok(());
            }
            self.ask_fingerprints();
            if let Err(error) = memory.read(&mut self.batch) {
                break Err(error);
            }
            self.check_fingerprints();
        };
        self.pending = pending;
        outcome?;
        self.resolve(wanted, tables);
        Ok(Look { threads_changed })
    }

    /// From here on no more than so much may be spent on code objects.
    pub(super) const fn bound_codes(&mut self) {
        let objects = &self.objects_batch;
        self.most_for_codes = (
            objects.calls().saturating_add(MOST_FOR_CODES.0),
            objects.bytes_read().saturating_add(MOST_FOR_CODES.1),
        );
    }

    /// Whether the cyclic garbage collector of a thread's interpreter was at work at the last
    /// look. If so, it is the thread with the GIL that collects, or else one that let go of
    /// it in a finalizer.
    pub fn is_collecting(&self, thread: &PythonThread) -> bool {
        let of_thread =
            |place: &Option<RemoteAddress>| place.is_none_or(|it| it == thread.state.interpreter);
        let found = self.collecting.iter().find(|(place, _)| of_thread(place));
        let flag = found.and_then(|&(_, slot)| View(self.batch.bytes(slot)?).i32(0));
        flag == Some(1)
    }

    /// The GIL at this address, as of the last look.
    pub fn gil(&self, address: RemoteAddress) -> Option<Gil> {
        let read = self.gil_reads.iter().find(|read| read.address == address)?;
        Some(read.result(&self.layout, &self.batch))
    }

    /// How often the GIL had changed hands by the last look, since the interpreter began; if
    /// there are several, all of them together. `None` if none is in use or could be read.
    pub fn gil_switches(&self) -> Option<u64> {
        let gils = self.gil_reads.iter().map(|read| read.result(&self.layout, &self.batch));
        let in_use = gils.filter(|gil| gil.size > 0).map(|gil| gil.switches);
        in_use.reduce(u64::wrapping_add)
    }

    /// The thread state that holds the GIL at this address now: one read.
    pub fn gil_holder(
        &mut self,
        memory: &dyn ReadMemory,
        gil: RemoteAddress,
    ) -> Option<RemoteAddress> {
        self.objects_batch.clear();
        let read = GilReads::before(gil, &self.layout, &mut self.objects_batch);
        memory.read(&mut self.objects_batch).ok()?;
        read.holder(&self.layout, &self.objects_batch)
    }

    /// Objects of the target, one at a time.
    pub(super) fn objects<'a>(&'a mut self, memory: &'a dyn ReadMemory) -> Objects<'a> {
        Objects::new(memory, &self.layout, &mut self.objects_batch, &mut self.names)
    }

    /// The address of the code object that a frame of the last look runs.
    pub(super) fn code_address(&self, frame: &FoundFrame) -> Option<RemoteAddress> {
        self.codes.get(frame.raw().code).map(|code| code.address)
    }

    /// What it takes to render objects.
    pub(super) fn rendering<'a>(
        &'a mut self,
        memory: &'a dyn ReadMemory,
    ) -> (&'a Layout, Objects<'a>, &'a mut Rendering) {
        let Self { layout, objects_batch, names, rendering, .. } = self;
        (&*layout, Objects::new(memory, layout, objects_batch, names), rendering)
    }

    /// The locals of frames of the last look, and the objects behind them.
    pub fn locals<'a>(&'a mut self, memory: &'a dyn ReadMemory) -> Locals<'a> {
        Locals::new(
            &self.codes,
            &self.layout,
            [&self.batch, &self.suspended],
            Objects::new(memory, &self.layout, &mut self.objects_batch, &mut self.names),
            &mut self.kinds,
        )
    }
}
