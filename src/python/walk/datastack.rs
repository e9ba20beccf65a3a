//! CPython 3.11 and later: the frames of a thread's functions lie one after the other on
//! its data stack.
//!
//! ```text
//!  chunk header │ frame of main │ frame of view │ frame of load │ free …
//!  base         └ co_framesize ─┘               │               └ datastack_top
//!                       ▲ previous              │ previous
//!                       └─── generator frame ◄──┘   (in its generator object)
//! ```
//!
//! The thread state says which frame is running: from the root up to that one, frames tile
//! the data stack without gaps, so they are found by their sizes. Pointers then show where
//! generators' frames, which lie elsewhere, or C calls come between. What lies above the
//! running frame is being set up or was left behind, and is not looked at.
//!
//! The second reading is decoded and the first one only compared with it, word by word.

mod tiles;

use super::frame::Header;
use super::remembered::Remembered;
use super::{Context, Found, MOST_STEPS, Need, Outcome, Pass, RawFrame};
use crate::process::{Batch, Slot};
use crate::python::layout::{CurrentFrame, Layout, chunk};
use crate::python::view::View;
use crate::units::RemoteAddress;

/// How much more of the current chunk is read than was in use: room for some calls.
const SLACK: usize = 768;

/// A chunk larger than this is not believed: only a function with a hundred thousand
/// locals could need one.
const LARGEST_CHUNK: usize = 1 << 20;

/// How much of one data stack is read, in bytes: [`super::MOST_FRAMES`] of half a kilobyte each,
/// which is more than functions take.
const LARGEST_STACK: usize = 8 << 20;

/// The most chunks of one data stack that are read.
const MOST_CHUNKS: usize = 512;

/// `DATA_STACK_CHUNK_SIZE` (`Python/pystate.c`) less what [`SLACK`] adds.
const USUAL_CHUNK: usize = 16 * 1024 - SLACK;

/// `sizeof(_PyCFrame)` as far as it is needed.
const CFRAME_SIZE: usize = 16;

/// How often the second reading is made again at once when a frame outside was missing.
const MOST_AT_ONCE: usize = 2;

/// How often it is made again at all.
const MOST_VERIFIED: usize = 6;

/// How often in one walk everything may be read anew, at a later instant.
const MOST_INSTANTS: usize = 3;

/// A chunk of the data stack.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    address: RemoteAddress,
    /// How many bytes of it are read.
    length: usize,
    /// Where frames end in it.
    end: usize,
    /// How many bytes it has, by its own header.
    size: usize,
    before: Slot,
    after: Slot,
}

impl Chunk {
    fn holds(&self, address: RemoteAddress) -> bool {
        address.bytes_since(self.address).is_some_and(|at| at < self.size as u64)
    }
}

/// A tile as it was decoded last, at its place in the order of tiles.
#[derive(Debug, Clone, Copy)]
struct Tile {
    header: Header,
    frame: RawFrame,
    size: usize,
}

/// The data stack of one thread.
#[derive(Debug)]
pub(super) struct DataStack {
    thread: RemoteAddress,
    interpreter: RemoteAddress,
    thread_slot: Option<Slot>,
    /// Where the thread state's `cframe` pointed lately (3.11 and 3.12).
    cframes: Remembered,
    /// In the order in which they are linked: the current one first.
    chunks: Vec<Chunk>,
    /// Frames that lie outside the chunks: of generators, and between C calls.
    outside: Remembered,
    /// What was decoded last, for tiles that are the same again.
    tiles: Vec<Tile>,
    /// Frames outside that lie between two tiles, leaf first.
    between: Vec<Found>,
    /// The same above the last tile.
    above: Vec<Found>,
    /// Whether the links that were followed last were the same in both readings.
    same_links: bool,
    instants: usize,
    /// How often in this walk the second reading was made again.
    verified: usize,
    /// Whether the second reading is of a later round than the instant.
    late: bool,
    /// Whether something was read after the second reading.
    unverified: bool,
    steps: usize,
}

/// What the thread state says.
struct Thread {
    current: Option<RemoteAddress>,
    chunk: RemoteAddress,
    top: RemoteAddress,
}

/// How following frames outside the chunks ended.
enum Chain {
    /// At a tile, or at the root's null.
    Ends(RemoteAddress),
    /// At one that was not known, and was asked for.
    Missing,
    Load(RemoteAddress),
    Broken,
}

impl DataStack {
    pub(super) fn new(thread: RemoteAddress, interpreter: RemoteAddress) -> Self {
        Self {
            thread,
            interpreter,
            thread_slot: None,
            cframes: Remembered::default(),
            chunks: Vec::new(),
            outside: Remembered::default(),
            tiles: Vec::new(),
            between: Vec::new(),
            above: Vec::new(),
            same_links: true,
            instants: 0,
            verified: 0,
            late: false,
            unverified: false,
            steps: 0,
        }
    }

    pub(super) const fn start(&mut self) {
        self.instants = 0;
        self.verified = 0;
        self.steps = 0;
    }

    pub(super) fn ask(&mut self, need: Need, layout: &Layout, batch: &mut Batch) {
        let frame = layout.frame.size;
        self.unverified = need == Need::More;
        if self.unverified {
            return;
        }
        self.late = need == Need::After;
        if self.late {
            self.verified = self.verified.saturating_add(1);
        } else {
            self.instants = self.instants.saturating_add(1);
            for chunk in self.chunks.iter_mut().rev() {
                chunk.before = batch.ask(chunk.address, chunk.length);
            }
            self.outside.ask(Pass::Before, frame, batch);
            self.thread_slot = Some(batch.ask(self.thread, layout.thread.read_size));
            self.cframes.ask_once(CFRAME_SIZE, batch);
        }
        self.outside.ask(Pass::After, frame, batch);
        for chunk in &mut self.chunks {
            chunk.after = batch.ask(chunk.address, chunk.length);
        }
    }

    /// Collects the frames into `found`, root first, as far as there are bytes for them.
    pub(super) fn collect(
        &mut self,
        may_ask: bool,
        not_code: &[RemoteAddress],
        context: &mut Context<'_>,
        found: &mut Vec<Found>,
    ) -> Outcome {
        let may_ask = may_ask && self.steps < MOST_STEPS && self.verified < MOST_VERIFIED;
        let may_renew = may_ask && self.instants < MOST_INSTANTS;
        found.clear();
        let thread = match self.thread(context) {
            Ok(Some(thread)) => thread,
            Ok(None) => return Outcome::Torn,
            Err(cframe) if may_renew && cframe.is_plausible() => {
                self.cframes.add(cframe, CFRAME_SIZE, context.batch);
                return Outcome::Needs(Need::Everything);
            }
            Err(_) => return Outcome::Torn,
        };
        let in_use = thread.top.bytes_since(thread.chunk).unwrap_or(0);
        let is_empty = in_use <= (chunk::DATA as u64).saturating_add(8);
        let no_frame = thread.current == Some(RemoteAddress::NULL);
        if thread.chunk.is_null() || (no_frame && is_empty) {
            // No Python function was called, or none any more.
            return Outcome::Complete;
        }
        match self.order_chunks(&thread, may_ask, context) {
            Ok(()) => {}
            Err(Outcome::Needs(Need::More)) => return Outcome::Needs(Need::More),
            Err(Outcome::Needs(Need::Everything)) if may_renew => {
                return Outcome::Needs(Need::Everything);
            }
            // What was read is too little, but of one moment.
            Err(Outcome::Needs(Need::Everything)) => {}
            Err(_) => return Outcome::Torn,
        }
        match self.tile(&thread, may_ask, not_code, context, found) {
            // Long chains of generators are found one by one: what is read is read anew
            // for the first of them, and once more when all are known.
            Outcome::Needs(Need::After) if self.verified >= MOST_AT_ONCE => {
                Outcome::Needs(Need::More)
            }
            Outcome::Complete | Outcome::Torn if self.unverified && may_ask => {
                Outcome::Needs(Need::After)
            }
            settled => settled,
        }
    }

    /// What the thread state says; an error is a `cframe` that was not read.
    fn thread(&mut self, context: &Context<'_>) -> Result<Option<Thread>, RemoteAddress> {
        let layout = &context.layout.thread;
        let bytes = self.thread_slot.and_then(|slot| context.batch.bytes(slot));
        let bytes = View(bytes.unwrap_or_default());
        let (Some(interpreter), Some(stack)) = (bytes.address(layout.interp), layout.datastack)
        else {
            return Ok(None);
        };
        let (Some(chunk), Some(top)) = (bytes.address(stack.chunk), bytes.address(stack.top))
        else {
            return Ok(None);
        };
        if interpreter != self.interpreter {
            return Ok(None);
        }
        let current = match layout.current_frame {
            CurrentFrame::Direct(offset) => bytes.address(offset),
            CurrentFrame::ThroughCFrame { cframe, current_frame } => {
                let Some(cframe) = bytes.address(cframe) else { return Ok(None) };
                let range = self.cframes.meet(cframe).ok_or(cframe)?;
                let bytes = context.batch.bytes(range.slot(Pass::After));
                bytes.and_then(|bytes| View(bytes).address(current_frame))
            }
        };
        Ok(Some(Thread { current, chunk, top }))
    }

    /// Brings the chunks into the order in which they are linked, each with its end.
    fn order_chunks(
        &mut self,
        thread: &Thread,
        may_ask: bool,
        context: &mut Context<'_>,
    ) -> Result<(), Outcome> {
        let used = thread.top.bytes_since(thread.chunk).unwrap_or(u64::MAX);
        // Of the current chunk the thread state says how far it is used, of an older one
        // its own header does.
        let mut stated = usize::try_from(used).ok().filter(|&used| used <= LARGEST_CHUNK);
        let (mut address, mut count, mut total) = (thread.chunk, 0_usize, 0_usize);
        let mut short = false;
        if stated.is_none() {
            return Err(Outcome::Torn);
        }
        while !address.is_null() {
            let position = self.chunks.iter().skip(count).position(|it| it.address == address);
            let Some(position) = position else {
                if !may_ask || self.chunks.len() >= MOST_CHUNKS || !address.is_plausible() {
                    return Err(Outcome::Torn);
                }
                let length = stated.unwrap_or(USUAL_CHUNK).saturating_add(SLACK);
                let slot = context.batch.ask(address, length);
                let chunk = Chunk { address, length, end: 0, size: 0, before: slot, after: slot };
                self.chunks.insert(count, chunk);
                return Err(Outcome::Needs(Need::More));
            };
            self.chunks.swap(count, count.saturating_add(position));
            let Some(chunk) = self.chunks.get_mut(count) else { return Err(Outcome::Torn) };
            let header = View(context.batch.prefix(chunk.after).unwrap_or_default());
            chunk.size = header.length(chunk::SIZE, LARGEST_CHUNK).ok_or(Outcome::Torn)?;
            let end = stated.take().or_else(|| older_chunk_end(header)).ok_or(Outcome::Torn)?;
            chunk.end = end;
            total = total.saturating_add(end);
            if total > LARGEST_STACK {
                return Err(Outcome::Torn);
            }
            short |= chunk.length < end || chunk.before == chunk.after;
            chunk.length = chunk.length.max(end.saturating_add(SLACK));
            if chunk.length > end.saturating_add(4 * SLACK) {
                chunk.length = end.saturating_add(SLACK);
            }
            address = header.address(chunk::PREVIOUS).ok_or(Outcome::Torn)?;
            count = count.saturating_add(1);
        }
        self.chunks.truncate(count);
        if short { Err(Outcome::Needs(Need::Everything)) } else { Ok(()) }
    }

    /// Lets go of what was not met for long.
    pub(super) fn remember(&mut self) {
        self.outside.tidy();
        self.cframes.tidy();
    }
}

/// Where the frames of a chunk end that is not the current one.
fn older_chunk_end(header: View<'_>) -> Option<usize> {
    let words = header.length(chunk::TOP_WORDS, LARGEST_CHUNK)?;
    let size = header.length(chunk::SIZE, LARGEST_CHUNK)?;
    words.checked_mul(8)?.checked_add(chunk::DATA).filter(|&end| end <= size)
}
