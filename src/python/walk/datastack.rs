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

use super::frame::{Decoded, Header};
use super::remembered::Remembered;
use super::{Context, Found, MOST_FRAMES, MOST_STEPS, Need, Outcome, Pass, RawFrame};
use crate::process::{Batch, Slot};
use crate::python::layout::{CurrentFrame, Layout, Liveness, chunk};
use crate::python::view::View;
use crate::units::RemoteAddress;

/// How much more of the current chunk is read than was in use: room for some calls.
const SLACK: usize = 768;

/// A chunk larger than this is not believed: only a function with a hundred thousand
/// locals could need one.
const LARGEST_CHUNK: usize = 1 << 20;

/// How much of one data stack is read, in bytes: [`MOST_FRAMES`] of half a kilobyte each,
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
        if need == Need::After {
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
        if thread.chunk.is_null() || thread.current == Some(RemoteAddress::NULL) {
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

    /// The tiles from the root up to the running frame, or to the tile that called the
    /// generator that is running.
    fn tile(
        &mut self,
        thread: &Thread,
        may_ask: bool,
        not_code: &[RemoteAddress],
        context: &mut Context<'_>,
        found: &mut Vec<Found>,
    ) -> Outcome {
        let top = match thread.current {
            Some(current) => self.top_chain(current, may_ask, not_code, context),
            None => Chain::Broken,
        };
        let mut missing = false;
        let base = match top {
            Chain::Ends(base) => Some(base),
            Chain::Load(address) => return Outcome::Load(address),
            Chain::Missing => {
                missing = true;
                None
            }
            Chain::Broken => None,
        };
        // They come last, so they are put aside while those between tiles are collected.
        std::mem::swap(&mut self.between, &mut self.above);
        let outcome = self.tiles_to(base, thread, may_ask, not_code, context, found);
        match outcome {
            Outcome::Complete if missing => Outcome::Needs(Need::After),
            Outcome::Complete if base.is_none() => Outcome::Torn,
            Outcome::Complete => {
                found.extend(self.above.iter().rev());
                Outcome::Complete
            }
            Outcome::Torn if missing => Outcome::Needs(Need::After),
            other => other,
        }
    }

    /// The frames outside the chunks from the running one down, into `between`. A generator
    /// may have yielded between the instant and one of the readings.
    fn top_chain(
        &mut self,
        current: RemoteAddress,
        may_ask: bool,
        not_code: &[RemoteAddress],
        context: &mut Context<'_>,
    ) -> Chain {
        let may_end_at_null = false;
        match self.chain(current, Pass::After, may_end_at_null, may_ask, not_code, context) {
            Chain::Broken => {
                self.chain(current, Pass::Before, may_end_at_null, false, not_code, context)
            }
            settled => settled,
        }
    }

    /// Follows frames outside the chunks from `from` down, pushing those of generators to
    /// `between`, leaf first.
    fn chain(
        &mut self,
        from: RemoteAddress,
        pass: Pass,
        may_end_at_null: bool,
        may_ask: bool,
        not_code: &[RemoteAddress],
        context: &mut Context<'_>,
    ) -> Chain {
        self.between.clear();
        self.same_links = true;
        let layout = context.layout.frame;
        let Liveness::Tiling { owner, shim_from, .. } = layout.liveness else {
            return Chain::Broken;
        };
        let mut next = from;
        let mut links = 0_usize;
        while !self.is_in_chunks(next) {
            links = links.saturating_add(1);
            self.steps = self.steps.saturating_add(1);
            if next.is_null() && may_end_at_null {
                return Chain::Ends(next);
            }
            if !next.is_plausible() || links > MOST_FRAMES || self.steps > MOST_STEPS {
                return Chain::Broken;
            }
            let Some(range) = self.outside.meet(next) else {
                let asked = may_ask && self.outside.add(next, layout.size, context.batch);
                return if asked { Chain::Missing } else { Chain::Broken };
            };
            let slot = range.slot(pass);
            if !context.batch.is_read(slot) {
                return Chain::Missing;
            }
            let bytes = context.batch.prefix(slot).unwrap_or_default();
            let kind = View(bytes).u8(owner);
            let (Some(header), Some(kind)) = (Header::read(bytes, 0, &layout), kind) else {
                return Chain::Broken;
            };
            let other = context.batch.prefix(range.slot(Pass::Before)).unwrap_or_default();
            let other = Header::read(other, 0, &layout).unwrap_or_default();
            self.same_links &= header.same_function(&other);
            if kind < shim_from {
                match header.decode(next, Some((slot, 0)), true, not_code, context) {
                    Decoded::Frame(frame) => {
                        let same_function = header.same_function(&other);
                        self.between.push(Found {
                            frame,
                            holds: true,
                            same_function,
                            same_place: header == other && range.was_read_twice(),
                        });
                    }
                    Decoded::Load(address) => return Chain::Load(address),
                    Decoded::Bad => return Chain::Broken,
                }
            }
            next = header.previous;
        }
        Chain::Ends(next)
    }

    fn is_in_chunks(&self, address: RemoteAddress) -> bool {
        self.chunks.iter().any(|chunk| chunk.holds(address))
    }

    /// The tiles up to `base`, or as far as the data stack is in use, each linked to the
    /// one below.
    fn tiles_to(
        &mut self,
        base: Option<RemoteAddress>,
        thread: &Thread,
        may_ask: bool,
        not_code: &[RemoteAddress],
        context: &mut Context<'_>,
        found: &mut Vec<Found>,
    ) -> Outcome {
        let mut missing = false;
        let mut number = 0_usize;
        let mut below = RemoteAddress::NULL;
        for index in (0..self.chunks.len()).rev() {
            let Some(&chunk) = self.chunks.get(index) else { break };
            // The root chunk's first word is left free (`Python/pystate.c`, push_chunk).
            let is_root = index.saturating_add(1) == self.chunks.len();
            let mut at = if is_root { chunk::DATA + 8 } else { chunk::DATA };
            // The running frame may be a later one than the thread state's end shows, where
            // the two are read apart.
            let end = if index == 0 && base.is_some() { chunk.length } else { chunk.end };
            while at < end {
                self.steps = self.steps.saturating_add(1);
                let address = chunk.address.plus(at as u64);
                let is_base = base == Some(address);
                if base.is_some_and(|base| chunk.holds(base) && base < address) {
                    // The tile below cannot be as long as it said.
                    found.pop();
                    return if missing { Outcome::Needs(Need::After) } else { Outcome::Torn };
                }
                let is_leaf = is_base && thread.current == base;
                let (tile, other) =
                    match self.one_tile(number, chunk, at, is_leaf, not_code, context) {
                        Ok(tile) => tile,
                        Err(Outcome::Torn) if missing => return Outcome::Needs(Need::After),
                        Err(outcome) => return outcome,
                    };
                let mut linked = true;
                if tile.header.previous != below {
                    let from = tile.header.previous;
                    let at_root = number == 0;
                    match self.chain(from, Pass::After, at_root, may_ask, not_code, context) {
                        Chain::Ends(end) if end == below => {
                            linked = self.same_links;
                            found.extend(
                                self.between
                                    .iter()
                                    .rev()
                                    .map(|&found| Found { holds: found.same_function, ..found }),
                            );
                        }
                        Chain::Missing => missing = true,
                        Chain::Load(address) => return Outcome::Load(address),
                        Chain::Ends(_) | Chain::Broken if missing => {
                            return Outcome::Needs(Need::After);
                        }
                        Chain::Ends(_) | Chain::Broken => return Outcome::Torn,
                    }
                }
                let twice = chunk.before != chunk.after;
                let same_function = linked && twice && tile.header.same_function(&other);
                found.push(Found {
                    frame: tile.frame,
                    holds: same_function,
                    same_function,
                    same_place: same_function && tile.header == other,
                });
                if found.len() > MOST_FRAMES || self.steps > MOST_STEPS {
                    return Outcome::Torn;
                }
                number = number.saturating_add(1);
                below = address;
                if is_base {
                    let need = Outcome::Needs(Need::After);
                    return if missing { need } else { Outcome::Complete };
                }
                at = at.saturating_add(tile.size);
            }
        }
        match (missing, base) {
            (true, _) => Outcome::Needs(Need::After),
            (false, Some(base)) if !base.is_null() => Outcome::Torn,
            (false, _) => Outcome::Complete,
        }
    }

    /// The tile at `at` of a chunk as it was after the instant, and its words before.
    fn one_tile(
        &mut self,
        number: usize,
        chunk: Chunk,
        at: usize,
        is_leaf: bool,
        not_code: &[RemoteAddress],
        context: &mut Context<'_>,
    ) -> Result<(Tile, Header), Outcome> {
        let layout = context.layout.frame;
        let Liveness::Tiling { owner, .. } = layout.liveness else { return Err(Outcome::Torn) };
        let address = chunk.address.plus(at as u64);
        let read = |slot, batch: &Batch| {
            let bytes = batch.prefix(slot)?;
            // Only a thread's own frames lie here.
            let own = View(bytes).u8(at.checked_add(owner)?) == Some(0);
            Header::read(bytes, at, &layout).filter(|_| own)
        };
        let before = read(chunk.before, context.batch).unwrap_or_default();
        let after = read(chunk.after, context.batch).unwrap_or_default();
        if let Some(known) = self.tiles.get(number)
            && known.header == after
            && known.frame.address == address
            && context.codes.is_checked(known.frame.code, context.tick)
            && context
                .codes
                .get(known.frame.code)
                .is_some_and(|code| code.address.get() == after.code & !layout.tag_mask)
        {
            let mut tile = *known;
            tile.frame.place = Some((chunk.after, at));
            return Ok((tile, before));
        }
        let mut decoded = after.decode(address, Some((chunk.after, at)), false, not_code, context);
        let mut header = after;
        if is_leaf && matches!(decoded, Decoded::Bad) && layout.tag_mask != 0 {
            // From 3.14 on a frame's code is cleared when it returns: what was there before
            // is the running call, or else its instruction still tells the function.
            header = before;
            decoded = before.decode(address, Some((chunk.before, at)), false, not_code, context);
        }
        let frame = match decoded {
            Decoded::Frame(frame) => frame,
            Decoded::Load(address) => return Err(Outcome::Load(address)),
            Decoded::Bad => return Err(Outcome::Torn),
        };
        let size = context.codes.get(frame.code).map_or(0, |code| code.frame_size);
        if size < layout.size {
            return Err(Outcome::Torn);
        }
        let tile = Tile { header, frame, size };
        match self.tiles.get_mut(number) {
            Some(known) => *known = tile,
            None => self.tiles.push(tile),
        }
        let other = if header == after { before } else { Header::default() };
        Ok((tile, other))
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
