//! Frames on a data stack and beside it, one by one.

use super::{Chain, Chunk, DataStack, Thread, Tile};
use crate::process::Batch;
use crate::python::layout::{Liveness, chunk};
use crate::python::view::View;
use crate::python::walk::frame::{Decoded, Header};
use crate::python::walk::{Context, Found, MOST_FRAMES, MOST_STEPS, Need, Outcome, Pass};
use crate::units::RemoteAddress;

impl DataStack {
    /// The tiles from the root up to the running frame, or to the tile that called the
    /// generator that is running.
    pub(super) fn tile(
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
            // What lies between the running C function and the topmost Python one may be gone.
            Chain::Ends(_) if !self.same_links => None,
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
            let other = context.batch.prefix(range.slot(pass.other())).unwrap_or_default();
            let other = Header::read(other, 0, &layout).filter(|_| range.was_read_twice());
            let other = other.unwrap_or_default();
            if kind >= shim_from {
                // It may be gone, and its place on the C stack another's.
                let linked = match self.between.last_mut() {
                    Some(above) => &mut above.linked,
                    None => &mut self.same_links,
                };
                *linked &= header.same_function(&other);
            } else {
                match header.decode(next, Some((slot, 0)), true, not_code, context) {
                    Decoded::Frame(frame) => {
                        let same_function = header.same_function(&other);
                        self.between.push(Found {
                            frame,
                            holds: same_function,
                            linked: true,
                            same_function,
                            same_words: header == other,
                            same_place: header == other && !self.late,
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
                            found.extend(self.between.iter().rev());
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
                    linked,
                    same_function,
                    same_words: same_function && tile.header == other,
                    same_place: same_function && tile.header == other && !self.late,
                });
                if found.len() > MOST_FRAMES || self.steps > MOST_STEPS {
                    return Outcome::Torn;
                }
                number = number.saturating_add(1);
                below = address;
                if is_base {
                    // Where the two are read apart, the running frame may have been read too
                    // early or too late.
                    let end = address.plus(tile.size as u64);
                    if index == 0 && end > thread.top && !missing {
                        found.pop();
                        return Outcome::Torn;
                    }
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
            // From 3.14 on a frame's code is cleared when it returns, so what was there before
            // is the running call.
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
}
