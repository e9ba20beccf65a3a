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
//! So the callers are found from the root up, by size, without following a single
//! pointer: what lies between base and top is alive. Pointers then show where a
//! generator's frame, which lies elsewhere, or a C call comes between, and that the
//! thread's current frame is the last tile. A frame that was popped or is just being
//! set up breaks one of the two.

use super::collector::{Collector, FixedPart, ThreadBytes};
use super::{ChunkRead, MOST_CHUNKS, MOST_FRAMES, Outcome, RawFrame};
use crate::python::layout::{Liveness, chunk};
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

/// `DATA_STACK_CHUNK_SIZE` (`Python/pystate.c`) less what [`SLACK`] adds.
const USUAL_CHUNK: usize = 16 * 1024 - SLACK;

impl Collector<'_, '_> {
    pub(super) fn collect_data_stack(&mut self) -> Outcome {
        self.pass.found.clear();
        self.pass.visited.clear();
        let Some(thread) = self.thread() else { return Outcome::Torn };
        // The chunks and the current frame may both be missing: ask for both at once.
        let chunks = self.order_chunks(&thread);
        let current = match (self.current_frame(&thread), chunks) {
            (_, Err(Outcome::Torn)) => return Outcome::Torn,
            (Err(outcome @ Outcome::Needs), _) | (_, Err(outcome)) => return outcome,
            (Ok(current), Ok(())) => Some(current),
            // The callers lie on the data stack all the same.
            (Err(_), Ok(())) => None,
        };
        self.pass.anchor = current.map(|current| (current, thread.top));
        if current.is_some_and(RemoteAddress::is_null) || thread.chunk.is_null() {
            // No Python function was called, or none any more.
            return Outcome::Complete;
        }
        self.tile(current)
    }

    /// Puts the chunks of the thread's data stack in order, the root's first, each with
    /// the end of what is in use.
    fn order_chunks(&mut self, thread: &ThreadBytes) -> Result<(), Outcome> {
        self.pass.in_use.clear();
        let used = thread.top.bytes_since(thread.chunk).unwrap_or(u64::MAX);
        let mut address = thread.chunk;
        // Of the current chunk the thread state says how far it is used, of an older one
        // its own header does.
        let mut stated = usize::try_from(used).ok().filter(|&used| used <= LARGEST_CHUNK);
        if stated.is_none() && !address.is_null() {
            return Err(Outcome::Torn);
        }
        let mut total = 0_usize;
        while !address.is_null() {
            if self.pass.in_use.len() >= MOST_CHUNKS || !address.is_plausible() {
                return Err(Outcome::Torn);
            }
            let Some(read) = self.pass.chunks.iter().find(|read| read.address == address).copied()
            else {
                return Err(self.ask_chunk(address, stated.unwrap_or(USUAL_CHUNK)));
            };
            let bytes = self.context.batch.prefix(read.slot).unwrap_or_default();
            let header = View(bytes);
            let end = stated.take().or_else(|| older_chunk_end(header)).ok_or(Outcome::Torn)?;
            total = total.saturating_add(end);
            if total > LARGEST_STACK {
                return Err(Outcome::Torn);
            }
            if read.length < end {
                return Err(self.ask_chunk(address, end));
            }
            if bytes.len() < end {
                return Err(Outcome::Torn);
            }
            self.pass.in_use.push((read, end));
            address = header.address(chunk::PREVIOUS).ok_or(Outcome::Torn)?;
        }
        self.pass.in_use.reverse();
        Ok(())
    }

    fn ask_chunk(&mut self, address: RemoteAddress, length: usize) -> Outcome {
        if !self.may_ask {
            return Outcome::Torn;
        }
        let length = length.saturating_add(SLACK);
        let slot = self.context.batch.ask(address, length);
        self.pass.chunks.retain(|read| read.address != address);
        self.pass.chunks.push(ChunkRead { address, length, slot });
        Outcome::Needs
    }

    /// Walks the tiles of all chunks from the root up and links each to the one before.
    fn tile(&mut self, current: Option<RemoteAddress>) -> Outcome {
        let mut top = Top::default();
        for index in 0..self.pass.in_use.len() {
            let Some(&(read, end)) = self.pass.in_use.get(index) else { break };
            // The root chunk's first word is left free (`Python/pystate.c`, push_chunk).
            let mut at = if index == 0 { chunk::DATA + 8 } else { chunk::DATA };
            while at < end {
                let (frame, size, previous) = match self.one_tile(read, at, end) {
                    Ok(tile) => tile,
                    Err(Outcome::Torn) => return self.finish(&top, current, true),
                    Err(outcome) => return outcome,
                };
                match self.linked(previous, top.last) {
                    Link::Holds => {}
                    Link::Missing => top.missing = true,
                    Link::Load(address) => return Outcome::Load(address),
                    // A frame that is being set up is not linked yet.
                    Link::Broken => return self.finish(&top, current, true),
                }
                top.below = top.last;
                top.last = Some(frame.address);
                top.depth = self.pass.found.len();
                self.pass.found.push(frame);
                if self.pass.found.len() > MOST_FRAMES {
                    return Outcome::Torn;
                }
                at = at.saturating_add(size);
            }
        }
        self.finish(&top, current, false)
    }

    /// The frame at `at` of a chunk, its size and its `previous`.
    fn one_tile(
        &mut self,
        read: ChunkRead,
        at: usize,
        end: usize,
    ) -> Result<(RawFrame, usize, RemoteAddress), Outcome> {
        let layout = self.context.layout.frame;
        let Liveness::Tiling { owner, .. } = layout.liveness else { return Err(Outcome::Torn) };
        let copy = FixedPart::of(self.context.batch.prefix(read.slot), at, layout.size)
            .ok_or(Outcome::Torn)?;
        let view = copy.view();
        let previous = view.address(layout.previous).ok_or(Outcome::Torn)?;
        // Only a thread's own frames lie here.
        if view.u8(owner) != Some(0) {
            return Err(Outcome::Torn);
        }
        let frame =
            self.decode(read.address.plus(at as u64), view, Some((read.slot, at)), false)?;
        let size = self.context.codes.get(frame.code).map_or(0, |code| code.frame_size);
        if size < layout.size || at.saturating_add(size) > end {
            return Err(Outcome::Torn);
        }
        Ok((frame, size, previous))
    }

    /// Follows `from` through frames that lie outside the data stack to `to`, pushing the
    /// generators' frames among them in root-first order.
    fn linked(&mut self, from: RemoteAddress, to: Option<RemoteAddress>) -> Link {
        let layout = self.context.layout;
        let Liveness::Tiling { owner, shim_from, .. } = layout.frame.liveness else {
            return Link::Broken;
        };
        let start = self.pass.found.len();
        let mut next = from;
        while self.links_left > 0 {
            self.links_left = self.links_left.saturating_sub(1);
            if Some(next) == to || (to.is_none() && next.is_null()) {
                if let Some(pushed) = self.pass.found.get_mut(start..) {
                    pushed.reverse();
                }
                return Link::Holds;
            }
            if !next.is_plausible() {
                break;
            }
            let Some(&slot) = self.pass.frames.get(&next) else {
                self.pass.found.truncate(start);
                if !self.may_ask || self.inside_chunks(next) {
                    return Link::Broken;
                }
                let slot = self.context.batch.ask(next, layout.frame.size);
                self.pass.frames.insert(next, slot);
                return Link::Missing;
            };
            self.pass.visited.push(next);
            if !self.context.batch.is_read(slot) {
                self.pass.found.truncate(start);
                return Link::Missing;
            }
            let bytes = self.context.batch.prefix(slot);
            let Some(copy) = FixedPart::of(bytes, 0, layout.frame.size) else { break };
            let view = copy.view();
            let (Some(previous), Some(kind)) =
                (view.address(layout.frame.previous), view.u8(owner))
            else {
                break;
            };
            if kind < shim_from {
                match self.decode(next, view, Some((slot, 0)), true) {
                    Ok(frame) => self.pass.found.push(frame),
                    Err(bad) => {
                        self.pass.found.truncate(start);
                        return match bad.into() {
                            Outcome::Load(address) => Link::Load(address),
                            _ => Link::Broken,
                        };
                    }
                }
            }
            next = previous;
        }
        self.pass.found.truncate(start);
        Link::Broken
    }

    fn inside_chunks(&self, address: RemoteAddress) -> bool {
        self.pass
            .in_use
            .iter()
            .any(|&(read, end)| address.bytes_since(read.address).is_some_and(|at| at < end as u64))
    }

    /// The top of the stack: the current frame must be the last tile, or a generator's
    /// frame above it, or the tile below while the last is being set up or taken down.
    fn finish(&mut self, top: &Top, current: Option<RemoteAddress>, torn_above: bool) -> Outcome {
        if top.missing {
            return Outcome::NeedsFrames;
        }
        let Some(current) = current else { return Outcome::Torn };
        if !torn_above && top.below == Some(current) {
            // Whatever was found above that tile is not called yet, or has returned.
            let below = self.pass.found.get(..top.depth).unwrap_or_default();
            let depth = below.iter().rposition(|frame| frame.address == current);
            self.pass.found.truncate(depth.map_or(0, |depth| depth.saturating_add(1)));
            return Outcome::Complete;
        }
        match self.linked(current, top.last) {
            Link::Holds => Outcome::Complete,
            Link::Missing => Outcome::NeedsFrames,
            Link::Load(address) => Outcome::Load(address),
            Link::Broken => Outcome::Torn,
        }
    }
}

/// How far the tiling has come.
#[derive(Debug, Default)]
struct Top {
    /// The last tile.
    last: Option<RemoteAddress>,
    /// The tile below it.
    below: Option<RemoteAddress>,
    /// How many frames were found below the last tile.
    depth: usize,
    /// Whether a frame outside the data stack had to be asked for.
    missing: bool,
}

enum Link {
    Holds,
    Broken,
    /// The next frame was asked for.
    Missing,
    Load(RemoteAddress),
}

/// Where the frames of a chunk end that is not the current one.
fn older_chunk_end(header: View<'_>) -> Option<usize> {
    let words = header.length(chunk::TOP_WORDS, LARGEST_CHUNK)?;
    let size = header.length(chunk::SIZE, LARGEST_CHUNK)?;
    words.checked_mul(8)?.checked_add(chunk::DATA).filter(|&end| end <= size)
}
